//! LabelEncoder (ai.onnx.ml, opsets 1, 2 and 4): each element looked up in a table, texts and numbers either way. It runs on the
//! host.

use std::collections::HashMap;
use std::sync::Arc;

use crate::graph::{Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, ShapeError, Value};
use crate::kernel::Candidates;
use crate::tensor::{ElementType, Tensor};

/// A table from keys to values, and what is given for other keys.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelEncoder {
    /// A list.
    keys: Tensor,
    /// A list of as many.
    values: Tensor,
    /// One of the values' type.
    default: Tensor,
    /// Before operator set 2: texts become their places in a list, and places become texts.
    both_ways: bool,
}

/// A key that can be looked up: a text, or a number's bits. All NaN are one key, and so are both zeros.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Key<'a> {
    Text(&'a str),
    Number(u64),
}

fn keys(tensor: &Tensor) -> Vec<Key<'_>> {
    if let Ok(texts) = tensor.strings() {
        return texts.iter().map(|text| Key::Text(text)).collect();
    }
    if let Some(integers) = tensor.integers() {
        return integers.into_iter().map(|n| Key::Number(n.cast_unsigned())).collect();
    }
    let bits = |v: f64| if v.is_nan() { f64::NAN.to_bits() } else { (v + 0.0).to_bits() };
    tensor.to_f64().into_iter().map(|v| Key::Number(bits(v))).collect()
}

/// The elements of a list at these places.
fn pick(list: &Tensor, places: &[usize], shape: &[usize]) -> Result<Tensor, EvaluateError> {
    if let Ok(texts) = list.strings() {
        return Ok(Tensor::from_strings(shape, places.iter().map(|&i| texts[i].clone()).collect())?);
    }
    let size = list.element_type().size();
    let bytes: Vec<u8> = places.iter().flat_map(|i| &list.bytes()[i * size..(i + 1) * size]).copied().collect();
    Ok(Tensor::from_bytes(list.element_type(), shape.to_vec(), bytes.into())?)
}

fn texts(list: Vec<String>) -> Result<Tensor, DefinitionError> {
    Tensor::from_strings([list.len()], list).map_err(|e| DefinitionError::Unsupported(e.to_string()))
}

pub(in crate::ops) fn label_encoder(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    if d.opset < 2 {
        let classes = texts(d.strings("classes_strings")?.ok_or(DefinitionError::Missing("classes_strings"))?)?;
        let places = Tensor::vector((0i64..).take(classes.len()).collect());
        let default = Tensor::vector(vec![d.int("default_int64")?.unwrap_or(-1)]);
        return Ok(Arc::new(LabelEncoder { keys: classes, values: places, default, both_ways: true }));
    }
    let list = |tensor, strings, floats, ints| {
        Ok::<_, DefinitionError>(match (d.tensor(tensor)?, d.strings(strings)?, d.floats(floats)?, d.ints(ints)?) {
            (Some(tensor), ..) => Some(tensor),
            (_, Some(list), ..) => Some(texts(list)?),
            (_, _, Some(list), _) => Some(Tensor::vector(list)),
            (_, _, _, list) => list.map(Tensor::vector),
        })
    };
    let keys = list("keys_tensor", "keys_strings", "keys_floats", "keys_int64s")?;
    let values = list("values_tensor", "values_strings", "values_floats", "values_int64s")?;
    let keys = keys.ok_or(DefinitionError::Missing("keys_tensor"))?;
    let values = values.ok_or(DefinitionError::Missing("values_tensor"))?;
    if keys.len() != values.len() {
        return Err(DefinitionError::Value(
            "values_tensor",
            format!("has {} elements for {} keys", values.len(), keys.len()),
        ));
    }
    let default = match (d.tensor("default_tensor")?, values.element_type()) {
        (Some(tensor), _) => tensor,
        (None, ElementType::String) => {
            texts(vec![d.string("default_string")?.unwrap_or_else(|| "_Unused".to_owned())])?
        }
        (None, ElementType::I64) => Tensor::vector(vec![d.int("default_int64")?.unwrap_or(-1)]),
        (None, kind) => Tensor::from_f64(kind, [1], vec![d.float("default_float")?.unwrap_or(-0.0).into()])
            .map_err(|e| DefinitionError::Unsupported(e.to_string()))?,
    };
    if default.len() != 1 || default.element_type() != values.element_type() {
        return Err(DefinitionError::Value("default_tensor", format!("is {default:?} beside {values:?}")));
    }
    Ok(Arc::new(LabelEncoder { keys, values, default, both_ways: false }))
}

