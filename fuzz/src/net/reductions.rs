//! Sums and extremes along axes, and their places.

use rimlight::graph::Definition;
use rimlight::{ElementType, Tensor};

use super::Grid;
use super::draw::Draw;
use super::elementwise::RANKS;

pub fn reduction(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&RANKS);
    let (rank, grid) = (d.shape_of(x).len(), d.grid(x));
    let names = [
        "ReduceMean",
        "ReduceSum",
        "ReduceMax",
        "ReduceMin",
        "ReduceL1",
        "ReduceL2",
        "ReduceSumSquare",
        "ReduceLogSumExp",
        "ReduceProd",
    ];
    let name = d.pick(&names);
    let mut inputs = vec![x];
    let axes: Vec<i64> = (0..rank as i64).filter(|_| d.flip()).collect();
    if d.below(5) != 4 {
        inputs.push(d.list(axes));
    }
    let mut definition = Definition::new(name).attribute("keepdims", d.flag());
    if d.below(8) == 7 {
        definition = definition.attribute("noop_with_empty_axes", 1i64);
    }
    let grid = grid.and_then(|grid| match name {
        "ReduceSum" | "ReduceL1" => Some(grid.higher(9)),
        "ReduceMax" | "ReduceMin" => Some(grid),
        _ => None,
    });
    d.node(definition, &inputs, grid)?;
    Some(())
}

/// Places of elements, and orders.
pub fn place(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.exact_floats(&[2, 1, 3, 4]);
    let (shape, grid) = (d.shape_of(x), d.grid(x));
    let axis = d.axis(shape.len());
    let small = Some(Grid { unit: 0, top: 9 });
    match d.below(5) {
        0 | 1 => {
            let name = d.pick(&["ArgMax", "ArgMin"]);
            let definition = Definition::new(name).attribute("axis", axis).attribute("keepdims", d.flag());
            let definition = definition.attribute("select_last_index", d.flag());
            d.node(definition, &[x], small)?;
        }
        2 | 3 => {
            let size = shape[axis.rem_euclid(shape.len() as i64) as usize];
            let k = d.below(size + 1) as i64;
            let k = d.list(vec![k]);
            let definition = Definition::new("TopK").attribute("axis", axis).attribute("largest", d.flag());
            d.nodes(definition, &[Some(x), Some(k)], &[grid, small])?;
        }
        _ => {
            let axis = d.parameter(Tensor::scalar(axis));
            let definition = Definition::new("CumSum").attribute("exclusive", d.flag()).attribute("reverse", d.flag());
            d.node(definition, &[x, axis], grid.map(|grid| grid.higher(9)))?;
        }
    }
    // An index is a number like another.
    if d.below(4) == 3
        && let Some(index) = d.find(|made| made.fact.element_type == ElementType::I64)
    {
        let to = i64::from(ElementType::F32.data_type());
        d.node(Definition::new("Cast").attribute("to", to), &[index], d.grid(index))?;
    }
    Some(())
}
