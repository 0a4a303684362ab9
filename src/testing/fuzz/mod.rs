//! Operators as a hostile file names them: any attributes, any inputs. They are refused or they work; nothing panics.
//!
//! Cases come from a seed, which a failure names. `RIMLIGHT_FUZZ=1000000` runs so many cases instead of those of every
//! run of the tests; in the dev profile overflows are found too.

mod definitions;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use definitions::{any_tensor, definition};

use crate::cpu::{CpuPlan, Threads};
use crate::graph::{Context, Dim, EvaluateError, Fact, Graph, Inputs, Operand, Operator, Request, Value, ValueId};
use crate::kernel::{Binding, DeviceClass, DeviceFacts, Layout, Storage};
use crate::ops::operator;
use crate::optimize::{Rewrites, optimize};
use crate::plan::{PlanOptions, plan};
use crate::tensor::shape::elements;
use crate::tensor::{ElementType, Tensor, TensorError};
use crate::testing::Random;

/// Cases of one run of the tests: a few seconds.
const CASES: u64 = 20_000;
/// Elements of a tensor that is computed, and operations.
const WORK: usize = 1 << 14;

/// One case: makes an operator and asks it everything that a plan or a run does.
fn case(seed: u64) {
    let mut random = Random::new(seed);
    let definition = definition(&mut random);
    let Ok(operator) = operator(&definition) else { return };
    let mut inputs: Vec<Option<Tensor>> = vec![];
    for _ in 0..definition.inputs {
        let first = inputs.iter().flatten().next().cloned();
        inputs.push((!random.one_in(8)).then(|| any_tensor(&mut random, first.as_ref())));
    }
    let constant: Vec<bool> = inputs.iter().map(|_| random.one_in(2)).collect();
    shapes_alone(&mut random, &*operator, &inputs);
    let facts: Vec<Option<Fact>> = inputs
        .iter()
        .zip(&constant)
        .map(|(tensor, &constant)| {
            let tensor = tensor.as_ref()?;
            Some(match constant {
                true => Fact::constant(tensor.clone()),
                false => Fact::new(tensor.element_type(), tensor.shape().to_vec()),
            })
        })
        .collect();
    let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
    let inferred = operator.check_types(&facts).and_then(|()| operator.infer(&facts));
    let Ok(outputs) = inferred else { return };
    let concrete: Option<Vec<Vec<usize>>> = outputs.iter().map(Fact::concrete).collect();
    let small = |shape: &Vec<usize>| elements(shape).is_some_and(|n| n <= WORK);
    let computed = match &concrete {
        Some(shapes) => shapes.iter().all(small) && operator.work(&facts, &outputs) <= 100.0 * WORK as f64,
        // The size shows in the run: what was made of small numbers is small.
        None => inputs.iter().flatten().all(|t| t.integers().unwrap_or_default().iter().all(|v| v.abs_diff(0) < 100)),
    };
    if concrete.is_some() {
        candidates(&*operator, &facts, &outputs);
    }
    if !computed {
        return;
    }
    let values: Vec<Option<Value>> = inputs.iter().map(|tensor| tensor.clone().map(Value::Tensor)).collect();
    let values: Vec<Option<&Value>> = values.iter().map(Option::as_ref).collect();
    let results = operator.compute(&mut Context::default(), Inputs(&values));
    let count = outputs.len().min(definition.outputs);
    whole(Arc::clone(&operator), &inputs, &constant, count, results.is_ok());
    let results = match results {
        Ok(results) => results,
        // What an operator takes is said before it runs.
        Err(error @ (EvaluateError::Tensor(TensorError::Type { .. }) | EvaluateError::Unsupported(_))) => {
            let inputs: Vec<_> = values.iter().map(|v| v.and_then(Value::as_tensor)).collect();
            panic!("{operator:?} of {inputs:?}: inferred {outputs:?}, but {error}");
        }
        Err(_) => return,
    };
    for (result, fact) in results.iter().filter_map(Value::as_tensor).zip(&outputs) {
        let fits = result.rank() == fact.rank()
            && result.shape().iter().zip(&fact.shape).all(|(n, dim)| dim.size().is_none_or(|d| d == *n));
        let inputs: Vec<_> = values.iter().map(|v| v.and_then(Value::as_tensor)).collect();
        assert!(
            fits && result.element_type() == fact.element_type,
            "{operator:?} of {inputs:?}: inferred {fact}, computed {result:?}"
        );
    }
}

