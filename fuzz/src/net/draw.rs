//! Drawing: numbers and shapes out of bytes, and nodes that fit what is there.

use arbitrary::Unstructured;
use rimlight::graph::{Definition, Fact};
use rimlight::ops::{check_arity, operator};
use rimlight::tensor::Truth;
use rimlight::{Element, ElementType, Tensor};

use super::{Grid, Made, Net, Origin, Step};

/// Elements of a value, so that a network takes no time.
const MOST: usize = 400;
/// Operations of a node.
const WORK: f64 = 2e4;
/// Multiples of an eighth up to 4.
const DATA: Grid = Grid { unit: 3, top: 2 };
/// Multiples of an eighth up to 1.
const WEIGHTS: Grid = Grid { unit: 3, top: 0 };

/// What kind of networks is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Any,
    /// Of few shapes and operators, so that they need few kernels.
    FewKernels,
}

/// A network being drawn.
pub struct Draw<'a, 'b> {
    bytes: &'a mut Unstructured<'b>,
    pub(super) net: Net,
    pub(super) kind: Kind,
}

/// A family of operators: draws a node or some, if there is something for it.
type Family = fn(&mut Draw<'_, '_>) -> Option<()>;

/// The families, as often as they are to be drawn.
const FAMILIES: [Family; 24] = [
    super::elementwise::smooth,
    super::elementwise::smooth,
    super::elementwise::stepped,
    super::elementwise::binary,
    super::elementwise::binary,
    super::elementwise::truth,
    super::elementwise::cast,
    super::windows::convolution,
    super::windows::convolution,
    super::windows::transposed,
    super::windows::pool,
    super::products::product,
    super::products::product,
    super::norms::norm,
    super::norms::norm,
    super::reductions::reduction,
    super::reductions::place,
    super::moves::shuffle,
    super::moves::part,
    super::moves::gather,
    super::moves::resize,
    super::quantized::quantized,
    super::shapes::computed,
    super::control::control,
];

/// Those that need few kernels.
const FEW: [Family; 8] = [
    super::elementwise::smooth,
    super::elementwise::binary,
    super::windows::convolution,
    super::windows::pool,
    super::products::product,
    super::norms::norm,
    super::moves::shuffle,
    super::quantized::quantized,
];

impl Net {
    /// Draws a network.
    pub fn draw(bytes: &[u8], kind: Kind) -> Self {
        let mut bytes = Unstructured::new(bytes);
        let mut draw = Draw { bytes: &mut bytes, net: Self::default(), kind };
        let nodes = 1 + draw.below(if kind == Kind::Any { 10 } else { 6 });
        for _ in 0..nodes {
            let family = match kind {
                // One in eight is something that rewrites look for.
                Kind::Any if draw.below(8) == 7 => super::idioms::idiom,
                Kind::Any => draw.pick(&FAMILIES),
                Kind::FewKernels => draw.pick(&FEW),
            };
            family(&mut draw);
        }
        draw.finish()
    }
}

impl Draw<'_, '_> {
    /// What nothing reads is an output, as a rule, and so is some of the rest.
    fn finish(mut self) -> Net {
        let mut read = vec![false; self.net.values.len()];
        for input in self.net.nodes.iter().flat_map(|step| step.inputs.iter().flatten()) {
            read[*input] = true;
        }
        for (i, read) in read.into_iter().enumerate() {
            let shown = if read { self.below(8) == 1 } else { self.below(8) != 7 };
            if shown && matches!(self.net.values[i].origin, Origin::Node) {
                self.net.outputs.push(i);
            }
        }
        if self.net.outputs.is_empty() {
            self.net.outputs.extend(self.net.nodes.last().and_then(|step| step.outputs.first()));
        }
        self.net
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.bytes.int_in_range(0..=n.max(1) - 1).unwrap_or(0)
    }

    pub fn within(&mut self, from: i64, to: i64) -> i64 {
        self.bytes.int_in_range(from..=to.max(from)).unwrap_or(from)
    }

    pub fn flip(&mut self) -> bool {
        self.below(2) == 1
    }

