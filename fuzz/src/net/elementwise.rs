//! Functions of elements.

use rimlight::ElementType;
use rimlight::graph::Definition;

use super::draw::{Draw, Kind, truths};
use super::{Grid, Made};

/// Any rank.
pub const RANKS: [usize; 6] = [4, 3, 2, 1, 0, 5];

/// A continuous function of one float.
pub fn smooth(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&RANKS);
    let grid = d.grid(x);
    // What keeps multiples of an eighth as they are.
    let keeps = ["Relu", "Abs", "Neg", "Identity"];
    let few = ["Relu", "Sigmoid", "Tanh", "HardSwish"];
    let all = [
        "Sigmoid",
        "Tanh",
        "Elu",
        "Selu",
        "Softplus",
        "Softsign",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Mish",
        "Erf",
        "Sin",
        "Cos",
        "Atan",
        "Celu",
        "LeakyRelu",
        "Swish",
        "Exp",
        "Asinh",
    ];
    let name = match (d.kind, d.flip()) {
        (Kind::FewKernels, _) => d.pick(&few),
        (Kind::Any, true) => d.pick(&keeps),
        (Kind::Any, false) => d.pick(&all),
    };
    let definition = match name {
        "LeakyRelu" | "Elu" | "Celu" if d.flip() => {
            Definition::new(name).attribute("alpha", d.pick(&[0.25f32, 1.0, 0.1]))
        }
        _ => Definition::new(name),
    };
    if d.kind == Kind::Any && d.below(8) == 7 {
        let (low, high) = (d.data_scalar(-1.0), d.data_scalar(2.5));
        d.node(Definition::new("Clip"), &[x, low, high], grid)?;
        return Some(());
    }
    d.node(definition, &[x], grid.filter(|_| keeps.contains(&name)))?;
    Some(())
}

/// A function that jumps, or is not everywhere.
pub fn stepped(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.exact_floats(&RANKS);
    let grid = d.grid(x)?;
    let whole = Grid { unit: 0, top: grid.top.max(0) + 1 };
    let name = d.pick(&[
        "Floor",
        "Ceil",
        "Round",
        "Sign",
        "ThresholdedRelu",
        "Shrink",
        "Sqrt",
        "Reciprocal",
        "Log",
        "IsNaN",
        "IsInf",
    ]);
    let grid = match name {
        "Floor" | "Ceil" | "Round" | "Sign" | "IsNaN" | "IsInf" => Some(whole),
        "ThresholdedRelu" => Some(grid),
        "Shrink" => Some(grid.with(Grid { unit: 1, top: 0 }).higher(1)),
        _ => None,
    };
    let definition = match name {
        "Shrink" => Definition::new(name).attribute("lambd", 0.5f32).attribute("bias", 0.5f32),
        _ => Definition::new(name),
    };
    d.node(definition, &[x], grid)?;
    Some(())
}

impl Draw<'_, '_> {
    /// A constant scalar that is computed with.
    pub fn data_scalar(&mut self, value: f32) -> usize {
        self.data(rimlight::Tensor::scalar(value), Grid { unit: 3, top: 3 })
    }

    /// What can be broadcast against a value: another of its shape, or weights of a part of it.
    pub fn partner(&mut self, x: usize) -> usize {
        let shape = self.shape_of(x);
        let same = shape.clone();
        let fits =
            |made: &Made| made.fact.element_type == ElementType::F32 && made.fact.concrete().as_ref() == Some(&same);
        if self.flip()
            && let Some(found) = self.find(fits)
        {
            return found;
        }
        let dropped = if self.flip() { 0 } else { self.below(shape.len() + 1) };
        let part: Vec<usize> = shape[dropped..].iter().map(|&n| if self.below(3) == 0 { 1 } else { n }).collect();
        self.weights(&part)
    }
}

/// A function of two floats or more.
pub fn binary(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&RANKS);
    let y = d.partner(x);
    let both = d.grid(x).zip(d.grid(y));
    let names: &[&'static str] = match d.kind {
        Kind::FewKernels => &["Add", "Mul"],
        Kind::Any => &["Add", "Mul", "Sub", "Max", "Min", "Sum", "PRelu", "Div", "Mean", "Pow"],
    };
    let name = d.pick(names);
    let grid = both.and_then(|(x, y)| match name {
        "Add" | "Sub" | "Sum" => Some(x.with(y).higher(1)),
        "Mul" => Some(x.times(y)),
        "Max" | "Min" => Some(x.with(y)),
        _ => None,
    });
    // A power of what is not negative.
    let x = if name == "Pow" { d.node(Definition::new("Abs"), &[x], None)? } else { x };
    // Weights may be zero; what is divided by is not.
    let y = if name == "Div" {
        let shape = d.shape_of(y);
        d.positive(&shape)
    } else {
        y
    };
    let inputs = if d.flip() && name != "PRelu" && name != "Pow" && name != "Div" { [y, x] } else { [x, y] };
    d.node(Definition::new(name), &inputs, grid)?;
    Some(())
}

/// Comparisons, and what is done with truth values.
pub fn truth(d: &mut Draw<'_, '_>) -> Option<()> {
    let known = d.find(|made| made.fact.element_type == ElementType::Bool);
    let small = Some(Grid::SMALL);
    match (known, d.below(4)) {
        (Some(x), 0) => {
            d.node(Definition::new("Not"), &[x], small)?;
        }
        (Some(x), 1) => {
            let shape = d.shape_of(x);
            let seed = d.below(8);
            let y = d.parameter(truths(&shape, seed));
            let name = d.pick(&["And", "Or", "Xor"]);
            d.node(Definition::new(name), &[x, y], small)?;
        }
        (Some(condition), 2) => {
            let shape = d.shape_of(condition);
            let x = d.weights(&shape);
            let y = d.partner(x);
            let grid = d.grid(x).zip(d.grid(y)).map(|(x, y)| x.with(y));
            d.node(Definition::new("Where"), &[condition, x, y], grid)?;
        }
        _ => {
            let x = d.exact_floats(&RANKS);
            let y = d.partner(x);
            // Only of what is the same in any order.
            d.grid(y)?;
            let name = d.pick(&["Greater", "Less", "Equal", "GreaterOrEqual", "LessOrEqual"]);
            d.node(Definition::new(name), &[x, y], small)?;
        }
    }
    Some(())
}

/// From one type to another.
pub fn cast(d: &mut Draw<'_, '_>) -> Option<()> {
    let integers = [ElementType::I32, ElementType::I64, ElementType::Bool];
    let to = |t: ElementType| Definition::new("Cast").attribute("to", i64::from(t.data_type()));
    if d.flip()
        && let Some(x) = d.find(|made| integers.contains(&made.fact.element_type))
    {
        let grid = d.grid(x);
        d.node(to(ElementType::F32), &[x], grid)?;
        return Some(());
    }
    let x = d.exact_floats(&RANKS);
    let grid = d.grid(x)?;
    // Nothing that the type does not hold.
    let target = d.pick(&integers);
    d.node(to(target), &[x], Some(Grid { unit: 0, top: grid.top.max(1) }))?;
    Some(())
}
