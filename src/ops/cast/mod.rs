//! Cast and CastLike: the same numbers as another element type.
//!
//! Floating-point numbers become integers by rounding toward zero, saturating, NaN becoming 0; integers wrap around, and so
//! does everything that becomes a 4-bit integer; to `bool`, everything but 0 is true. Texts are parsed and written.

mod kernel;

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::tensor::wide::{self, PART, Written};
use crate::tensor::{
    Element, ElementType, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0, PowerRounding, Tensor, Truth,
};

/// Cast, or CastLike where there is no type: the second input's is taken then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cast {
    to: Option<ElementType>,
    /// What is too large for an 8-bit float becomes its largest number rather than infinity or NaN.
    saturate: bool,
    /// Which power of two a number becomes.
    rounding: PowerRounding,
}

/// Elements of a constant up to which a CastLike is computed during inference.
const LIKE_LIMIT: usize = 1 << 12;

/// Makes a Cast or CastLike (the type is a number of the standard's `TensorProto.DataType`).
pub(super) fn cast(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let rounding = match definition.string("round_mode")?.as_deref() {
        None | Some("up") => PowerRounding::Up,
        Some("down") => PowerRounding::Down,
        Some("nearest") => PowerRounding::Nearest,
        Some(other) => return Err(DefinitionError::Value("round_mode", format!("is '{other}', which is none"))),
    };
    let to = match definition.op_type.as_str() {
        "CastLike" => None,
        _ => {
            let number = definition.int("to")?.ok_or(DefinitionError::Missing("to"))?;
            let to = ElementType::from_data_type(number);
            Some(to.ok_or_else(|| DefinitionError::Unsupported(format!("there are no tensors of data type {number}")))?)
        }
    };
    Ok(Arc::new(Cast { to, saturate: definition.flag("saturate", true)?, rounding }))
}

impl Operator for Cast {
    fn name(&self) -> &str {
        if self.to.is_some() { "Cast" } else { "CastLike" }
    }

    fn reads(&self, input: usize) -> Reads {
        if input == 1 { Reads::Fact } else { Reads::Elements }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let to = self.to.map_or_else(|| Fact::at(inputs, 1).map(|like| like.element_type), Ok)?;
        let integers = |t: ElementType| matches!(t, ElementType::I64 | ElementType::I32);
        let mut y = x.with_type(to);
        // Sizes stay what they are; none is so large that it would wrap around.
        if integers(x.element_type) && integers(to) {
            y.known.clone_from(&x.known);
        }
        // CastLike reads a value that need not be constant for the type alone: so it is folded here.
        if self.to.is_none()
            && let Some(constant) = x.constant.as_ref().filter(|c| c.len() <= LIKE_LIMIT)
            && let Ok(tensor) = self.converted(constant, to)
        {
            y = Fact::constant(tensor);
        }
        Ok(vec![y])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let to = self.to.map_or_else(|| inputs.tensor(1).map(Tensor::element_type), Ok)?;
        Ok(vec![self.converted(x, to)?.into()])
    }

    fn takes_strings(&self) -> bool {
        true
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        kernel::of(self, request)
    }
}

impl Cast {
    /// The elements as another type.
    fn converted(&self, x: &Tensor, to: ElementType) -> Result<Tensor, EvaluateError> {
        match (x.element_type(), to) {
            (from, to) if from == to => return Ok(x.clone()),
            (ElementType::String, _) => return self.parsed(x, to),
            (_, ElementType::String) => return written(x),
            _ => {}
        }
        let (from, mut y) = (x.numbers()?, wide::written(to, x.shape())?);
        let (mut floats, mut integers) = ([0.0; PART], [0; PART]);
        for at in (0..x.len()).step_by(PART) {
            let n = PART.min(x.len() - at);
            if x.element_type().is_any_float() {
                from.floats(at, 1, &mut floats[..n]);
                self.write(&floats[..n], to, &mut *y);
            } else {
                from.integers(at, 1, &mut integers[..n]);
                y.integers(&integers[..n]);
            }
        }
        Ok(y.tensor(x.shape())?)
    }