    pub fn flag(&mut self) -> i64 {
        i64::from(self.flip())
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// A dimension.
    pub fn dim(&mut self) -> usize {
        match self.kind {
            Kind::Any => self.pick(&[1, 2, 3, 4, 5, 7, 8, 0, 1, 2, 3, 4, 6, 9, 13, 16]),
            Kind::FewKernels => self.pick(&[4, 8, 3, 5]),
        }
    }

    pub fn shape(&mut self, rank: usize) -> Vec<usize> {
        let mut shape: Vec<usize> = (0..rank).map(|_| self.dim()).collect();
        // The longest is cut until the whole is small.
        while shape.iter().product::<usize>() > MOST / 2 {
            if let Some(longest) = shape.iter_mut().max() {
                *longest = longest.div_ceil(2);
            }
        }
        shape
    }

    pub fn made(&self, i: usize) -> &Made {
        &self.net.values[i]
    }

    /// A value's shape.
    pub fn shape_of(&self, i: usize) -> Vec<usize> {
        self.made(i).fact.concrete().unwrap_or_default()
    }

    pub fn grid(&self, i: usize) -> Option<Grid> {
        self.made(i).grid
    }

    /// A value that there is: one of the last, as a rule.
    pub fn find(&mut self, fits: impl Fn(&Made) -> bool) -> Option<usize> {
        let computed = |made: &Made| !matches!(made.origin, Origin::Constant { .. });
        let all: Vec<usize> =
            (0..self.net.values.len()).filter(|&i| computed(self.made(i)) && fits(self.made(i))).collect();
        let back = if self.below(4) == 3 { self.below(all.len()) } else { 0 };
        all.len().checked_sub(back + 1).map(|at| all[at])
    }

    /// Floats of this rank, a new input if there are none; now and then in any case.
    pub fn floats(&mut self, ranks: &[usize]) -> usize {
        let fits = |made: &Made| made.fact.element_type == ElementType::F32 && ranks.contains(&made.fact.rank());
        let found = if self.below(8) == 7 { None } else { self.find(fits) };
        found.unwrap_or_else(|| {
            let rank = self.pick(ranks);
            let shape = self.shape(rank);
            self.input(&shape)
        })
    }

    /// [`Draw::floats`] that are the same however they are computed.
    pub fn exact_floats(&mut self, ranks: &[usize]) -> usize {
        let fits = |made: &Made| {
            made.fact.element_type == ElementType::F32 && ranks.contains(&made.fact.rank()) && made.grid.is_some()
        };
        self.find(fits).unwrap_or_else(|| {
            let rank = self.pick(ranks);
            let shape = self.shape(rank);
            self.input(&shape)
        })
    }

    fn push(&mut self, made: Made) -> usize {
        self.net.values.push(made);
        self.net.values.len() - 1
    }

    /// An input of floats, with symbols for some of its dimensions.
    pub fn input(&mut self, shape: &[usize]) -> usize {
        let tensor = self.numbers(shape, 65, 32);
        self.given(tensor, DATA)
    }

    /// This as an input.
    pub fn given(&mut self, tensor: Tensor, grid: Grid) -> usize {
        let open = tensor.shape().iter().map(|_| self.flip()).collect();
        let fact = Fact::new(tensor.element_type(), tensor.shape().to_vec());
        self.push(Made { fact, origin: Origin::Input { tensor, open }, grid: Some(grid) })
    }

    /// Eighths of -`zero` to `steps` - `zero`.
    fn numbers(&mut self, shape: &[usize], steps: usize, zero: i32) -> Tensor {
        let seed = self.below(256);
        let number = |i: usize| (((i * 37 + seed * 101 + i / 7 * 13) % steps) as i32 - zero) as f32 / 8.0;
        filled(shape, number)
    }

    /// Weights: a constant, now and then an input.
    pub fn weights(&mut self, shape: &[usize]) -> usize {
        let tensor = self.numbers(shape, 17, 8);
        if self.below(8) == 7 { self.given(tensor, WEIGHTS) } else { self.data(tensor, WEIGHTS) }
    }

    /// Weights from 1/8 to 2, as scales and variances are.
    pub fn positive(&mut self, shape: &[usize]) -> usize {
        let tensor = self.numbers(shape, 16, -1);
        self.data(tensor, Grid { unit: 3, top: 2 })
    }

    /// A constant that is computed with.
    pub fn data(&mut self, tensor: Tensor, grid: Grid) -> usize {
        let fact = Fact::constant(tensor.clone());
        self.push(Made { fact, origin: Origin::Constant { tensor, data: true }, grid: Some(grid) })
    }

    /// A constant that is a parameter.
    pub fn parameter(&mut self, tensor: Tensor) -> usize {
        let fact = Fact::constant(tensor.clone());
        self.push(Made { fact, origin: Origin::Constant { tensor, data: false }, grid: Some(Grid::SMALL) })
    }

    /// A list of integers as a parameter.
    pub fn list(&mut self, values: Vec<i64>) -> usize {
        self.parameter(Tensor::vector(values))
    }

    /// A node with one output.
    pub fn node(&mut self, definition: Definition, inputs: &[usize], grid: Option<Grid>) -> Option<usize> {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.nodes(definition, &inputs, &[grid]).map(|outputs| outputs[0])
    }

    /// A node: nothing where its operator does not take the inputs, or gives too much.
    pub fn nodes(
        &mut self,
        mut definition: Definition,
        inputs: &[Option<usize>],
        grids: &[Option<Grid>],
    ) -> Option<Vec<usize>> {
        (definition.inputs, definition.outputs) = (inputs.len(), grids.len());
        check_arity(&definition).ok()?;
        let operator = operator(&definition).ok()?;
        let facts: Vec<Option<&Fact>> = inputs.iter().map(|input| input.map(|i| &self.net.values[i].fact)).collect();
        let mut outputs = operator.infer(&facts).ok()?;
        outputs.truncate(grids.len());
        if outputs.len() < grids.len() {
            return None;
        }
        let small = |fact: &Fact| fact.concrete().is_some_and(|s| s.iter().product::<usize>() <= MOST);
        if !outputs.iter().all(small) || operator.work(&facts, &outputs) > WORK {
            return None;
        }
        let made =
            |(fact, grid): (Fact, &Option<Grid>)| Made { fact, origin: Origin::Node, grid: grid.and_then(Grid::exact) };
        let made: Vec<Made> = outputs.into_iter().zip(grids).map(made).collect();
        let outputs: Vec<usize> = made.into_iter().map(|made| self.push(made)).collect();
        self.net.nodes.push(Step { definition, inputs: inputs.to_vec(), outputs: outputs.clone() });
        Some(outputs)
    }
}

/// A tensor of a function of the element's place.
pub fn filled<T: Element>(shape: &[usize], element: impl FnMut(usize) -> T) -> Tensor {
    let data = (0..shape.iter().product()).map(element).collect();
    Tensor::new(shape, data).expect("as many elements as the shape has")
}

/// Truth values, by the element's place.
pub fn truths(shape: &[usize], seed: usize) -> Tensor {
    filled(shape, |i| Truth::from((i * 5 + seed).is_multiple_of(3)))
}
