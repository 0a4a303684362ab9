//! Every operator that runs on a GPU, on drawn shapes, types and attributes: each of its candidates against its reference.
//!
//! An operator is one entry: its name, the element types that its kernels take, and how a case is drawn. What is drawn
//! has dimensions of 0 and 1, odd and prime ones; inputs are known before the run or not. Cases follow from a seed,
//! `PROPTEST_RNG_SEED` or else a new one in each run; a failure names it. `RIMLIGHT_PROPERTIES=Softmax` runs the entries
//! of one operator, `RIMLIGHT_PROPERTY_CASES=1000` so many cases of each.

mod case;
mod draw;

mod control;
mod elementwise;
mod generated;
mod learning;
mod losses;
mod microsoft;
mod moves;
mod norms;
mod products;
mod quantized;
mod reductions;
mod requantized;
mod signal;
mod windows;

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use case::Case;
use draw::{Draw, Kind};

use super::{Adapter, Random};
use crate::ops::names;
use crate::tensor::ElementType;

/// Cases of each operator at least; every type comes up twice. Of a brief check half as many.
const CASES: usize = 12;

/// Operators that have no kernel, nor are made of others that have.
const ON_THE_HOST: &[(&str, &str)] = &[
    // How large their outputs are is in the data.
    ("", "Compress"),
    ("", "ImageDecoder"),
    ("", "NonMaxSuppression"),
    ("", "NonZero"),
    ("", "Unique"),
    // Sequences and texts.
    ("", "ConcatFromSequence"),
    ("", "Optional"),
    ("", "OptionalGetElement"),
    ("", "OptionalHasElement"),
    ("", "RegexFullMatch"),
    ("", "SequenceAt"),
    ("", "SequenceConstruct"),
    ("", "SequenceEmpty"),
    ("", "SequenceErase"),
    ("", "SequenceInsert"),
    ("", "SequenceLength"),
    ("", "SequenceMap"),
    ("", "SplitToSequence"),
    ("", "StringConcat"),
    ("", "StringNormalizer"),
    ("", "StringSplit"),
    ("", "TfIdfVectorizer"),
    // Of shapes, which are known before a run.
    ("", "Constant"),
    ("", "Shape"),
    ("", "Size"),
    // Trees and tables.
    ("ai.onnx.ml", "LabelEncoder"),
    ("ai.onnx.ml", "TreeEnsemble"),
    ("ai.onnx.ml", "TreeEnsembleRegressor"),
];

/// How the cases of an operator are drawn.
struct Entry {
    domain: &'static str,
    name: &'static str,
    /// What its kernels take, no more and no less.
    types: &'static [ElementType],
    draw: Box<dyn Fn(&mut Draw) -> Case + Send + Sync>,
}

/// How a case is drawn.
type Drawing = fn(&mut Draw) -> Case;

/// An operator of the standard.
fn entry(
    name: &'static str,
    types: &'static [ElementType],
    draw: impl Fn(&mut Draw) -> Case + Send + Sync + 'static,
) -> Entry {
    Entry { domain: "", name, types, draw: Box::new(draw) }
}

/// Every entry.
fn entries() -> Vec<Entry> {
    let families = [
        control::entries(),
        elementwise::of_one_input(),
        elementwise::of_several_inputs(),
        generated::entries(),
        learning::entries(),
        losses::entries(),
        microsoft::entries(),
        moves::entries(),
        norms::entries(),
        products::entries(),
        quantized::entries(),
        reductions::entries(),
        requantized::entries(),
        signal::entries(),
        windows::entries(),
    ];
    families.into_iter().flatten().collect()
}

/// What all cases follow from.
fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    let fresh = || std::hash::RandomState::new().build_hasher().finish() >> 32;
    *SEED.get_or_init(|| number("PROPTEST_RNG_SEED").unwrap_or_else(fresh))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

impl Entry {
    fn case(&self, i: usize, element_type: ElementType) -> Case {
        let kind = match Random::new(seed() ^ i as u64).below(6) {
            0 => Kind::Empty,
            1 => Kind::Single,
            _ => Kind::Usual,
        };
        self.case_of(kind, i, element_type)
    }

