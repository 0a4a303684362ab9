//! Element-wise functions of one tensor: one operator, one kernel, a table of members.
//!
//! `y = f(x)`; the members' formulas stand in `members`. Clip, whose bounds may be inputs, stands in [`clip`].

pub mod clip;
mod members;

use std::sync::Arc;

use crate::graph::{
    Activation, Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Want, units};
use crate::ops::broadcast::program::Program;
use crate::ops::broadcast::{self, Expression, Operand, is_wide};
use crate::tensor::ElementType;
pub(super) use members::floats;
use members::{Member, NO_KERNEL};

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// What the kernel computes for functions that are also activations: one pipeline for all of them.
const ACTIVATE: &str = "activate(v, params.kind, params.alpha, params.beta)";

/// The number that the exponential has beside the activations, one that none of them has.
const EXPONENTIAL: u32 = 11;

/// An element-wise function of one tensor.
#[derive(Debug, Clone)]
pub struct Unary {
    member: &'static Member,
    parameters: [f32; 2],
}

impl Unary {
    /// What it is in a program of floating-point numbers, if it is simple arithmetic.
    pub(crate) fn program(&self) -> Option<Program> {
        (self.member.steps)(self.parameters)
    }
}

/// Makes the member that the definition names.
pub(super) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let member = members::MEMBERS
        .iter()
        .find(|m| m.name == definition.op_type)
        .ok_or_else(|| DefinitionError::Unsupported("Rimlight has no such operator".to_owned()))?;
    let member = member.variant(definition)?;
    Ok(Arc::new(Unary { member, parameters: (member.parameters)(definition)? }))
}

