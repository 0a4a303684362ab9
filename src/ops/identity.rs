//! Identity and Dropout (inference): the input, handed on (ONNX opsets 1 to 24).

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::{Candidate, Candidates, Want};
use crate::tensor::{ElementType, Tensor, Truth};

/// Hands its first input on.
#[derive(Debug, Clone, PartialEq)]
pub enum Identity {
    /// Identity.
    Plain,
    /// Dropout, which drops nothing in inference. Its second output, where asked for, is a mask of what is kept.
    Dropout {
        /// The mask is asked for; it holds truth values from opset 10 on, and the input's type before.
        mask: Option<Option<ElementType>>,
        /// Whether to train is an input, to be looked at when it is known.
        may_train: bool,
    },
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    if d.op_type == "Identity" {
        return Ok(Arc::new(Identity::Plain));
    }
    if d.opset < 7 && !d.flag("is_test", false)? {
        // Files of that time left the attribute out when they were made for inference.
        log::debug!("a Dropout before opset 7 without is_test is taken as inference");
    }
    let mask = (d.outputs > 1).then(|| (d.opset >= 10).then_some(ElementType::Bool));
    Ok(Arc::new(Identity::Dropout { mask, may_train: d.inputs > 2 }))
}

fn is_true(tensor: &Tensor) -> bool {
    tensor.as_slice::<Truth>().is_ok_and(|v| v.first().is_some_and(|&v| v.into()))
}

impl Operator for Identity {
    fn name(&self) -> &str {
        if *self == Self::Plain { "Identity" } else { "Dropout" }
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn reads(&self, input: usize) -> Reads {
        match input {
            1 | 2 => Reads::Parameter,
            _ => Reads::Elements,
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let mut facts = vec![x.clone()];
        if let Self::Dropout { mask, may_train } = self {
            if *may_train {
                facts[0] = x.without_content();
            }
            if let Some(element_type) = mask {
                facts.push(x.with_type(element_type.unwrap_or(x.element_type)));
            }
        }
        Ok(facts)
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        if let (Self::Plain, Some(value)) = (self, inputs.value(0)) {
            return Ok(vec![value.clone()]);
        }
        let x = inputs.tensor(0)?;
        let mut values = vec![x.clone().into()];
        if let Self::Dropout { mask, .. } = self {
            if inputs.optional(2).is_some_and(is_true) {
                return Err(ShapeError::new("Dropout in training is not supported").into());
            }
            if let Some(element_type) = mask {
                let element_type = element_type.unwrap_or(x.element_type());
                let mut kept = Tensor::zeros(element_type, x.shape().to_vec())?;
                if element_type == ElementType::Bool {
                    kept.as_mut_slice::<Truth>()?.fill(true.into());
                }
                values.push(kept.into());
            }
        }
        Ok(values)
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let layout = request.input(0)?.layout;
        request.any_storage(0)?;
        match self {
            Self::Dropout { mask: Some(_), .. } => return Err("its mask is asked for".to_owned()),
            Self::Dropout { may_train: true, .. } => {
                let training = request.optional(2).map(|input| input.fact.constant.as_ref().map(is_true));
                if training.is_some_and(|training| training != Some(false)) {
                    return Err("it may be training".to_owned());
                }
            }
            _ => {}
        }
        let mut wants = vec![Want::Nothing; request.inputs.len()];
        wants[0] = Want::In(layout);
        Ok(vec![Candidate { view_of: Some(0), ..Candidate::new("view", wants, vec![layout]) }])
    }

    fn work(&self, _: &[Option<&Fact>], _: &[Fact]) -> f64 {
        0.0
    }

    /// Also of a Dropout that has a mask: files name masks that nobody reads. Whoever removes the node sees to it that its
    /// other outputs are not used.
    fn is_identity(&self) -> bool {
        !matches!(self, Self::Dropout { may_train: true, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Input, Tolerance, check};

    #[test]
    fn dropout_hands_its_input_on() {
        let x = Tensor::new([2, 3], vec![1f32; 6]).unwrap();
        let mut definition = Definition::new("Dropout");
        definition.inputs = 3;
        let operator = from_definition(&definition).unwrap();
        let no = Input::Constant(Tensor::scalar(Truth(0)));
        check(&*operator, &[Input::Run(x.clone()), Input::Missing, no], Tolerance::EXACT);
        assert!(!operator.is_identity());
        let yes = Value::from(Tensor::scalar(Truth(1)));
        let x = Value::from(x);
        assert!(operator.evaluate(&mut Context::default(), Inputs(&[Some(&x), None, Some(&yes)])).is_err());

        definition.outputs = 2;
        definition.inputs = 1;
        let operator = from_definition(&definition).unwrap();
        let outputs = operator.evaluate(&mut Context::default(), Inputs(&[Some(&x)])).unwrap();
        assert_eq!(outputs[0], x);
        assert_eq!(outputs[1], Value::from(Tensor::new([2, 3], vec![Truth(1); 6]).unwrap()));
    }
}
