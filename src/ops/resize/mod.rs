//! Resize and Upsample (ONNX opsets 1 to 19): a tensor made larger or smaller along any of its axes.
//!
//! The result is separable: along each axis, each of its elements is a weighted sum of some of the input's. Indices and
//! weights are computed once, on the host ([`axis`]), for every mode alike; kernels and reference only add up.

mod axis;
mod kernels;
mod reference;

use std::sync::Arc;

pub(crate) use axis::Taps;
use axis::{Axis, Method};
pub use axis::{Coordinates, Interpolation, Nearest};

use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::ops::binary;
use crate::ops::quantize::Numbers;

/// How sizes that would distort the picture are taken (`keep_aspect_ratio_policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Stretch,
    NotLarger,
    NotSmaller,
}

/// Which of a node's inputs is what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Places {
    region: Option<usize>,
    scales: Option<usize>,
    sizes: Option<usize>,
}

/// The place of a fused residual among the inputs.
pub(crate) const RESIDUAL: usize = 4;

/// A tensor made larger or smaller.
#[derive(Debug, Clone, PartialEq)]
pub struct Resize {
    name: &'static str,
    method: Method,
    /// What stands outside of the input in the crop mode.
    fill: f32,
    axes: Option<Vec<i64>>,
    policy: Policy,
    places: Places,
    /// Scales before opset 9, which were attributes.
    scales: Option<Vec<f32>>,
    /// Whether input [`RESIDUAL`] is added to the result.
    pub(crate) residual: bool,
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let upsample = d.op_type == "Upsample";
    let old = upsample || d.opset < 11;
    let word = |name| d.string(name);
    let unknown = |name, value: &str| DefinitionError::Value(name, format!("is '{value}'"));
    let coordinates = match word("coordinate_transformation_mode")?.as_deref() {
        _ if old => Coordinates::Asymmetric,
        None | Some("half_pixel") => Coordinates::HalfPixel,
        Some("half_pixel_symmetric") => Coordinates::HalfPixelSymmetric,
        Some("pytorch_half_pixel") => Coordinates::PytorchHalfPixel,
        Some("align_corners") => Coordinates::AlignCorners,
        Some("asymmetric") => Coordinates::Asymmetric,
        Some("tf_half_pixel_for_nn") if d.opset < 13 => Coordinates::HalfPixelUnshifted,
        Some("tf_crop_and_resize") => Coordinates::CropAndResize,
        Some(other) => return Err(unknown("coordinate_transformation_mode", other)),
    };
    let nearest = match word("nearest_mode")?.as_deref() {
        _ if old => Nearest::Simple,
        None | Some("round_prefer_floor") => Nearest::RoundPreferFloor,
        Some("round_prefer_ceil") => Nearest::RoundPreferCeil,
        Some("floor") => Nearest::Floor,
        Some("ceil") => Nearest::Ceil,
        Some(other) => return Err(unknown("nearest_mode", other)),
    };
    let interpolation = match word("mode")?.as_deref() {
        None | Some("nearest") => Interpolation::Nearest(nearest),
        Some("linear" | "bilinear") => Interpolation::Linear,
        Some("cubic") if !old => {
            let a = d.float("cubic_coeff_a")?.unwrap_or(-0.75);
            if !a.is_finite() {
                return Err(DefinitionError::Value("cubic_coeff_a", format!("is {a}")));
            }
            Interpolation::Cubic(a)
        }
        Some(other) => return Err(unknown("mode", other)),
    };
    let policy = match word("keep_aspect_ratio_policy")?.as_deref() {
        None | Some("stretch") => Policy::Stretch,
        Some("not_larger") => Policy::NotLarger,
        Some("not_smaller") => Policy::NotSmaller,
        Some(other) => return Err(unknown("keep_aspect_ratio_policy", other)),
    };
    let places = match d.opset {
        _ if upsample && d.opset < 9 => Places { region: None, scales: None, sizes: None },
        _ if old => Places { region: None, scales: Some(1), sizes: None },
        _ => Places { region: Some(1), scales: Some(2), sizes: Some(3) },
    };
    let scales = if upsample && d.opset < 7 {
        let scale = |name| d.float(name)?.ok_or(DefinitionError::Missing(name));
        Some(vec![1.0, 1.0, scale("height_scale")?, scale("width_scale")?])
    } else if upsample && d.opset < 9 {
        Some(d.floats("scales")?.ok_or(DefinitionError::Missing("scales"))?)
    } else {
        None
    };
    Ok(Arc::new(Resize {
        name: if upsample { "Upsample" } else { "Resize" },
        method: Method {
            interpolation,
            coordinates,
            exclude_outside: d.flag("exclude_outside", false)?,
            antialias: d.flag("antialias", false)?,
        },
        fill: d.float("extrapolation_value")?.unwrap_or(0.0),
        axes: d.ints("axes")?,
        policy,
        places,
        scales,
        residual: false,
    }))
}

