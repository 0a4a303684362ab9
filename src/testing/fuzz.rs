//! Operators as a hostile file names them: any attributes, any inputs. They are refused or they work; nothing panics.
//!
//! Cases come from a seed, which a failure names. `RIMLIGHT_FUZZ=1000000` runs so many cases instead of those of every
//! run of the tests; in the dev profile overflows are found too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::cpu::{CpuPlan, Threads};
use crate::graph::{
    Attribute, Context, Definition, Dim, Fact, Graph, Inputs, Operand, Operator, Request, Value, ValueId,
};
use crate::kernel::{Binding, DeviceClass, DeviceFacts, Layout, Storage};
use crate::ops::{names, operator};
use crate::optimize::{Rewrites, optimize};
use crate::plan::{PlanOptions, plan};
use crate::tensor::shape::elements;
use crate::tensor::{ElementType, Tensor, Truth};

/// Cases of one run of the tests: a few seconds.
const CASES: u64 = 20_000;
/// Elements of a tensor that is computed, and operations.
const WORK: usize = 1 << 14;

/// Numbers that look random: xorshift*.
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    fn many<T>(&mut self, most: usize, mut f: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| f(self)).collect()
    }

    /// An integer: mostly a plausible one, now and then one at an edge.
    fn integer(&mut self) -> i64 {
        const EDGES: [i64; 14] = [
            i64::MIN,
            i64::MIN + 1,
            -(1 << 33),
            -(1 << 31) - 1,
            -7,
            64,
            255,
            1 << 16,
            (1 << 31) - 1,
            1 << 31,
            1 << 32,
            1 << 40,
            i64::MAX - 1,
            i64::MAX,
        ];
        if self.one_in(6) { self.pick(&EDGES) } else { self.below(8) as i64 - 2 }
    }

    fn float(&mut self) -> f32 {
        self.pick(&[0.0, 1.0, -1.0, 0.5, 2.0, 3.7, -0.75, 1e30, -1e30, 1e-30, f32::NAN, f32::INFINITY, f32::MIN])
    }
}

/// Names that attributes have, by their types.
const INTS: [&str; 14] = [
    "axes",
    "kernel_shape",
    "strides",
    "dilations",
    "pads",
    "output_padding",
    "output_shape",
    "perm",
    "split",
    "starts",
    "ends",
    "shape",
    "value_ints",
    "axis",
];
const INT: [&str; 36] = [
    "axis",
    "keepdims",
    "group",
    "to",
    "ceil_mode",
    "count_include_pad",
    "storage_order",
    "p",
    "blocksize",
    "num_outputs",
    "num_groups",
    "transA",
    "transB",
    "batch_dims",
    "exclusive",
    "reverse",
    "upper",
    "k",
    "dtype",
    "select_last_index",
    "noop_with_empty_axes",
    "allowzero",
    "start",
    "end",
    "is_causal",
    "q_num_heads",
    "kv_num_heads",
    "qk_matmul_output_mode",
    "softmax_precision",
    "exclude_outside",
    "antialias",
    "fmod",
    "stash_type",
    "training_mode",
    "value_int",
    "detect_negative",
];
const FLOAT: [&str; 15] = [
    "alpha",
    "beta",
    "epsilon",
    "gamma",
    "bias",
    "lambd",
    "ratio",
    "scale",
    "softcap",
    "cubic_coeff_a",
    "extrapolation_value",
    "value_float",
    "value",
    "min",
    "max",
];
const TEXT: [&str; 9] = [
    "mode",
    "auto_pad",
    "coordinate_transformation_mode",
    "nearest_mode",
    "direction",
    "approximate",
    "reduction",
    "keep_aspect_ratio_policy",
    "axis",
];
const WORDS: [&str; 30] = [
    "",
    "constant",
    "reflect",
    "edge",
    "wrap",
    "SAME_UPPER",
    "SAME_LOWER",
    "VALID",
    "NOTSET",
    "nearest",
    "linear",
    "cubic",
    "half_pixel",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
    "half_pixel_symmetric",
    "round_prefer_floor",
    "round_prefer_ceil",
    "floor",
    "ceil",
    "LEFT",
    "RIGHT",
    "tanh",
    "none",
    "DCR",
    "CRD",
    "stretch",
    "not_larger",
];
const TYPES: [ElementType; 8] = [
    ElementType::F32,
    ElementType::F16,
    ElementType::F64,
    ElementType::I64,
    ElementType::I32,
    ElementType::I8,
    ElementType::U8,
    ElementType::Bool,
];

