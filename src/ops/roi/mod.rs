//! RoiAlign (ONNX opsets 10, 16 and 22) and MaxRoiPool (1 and 22): regions of a picture brought to one size.
//!
//! A region is divided into `height · width` bins. RoiAlign reads the picture between its elements at a grid of points in each
//! bin and takes their mean, or the largest weighted neighbour of any of them, as the standard has it; MaxRoiPool rounds the
//! bins to whole elements and takes the largest.

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::tensor::ElementType;

mod kernels;
mod reference;
#[cfg(test)]
mod tests;

/// No output may be higher or wider: products of two sizes stay in 32 bits.
const LARGEST: i64 = 1 << 14;
/// No bin may have more points along an axis.
const MOST_POINTS: i64 = 256;

/// What is made of a bin.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Points between the elements.
    Align {
        /// The largest weighted neighbour, not the mean.
        max: bool,
        /// Whether coordinates are moved by half an element.
        half_pixel: bool,
        /// Points along each axis of a bin; 0 for one an element.
        points: u32,
    },
    /// The largest element.
    Pool,
}

/// Regions of a picture brought to one size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roi {
    kind: Kind,
    height: usize,
    width: usize,
    /// What the regions' coordinates are multiplied by.
    scale: f32,
}

fn size(name: &'static str, n: i64) -> Result<usize, DefinitionError> {
    let small = usize::try_from(n).ok().filter(|_| (1..=LARGEST).contains(&n));
    small.ok_or_else(|| DefinitionError::Value(name, format!("is {n}; it must be 1 to {LARGEST}")))
}

/// Makes a RoiAlign.
pub(super) fn align(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let max = match definition.string("mode")?.as_deref() {
        None | Some("avg") => false,
        Some("max") => true,
        Some(other) => return Err(DefinitionError::Value("mode", format!("is '{other}'"))),
    };
    let half_pixel = match definition.string("coordinate_transformation_mode")?.as_deref() {
        // Before opset 16 nothing was moved.
        None => definition.opset >= 16,
        Some("half_pixel") => true,
        Some("output_half_pixel") => false,
        Some(other) => {
            return Err(DefinitionError::Value("coordinate_transformation_mode", format!("is '{other}'")));
        }
    };
    let points = definition.int("sampling_ratio")?.unwrap_or(0);
    let few = u32::try_from(points).ok().filter(|_| points <= MOST_POINTS);
    let points = few.ok_or_else(|| {
        DefinitionError::Value("sampling_ratio", format!("is {points}; it must be 0 to {MOST_POINTS}"))
    })?;
    Ok(Arc::new(Roi {
        kind: Kind::Align { max, half_pixel, points },
        height: size("output_height", definition.int("output_height")?.unwrap_or(1))?,
        width: size("output_width", definition.int("output_width")?.unwrap_or(1))?,
        scale: definition.float("spatial_scale")?.unwrap_or(1.0),
    }))
}

/// Makes a MaxRoiPool.
pub(super) fn pool(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let shape = definition.ints("pooled_shape")?.ok_or(DefinitionError::Missing("pooled_shape"))?;
    let [height, width] = shape[..] else {
        return Err(DefinitionError::Value("pooled_shape", format!("is {shape:?}, not a height and a width")));
    };
    Ok(Arc::new(Roi {
        kind: Kind::Pool,
        height: size("pooled_shape", height)?,
        width: size("pooled_shape", width)?,
        scale: definition.float("spatial_scale")?.unwrap_or(1.0),
    }))
}

impl Operator for Roi {
    fn name(&self) -> &str {
        if self.kind == Kind::Pool { "MaxRoiPool" } else { "RoiAlign" }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, rois) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        let fields = if self.kind == Kind::Pool { 5 } else { 4 };
        if x.rank() != 4 || !x.element_type.is_float() || rois.element_type != x.element_type {
            return Err(ShapeError::new(format!("regions {rois} of {x}; it takes [N, C, H, W] and one float type")));
        }
        if rois.rank() != 2 || rois.shape[1].known().is_some_and(|n| n != fields) {
            return Err(ShapeError::new(format!("regions have {fields} numbers each, not {rois}")));
        }
        if x.shape[2..].iter().any(|d| d.known() == Some(0)) {
            return Err(ShapeError::new(format!("there is nothing to read in {x}")));
        }
        if self.kind != Kind::Pool {
            let images = Fact::at(inputs, 2)?;
            let differ =
                images.rank() == 1 && images.shape[0].known().zip(rois.shape[0].known()).is_some_and(|(a, b)| a != b);
            if images.rank() != 1 || differ || !matches!(images.element_type, ElementType::I64 | ElementType::I32) {
                return Err(ShapeError::new(format!("images {images} do not go with regions {rois}")));
            }
        }
        let y = [rois.shape[0].clone(), x.shape[1].clone(), Dim::from(self.height), Dim::from(self.width)];
        Ok(vec![x.with_shape(y.to_vec())])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (x, rois) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let facts: Vec<Option<Fact>> =
            (0..3).map(|i| inputs.optional(i).map(|t| Fact::new(t.element_type(), t.shape().to_vec()))).collect();
        self.infer(&facts.iter().map(Option::as_ref).collect::<Vec<_>>())?;
        let images = inputs.integers(2)?;
        Ok(vec![reference::evaluate(self, x, rois, images.as_deref())?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        kernels::candidates(self, request)
    }

    fn work(&self, inputs: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        let elements: f64 = outputs.iter().filter_map(Fact::concrete).flatten().map(|d| d as f64).product();
        let each = match self.kind {
            Kind::Align { points, .. } if points > 0 => f64::from(points).powi(2),
            // As many as a picture has at most.
            _ => inputs
                .first()
                .copied()
                .flatten()
                .and_then(Fact::concrete)
                .map_or(1.0, |x| x.iter().skip(2).map(|&d| (d / 8 + 4) as f64).product()),
        };
        elements * each * 8.0
    }
}