/// The numbers that a resize takes beside its tensor. Lists that are empty count as left out.
#[derive(Debug, Clone, Default)]
struct Parameters {
    region: Option<Vec<f32>>,
    scales: Option<Vec<f32>>,
    sizes: Option<Vec<i64>>,
}

impl Resize {
    /// The axes that may change, for an input of this rank.
    fn axes(&self, rank: usize) -> Result<Vec<usize>, ShapeError> {
        let Some(axes) = &self.axes else { return Ok((0..rank).collect()) };
        let mut found = vec![];
        for &a in axes {
            let at = crate::tensor::shape::axis(a, rank).filter(|at| !found.contains(at));
            found.push(at.ok_or_else(|| ShapeError::new(format!("axis {a} is out of range or twice there")))?);
        }
        Ok(found)
    }

    /// Input, output, scale and region of every dimension.
    fn resized(&self, shape: &[usize], parameters: &Parameters) -> Result<Vec<Axis>, ShapeError> {
        let axes = self.axes(shape.len())?;
        let mut all: Vec<Axis> =
            shape.iter().map(|&n| Axis { input: n, output: n, scale: 1.0, region: (0.0, 1.0) }).collect();
        let crop = self.method.coordinates == Coordinates::CropAndResize;
        if let (true, Some(region)) = (crop, &parameters.region) {
            if region.len() != 2 * axes.len() || region.iter().any(|v| !v.is_finite()) {
                return Err(ShapeError::new(format!("its region {region:?} does not go with {} axes", axes.len())));
            }
            for (i, &at) in axes.iter().enumerate() {
                all[at].region = (region[i], region[i + axes.len()]);
            }
        }
        match (&parameters.scales, &parameters.sizes) {
            (Some(scales), None) => {
                if scales.len() != axes.len() {
                    return Err(ShapeError::new(format!("{} scales for {} axes", scales.len(), axes.len())));
                }
                for (&scale, &at) in scales.iter().zip(&axes) {
                    if !scale.is_finite() || scale <= 0.0 {
                        return Err(ShapeError::new(format!("a scale is {scale}")));
                    }
                    let (begin, end) = all[at].region;
                    let part = if crop { end - begin } else { 1.0 };
                    all[at].scale = scale;
                    all[at].output = size(shape[at] as f32 * part * scale)?;
                }
            }
            (None, Some(sizes)) => {
                if sizes.len() != axes.len() {
                    return Err(ShapeError::new(format!("{} sizes for {} axes", sizes.len(), axes.len())));
                }
                let ratios = sizes.iter().zip(&axes).map(|(&size, &at)| size as f32 / shape[at] as f32);
                let common = match self.policy {
                    Policy::Stretch => None,
                    Policy::NotLarger => ratios.reduce(f32::min),
                    Policy::NotSmaller => ratios.reduce(f32::max),
                };
                for (&wanted, &at) in sizes.iter().zip(&axes) {
                    let wanted = usize::try_from(wanted).map_err(|_| ShapeError::new(format!("a size is {wanted}")))?;
                    all[at].output = match common {
                        None => wanted,
                        // Halves go up.
                        Some(scale) => size(shape[at] as f32 * scale + 0.5)?,
                    };
                    all[at].scale = common.unwrap_or(wanted as f32 / shape[at] as f32);
                }
            }
            _ => return Err(ShapeError::new("it takes either scales or sizes")),
        }
        Ok(all)
    }