impl Operator for Unary {
    fn name(&self) -> &str {
        self.member.name
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        if !self.member.takes.allows(x.element_type) {
            return Err(ShapeError::new(format!("it takes {}, not {}", self.member.takes, x.element_type)));
        }
        Ok(vec![if self.member.test { x.with_type(ElementType::Bool) } else { x.without_content() }])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        Ok(vec![(self.member.evaluate)(inputs.tensor(0)?, self.parameters.map(f64::from))?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let element_type = request.input(0)?.fact.element_type;
        let float = element_type.is_float();
        if is_wide(element_type) {
            let lacking = || format!("it has no kernel for {element_type}");
            let expression = self.member.wide.ok_or_else(lacking)?;
            let expression = Expression::of_integers(expression, element_type, self.member.test);
            return typed(request, expression, 0, [0.0; 2]);
        }
        if let Some(program) = self.program().filter(|_| float) {
            return broadcast::arithmetic(request, vec![Operand::input(request, 0)?], program);
        }
        let activation = self.activation().filter(|_| float);
        let expression = match (activation, self.member.integer) {
            // Its own kernel knows it better than the one that all activations share.
            (Some(activation), _) if !activation.is_long() => ACTIVATE,
            (_, Some(NO_KERNEL)) if !float => return Err("its kernel takes floating-point numbers only".to_owned()),
            (_, Some(integer)) if !float => integer,
            _ => self.member.wgsl,
        };
        let (kind, parameters) = match activation.map(Activation::parameters) {
            Some((kind, alpha, beta)) => (kind, [alpha, beta]),
            None => (0, self.parameters),
        };
        let mut candidates = pointwise(request, expression, kind, parameters)?;
        // By the kernel for all of them, which may save pipelines.
        let every = match self.member.name {
            "Exp" => Some(EXPONENTIAL),
            _ => (expression == ACTIVATE).then_some(kind),
        };
        if let Some(kind) = every {
            for mut candidate in pointwise(request, ACTIVATE, kind, parameters)? {
                candidate.cost *= 1.2;
                candidate.dispatches.iter_mut().for_each(|d| d.kernel.defines.push(("EVERY", 1)));
                candidates.push(candidate);
            }
        }
        Ok(candidates)
    }

    fn activation(&self) -> Option<Activation> {
        (self.member.activation)(self.parameters)
    }
}

/// The candidate that computes a WGSL expression of `v`, `params.kind`, `params.alpha` and `params.beta` for each unit of
/// input 0, in the layout in which that lies; the other inputs are not read.
pub(super) fn pointwise(
    request: &Request<'_>,
    expression: impl Into<Expression>,
    kind: u32,
    parameters: [f32; 2],
) -> Candidates {
    request.storage(0).and(request.output_storage(0))?;
    typed(request, expression, kind, parameters)
}

/// [`pointwise`] for elements of any type, which the expression knows.
pub(super) fn typed(
    request: &Request<'_>,
    expression: impl Into<Expression>,
    kind: u32,
    [alpha, beta]: [f32; 2],
) -> Candidates {
    let x = request.input(0)?;
    let shape = request.shape(0)?;
    let (read, written) = (request.any_storage(0)?, request.any_output_storage(0)?);
    let count = units(&shape, x.layout).and_then(|n| u32::try_from(n).ok()).ok_or("it is too large for a shader")?;
    let mut wants = vec![Want::Nothing; request.inputs.len()];
    wants[0] = Want::In(x.layout);
    let mut candidate = Candidate::new("flat", wants, vec![x.layout]);
    if count > 0 {
        let kernel = Kernel::of("elementwise/unary.wgsl").define("WORKGROUP", WORKGROUP);
        let kernel = expression.into().specialize(kernel);
        candidate = candidate.dispatch(
            Dispatch::of(kernel)
                .bind(Binding::Input(0), read)
                .bind(Binding::Output(0), written)
                .param("units", count)
                .param("kind", kind)
                .param("alpha", alpha)
                .param("beta", beta)
                .linear(count.into(), WORKGROUP, request.device),
        );
    }
    if read == written {
        candidate = candidate.in_place(0);
    }
    let bytes = u64::from(count) * (read.unit_bytes() + written.unit_bytes());
    Ok(vec![candidate.cost(f64::from(count) * 4.0, bytes as f64)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::{Tensor, shape::elements};
    use crate::testing::{Input, Tolerance, check, try_check};

    fn operator(name: &str) -> Arc<dyn Operator> {
        make(&Definition::new(name)).unwrap()
    }

    fn reference(definition: &Definition, x: &[f32]) -> Vec<f32> {
        let x = Value::from(Tensor::vector(x.to_vec()));
        let y = make(definition).unwrap().evaluate(&mut Context::default(), Inputs(&[Some(&x)])).unwrap();
        let y = y[0].as_tensor().unwrap();
        y.as_slice::<f32>().unwrap().to_vec()
    }

    /// Numbers at which functions change their branch, overflow, lose digits or are not defined.
    fn telling() -> Vec<f32> {
        let mut x = vec![
            0.0,
            -0.0,
            1e-40,
            1e-30,
            1e-8,
            1e-4,
            0.01,
            0.1,
            0.25,
            0.3,
            0.35,
            0.4,
            0.45,
            0.5,
            0.55,
            0.6,
            0.65,
            0.7,
            0.75,
            0.8,
            0.9,
            0.99,
            0.99999,
            1.0,
            1.00001,
            1.1,
            1.415,
            1.5,
            1.9,
            2.0,
            2.5,
            2.9,
            3.0,
            3.5,
            4.5,
            5.0,
            6.0,
            8.7,
            9.1,
            10.0,
            12.0,
            15.5,
            20.0,
            50.0,
            80.0,
            87.0,
            88.5,
            89.2,
            103.5,
            1e3,
            65_000.0,
            1e6,
            1e9,
            3e18,
            1e20,
            1e30,
            f32::MAX,
            f32::INFINITY,
        ];
        x.extend(x.clone().iter().map(|v| -v));
        x.push(f32::NAN);
        x
    }

    #[test]
    fn functions_have_the_values_of_the_standard() {
        let d = Definition::new;
        let close = |definition: &Definition, x: &[f32], y: &[f32]| {
            let got = reference(definition, x);
            for (g, e) in got.iter().zip(y) {
                assert!((g - e).abs() <= 1e-6 * e.abs().max(1.0), "{definition:?}: {got:?} for {x:?}, not {y:?}");
            }
        };
        close(&d("Round"), &[0.5, 1.5, 2.5, -0.5, -1.5, 0.9], &[0.0, 2.0, 2.0, 0.0, -2.0, 1.0]);
        close(&d("Erf"), &[0.5, 2.0, -4.0], &[0.520_499_9, 0.995_322_3, -1.0]);
        close(&d("Gelu"), &[1.0, -1.0], &[0.841_344_8, -0.158_655_3]);
        close(&d("Gelu").attribute("approximate", "tanh"), &[1.0, -1.0], &[0.841_192, -0.158_808]);
        close(&d("Elu").attribute("alpha", 2.0f32), &[-1.0, 1.0], &[-1.264_241, 1.0]);
        close(&d("Celu").attribute("alpha", 2.0f32), &[-1.0, 1.0], &[-0.786_938_7, 1.0]);
        close(&d("Selu"), &[-1.0, 1.0], &[-1.111_330_7, 1.050_701]);
        close(&d("HardSigmoid"), &[-3.0, 0.0, 3.0], &[0.0, 0.5, 1.0]);
        close(&d("HardSwish"), &[-4.0, 1.0, 4.0], &[0.0, 0.666_666_7, 4.0]);
        close(&d("Softplus"), &[0.0, 100.0], &[std::f32::consts::LN_2, 100.0]);
        close(&d("Mish"), &[1.0], &[0.865_098_4]);
        close(&d("ThresholdedRelu").attribute("alpha", 2.0f32), &[1.0, 2.0, 2.5], &[0.0, 0.0, 2.5]);
        let shrink = d("Shrink").attribute("lambd", 1.5f32);
        close(&shrink, &[-2.0, -1.5, 0.0, 1.5, 2.0], &[-2.0, 0.0, 0.0, 0.0, 2.0]);
        close(&shrink.attribute("bias", 1.5f32), &[-2.0, -1.0, 2.0], &[-0.5, 0.0, 0.5]);
        close(&d("Swish").attribute("alpha", 2.0f32), &[1.0], &[0.880_797_1]);
    }

    #[test]
    fn every_member_agrees_where_functions_are_difficult() {
        let mut differences = vec![];
        for member in members::MEMBERS.iter().filter(|m| m.takes.allows(ElementType::F32)) {
            let x: Vec<f32> = telling().into_iter().filter(|x| x.abs() <= member.range || x.is_nan()).collect();
            // The smallest results may be flushed to zero.
            let tolerance =
                Tolerance { relative: member.tolerance, absolute: 1e-35_f32.max(member.tolerance * member.scale) };
            differences.extend(try_check(&*operator(member.name), &[Input::Run(Tensor::vector(x))], tolerance).err());
        }
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        let x = Tensor::vector(telling().into_iter().filter(|x| !x.is_infinite() && x.abs() < 6e4).collect());
        check(
            &*make(&Definition::new("Gelu").attribute("approximate", "tanh")).unwrap(),
            &[Input::Run(x.clone())],
            Tolerance::relative(2e-6),
        );
        let x = Tensor::vector(telling());
        for sign in ["detect_positive", "detect_negative"] {
            check(
                &*make(&Definition::new("IsInf").attribute(sign, 0)).unwrap(),
                &[Input::Run(x.clone())],
                Tolerance::EXACT,
            );
        }
    }

    #[test]
    fn integers_and_truth_values() {
        let numbers = [i32::MIN, -1000, -1, 0, 1, 7, i32::MAX];
        for member in members::MEMBERS {
            if member.takes.allows(ElementType::I32) && member.integer != Some(NO_KERNEL) {
                check(&*operator(member.name), &[Input::Run(Tensor::vector(numbers.to_vec()))], Tolerance::EXACT);
                check(
                    &*operator(member.name),
                    &[Input::Run(Tensor::vector(vec![i8::MIN, -3, 0, 9, i8::MAX]))],
                    Tolerance::EXACT,
                );
                check(&*operator(member.name), &[Input::Run(Tensor::vector(vec![0u8, 1, 200, 255]))], Tolerance::EXACT);
            }
            if member.takes.allows(ElementType::Bool) {
                let x = Tensor::vector([true, false, true].map(crate::tensor::Truth::from).to_vec());
                check(&*operator(member.name), &[Input::Run(x)], Tolerance::EXACT);
            }
        }
        let fact = Fact::new(ElementType::I32, [3usize]);
        assert!(operator("Exp").infer(&[Some(&fact)]).is_err());
    }

    #[test]
    fn no_two_functions_of_the_kernel_for_all_share_a_number() {
        let text = include_str!("../../../shaders/common/activation.wgsl");
        let mut numbers: Vec<u32> =
            text.split("case ").skip(1).map(|rest| rest.split('u').next().unwrap().parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=EXPONENTIAL).collect::<Vec<_>>());
    }

    #[test]
    fn activations_and_members_are_the_same_functions() {
        for member in members::MEMBERS {
            let definition = Definition::new(member.name);
            let operator = make(&definition).unwrap();
            if let Some(activation) = operator.activation() {
                let x: Vec<f32> = telling().into_iter().filter(|x| x.is_finite()).collect();
                for (&x, y) in x.iter().zip(reference(&definition, &x)) {
                    let other = activation.apply(x);
                    assert!(
                        other == y || (other - y).abs() <= 1e-6 * y.abs() + 1e-35,
                        "{activation:?} of {x} is {other}, not {y}"
                    );
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn members_agree_on_random_shapes(
            shape in prop::collection::vec(prop::sample::select(vec![0usize, 1, 2, 3, 5, 7, 16]), 0..5),
            member in prop::sample::select((0..members::MEMBERS.len()).collect::<Vec<_>>()),
            seed in any::<u32>(),
        ) {
            let member = &members::MEMBERS[member];
            prop_assume!(member.takes.allows(ElementType::F32));
            let n = elements(&shape).unwrap();
            let x = (0..n).map(|i| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 1e6 - 8.0);
            let tolerance = Tolerance { relative: member.tolerance, absolute: 1e-35_f32.max(member.tolerance * member.scale) };
            let x = Tensor::new(shape, x.collect()).unwrap();
            try_check(&*operator(member.name), &[Input::Run(x)], tolerance).map_err(TestCaseError::fail)?;
        }
    }
}