    /// Appends floats as another type.
    fn write(&self, floats: &[f64], to: ElementType, y: &mut dyn Written) {
        let mut integers = |f: &dyn Fn(f64) -> i128| floats.iter().for_each(|&v| y.integers(&[f(v)]));
        match to {
            ElementType::Bool => integers(&|v| (v != 0.0).into()),
            // The low bits, as casts between integers keep.
            #[expect(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
            ElementType::I4 | ElementType::U4 => integers(&|v| (v as i32).into()),
            ElementType::F8E4M3FN if !self.saturate => y.codes(floats, &|v| F8E4M3FN::from_f64_unbounded(v).0),
            ElementType::F8E4M3FNUZ if !self.saturate => y.codes(floats, &|v| F8E4M3FNUZ::from_f64_unbounded(v).0),
            ElementType::F8E5M2 if !self.saturate => y.codes(floats, &|v| F8E5M2::from_f64_unbounded(v).0),
            ElementType::F8E5M2FNUZ if !self.saturate => y.codes(floats, &|v| F8E5M2FNUZ::from_f64_unbounded(v).0),
            ElementType::F8E8M0 => y.codes(floats, &|v| F8E8M0::rounded(v, self.rounding, self.saturate).0),
            _ => y.floats(floats),
        }
    }

    /// Texts as numbers: plain or scientific notation, `INF`, `+INF`, `-INF` and `NaN` in any case.
    fn parsed(&self, x: &Tensor, to: ElementType) -> Result<Tensor, EvaluateError> {
        let texts = x.strings()?;
        let wrong = |text: &String| EvaluateError::from(ShapeError::new(format!("'{text}' is no number")));
        let mut y = wide::written(to, x.shape())?;
        if to.is_integer() && texts.iter().all(|text| text.trim().parse::<i128>().is_ok()) {
            texts.iter().filter_map(|text| text.trim().parse().ok()).for_each(|v| y.integers(&[v]));
        } else {
            let floats = texts.iter().map(|text| text.trim().parse::<f64>().map_err(|_| wrong(text)));
            self.write(&floats.collect::<Result<Vec<_>, _>>()?, to, &mut *y);
        }
        Ok(y.tensor(x.shape())?)
    }
}

/// Numbers as texts: the shortest that give the number back, in plain notation where that is short.
fn written(x: &Tensor) -> Result<Tensor, EvaluateError> {
    fn all<T: Element + ToString>(x: &Tensor) -> Result<Vec<String>, EvaluateError> {
        Ok(x.as_slice::<T>()?.iter().map(ToString::to_string).collect())
    }
    let float = |v: f64, shortest: String| match v {
        v if v.is_nan() => "NaN".to_owned(),
        v if v.is_infinite() => if v > 0.0 { "INF" } else { "-INF" }.to_owned(),
        _ => shortest,
    };
    let texts = match x.element_type() {
        ElementType::F32 => x.as_slice::<f32>()?.iter().map(|&v| float(v.into(), v.to_string())).collect(),
        ElementType::I64 => all::<i64>(x)?,
        ElementType::U64 => all::<u64>(x)?,
        t if t.is_integer() => x.integers().unwrap_or_default().iter().map(ToString::to_string).collect(),
        ElementType::Bool => x.as_slice::<Truth>()?.iter().map(|&v| u8::from(bool::from(v)).to_string()).collect(),
        _ => x.to_f64().into_iter().map(|v| float(v, v.to_string())).collect(),
    };
    Ok(Tensor::from_strings(x.shape(), texts)?)
}

