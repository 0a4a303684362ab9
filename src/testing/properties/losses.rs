//! Losses of scores by labels, some of which are to be ignored.

use super::draw::*;
use super::{Case, Entry, entry};
use crate::tensor::Tensor;
use crate::testing::Tolerance;

fn loss(d: &mut Draw) -> Case {
    let (classes, rest) = (d.positive(), d.shape(0..=2));
    let images = d.size();
    let reduction = d.pick(&["none", "sum", "mean"]);
    let positions = [&[images], &rest[..]].concat();
    let count = positions.iter().product::<usize>();
    // No kernel adds up no losses; the mean of ignored ones is no number.
    let reduction = if count == 0 { "none" } else { reduction };
    let ignored = d.flip().then(|| d.integer(-1..=classes as i64 - 1));
    let mut labels: Vec<i64> = (0..count).map(|_| d.integer(0..=classes as i64 - 1)).collect();
    if let (Some(ignored), false) = (ignored, classes == 1) {
        for label in &mut labels {
            if d.random.one_in(3) {
                *label = ignored;
            }
        }
    }
    if let (Some(ignored), Some(first)) = (ignored, labels.first_mut()) {
        // One at least counts, where there are two classes.
        *first = (0..classes as i64).find(|&class| class != ignored).unwrap_or(*first);
    }
    let all = labels.iter().all(|&label| Some(label) == ignored);
    let reduction = if all && reduction == "mean" { "none" } else { reduction };
    let x = d.floats(&[&[images, classes], &rest[..]].concat(), -3.0, 3.0);
    let labels = d.indices(&positions, labels);
    let case = d.case().attribute("reduction", reduction).maybe("ignore_index", ignored).run(x).run(labels);
    // Sums of at most 1,200 losses below 6 in size, by parts; logarithms of sums of exponentials lose one more digit.
    let case = case.within(Tolerance { absolute: 2e-5, relative: 2e-5 });
    if d.flip() { case } else { case.run(weights(d, classes)) }
}

fn weights(d: &mut Draw, classes: usize) -> Tensor {
    d.floats(&[classes], 0.5, 2.0)
}

fn with_logarithms(d: &mut Draw) -> Case {
    let outputs = d.within(1..=2);
    loss(d).outputs(outputs)
}

pub fn entries() -> Vec<Entry> {
    vec![entry("NegativeLogLikelihoodLoss", FLOATS, loss), entry("SoftmaxCrossEntropyLoss", FLOATS, with_logarithms)]
}
