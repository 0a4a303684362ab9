//! Products of matrices.

use rimlight::graph::Definition;

use super::draw::{Draw, Kind};

pub fn product(d: &mut Draw<'_, '_>) -> Option<()> {
    match d.below(if d.kind == Kind::Any { 5 } else { 2 }) {
        0 => {
            let x = d.floats(&[2, 3, 4]);
            let inner = *d.shape_of(x).last()?;
            let outer = 1 + d.below(6) * if d.kind == Kind::Any { 1 } else { 4 };
            let w = d.weights(&[inner, outer]);
            let y = d.node(Definition::new("MatMul"), &[x, w], None)?;
            if d.flip() {
                let b = d.weights(&[outer]);
                d.node(Definition::new("Add"), &[y, b], None)?;
            }
        }
        1 => {
            let x = d.floats(&[2]);
            let shape = d.shape_of(x);
            let (transposed, outer) = (d.flip(), 1 + d.below(6));
            let w = if transposed { [outer, shape[1]] } else { [shape[1], outer] };
            let mut inputs = vec![x, d.weights(&w)];
            let mut definition = Definition::new("Gemm").attribute("transB", i64::from(transposed));
            if d.flip() {
                let bias = d.pick(&[vec![1], vec![outer], vec![shape[0], outer], vec![shape[0], 1]]);
                inputs.push(d.weights(&bias));
                definition = definition.attribute("beta", d.pick(&[1.0f32, 0.5, 2.0]));
            }
            if d.below(4) == 3 {
                definition = definition.attribute("alpha", d.pick(&[0.5f32, 2.0]));
            }
            d.node(definition, &inputs, None)?;
        }
        2 => {
            // Two values of a run.
            let x = d.floats(&[2, 3, 4]);
            let shape = d.shape_of(x);
            let rank = shape.len();
            let mut perm: Vec<i64> = (0..rank as i64).collect();
            perm.swap(rank - 1, rank - 2);
            let turned = d.node(Definition::new("Transpose").attribute("perm", perm), &[x], d.grid(x))?;
            d.node(Definition::new("MatMul"), &[x, turned], None)?;
        }
        3 => {
            let x = d.floats(&[3]);
            let shape = d.shape_of(x);
            let y = d.weights(&[shape[0], shape[2], 3]);
            let equation = d.pick(&["bij,bjk->bik", "bij,bjk->ik", "bij,bjk->bki"]);
            d.node(Definition::new("Einsum").attribute("equation", equation), &[x, y], None)?;
        }
        _ => {
            let x = d.floats(&[1, 2]);
            let inner = *d.shape_of(x).last()?;
            let w = d.weights(&[inner]);
            d.node(Definition::new("MatMul"), &[x, w], None)?;
        }
    }
    Some(())
}
