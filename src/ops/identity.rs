//! Identity and Dropout (ONNX opsets 1 to 24): the input, handed on.
//!
//! Where a Dropout trains, `y = x / (1 - ratio)` where a random number is not below the ratio, and 0 elsewhere; its mask says
//! what is kept. It is then made of other operators, and so is one in inference whose mask is asked for.

use std::sync::Arc;

use super::composite::{self, Recipe};
use super::random::philox::key;
use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Graph, Inputs, Operator, Reads, Request, ShapeError,
    Value, ValueId,
};
use crate::kernel::{Candidate, Candidates, Want};
use crate::tensor::{ElementType, Tensor, Truth};

/// The attribute `seed`, by its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderedSeed(u32);

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
        /// What the random numbers follow from, as in Bernoulli.
        seed: Option<OrderedSeed>,
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
    // An integer here, where other operators have a float.
    #[expect(clippy::cast_precision_loss, reason = "any number will do that is always the same")]
    let seed = d.int("seed")?.map(|seed| OrderedSeed((seed as f32).to_bits()));
    Ok(Arc::new(Identity::Dropout { mask, may_train: d.inputs > 2, seed }))
}

/// The nodes of a Dropout that trains (with this ratio), or that does not but whose mask is asked for.
fn dropout(
    recipe: &mut Recipe,
    x: ValueId,
    ratio: Option<f64>,
    seed: Option<OrderedSeed>,
    mask: Option<ElementType>,
) -> Result<Option<Vec<Option<ValueId>>>, ShapeError> {
    let fact = recipe.fact(x)?.clone();
    let Some(shape) = fact.concrete() else { return Ok(None) };
    let filled = |element_type, number: f64| {
        let tensor = Tensor::bounded(element_type, &shape)
            .and_then(|n| Tensor::from_f64(element_type, shape.clone(), vec![number; n]));
        tensor.map_err(|e| ShapeError::new(e.to_string()))
    };
    let Some(ratio) = ratio.filter(|&ratio| ratio != 0.0) else {
        // Before opset 10 the mask is not filled in inference.
        let kept = |element_type| filled(element_type, f64::from(u8::from(element_type == ElementType::Bool)));
        let kept = mask.map(kept).transpose()?.map(|kept| recipe.constant(kept));
        return Ok(Some(vec![Some(x), kept]));
    };
    let chances = recipe.constant(filled(ElementType::F32, 1.0 - ratio)?);
    let mut bernoulli = Definition::new("Bernoulli").attribute("dtype", 9);
    if let Some(OrderedSeed(bits)) = seed {
        bernoulli = bernoulli.attribute("seed", f32::from_bits(bits));
    }
    let kept = recipe.node(bernoulli, &[chances])?;
    let [scale, zero] = [1.0 / (1.0 - ratio), 0.0].map(|n| recipe.number(x, n));
    let scaled = recipe.apply("Mul", &[x, scale?])?;
    Ok(Some(vec![Some(recipe.apply("Where", &[kept, scaled, zero?])?), Some(kept)]))
}

impl Identity {
    /// The ratio of a Dropout that trains; `None` where it does not.
    ///
    /// # Errors
    /// If that is not known before it runs, or the ratio is none.
    fn ratio(&self, inputs: &[Option<&Fact>]) -> Result<Option<f64>, ShapeError> {
        let constant = |i: usize, what: &str| match Fact::optional(inputs, i) {
            None => Ok(None),
            Some(fact) => {
                let known = fact.constant.as_ref().map(Some);
                known.ok_or_else(|| ShapeError::new(format!("{what} is not known before it runs")))
            }
        };
        if !matches!(self, Self::Dropout { may_train: true, .. })
            || !constant(2, "whether it trains")?.is_some_and(is_true)
        {
            return Ok(None);
        }
        let ratio = constant(1, "its ratio")?.and_then(|t| t.to_f64().first().copied()).unwrap_or(0.5);
        if (0.0..1.0).contains(&ratio) {
            Ok(Some(ratio))
        } else {
            Err(ShapeError::new(format!("its ratio is {ratio}")))
        }
    }
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