/// A graph of the one node: rewritten, planned for GPUs, run on the CPU. What `works` by the reference works there too.
fn whole(operator: Arc<dyn Operator>, inputs: &[Option<Tensor>], constant: &[bool], outputs: usize, works: bool) {
    let mut graph = Graph::builder();
    let mut given = vec![];
    let ids: Vec<Option<ValueId>> = inputs
        .iter()
        .zip(constant)
        .enumerate()
        .map(|(i, (tensor, constant))| {
            let tensor = tensor.as_ref()?;
            if *constant {
                return Some(graph.constant(&format!("c{i}"), tensor.clone()));
            }
            given.push(Some(tensor.clone()));
            Some(graph.input(&format!("x{i}"), tensor.element_type(), tensor.shape().to_vec()))
        })
        .collect();
    for (i, id) in graph.operator(operator, &ids, outputs).into_iter().enumerate() {
        graph.output(&format!("y{i}"), id);
    }
    let Ok(graph) = graph.build() else { return };
    let Ok(graph) = optimize(graph, &Rewrites::default()) else { return };
    for facts in [DeviceFacts::lavapipe(), DeviceFacts::floor(DeviceClass::Mali)] {
        let _ = plan(graph.clone(), &facts, &PlanOptions::default());
    }
    let mut session = Arc::new(CpuPlan::new(Arc::new(graph), &Threads::new(Some(1)))).session();
    // Twice: the second run has the first one's memory.
    for _ in 0..2 {
        match session.run(&given) {
            Err(error) if works => panic!("its reference works, but {error}"),
            _ => (),
        }
    }
}

/// What inference makes of shapes without contents: symbols, unknown ones, and sizes that nothing has.
fn shapes_alone(random: &mut Random, operator: &dyn Operator, inputs: &[Option<Tensor>]) {
    let facts: Vec<Option<Fact>> = inputs
        .iter()
        .map(|tensor| {
            let tensor = tensor.as_ref()?;
            // Parameters keep their contents.
            if tensor.rank() <= 1 && tensor.element_type() == ElementType::I64 && !random.one_in(4) {
                return Some(Fact::constant(tensor.clone()));
            }
            let dims = tensor.shape().iter().map(|&n| match random.below(5) {
                0 => Dim::symbol("N"),
                1 => Dim::Unknown,
                2 => Dim::Known(random.integer().max(0)),
                _ => Dim::from(n),
            });
            Some(Fact::new(tensor.element_type(), dims.collect::<Vec<_>>()))
        })
        .collect();
    let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
    let inferred = operator.check_types(&facts).and_then(|()| operator.infer(&facts));
    let Ok(outputs) = inferred else { return };
    let _ = operator.work(&facts, &outputs);
    let known = |f: &Fact| f.concrete().is_some();
    if outputs.iter().all(known) && facts.iter().flatten().all(|f| known(f)) {
        candidates(operator, &facts, &outputs);
    }
}

fn candidates(operator: &dyn Operator, facts: &[Option<&Fact>], outputs: &[Fact]) {
    for class in [DeviceClass::Software, DeviceClass::Mali, DeviceClass::Nvidia] {
        let device = match class {
            DeviceClass::Software => DeviceFacts::lavapipe(),
            class => DeviceFacts::floor(class),
        };
        for layout in [Layout::Linear, Layout::Rows, Layout::Channels4] {
            let operands: Vec<Option<Operand<'_>>> = facts
                .iter()
                .map(|fact| {
                    fact.map(|fact| Operand {
                        fact,
                        layout: layout.canonical(&fact.concrete().unwrap_or_default()),
                        storage: Storage::of(fact.element_type, false),
                    })
                })
                .collect();
            let storages: Vec<_> = outputs.iter().map(|f| Storage::of(f.element_type, false)).collect();
            let request =
                Request { inputs: &operands, outputs, output_storages: &storages, device: &device, open: true };
            for candidate in operator.candidates(&request).unwrap_or_default() {
                for binding in candidate.dispatches.iter().flat_map(|d| &d.bindings) {
                    if let Binding::Constant(constant) = binding
                        && constant.units < WORK as u64
                    {
                        let packed = (constant.packing.pack)(&constant.source, &constant.parameters);
                        assert_eq!(packed.len() as u64, constant.units * 4, "{constant:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn no_definition_and_no_input_makes_an_operator_panic() {
    let cases = std::env::var("RIMLIGHT_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES);
    let first = std::env::var("RIMLIGHT_FUZZ_FIRST").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut failed = std::collections::BTreeMap::new();
    for seed in first..first + cases {
        if catch_unwind(AssertUnwindSafe(|| case(seed))).is_err() {
            let definition = definition(&mut Random::new(seed));
            failed.entry(definition.op_type.clone()).or_insert_with(|| format!("seed {seed}: {definition:?}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
