//! InstanceNormalization (ONNX opsets 1 and 6) and GroupNormalization (18 and 21).
//!
//! `y = (x - mean) / √(variance + ε) · scale + shift`, mean and variance being those of one channel of one image, or of a
//! group of channels. Scale and shift have an element for each channel, for groups before opset 21 one for each group.

use std::sync::Arc;

use super::Lanes;
use super::lanes::map_lanes;
use super::normalize::{Affine, Mode, Plan};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Graph, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::ops::{binary, composite};

/// A normalization of groups of channels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// How many groups the channels are divided into; `None` where each channel is one.
    groups: Option<usize>,
    /// What is added to the variance.
    pub epsilon: f32,
    /// Whether scale and shift have an element for each group, not for each channel.
    per_group: bool,
}

/// Makes the normalization that the definition names.
pub(in crate::ops) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let groups = if definition.op_type == "GroupNormalization" {
        let n = definition.int("num_groups")?.ok_or(DefinitionError::Missing("num_groups"))?;
        let refused = || DefinitionError::Value("num_groups", format!("is {n}, not a number of groups"));
        Some(usize::try_from(n).ok().filter(|&n| n > 0).ok_or_else(refused)?)
    } else {
        None
    };
    let epsilon = definition.float("epsilon")?.unwrap_or(1e-5);
    Ok(Arc::new(Group { groups, epsilon, per_group: groups.is_some() && definition.opset < 21 }))
}

impl Group {
    /// Elements that are normalized together, and neighbours that have the same scale and shift.
    pub(crate) fn spans(&self, shape: &[usize]) -> Option<[usize; 2]> {
        let together = self.grouped(shape).ok()?[2];
        let plane = shape.get(2..)?.iter().product();
        Some([together, if self.per_group { together } else { plane }])
    }

    /// The shape with the groups as its second dimension and everything that is normalized together as its third.
    fn grouped(&self, shape: &[usize]) -> Result<Vec<usize>, ShapeError> {
        let channels = shape.get(1).copied().unwrap_or(1);
        let groups = self.groups.unwrap_or(channels);
        if channels > 0 && (groups == 0 || channels % groups != 0) {
            return Err(ShapeError::new(format!("{channels} channels do not make {groups} groups")));
        }
        let plane = crate::tensor::shape::elements(shape.get(2..).unwrap_or_default())
            .and_then(|n| n.checked_mul(channels / groups.max(1)))
            .ok_or_else(|| ShapeError::new("its shape is too large"))?;
        Ok(vec![shape.first().copied().unwrap_or(1), groups, plane])
    }

    /// The shape with which scale and shift broadcast: per channel `[C, 1, …]`.
    fn aligned(rank: usize, parameters: usize) -> Vec<usize> {
        [vec![parameters], vec![1; rank.saturating_sub(2)]].concat()
    }
}