    fn is_deterministic(&self) -> bool {
        !matches!(self, Self::Dropout { may_train: true, .. })
    }

    fn with_seed(&self, seed: u64, stream: u64) -> Option<Arc<dyn Operator>> {
        let &Self::Dropout { mask, may_train: true, seed: None } = self else { return None };
        // A whole number, as the attribute would hold.
        #[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
        let own = (key(seed, stream)[0] >> 8) as f32;
        Some(Arc::new(Self::Dropout { mask, may_train: true, seed: Some(OrderedSeed(own.to_bits())) }))
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
        if let Self::Dropout { mask, may_train, .. } = self {
            if *may_train {
                facts[0] = x.without_content();
            }
            if let Some(element_type) = mask {
                facts.push(x.with_type(element_type.unwrap_or(x.element_type)));
            }
        }
        Ok(facts)
    }

    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        if let (Self::Plain, Some(value)) = (self, inputs.value(0)) {
            return Ok(vec![value.clone()]);
        }
        let x = inputs.tensor(0)?;
        let mut values = vec![x.clone().into()];
        if let Self::Dropout { mask, .. } = self {
            if inputs.optional(2).is_some_and(is_true) {
                let facts: Vec<_> =
                    (0..inputs.len()).map(|i| inputs.optional(i).map(|t| Fact::constant(t.clone()))).collect();
                let graph = self.expansion(&facts.iter().map(Option::as_ref).collect::<Vec<_>>())?;
                let graph = graph.ok_or_else(|| ShapeError::new("its ratio is missing"))?;
                return composite::evaluate(&graph, context, inputs);
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

    fn expansion(&self, inputs: &[Option<&Fact>]) -> Result<Option<Graph>, ShapeError> {
        let Self::Dropout { mask, may_train, seed } = self else { return Ok(None) };
        // Without a mask, one that does not train is removed as it is.
        let (true, Ok(ratio)) = (*may_train || mask.is_some(), self.ratio(inputs)) else { return Ok(None) };
        let outputs = if mask.is_some() { 2 } else { 1 };
        composite::graph(inputs, outputs, |recipe, ids| {
            let &[Some(x), ..] = ids else { return Ok(None) };
            let mask = mask.map(|own| own.unwrap_or(recipe.fact(x).map_or(ElementType::F32, |f| f.element_type)));
            dropout(recipe, x, ratio, *seed, mask)
        })
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
        let ratio = |v: f32| Value::from(Tensor::scalar(v));
        let run =
            |ratio: &Value| operator.evaluate(&mut Context::default(), Inputs(&[Some(&x), Some(ratio), Some(&yes)]));
        // Each node has a seed of its own, made of the session's.
        let seeds = [(1, 2), (1, 3), (2, 2), (1, 2)]
            .map(|(seed, stream)| format!("{:?}", operator.with_seed(seed, stream).unwrap()));
        assert!(seeds[0] != seeds[1] && seeds[0] != seeds[2] && seeds[0] == seeds[3]);
        assert!(!operator.is_deterministic());
        // Nothing is dropped, and a ratio of 1 would drop all.
        assert_eq!(run(&ratio(0.0)).unwrap()[0], x);
        assert!(run(&ratio(1.0)).is_err() && run(&ratio(f32::NAN)).is_err());

        definition.outputs = 2;
        definition.inputs = 1;
        let operator = from_definition(&definition).unwrap();
        let outputs = operator.evaluate(&mut Context::default(), Inputs(&[Some(&x)])).unwrap();
        assert_eq!(outputs[0], x);
        assert_eq!(outputs[1], Value::from(Tensor::new([2, 3], vec![Truth(1); 6]).unwrap()));
    }
}
