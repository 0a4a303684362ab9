//! Rounding the rows of a matrix to four bits.

use super::compensation::Compensation;
use super::grid::{Grid, Nibbles};

/// The blocks of a row: what their steps stand for, and the steps.
type Blocks = Vec<(Grid, Vec<u8>)>;

/// Rows of numbers in blocks of four bits, each with a zero of its own, such that the products with likely inputs change least.
pub fn nibbles(rows: &[f32], length: usize, block: usize, compensation: Option<&Compensation>) -> Nibbles {
    let compensation = compensation.filter(|compensation| compensation.size() == length);
    let mut nibbles = Nibbles::new(block);
    for row in rows.chunks(length.max(1)) {
        let blocks = compensation.map_or_else(|| nearest(row, block), |compensation| best(row, block, compensation));
        blocks.into_iter().for_each(|(grid, steps)| nibbles.push(grid, &steps));
    }
    nibbles
}

/// The nearest to each number.
fn nearest(row: &[f32], block: usize) -> Blocks {
    let of = |part: &[f32]| {
        let grid = Grid::asymmetric(part);
        (grid, part.iter().map(|&value| grid.step(value)).collect())
    };
    row.chunks(block.max(1)).map(of).collect()
}

/// What loses least of all that is tried.
fn best(row: &[f32], block: usize, compensation: &Compensation) -> Blocks {
    let row = &compensation.repaid(row);
    let loss = |blocks: &Blocks| {
        let values = blocks.iter().flat_map(|(grid, steps)| steps.iter().map(|&step| grid.value(step)));
        compensation.loss(&row.iter().zip(values).map(|(weight, value)| weight - value).collect::<Vec<f32>>())
    };
    let (made_up, nearest) = (made_up(row, block, compensation), nearest(row, block));
    // Where inputs hardly go together, the nearest may by chance lose less.
    if loss(&nearest) < loss(&made_up) { nearest } else { made_up }
}

/// Each such that it makes up for those before.
fn made_up(row: &[f32], block: usize, compensation: &Compensation) -> Blocks {
    let mut lost = vec![0f32; row.len()];
    let mut blocks = vec![];
    for (number, part) in row.chunks(block.max(1)).enumerate() {
        let begin = number * block;
        let aim = |(i, weight): (usize, &f32)| weight + compensation.owed(&lost, 0, begin, begin + i);
        let aims: Vec<f32> = part.iter().enumerate().map(aim).collect();
        let grid = Grid::asymmetric(&aims);
        let mut steps = Vec::with_capacity(part.len());
        for (i, (aim, weight)) in aims.iter().zip(part).enumerate() {
            let step = grid.step(aim + compensation.owed(&lost, begin, begin + i, begin + i));
            lost[begin + i] = weight - grid.value(step);
            steps.push(step);
        }
        blocks.push((grid, steps));
    }
    blocks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::compensation::tests::{damped, form, likely, moments};
    use super::{Compensation, nibbles};

    /// What products of each row with the inputs lose, in blocks of 16: rounded to the nearest, and made up for.
    fn losses(size: usize, outputs: usize, seed: u64) -> Vec<[f64; 2]> {
        let moments = moments(&likely(size, 2 * size + 3, seed), size, 1.0);
        let h = damped(&moments);
        let weights: Vec<f32> = likely(size, outputs, seed ^ 99).into_iter().map(|v| v as f32).collect();
        let compensation = Compensation::new(moments).unwrap();
        let rounded = [None, Some(&compensation)].map(|by| nibbles(&weights, size, 16, by).floats(size));
        let loss = |values: &[f32], n: usize| {
            let lost: Vec<f64> = (n * size..(n + 1) * size).map(|i| f64::from(weights[i] - values[i])).collect();
            form(&h, &lost, &lost)
        };
        (0..outputs).map(|n| rounded.each_ref().map(|values| loss(values, n))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn no_row_loses_more_than_rounded_to_the_nearest(size in 1usize..70, outputs in 1usize..4, seed in any::<u64>()) {
            for [plain, better] in losses(size, outputs, seed) {
                prop_assert!(better <= plain * 1.001 + 1e-9, "{better} and {plain}");
            }
        }
    }

    #[test]
    fn what_is_lost_is_made_up_for() {
        let sum = losses(64, 24, 7).iter().fold([0.0; 2], |sum, loss| [sum[0] + loss[0], sum[1] + loss[1]]);
        assert!(sum[1] < 0.5 * sum[0], "{sum:?}");
    }
}