impl Operator for Group {
    fn name(&self) -> &str {
        if self.groups.is_some() { "GroupNormalization" } else { "InstanceNormalization" }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        if !x.element_type.is_float() || x.rank() < 2 {
            return Err(ShapeError::new(format!("it takes floating-point numbers in channels, not {x}")));
        }
        if let (Some(groups), Some(channels)) = (self.groups, x.shape[1].size())
            && channels % groups != 0
        {
            return Err(ShapeError::new(format!("{channels} channels do not make {groups} groups")));
        }
        let wanted = if self.per_group { self.groups.map_or(Dim::Unknown, Dim::from) } else { x.shape[1].clone() };
        for i in 1..3 {
            let parameter = Fact::at(inputs, i)?;
            let fits = matches!(parameter.shape.as_slice(), [own] if own.known().zip(wanted.known()).is_none_or(|(a, b)| a == b));
            if !fits || parameter.element_type != x.element_type {
                return Err(ShapeError::new(format!("input {i} is {parameter}, not {wanted} elements for {x}")));
            }
        }
        Ok(vec![x.without_content()])
    }

    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let shape = self.grouped(x.shape())?;
        let lanes = Lanes::of(&shape, 2, 3)?;
        let normalized = map_lanes(&x.reshaped(shape.clone())?, lanes, |_, lane| {
            let (centre, factor) = Mode::Deviation.statistics(lane, self.epsilon);
            lane.iter_mut().for_each(|v| *v = (*v - centre) * factor);
        })?;
        // Per group as per channel: the dimension is the second.
        let own = if self.per_group { shape } else { x.shape().to_vec() };
        let mut y = Value::from(normalized.reshaped(own.clone())?);
        for (i, name) in [(1, "Mul"), (2, "Add")] {
            let parameter = inputs.tensor(i)?;
            if parameter.len() != own[1] {
                return Err(
                    ShapeError::new(format!("input {i} has {} elements, not {}", parameter.len(), own[1])).into()
                );
            }
            let parameter = parameter.reshaped(Self::aligned(own.len(), own[1]))?;
            y = binary::apply(name, context, &y, &parameter.into())?;
        }
        Ok(vec![Inputs(&[Some(&y)]).tensor(0)?.reshaped(x.shape())?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        if self.per_group {
            return Err("its scale is given by groups".to_owned());
        }
        let own = request.shape(0)?;
        let aligned = vec![Self::aligned(own.len(), own.get(1).copied().unwrap_or(1)); 2];
        let epsilon = self.epsilon;
        let mode = Mode::Deviation;
        if self.groups.is_none() && own.len() > 2 {
            let to = own.len();
            return Plan { mode, epsilon, shape: own, from: 2, to, affine: Affine::Channels, aligned }
                .candidates(request);
        }
        let shape = self.grouped(&own).map_err(|e| e.to_string())?;
        // Scale and shift are not those of the lanes: a dispatch of their own applies them.
        Plan { mode, epsilon, shape, from: 2, to: 3, affine: Affine::Apart, aligned }.candidates(request)
    }

    /// Where scale and shift are given by groups, they are repeated for each channel first.
    fn expansion(&self, inputs: &[Option<&Fact>]) -> Result<Option<Graph>, ShapeError> {
        let channels = Fact::at(inputs, 0)?.shape.get(1).and_then(Dim::size);
        let (Some(groups), Some(channels), true) = (self.groups, channels, self.per_group) else { return Ok(None) };
        let [groups, channels] = [groups, channels].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        composite::graph(inputs, 1, |recipe, ids| {
            let &[Some(x), Some(scale), Some(shift)] = ids else { return Ok(None) };
            let mut all = vec![x];
            for parameter in [scale, shift] {
                let column = recipe.reshape(parameter, [-1, 1])?;
                let to = recipe.integers([groups, channels / groups]);
                let repeated = recipe.apply("Expand", &[column, to])?;
                all.push(recipe.reshape(repeated, [-1])?);
            }
            let own = Definition::new("GroupNormalization")
                .attribute("num_groups", groups)
                .attribute("epsilon", self.epsilon);
            Ok(Some(vec![Some(recipe.node(own, &all)?)]))
        })
    }

    fn work(&self, _: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        let elements = outputs.first().and_then(Fact::concrete).unwrap_or_default();
        7.0 * elements.iter().map(|&d| d as f64).product::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{random, run};
    use super::*;
    use crate::tensor::{ElementType, Tensor};
    use crate::testing::{Input, Tolerance, try_check_by_precision};

    /// ε is 1e-2 or less, so that an error of a mean near 2, some 2⁻²³ of it, becomes ten times as much.
    const SINGLE: Tolerance = Tolerance { absolute: 5e-6, relative: 1e-5 };
    /// In f16 what is normalized, up to 2, is rounded to 2⁻¹¹ of that before the shift may cancel it.
    const HALF: Tolerance = Tolerance { absolute: 1e-3, relative: 1e-5 };

    fn group(groups: i64, opset: i64) -> Result<Arc<dyn Operator>, DefinitionError> {
        make(&Definition { opset, ..Definition::new("GroupNormalization") }.attribute("num_groups", groups))
    }

    /// As many channels as a group has elements: scale and shift must not be taken for those of a group's elements.
    #[test]
    fn channels_are_not_taken_for_elements() {
        let operator = group(3, 24).unwrap();
        let inputs = [
            Input::Run(random(&[1, 12, 3], 2.0, 0.3)),
            Input::Constant(random(&[12], 0.5, 1.0)),
            Input::Run(random(&[12], 0.5, -0.2)),
        ];
        try_check_by_precision(&*operator, &inputs, SINGLE, HALF.half()).unwrap();
    }

    #[test]
    fn values_by_hand() {
        let x = Tensor::new([1, 2, 2], vec![1.0f32, 3.0, 5.0, 9.0]).unwrap();
        let scale = Tensor::vector(vec![1.0f32, 2.0]);
        let shift = Tensor::vector(vec![0.0f32, 1.0]);
        let instance = make(&Definition::new("InstanceNormalization").attribute("epsilon", 0.0f32)).unwrap();
        let y = run(&*instance, &[x.clone(), scale.clone(), shift.clone()]);
        assert_eq!(y[0].as_slice::<f32>().unwrap(), [-1.0, 1.0, -1.0, 3.0]);
        let all = Tensor::new([1, 4], vec![-3.0f32, -1.0, 1.0, 3.0]).unwrap();
        let [one, none] = [1.0f32, 0.0].map(|v| Tensor::vector(vec![v; 4]));
        let y = run(&*group(1, 24).unwrap(), &[all.clone(), one, none]);
        assert!((y[0].as_slice::<f32>().unwrap()[3] - 3.0 / 5f32.sqrt()).abs() < 1e-5);
        let old = run(&*group(2, 18).unwrap(), &[all.clone(), scale.clone(), shift.clone()]);
        assert!((old[0].as_slice::<f32>().unwrap()[3] - 3.0).abs() < 1e-4);
        // What it is expanded to computes the same.
        let facts = [&all, &scale, &shift].map(|t| Fact::new(t.element_type(), t.shape().to_vec()));
        let graph = group(2, 18).unwrap().expansion(&facts.each_ref().map(Some)).unwrap().unwrap();
        let values = [&all, &scale, &shift].map(|t| Value::from(t.clone()));
        let expanded =
            composite::evaluate(&graph, &mut Context::default(), Inputs(&values.each_ref().map(Some))).unwrap();
        assert_eq!(expanded[0], Value::from(old[0].clone()));
        assert!(group(0, 24).is_err());
        let [x, p] = [vec![1usize, 3, 2], vec![3]].map(|s| Fact::new(ElementType::F32, s));
        assert!(group(2, 24).unwrap().infer(&[Some(&x), Some(&p), Some(&p)]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn agrees(
            images in 1usize..3,
            channels in 1usize..10,
            positions in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 4, 7, 20]), 0..3),
            groups in prop::option::of(1usize..4),
        ) {
            let channels = channels * groups.unwrap_or(1);
            let shape = [vec![images, channels], positions].concat();
            let definition = Definition::new(if groups.is_some() { "GroupNormalization" } else { "InstanceNormalization" })
                .attribute("epsilon", 1e-2f32);
            let operator = make(&match groups {
                Some(n) => definition.attribute("num_groups", n as i64),
                None => definition,
            })
            .unwrap();
            let inputs = [
                Input::Run(random(&shape, 2.0, 0.3)),
                Input::Constant(random(&[channels], 0.5, 1.0)),
                Input::Run(random(&[channels], 0.5, -0.2)),
            ];
            try_check_by_precision(&*operator, &inputs, SINGLE, HALF.half()).map_err(TestCaseError::fail)?;
        }
    }
}