    /// The taps of every axis that changes.
    fn taps(&self, axes: &[Axis]) -> Result<Vec<Option<Taps>>, ShapeError> {
        let taps = axes.iter().map(|axis| {
            // Most axes stay as they are, and need no table to see that.
            let same = axis.input == axis.output && axis.scale == 1.0 && axis.region == (0.0, 1.0);
            if same {
                return Ok(None);
            }
            let taps = self.method.taps(axis)?;
            Ok(if taps.is_identity(axis) { None } else { Some(taps) })
        });
        taps.collect()
    }

    /// The taps of every axis of a float tensor; `None` for an axis that stays as it is. `None` for all where they are not
    /// known yet, or where elements outside of the input are filled.
    pub(crate) fn all_taps(&self, inputs: &[Option<&Fact>]) -> Option<Vec<Option<Taps>>> {
        let shape = inputs.first().copied().flatten()?.concrete()?;
        let taps = self.taps(&self.resized(&shape, &self.known(inputs)?).ok()?).ok()?;
        taps.iter().flatten().all(|taps| taps.index.iter().all(|&i| i >= 0)).then_some(taps)
    }

    /// Whether each element of its result is one of its input's, as far as is known.
    pub(crate) fn is_nearest(&self, inputs: &[Option<&Fact>]) -> bool {
        let nearest = !self.residual && matches!(self.method.interpolation, Interpolation::Nearest(_));
        nearest && self.all_taps(inputs).is_some()
    }

    /// Whether its kernels take quantized numbers to others: it changes its input's size, and fills nothing.
    pub(crate) fn takes_integers(&self, inputs: &[Option<&Fact>]) -> bool {
        !self.residual && self.all_taps(inputs).is_some_and(|taps| taps.iter().any(Option::is_some))
    }

    /// The kernels that take quantized numbers to others. `inputs` are the facts of a resize.
    pub(crate) fn candidates_of_integers(
        &self,
        request: &Request<'_>,
        inputs: &[Option<&Fact>],
        numbers: &Numbers,
    ) -> Candidates {
        let parameters = self.known(inputs).ok_or("its scales or sizes are computed at run time")?;
        let axes = self.resized(&request.shape(0)?, &parameters).map_err(|e| e.to_string())?;
        kernels::of_integers(request, self, &axes, numbers)
    }

    /// The same with one more input, at index [`RESIDUAL`], added to its result. `None` unless all that it does is to repeat
    /// elements along rows and lines, which its kernel does in passing.
    pub(crate) fn with_residual(&self, inputs: &[Option<&Fact>]) -> Option<Self> {
        let x = Fact::optional(inputs, 0).filter(|x| x.element_type.is_float() && x.rank() >= 2)?;
        let taps = self.all_taps(inputs)?;
        let repeats = taps.iter().any(Option::is_some) && kernels::factors(&x.concrete()?, &taps).is_some();
        (repeats && !self.residual).then(|| Self { residual: true, ..self.clone() })
    }

    /// The same without it.
    pub(crate) fn without_residual(&self) -> Self {
        Self { residual: false, ..self.clone() }
    }

    /// The parameters, from facts; `None` where they are not known yet.
    fn known(&self, inputs: &[Option<&Fact>]) -> Option<Parameters> {
        let given = |place: Option<usize>| place.and_then(|i| Fact::optional(inputs, i));
        let absent = |fact: &&Fact| fact.shape.contains(&Dim::Known(0));
        let floats = |place| match given(place).filter(|f| !absent(f)) {
            None => Some(None),
            Some(fact) => fact.floats().map(Some),
        };
        let sizes = match given(self.places.sizes).filter(|f| !absent(f)) {
            None => None,
            Some(fact) => Some(fact.integers()?),
        };
        let crop = self.method.coordinates == Coordinates::CropAndResize;
        let region = if crop { floats(self.places.region)? } else { None };
        let scales = match &self.scales {
            Some(scales) => Some(scales.clone()),
            // Sizes go before scales where a file gives both.
            None if sizes.is_some() => None,
            None => floats(self.places.scales)?,
        };
        Some(Parameters { region, scales, sizes })
    }

