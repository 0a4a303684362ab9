//! Transforms of signals, the windows that weight them, and the bands of their spectra.

use super::draw::*;
use super::{Case, Entry, entry};
use crate::tensor::{ElementType, Tensor};
use crate::testing::Tolerance;

/// Sums of up to 17 terms below 1 in size: each adds a rounding of at most 2⁻²³ relative to a sum of at most 34.
const SUMS: Tolerance = Tolerance { absolute: 2e-5, relative: 2e-6 };

fn transform(d: &mut Draw) -> Case {
    let mut shape = d.shape(1..=3);
    let at = d.below(shape.len());
    let (inverse, onesided) = (d.flag(), d.flag());
    let complex = if onesided == 1 { inverse == 1 } else { d.flip() };
    // Of nothing there is a transform of a length that is said.
    let length = (shape[at] <= 1 || d.flip()).then(|| d.integer(1..=17));
    shape.push(if complex { 2 } else { 1 });
    let x = d.floats(&shape, -1.0, 1.0);
    let case = d.case().attribute("inverse", inverse).attribute("onesided", onesided).run(x);
    let case = match length {
        Some(length) => case.constant(Tensor::scalar(length)),
        None => case.missing(),
    };
    let axis = if d.flip() { at as i64 } else { at as i64 - shape.len() as i64 };
    case.constant(Tensor::scalar(axis)).within(SUMS)
}

fn of_frames(d: &mut Draw) -> Case {
    let (batches, length) = (d.size().min(3), d.within(1..=13));
    let signal = length + d.within(0..=19);
    let onesided = d.flag();
    let parts = if onesided == 0 && d.flip() { 2 } else { 1 };
    let x = d.floats(&[batches, signal, parts], -1.0, 1.0);
    let case = d.case().attribute("onesided", onesided).run(x).constant(Tensor::scalar(d.integer(1..=8)));
    let case = case.within(SUMS);
    let (window, length) = (d.floats(&[length], -1.0, 1.0), Tensor::scalar(length as i64));
    match d.below(3) {
        0 => case.missing().constant(length),
        1 => case.input(d.input(window)),
        _ => case.input(d.input(window)).constant(length),
    }
}

/// Made before the run, and copied: the same to the last bit.
fn window(d: &mut Draw) -> Case {
    let size = d.size() as i64;
    let size = if d.flip() { Tensor::scalar(size) } else { Tensor::scalar(size as i32) };
    let case = d.case().attribute("periodic", d.flag());
    case.attribute("output_datatype", i64::from(d.element_type.data_type())).constant(size)
}

fn bands(d: &mut Draw) -> Case {
    let (bands, length, rate) = (d.size() as i64, d.integer(16..=200), d.pick(&[8000i64, 16_000]));
    let case = d.case().attribute("output_datatype", i64::from(d.element_type.data_type()));
    let case = [bands, length, rate].into_iter().fold(case, |case, n| case.constant(Tensor::scalar(n)));
    let (low, high) = (d.number(0.0, 1000.0), d.number(2000.0, 4000.0));
    case.constant(Tensor::scalar(low)).constant(Tensor::scalar(high))
}

pub fn entries() -> Vec<Entry> {
    const NARROW: &[ElementType] = &[F32, F16, BF16, I32, I16, I8, U16, U8];
    let mut entries = vec![entry("DFT", FLOATS, transform), entry("STFT", FLOATS, of_frames)];
    entries.extend(["BlackmanWindow", "HammingWindow", "HannWindow"].map(|name| entry(name, NARROW, window)));
    entries.push(entry("MelWeightMatrix", NARROW, bands));
    entries
}