    fn case_of(&self, kind: Kind, i: usize, element_type: ElementType) -> Case {
        let name = self.name.bytes().fold(seed(), |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let seed = name.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(i as u64);
        (self.draw)(&mut Draw::new(seed, kind, element_type, (self.domain, self.name)))
    }

    /// Runs the cases; the first that fails.
    fn check(&self) -> Result<(), String> {
        let of_types = 2 * self.types.len();
        let cases = match number("RIMLIGHT_PROPERTY_CASES") {
            Some(cases) => of_types.max(cases as usize),
            None if crate::testing::is_brief() => of_types.max(CASES) / 2,
            None => of_types.max(CASES),
        };
        for i in 0..cases {
            let element_type = self.types[i % self.types.len()];
            let mut text = format!("which cannot be drawn as {element_type}");
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let case = self.case(i, element_type);
                text = case.to_string();
                case.check()
            }));
            let message = match outcome {
                Ok(Ok(runs)) if runs > 0 || Adapter::shared().is_none() => continue,
                Ok(Ok(_)) => "nothing was run".to_owned(),
                Ok(Err(message)) => message,
                Err(_) => "it panics".to_owned(),
            };
            let (seed, name) = (seed(), self.name);
            return Err(format!("PROPTEST_RNG_SEED={seed} RIMLIGHT_PROPERTIES={name}, case {i}: {text}:\n  {message}"));
        }
        Ok(())
    }
}

/// Runs the entries of a family.
fn check(entries: Vec<Entry>) {
    let wanted = std::env::var("RIMLIGHT_PROPERTIES").ok();
    let wanted = |e: &&Entry| wanted.as_ref().is_none_or(|name| *name == e.name);
    let failures: Vec<String> = entries.iter().filter(wanted).filter_map(|e| e.check().err()).collect();
    assert!(failures.is_empty(), "{} operators:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn functions_of_elements_agree() {
    check(elementwise::of_one_input());
}

#[test]
fn functions_of_pairs_of_elements_agree() {
    check(elementwise::of_several_inputs());
}

#[test]
fn moves_agree() {
    check(moves::entries());
}

#[test]
fn normalizations_agree() {
    check(norms::entries());
}

#[test]
fn products_agree() {
    check(products::entries());
}

#[test]
fn windows_agree() {
    check(windows::entries());
}

#[test]
fn reductions_agree() {
    check(reductions::entries());
}

#[test]
fn quantized_numbers_agree() {
    check(quantized::entries());
}

#[test]
fn operators_between_quantizations_agree() {
    check(requantized::entries());
}

#[test]
fn transforms_of_signals_agree() {
    check(signal::entries());
}

#[test]
fn numbers_that_are_made_agree() {
    check(generated::entries());
}

#[test]
fn learning_from_tables_agrees() {
    check(learning::entries());
}

#[test]
fn losses_agree() {
    check(losses::entries());
}

#[test]
fn fused_operators_of_microsoft_agree() {
    check(microsoft::entries());
}

#[test]
fn branches_and_loops_agree() {
    check(control::entries());
}

#[test]
fn every_operator_is_drawn() {
    let drawn: Vec<_> = entries().iter().map(|e| (e.domain, e.name)).collect();
    let all: HashSet<_> = drawn.iter().chain(ON_THE_HOST).copied().collect();
    let missing: BTreeSet<_> = names().filter(|name| !all.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?} have no entry");
    let unknown: Vec<_> = all.iter().filter(|name| !names().any(|n| n == **name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} are no operators");
    let both: Vec<_> = drawn.iter().filter(|name| ON_THE_HOST.contains(name)).collect();
    assert!(both.is_empty(), "{both:?} have entries");
}

/// What kernels take and no case is drawn of would be tested by nobody.
#[test]
fn every_type_that_a_kernel_takes_is_drawn() {
    let mut taken = vec![];
    for entry in entries() {
        for &element_type in draw::ALL.iter().filter(|t| !entry.types.contains(t)) {
            // For nothing at all, or nothing to be done, no kernel is needed.
            let case = |i| entry.case_of(Kind::Single, i, element_type);
            let takes = |i| catch_unwind(AssertUnwindSafe(|| case(i).is_taken())).unwrap_or(false);
            if (0..5).all(takes) {
                taken.push(format!("{} takes {element_type}", entry.name));
            }
        }
    }
    assert!(taken.is_empty(), "{taken:#?}");
}