impl LabelEncoder {
    /// The result's type for an input's.
    fn result(&self, input: ElementType) -> Result<ElementType, ShapeError> {
        match input {
            kind if kind == self.keys.element_type() => Ok(self.values.element_type()),
            ElementType::I64 if self.both_ways => Ok(ElementType::String),
            kind => Err(ShapeError::new(format!("its keys are {}, not {kind}", self.keys.element_type()))),
        }
    }
}

impl Operator for LabelEncoder {
    fn name(&self) -> &str {
        "LabelEncoder"
    }

    fn takes_strings(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        Ok(vec![x.with_type(self.result(x.element_type)?)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let back = self.result(x.element_type())? == ElementType::String && self.both_ways;
        let (known, given) = if back { (&self.values, &self.keys) } else { (&self.keys, &self.values) };
        let mut table = HashMap::new();
        for (place, key) in keys(known).into_iter().enumerate() {
            table.insert(key, place);
        }
        // The default stands behind the values.
        let (list, other) = match given.strings() {
            Ok(all) => {
                let default = self.default.strings().ok().and_then(|v| v.first().cloned());
                let mut all = all.to_vec();
                all.push(default.unwrap_or_else(|| "_Unused".to_owned()));
                (Tensor::from_strings([all.len()], all)?, given.len())
            }
            Err(_) => {
                let bytes = [given.bytes(), self.default.bytes()].concat();
                (Tensor::from_bytes(given.element_type(), [given.len() + 1], bytes.into())?, given.len())
            }
        };
        let places: Vec<usize> = keys(x).iter().map(|key| table.get(key).copied().unwrap_or(other)).collect();
        Ok(vec![pick(&list, &places, x.shape())?.into()])
    }

    fn candidates(&self, _: &crate::graph::Request<'_>) -> Candidates {
        Err("it looks its input up in a table".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(d: &Definition, x: Tensor) -> Result<Tensor, String> {
        let operator = label_encoder(d).map_err(|e| e.to_string())?;
        let y = operator.evaluate(&mut Context::default(), Inputs(&[Some(&x.into())])).map_err(|e| e.to_string())?;
        Ok(y.into_iter().next().and_then(Value::into_tensor).unwrap())
    }

    fn strings(v: &[&str]) -> Vec<String> {
        v.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn keys_give_values() {
        let d = Definition::new("LabelEncoder").attribute("keys_floats", vec![1f32, f32::NAN, 0.0]);
        let d = d.attribute("values_strings", strings(&["one", "none", "zero"]));
        let y = run(&d, Tensor::vector(vec![-0f32, f32::NAN, 1.0, 2.0])).unwrap();
        assert_eq!(y.strings().unwrap(), ["zero", "none", "one", "_Unused"]);
        assert!(run(&d, Tensor::vector(vec![1i64])).is_err());
        assert!(run(&d.attribute("values_strings", strings(&["one"])), Tensor::vector(vec![1f32])).is_err());
    }

    #[test]
    fn the_first_form_works_both_ways() {
        let d = Definition { opset: 1, ..Definition::new("LabelEncoder") };
        let d = d.attribute("classes_strings", strings(&["a", "b"]));
        let y = run(&d, Tensor::from_strings([2], strings(&["b", "c"])).unwrap()).unwrap();
        assert_eq!(y, Tensor::vector(vec![1i64, -1]));
        assert_eq!(run(&d, Tensor::vector(vec![0i64, 5])).unwrap().strings().unwrap(), ["a", "_Unused"]);
    }
}
