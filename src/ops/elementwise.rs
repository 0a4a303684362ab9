//! placeholder

use std::sync::Arc;

use crate::graph::{
    Activation, Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Want, units};
use crate::tensor::Tensor;

#[derive(Debug)]
struct Unary(Activation);

pub(super) fn unary(_: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Unary(Activation::Relu)))
}

impl Operator for Unary {
    fn name(&self) -> &str {
        "Relu"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = inputs.first().copied().flatten().ok_or_else(|| ShapeError::new("input 0 is missing"))?;
        Ok(vec![x.without_content()])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let y: Vec<f32> = x.as_slice::<f32>()?.iter().map(|&v| self.0.apply(v)).collect();
        Ok(vec![Tensor::new(x.shape().to_vec(), y)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let x = request.input(0)?;
        let shape = request.shape(0)?;
        let n = units(&shape, x.layout).ok_or("it is too large")?;
        let kernel = Kernel::of("elementwise/unary.wgsl")
            .define("WORKGROUP", 64)
            .paste("EXPRESSION", "activate(v, params.kind, params.alpha, params.beta)");
        let (kind, alpha, beta) = self.0.parameters();
        let dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), request.storage(0)?)
            .bind(Binding::Output(0), request.output_storage(0)?)
            .param("units", n as u32)
            .param("kind", kind)
            .param("alpha", alpha)
            .param("beta", beta)
            .linear(n, 64, request.device);
        Ok(vec![Candidate::new("unary", vec![Want::In(x.layout)], vec![x.layout]).dispatch(dispatch).in_place(0)])
    }
}
