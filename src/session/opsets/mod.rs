//! The forms that operators had in older operator sets: attributes that became inputs, defaults that changed.
//!
//! `cases.txt` holds a case a line: operator and operator set, attributes, inputs, outputs. What it expects was computed
//! by ONNX Runtime 1.31 where that runs the form (from operator set 7 on), else with NumPy from the standard's text.

use std::collections::HashMap;

use crate::graph::{Attribute, Context, Definition, Dim, Fact, Graph, Inputs, Node};
use crate::session::{Backend, Device, DeviceOptions};
use crate::tensor::{ElementType, Tensor};
use crate::{Model, Tolerance, ops};

const CASES: &str = include_str!("cases.txt");

/// Operators whose attributes, defaults, inputs or outputs changed, and the operator sets, from 7 to 24, in which they did.
/// It is what `onnx.defs.get_all_schemas_with_history` of onnx 1.23 tells.
const CHANGED: &[(&str, &[i64])] = &[
    ("Add", &[7]),
    ("And", &[7]),
    ("ArgMax", &[12]),
    ("ArgMin", &[12]),
    ("Attention", &[24]),
    ("AveragePool", &[7, 10, 19]),
    ("BatchNormalization", &[7, 9, 14]),
    ("Cast", &[19, 24]),
    ("CastLike", &[19, 24]),
    ("Clip", &[11]),
    ("DFT", &[20]),
    ("DepthToSpace", &[11]),
    ("DequantizeLinear", &[13, 21, 23]),
    ("Div", &[7]),
    ("Dropout", &[7, 12]),
    ("Equal", &[7]),
    ("GRU", &[7, 14]),
    ("GatherND", &[12]),
    ("Gemm", &[7, 11]),
    ("Greater", &[7]),
    ("GridSample", &[20]),
    ("GroupNormalization", &[21]),
    ("Hardmax", &[13]),
    ("LSTM", &[7, 14]),
    ("Less", &[7]),
    ("LogSoftmax", &[13]),
    ("LpPool", &[18]),
    ("MaxPool", &[8, 10]),
    ("Mul", &[7]),
    ("Or", &[7]),
    ("Pad", &[11, 18]),
    ("Pow", &[7]),
    ("QuantizeLinear", &[13, 19, 21, 23]),
    ("RNN", &[7, 14]),
    ("ReduceL1", &[18]),
    ("ReduceL2", &[18]),
    ("ReduceLogSum", &[18]),
    ("ReduceLogSumExp", &[18]),
    ("ReduceMax", &[18]),
    ("ReduceMean", &[18]),
    ("ReduceMin", &[18]),
    ("ReduceProd", &[18]),
    ("ReduceSum", &[13]),
    ("ReduceSumSquare", &[18]),
    ("Reshape", &[14]),
    ("Resize", &[11, 13, 18]),
    ("RoiAlign", &[16]),
    ("ScatterElements", &[16]),
    ("ScatterND", &[16]),
    ("Shape", &[15]),
    ("Slice", &[10]),
    ("Softmax", &[13]),
    ("Split", &[13, 18]),
    ("Squeeze", &[13]),
    ("Sub", &[7]),
    ("TopK", &[10, 11]),
    ("Unsqueeze", &[13]),
    ("Upsample", &[7, 9]),
    ("Xor", &[7]),
];

/// A line of the table.
struct Case {
    line: &'static str,
    definition: Definition,
    inputs: Vec<Option<Tensor>>,
    outputs: Vec<Tensor>,
}

fn cases() -> Vec<Case> {
    CASES.lines().map(case).collect()
}

fn case(line: &'static str) -> Case {
    let fields: Vec<&str> = line.split(" | ").collect();
    let [head, attributes, inputs, outputs] = fields[..] else { panic!("{line}") };
    let (op_type, opset) = head.split_once(' ').unwrap();
    let inputs: Vec<Option<Tensor>> = inputs.split("; ").map(tensor).collect();
    let outputs: Vec<Tensor> = outputs.split("; ").map(|text| tensor(text).unwrap()).collect();
    let mut definition = Definition::new(op_type);
    definition.opset = opset.parse().unwrap();
    (definition.inputs, definition.outputs) = (inputs.len(), outputs.len());
    for attribute in attributes.split_whitespace() {
        let (name, value) = attribute.split_once('=').unwrap();
        definition.attributes.insert(name.to_owned(), value_of(value));
    }
    Case { line, definition, inputs, outputs }
}

/// `3`, `0.5`, `"text"`, `[1,2]`, `[0.5,1.0]`.
fn value_of(text: &str) -> Attribute {
    if let Some(text) = text.strip_prefix('"') {
        return Attribute::String(text.trim_end_matches('"').to_owned());
    }
    match text.strip_prefix('[').map(|list| list.trim_end_matches(']')) {
        Some(list) if list.contains('.') => Attribute::Floats(list.split(',').map(|v| v.parse().unwrap()).collect()),
        Some(list) => Attribute::Ints(list.split(',').map(|v| v.parse().unwrap()).collect()),
        None if text.contains('.') => Attribute::Float(text.parse().unwrap()),
        None => Attribute::Int(text.parse().unwrap()),
    }
}