    /// The result's dimensions where the input's are not all numbers.
    fn symbolic(&self, x: &Fact, inputs: &[Option<&Fact>]) -> Result<Vec<Dim>, ShapeError> {
        let mut shape = x.shape.clone();
        let parameters = self.known(inputs);
        let sizes = self.places.sizes.and_then(|i| Fact::optional(inputs, i)).and_then(|f| f.known.clone());
        for (i, at) in self.axes(x.rank())?.into_iter().enumerate() {
            let scale = parameters.as_ref().and_then(|p| p.scales.as_ref()).and_then(|s| s.get(i).copied());
            let crop = self.method.coordinates == Coordinates::CropAndResize;
            shape[at] = match (scale, sizes.as_ref().and_then(|s| s.get(i))) {
                (None, Some(size)) if self.policy == Policy::Stretch => size.clone(),
                (Some(scale), None) if !crop => scaled(&shape[at], scale),
                _ => Dim::Unknown,
            };
        }
        Ok(shape)
    }
}

/// A dimension times a scale that is a whole number or one over one.
fn scaled(dim: &Dim, scale: f32) -> Dim {
    let whole = |v: f32| (v.fract() == 0.0 && (1.0..=65_536.0).contains(&v)).then_some(Dim::Known(v.round() as i64));
    match (whole(scale), whole(scale.recip())) {
        (Some(factor), _) => dim.mul(&factor),
        (None, Some(divisor)) => dim.floor_div(&divisor),
        (None, None) => Dim::Unknown,
    }
}

/// A size that was computed as a number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
fn size(value: f32) -> Result<usize, ShapeError> {
    if (0.0..=i32::MAX as f32).contains(&value) {
        Ok(value.floor() as usize)
    } else {
        Err(ShapeError::new(format!("a size would be {value}")))
    }
}

impl Operator for Resize {
    fn name(&self) -> &str {
        self.name
    }

    fn reads(&self, input: usize) -> Reads {
        let places = [self.places.region, self.places.scales, self.places.sizes];
        if places.contains(&Some(input)) { Reads::Parameter } else { Reads::Elements }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let shape = match (x.concrete(), self.known(inputs)) {
            (Some(shape), Some(parameters)) => {
                self.resized(&shape, &parameters)?.into_iter().map(|axis| axis.output.into()).collect()
            }
            _ => self.symbolic(x, inputs)?,
        };
        Ok(vec![x.with_shape(shape)])
    }

    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let facts: Vec<Option<Fact>> =
            (0..inputs.len()).map(|i| inputs.optional(i).cloned().map(Fact::constant)).collect();
        let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
        let parameters = self.known(&facts).ok_or_else(|| ShapeError::new("its scales or sizes have a wrong type"))?;
        let axes = self.resized(x.shape(), &parameters)?;
        let shape: Vec<usize> = axes.iter().map(|axis| axis.output).collect();
        if crate::Tensor::bounded(x.element_type(), &shape)? == 0 {
            return Ok(vec![crate::Tensor::zeros(x.element_type(), shape)?.into()]);
        }
        let taps = self.taps(&axes)?;
        let y = reference::resize(x, shape, &taps, self.fill)?.into();
        let residual = inputs.0.get(RESIDUAL).copied().flatten().filter(|_| self.residual);
        Ok(vec![match residual {
            Some(residual) => binary::apply("Add", context, &y, residual)?,
            None => y,
        }])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        request.storage(0)?;
        let facts: Vec<Option<&Fact>> = request.inputs.iter().map(|i| i.map(|i| i.fact)).collect();
        let parameters = self.known(&facts).ok_or("its scales or sizes are computed at run time")?;
        let axes = self.resized(&request.shape(0)?, &parameters).map_err(|e| e.to_string())?;
        kernels::candidates(request, self, &axes)
    }

    fn work(&self, inputs: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        let taps = match self.method.interpolation {
            Interpolation::Nearest(_) => 0.0,
            Interpolation::Linear => 8.0,
            Interpolation::Cubic(_) => 32.0,
        };
        let _ = inputs;
        outputs.iter().filter_map(Fact::concrete).map(|s| s.iter().map(|&d| d as f64).product::<f64>() * taps).sum()
    }
}

#[cfg(test)]
mod tests;