fn tensor(random: &mut Random, element_type: ElementType, shape: &[usize]) -> Tensor {
    let n = elements(shape).unwrap();
    let made = match element_type {
        ElementType::I64 => Tensor::new(shape, (0..n).map(|_| random.integer()).collect()),
        ElementType::I32 => Tensor::new(shape, (0..n).map(|_| random.integer() as i32).collect()),
        ElementType::I8 => Tensor::new(shape, (0..n).map(|_| random.integer() as i8).collect()),
        ElementType::U8 => Tensor::new(shape, (0..n).map(|_| random.integer() as u8).collect()),
        ElementType::Bool => Tensor::new(shape, (0..n).map(|_| Truth(random.below(2) as u8)).collect()),
        ElementType::F16 => Tensor::new(shape, (0..n).map(|_| half::f16::from_f32(random.float())).collect()),
        ElementType::F64 => Tensor::new(shape, (0..n).map(|_| f64::from(random.float())).collect()),
        ElementType::F32 => Tensor::new(shape, (0..n).map(|_| random.float()).collect()),
    };
    made.unwrap()
}

fn any_tensor(random: &mut Random, like: Option<&Tensor>) -> Tensor {
    // Most operators want inputs of one type and of shapes that have to do with each other.
    let element_type = match like {
        Some(like) if !random.one_in(3) => like.element_type(),
        _ => random.pick(&TYPES),
    };
    let shape = match like {
        Some(like) if random.one_in(2) => like.shape().to_vec(),
        _ => random.many(5, |random| random.pick(&[0, 1, 1, 2, 3, 4, 5, 8])),
    };
    let shape = if random.one_in(4) { vec![random.below(5)] } else { shape };
    tensor(random, element_type, &shape)
}

fn attribute(random: &mut Random, definition: Definition) -> Definition {
    match random.below(8) {
        0..=2 => {
            let (name, value) = (random.pick(&INTS), random.many(5, Random::integer));
            definition.attribute(name, value)
        }
        3..=4 => {
            let (name, value) = (random.pick(&INT), random.integer());
            definition.attribute(name, value)
        }
        5 => {
            let (name, value) = (random.pick(&FLOAT), random.float());
            definition.attribute(name, value)
        }
        6 => {
            let (name, value) = (random.pick(&TEXT), random.pick(&WORDS));
            definition.attribute(name, value)
        }
        _ => {
            let (name, value) = match random.below(3) {
                0 => ("scales", Attribute::Floats(random.many(5, Random::float))),
                1 => ("value_floats", Attribute::Floats(random.many(5, Random::float))),
                _ => ("value", Attribute::Tensor(any_tensor(random, None))),
            };
            definition.attribute(name, value)
        }
    }
}

fn definition(random: &mut Random) -> Definition {
    let all: Vec<_> = names().collect();
    let (domain, name) = random.pick(&all);
    let mut made = Definition { domain: domain.to_owned(), ..Definition::new(name) };
    if random.one_in(3) {
        made.opset = 1 + random.below(25) as i64;
    }
    made.inputs = random.below(5);
    made.outputs = 1 + random.below(4);
    for _ in 0..random.below(6) {
        made = attribute(random, made);
    }
    made
}

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
    let Ok(outputs) = operator.infer(&facts) else { return };
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
    whole(Arc::clone(&operator), &inputs, &constant, outputs.len().min(definition.outputs));
    let values: Vec<Option<Value>> = inputs.into_iter().map(|tensor| tensor.map(Value::Tensor)).collect();
    let values: Vec<Option<&Value>> = values.iter().map(Option::as_ref).collect();
    let Ok(results) = operator.evaluate(&mut Context::default(), Inputs(&values)) else { return };
    for (Value::Tensor(result), fact) in results.iter().zip(&outputs) {
        let fits = result.rank() == fact.rank()
            && result.shape().iter().zip(&fact.shape).all(|(n, dim)| dim.size().is_none_or(|d| d == *n));
        let inputs: Vec<_> = values.iter().map(|v| v.map(|Value::Tensor(t)| t)).collect();
        assert!(
            fits && result.element_type() == fact.element_type,
            "{operator:?} of {inputs:?}: inferred {fact}, computed {result:?}"
        );
    }
}

/// A graph of the one node: rewritten, planned for GPUs, run on the CPU.
fn whole(operator: Arc<dyn Operator>, inputs: &[Option<Tensor>], constant: &[bool], outputs: usize) {
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
    if session.run(&given).is_ok() {
        session.run(&given).unwrap();
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
    let Ok(outputs) = operator.infer(&facts) else { return };
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
            let request = Request { inputs: &operands, outputs, output_storages: &storages, device: &device };
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
