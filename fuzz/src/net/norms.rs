//! Normalizations.

use rimlight::graph::Definition;

use super::draw::{Draw, Kind};
use super::elementwise::RANKS;

impl Draw<'_, '_> {
    pub fn batch_norm(&mut self, x: usize) -> Option<usize> {
        let channels = [*self.shape_of(x).get(1)?];
        let scale = self.positive(&channels);
        let (bias, mean) = (self.weights(&channels), self.weights(&channels));
        let variance = self.positive(&channels);
        let definition = match self.flip() {
            true => Definition::new("BatchNormalization").attribute("epsilon", 0.125f32),
            false => Definition::new("BatchNormalization"),
        };
        self.node(definition, &[x, scale, bias, mean, variance], None)
    }

    /// An axis, counted from either end.
    pub fn axis(&mut self, rank: usize) -> i64 {
        let axis = self.below(rank) as i64;
        if self.flip() { axis - rank as i64 } else { axis }
    }
}

pub fn norm(d: &mut Draw<'_, '_>) -> Option<()> {
    if d.kind == Kind::FewKernels {
        return few(d);
    }
    match d.below(9) {
        0 | 1 => {
            let x = d.floats(&[4, 2, 3, 5]);
            d.batch_norm(x)?;
        }
        2 => {
            let x = d.floats(&[3, 4]);
            let channels = [d.shape_of(x)[1]];
            let (scale, bias) = (d.positive(&channels), d.weights(&channels));
            d.node(Definition::new("InstanceNormalization").attribute("epsilon", 0.125f32), &[x, scale, bias], None)?;
        }
        3 => {
            let x = d.floats(&[2, 3, 4]);
            let shape = d.shape_of(x);
            let axis = d.below(shape.len());
            let mut inputs = vec![x, d.positive(&shape[axis..])];
            if d.flip() {
                inputs.push(d.weights(&shape[axis..]));
            }
            let name = if inputs.len() == 2 { "RMSNormalization" } else { "LayerNormalization" };
            let definition = Definition::new(name).attribute("axis", axis as i64).attribute("epsilon", 0.125f32);
            d.node(definition, &inputs, None)?;
        }
        4 => {
            let x = d.floats(&[3, 4]);
            let channels = d.shape_of(x)[1];
            let groups = d.pick(&[1, 2, channels.max(1)]);
            let definition = Definition::new("GroupNormalization");
            let definition = definition.attribute("num_groups", groups as i64).attribute("epsilon", 0.125f32);
            let (scale, bias) = (d.positive(&[channels]), d.weights(&[channels]));
            d.node(definition, &[x, scale, bias], None)?;
        }
        5 | 6 => {
            let x = d.floats(&RANKS);
            let rank = d.shape_of(x).len();
            let (name, axis) = (d.pick(&["Softmax", "LogSoftmax"]), d.axis(rank.max(1)));
            d.node(Definition::new(name).attribute("axis", axis), &[x], None)?;
        }
        7 => {
            let x = d.floats(&[4, 3]);
            let size = d.pick(&[1i64, 3, 5]);
            d.node(Definition::new("LRN").attribute("size", size).attribute("alpha", 0.5f32), &[x], None)?;
        }
        _ => {
            let x = d.floats(&[4, 2]);
            let (p, axis) = (d.pick(&[1i64, 2]), d.axis(d.shape_of(x).len()));
            // Where all are zero, nothing is divided by it.
            let one = d.data_scalar(1.0);
            let x = d.node(Definition::new("Add"), &[x, one], None)?;
            d.node(Definition::new("LpNormalization").attribute("p", p).attribute("axis", axis), &[x], None)?;
        }
    }
    Some(())
}

fn few(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&[2, 4]);
    if d.flip() {
        d.node(Definition::new("Softmax").attribute("axis", -1i64), &[x], None)?;
    } else {
        d.batch_norm(x)?;
    }
    Some(())
}
