//! SequenceMap (ONNX opset 17): a graph applied to each element of one or more sequences.

use std::sync::Arc;

use crate::graph::{
    Body, Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Sequence, ShapeError, Value,
};
use crate::tensor::ElementType;

/// A graph applied to each element. Its inputs are the first sequence, other sequences of the same length or tensors, and
/// what the graph captures.
#[derive(Debug, Clone, PartialEq)]
struct SequenceMap {
    body: Body,
}

pub(in crate::ops) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let body = d.body("body")?.ok_or(DefinitionError::Missing("body"))?;
    if d.inputs == 0 || body.formal().len() != d.inputs {
        let message = format!("takes {} inputs, but is given {}", body.formal().len(), d.inputs);
        return Err(DefinitionError::Value("body", message));
    }
    if body.graph().outputs.len() < d.outputs {
        let message = format!("gives {} outputs, but {} are asked for", body.graph().outputs.len(), d.outputs);
        return Err(DefinitionError::Value("body", message));
    }
    Ok(Arc::new(SequenceMap { body }))
}

impl SequenceMap {
    /// The type of the elements of an output that has none: what the graph would give, or what the file says.
    fn element_type(&self, inputs: Inputs<'_>, output: usize) -> Result<ElementType, EvaluateError> {
        let declared = self.body.declared(output);
        let known = declared.or_else(|| {
            // A graph that hands an input on gives what that is.
            let id = self.body.graph().outputs.get(output)?;
            let place = self.body.graph().inputs.iter().position(|input| input == id)?;
            match inputs.value(place)? {
                Value::Sequence(sequence) => Some(sequence.element_type()),
                Value::Tensor(tensor) => Some(tensor.element_type()),
                Value::Optional(_) => None,
            }
        });
        known.ok_or_else(|| ShapeError::new("the type of an empty result is not known").into())
    }
}

impl Operator for SequenceMap {
    fn name(&self) -> &str {
        "SequenceMap"
    }

    fn takes_strings(&self) -> bool {
        true
    }

    fn bodies(&self) -> Vec<&Body> {
        vec![&self.body]
    }

    fn infer(&self, _: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        Err(ShapeError::new("what it gives is no tensor"))
    }

    fn infer_partly(&self, _: &[Option<&Fact>], _: bool) -> Result<Vec<Option<Fact>>, ShapeError> {
        Ok(vec![])
    }

    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let count = inputs.sequence(0)?.tensors().len();
        let formal = self.body.formal().len();
        for i in 1..formal {
            if let Some(Value::Sequence(sequence)) = inputs.value(i)
                && sequence.tensors().len() != count
            {
                let other = sequence.tensors().len();
                return Err(ShapeError::new(format!("its sequences have {count} and {other} elements")).into());
            }
        }
        let mut results = vec![vec![]; self.body.graph().outputs.len()];
        for at in 0..count {
            let given = (0..inputs.len()).map(|i| match inputs.value(i) {
                Some(Value::Sequence(sequence)) if i < formal => sequence.tensors().get(at).cloned().map(Value::from),
                other => other.cloned(),
            });
            for (result, value) in results.iter_mut().zip(self.body.evaluate(context, given)?) {
                result.push(value.into_tensor().ok_or_else(|| ShapeError::new("an element is no tensor"))?);
            }
        }
        let sequences = results.into_iter().enumerate().map(|(i, tensors)| {
            let element_type = match tensors.first() {
                Some(tensor) => tensor.element_type(),
                None => self.element_type(inputs, i)?,
            };
            let sequence = Sequence::new(element_type, tensors);
            Ok(sequence.ok_or_else(|| ShapeError::new("the elements are of different types"))?.into())
        });
        sequences.collect()
    }

    fn work(&self, _: &[Option<&Fact>], _: &[Fact]) -> f64 {
        f64::INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::tensor::Tensor;

    #[test]
    fn elements_and_tensors_go_through_the_graph() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [1]);
        let y = graph.input("y", ElementType::F32, [1]);
        let captured = graph.input("z", ElementType::F32, [1]);
        let sum = graph.node(&Definition::new("Add"), &[x, y]).unwrap();
        let sum = graph.node(&Definition::new("Add"), &[sum, captured]).unwrap();
        graph.output("sum", sum);
        let body = Body::new(graph.build().unwrap(), 1);
        let definition = Definition { inputs: 2, ..Definition::new("SequenceMap") }.attribute("body", body.clone());
        let operator = crate::ops::operator(&definition).unwrap();
        let list = |values: &[f32]| {
            let tensors = values.iter().map(|&v| Tensor::vector(vec![v])).collect();
            Value::from(Sequence::new(ElementType::F32, tensors).unwrap())
        };
        let run = |x: Value, y: Value| {
            let z = Value::from(Tensor::vector(vec![100f32]));
            let results = operator.evaluate(&mut Context::default(), Inputs(&[Some(&x), Some(&y), Some(&z)]));
            results.map(|mut results| results.remove(0))
        };
        assert_eq!(run(list(&[1., 2.]), Tensor::vector(vec![10f32]).into()), Ok(list(&[111., 112.])));
        assert_eq!(run(list(&[1., 2.]), list(&[10., 20.])), Ok(list(&[111., 122.])));
        assert!(run(list(&[1., 2.]), list(&[10.])).is_err());
        assert_eq!(run(list(&[]), list(&[])), Ok(list(&[])));
        assert!(crate::ops::operator(&Definition { inputs: 1, ..definition }).is_err());
        assert!(crate::ops::operator(&Definition::new("SequenceMap")).is_err());
    }
}
