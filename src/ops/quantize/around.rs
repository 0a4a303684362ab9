//! com.microsoft's operators on quantized numbers that stand for one on floats: QLinearAdd, QLinearMul, QLinearSigmoid,
//! QLinearLeakyRelu, QLinearAveragePool, QLinearGlobalAveragePool, QLinearConcat, QLinearSoftmax, QLinearReduceMean,
//! QLinearWhere, and DynamicQuantizeMatMul.
//!
//! `y = quantize(f(dequantize(x), …))`, the results of the type of the first quantized input.

use std::sync::Arc;

use crate::graph::{Definition, DefinitionError, Operator, ShapeError, ValueId};
use crate::ops::composite::{Composite, Recipe};

/// An operator between a DequantizeLinear for each quantized input and a QuantizeLinear.
struct Around {
    /// The operator on floats.
    inner: Definition,
    /// Where the quantized tensors begin among the inputs: each is followed by its scale and its zero point.
    tensors: Vec<usize>,
    /// Where the scale of the result stands; its zero point follows.
    result: usize,
}

impl Around {
    fn of(d: &Definition) -> Result<Self, DefinitionError> {
        let own = |name: &str| Definition { op_type: name.to_owned(), domain: String::new(), ..d.clone() };
        // The newest form of the operator, whatever the version of the domain.
        let newest = |name: &str| Definition { opset: Definition::new(name).opset, ..own(name) };
        if d.flag("channels_last", false)? {
            return Err(DefinitionError::Unsupported("channels that come last are not supported".to_owned()));
        }
        let (inner, tensors, result) = match d.op_type.as_str() {
            "QLinearAdd" => (newest("Add"), vec![0, 3], 6),
            "QLinearMul" => (newest("Mul"), vec![0, 3], 6),
            "QLinearSigmoid" => (newest("Sigmoid"), vec![0], 3),
            "QLinearLeakyRelu" => (newest("LeakyRelu"), vec![0], 3),
            "QLinearAveragePool" => (newest("AveragePool"), vec![0], 3),
            "QLinearGlobalAveragePool" => (newest("GlobalAveragePool"), vec![0], 3),
            // The axes are an attribute, as they were before operator set 18.
            "QLinearReduceMean" => (Definition { opset: 13, ..own("ReduceMean") }, vec![0], 3),
            "QLinearWhere" => (newest("Where"), vec![1, 4], 7),
            "QLinearSoftmax" => {
                let opset = d.int("opset")?.ok_or(DefinitionError::Missing("opset"))?;
                (Definition { opset, ..own("Softmax") }, vec![0], 3)
            }
            _ => (newest("Concat"), (2..d.inputs).step_by(3).collect(), 0),
        };
        if d.op_type == "QLinearConcat" && (d.inputs < 5 || d.inputs % 3 != 2) {
            let message = format!("it has {} inputs, but takes two, and three for each tensor", d.inputs);
            return Err(DefinitionError::Arity(message));
        }
        Ok(Self { inner: Definition { inputs: tensors.len(), outputs: 1, ..inner }, tensors, result })
    }

    fn build(&self, recipe: &mut Recipe, inputs: &[Option<ValueId>]) -> Result<Vec<Option<ValueId>>, ShapeError> {
        let given = |index: usize| inputs.get(index).copied().flatten();
        let one = |recipe: &Recipe, index: usize| match given(index).map(|id| recipe.fact(id)).transpose()? {
            Some(fact) if fact.concrete().is_some_and(|shape| shape.iter().any(|&n| n != 1)) => {
                Err(ShapeError::new(format!("input {index} should be one number, not {fact}")))
            }
            _ => Ok(()),
        };
        let mut operands = vec![];
        if self.inner.op_type == "Where" {
            operands.push(given(0));
        }
        for &first in &self.tensors {
            one(recipe, first + 1)?;
            one(recipe, first + 2)?;
            let quantized = [given(first), given(first + 1), given(first + 2)];
            operands.push(Some(recipe.outputs(Definition::new("DequantizeLinear"), &quantized)?[0]));
        }
        let floats = recipe.outputs(self.inner.clone(), &operands)?[0];
        one(recipe, self.result)?;
        one(recipe, self.result + 1)?;
        // Where the zero point of the result is left out, its type is that of what went in.
        let first = given(self.tensors[0]).ok_or_else(|| ShapeError::new("its first tensor is missing"))?;
        let to = recipe.fact(first)?.element_type.data_type();
        let quantize = Definition::new("QuantizeLinear").attribute("output_dtype", i64::from(to));
        let y = recipe.outputs(quantize, &[Some(floats), given(self.result), given(self.result + 1)])?[0];
        Ok(vec![Some(y)])
    }
}

/// Makes one of them.
pub(in crate::ops) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let around = Around::of(d)?;
    // Wrong attributes are refused at once.
    crate::ops::operator(&around.inner)?;
    Ok(Arc::new(Composite::new(d, |d, recipe, inputs| {
        Around::of(d).map_err(|e| ShapeError::new(e.to_string()))?.build(recipe, inputs)
    })))
}

/// Makes a DynamicQuantizeMatMul: A is quantized by its own range, multiplied, and the product made floats again.
#[expect(clippy::unnecessary_wraps, reason = "all constructors have this form")]
pub(in crate::ops) fn dynamic_product(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Composite::new(d, |_, recipe, inputs| {
        let given = |index: usize| inputs.get(index).copied().flatten();
        let quantize = Definition { outputs: 3, ..Definition::new("DynamicQuantizeLinear") };
        let quantized = recipe.outputs(quantize, &[given(0)])?;
        let [q, scale, zero] = [0, 1, 2].map(|i| quantized.get(i).copied());
        let product = Definition { domain: "com.microsoft".to_owned(), ..Definition::new("MatMulIntegerToFloat") };
        let y = recipe.outputs(product, &[q, given(1), scale, given(2), zero, given(3), given(4)])?[0];
        Ok(vec![Some(y)])
    })))
}