#[cfg(test)]
mod small;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Dim;
    use crate::testing::{Input, Tolerance, check};

    fn converted(x: &Tensor, to: ElementType) -> Result<Tensor, EvaluateError> {
        Cast { to: Some(to), saturate: true, rounding: PowerRounding::Up }.converted(x, to)
    }

    fn to(number: i64) -> Arc<dyn Operator> {
        cast(&Definition::new("Cast").attribute("to", number)).unwrap()
    }

    #[test]
    fn floats_become_integers_toward_zero() {
        let x = Tensor::vector(vec![1.9f32, -1.9, 300.0, -300.0, f32::NAN, f32::INFINITY, 3e9]);
        assert_eq!(converted(&x, ElementType::I8).unwrap().as_slice::<i8>().unwrap(), [1, -1, 127, -128, 0, 127, 127]);
        assert_eq!(converted(&x, ElementType::U8).unwrap().as_slice::<u8>().unwrap(), [1, 0, 255, 0, 0, 255, 255]);
        let y = converted(&x, ElementType::I32).unwrap();
        assert_eq!(y.as_slice::<i32>().unwrap(), [1, -1, 300, -300, 0, i32::MAX, i32::MAX]);
        let y = converted(&x, ElementType::I64).unwrap();
        assert_eq!(y.as_slice::<i64>().unwrap(), [1, -1, 300, -300, 0, i64::MAX, 3_000_000_000]);
        let wide = Tensor::vector(vec![i64::MAX, 257, -1]);
        assert_eq!(converted(&wide, ElementType::U8).unwrap().as_slice::<u8>().unwrap(), [255, 1, 255]);
    }

    #[test]
    fn every_pair_agrees() {
        let x = Tensor::vector(vec![
            0.0f32,
            -0.0,
            0.4,
            -0.6,
            1.0,
            -1.0,
            1.5,
            2.5,
            100.7,
            127.0,
            128.0,
            -128.9,
            -129.0,
            255.5,
            256.0,
            1000.0,
            -65_504.0,
            65_519.0,
            1e6,
            16_777_217.0,
            2_147_483_520.0,
            2_147_483_648.0,
            -2_147_483_648.0,
            1e20,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
        ]);
        let held = |t| crate::kernel::Storage::of(t, false).is_some();
        for from in ElementType::ALL {
            let x = converted(&x, from).unwrap();
            for element_type in ElementType::ALL {
                let number = element_type.data_type().into();
                let value = Value::from(x.clone());
                let y = to(number).evaluate(&mut Context::default(), Inputs(&[Some(&value)])).unwrap();
                assert!(matches!(&y[..], [Value::Tensor(y)] if y.element_type() == element_type));
                if held(from) && held(element_type) {
                    check(&*to(number), &[Input::Run(x.clone())], Tolerance::EXACT);
                }
            }
        }
    }

    #[test]
    fn shapes_keep_their_content_and_the_type_may_be_an_inputs() {
        let h = Fact::dims(vec![Dim::symbol("h")]);
        assert_eq!(to(6).infer(&[Some(&h)]).unwrap()[0].known, h.known);
        let like = cast(&Definition::new("CastLike")).unwrap();
        let u8s = Fact::new(ElementType::U8, [2usize]);
        assert_eq!(like.infer(&[Some(&h), Some(&u8s)]).unwrap()[0].element_type, ElementType::U8);
        let x = Tensor::vector(vec![1.5f32, 2.5]);
        check(&*like, &[Input::Run(x), Input::Constant(Tensor::scalar(1i32))], Tolerance::EXACT);
        assert!(cast(&Definition::new("Cast").attribute("to", 14)).is_err());
    }

    #[test]
    fn texts_are_parsed_and_written() {
        let x = Tensor::vector(vec![1.5f32, -3.0, f32::INFINITY, f32::NEG_INFINITY, 1e-5]);
        let texts = converted(&x, ElementType::String).unwrap();
        assert_eq!(texts.strings().unwrap(), ["1.5", "-3", "INF", "-INF", "0.00001"]);
        assert_eq!(converted(&texts, ElementType::F32).unwrap(), x);
        let wide = Tensor::from_strings([2], vec!["9007199254740993".to_owned(), " -7 ".to_owned()]).unwrap();
        let integers = converted(&wide, ElementType::I64).unwrap();
        assert_eq!(integers.as_slice::<i64>().unwrap(), [9_007_199_254_740_993, -7]);
        let words = Tensor::from_strings([1], vec!["Hello".to_owned()]).unwrap();
        assert!(converted(&words, ElementType::F32).unwrap_err().to_string().contains("'Hello' is no number"));
    }

    #[test]
    fn small_types_bound_or_lose_what_is_too_large() {
        let x = Tensor::vector(vec![1e6f32, -1e6, f32::INFINITY, 0.3]);
        let codes = |to: ElementType, saturate| {
            let cast = Cast { to: None, saturate, rounding: PowerRounding::Up };
            cast.converted(&x, to).unwrap().bytes().to_vec()
        };
        assert_eq!(codes(ElementType::F8E4M3FN, true), [0x7e, 0xfe, 0x7e, 0x2a]);
        assert_eq!(codes(ElementType::F8E4M3FN, false), [0x7f, 0xff, 0x7f, 0x2a]);
        assert_eq!(codes(ElementType::F8E5M2, false), [0x7c, 0xfc, 0x7c, 0x35]);
        assert_eq!(codes(ElementType::F8E4M3FNUZ, false), [0x80, 0x80, 0x80, 0x32]);
        assert_eq!(codes(ElementType::F8E8M0, false), [0x93, 0x93, 0xff, 0x7e]);
        let x = Tensor::vector(vec![9f32, -9.7]);
        assert_eq!(converted(&x, ElementType::I4).unwrap().to_f64(), [-7.0, 7.0]);
    }
}