/// `f32[2,2] 1 2 3 4`, or `-` for one that is left out.
fn tensor(text: &str) -> Option<Tensor> {
    if text == "-" {
        return None;
    }
    let mut words = text.split_whitespace();
    let (name, shape) = words.next()?.split_once('[').unwrap();
    let shape = shape.trim_end_matches(']').split(',').filter(|d| !d.is_empty());
    let shape: Vec<usize> = shape.map(|d| d.parse().unwrap()).collect();
    let element_type = ElementType::ALL.into_iter().find(|t| t.name() == name).unwrap_or_else(|| panic!("{text}"));
    Some(Tensor::from_f64(element_type, shape, words.map(|v| v.parse().unwrap()).collect()).unwrap())
}

impl Case {
    fn is_ours(&self) -> bool {
        ops::exists("", &self.definition.op_type)
    }

    /// Everything is given to the run, parameters too.
    fn model(&self) -> Result<Model, String> {
        let mut graph = Graph::default();
        let mut inputs = vec![];
        for (i, tensor) in self.inputs.iter().enumerate() {
            inputs.push(tensor.as_ref().map(|tensor| {
                let fact = Fact::new(tensor.element_type(), tensor.shape().to_vec());
                let id = graph.add_value(format!("x{i}"), Some(fact));
                graph.inputs.push(id);
                id
            }));
        }
        graph.outputs = (0..self.outputs.len()).map(|i| graph.add_value(format!("y{i}"), None)).collect();
        ops::check_arity(&self.definition).map_err(|e| e.to_string())?;
        graph.nodes.push(Node {
            name: "node".to_owned(),
            operator: ops::operator(&self.definition).map_err(|e| e.to_string())?,
            inputs,
            outputs: graph.outputs.iter().copied().map(Some).collect(),
        });
        graph.opset = self.definition.opset;
        graph.infer().map_err(|e| e.to_string())?;
        Ok(Model::from_graph(graph))
    }

    fn run(&self, device: &Device) -> Result<(), String> {
        let mut session = self.model()?.session(device).map_err(|e| e.to_string())?;
        let given: Vec<_> =
            self.inputs.iter().enumerate().filter_map(|(i, t)| Some((format!("x{i}"), t.as_ref()?))).collect();
        let got = session.run_with(given.iter().map(|(name, tensor)| (name.as_str(), tensor.view())));
        for ((name, got), expected) in got.map_err(|e| e.to_string())?.iter().zip(&self.outputs) {
            // Sums in another order, and functions of another library: some units in the last place.
            let tolerance = Tolerance { rtol: 2e-6, atol: 1e-6, floor: 0.0, amplified: 0.0 };
            let fits = got.element_type() == expected.element_type() && got.shape() == expected.shape();
            if !fits || !tolerance.compare(name, got, expected).passed {
                return Err(format!("{name} is {got:?} {:?}", got.to_f64()));
            }
        }
        Ok(())
    }
}

fn check_all(device: &Device) {
    let failures: Vec<String> = cases()
        .iter()
        .filter(|case| case.is_ours())
        .filter_map(|case| Some(format!("{}\n    {}", case.line, case.run(device).err()?)))
        .collect();
    assert!(failures.is_empty(), "{} forms:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_form_is_computed_on_the_cpu() {
    check_all(&Device::cpu());
}

#[cfg(feature = "gpu")]
#[test]
fn every_form_is_computed_in_a_gpu_session() {
    let options = DeviceOptions { backend: Backend::Gpu, ..DeviceOptions::default() };
    let Ok(gpu) = Device::new(&options).inspect_err(|e| eprintln!("skipped: {e}")) else { return };
    check_all(&gpu);
}

#[test]
fn shapes_that_differ_are_refused_where_nothing_broadcasts() {
    let line = "Add 6 |  | f32[2,2] 1 2 3 4; f32[2] 1 2 | f32[2,2] 2 4 4 6";
    assert!(case(line).model().unwrap_err().contains("broadcast"));
    let symbols = [Dim::symbol("n"), Dim::symbol("m")].map(|dim| Fact::new(ElementType::F32, [dim]));
    let operator = ops::operator(&case(line).definition).unwrap();
    assert!(operator.infer(&symbols.each_ref().map(Some)).is_ok());
    let values = [vec![1f32], vec![1.0, 2.0]].map(|v| crate::graph::Value::from(Tensor::vector(v)));
    assert!(operator.evaluate(&mut Context::default(), Inputs(&values.each_ref().map(Some))).is_err());
}

#[test]
fn there_is_a_case_on_either_side_of_every_change() {
    let mut sets: HashMap<String, Vec<i64>> = HashMap::new();
    for case in cases() {
        sets.entry(case.definition.op_type).or_default().push(case.definition.opset);
    }
    for (op_type, changes) in CHANGED {
        let sets = &sets[*op_type];
        let borders: Vec<i64> = [0].into_iter().chain(changes.iter().copied()).chain([25]).collect();
        for form in borders.windows(2) {
            assert!(sets.iter().any(|set| (form[0]..form[1]).contains(set)), "{op_type} from {} on", form[0]);
        }
    }
}
