//! NonMaxSuppression (ONNX opsets 10 and 11): of boxes that overlap, those with the highest scores. On the host: how many
//! there are depends on the data.

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::tensor::{ElementType, Tensor};

/// A choice of boxes, for each class of each image.
///
/// Inputs: boxes `[images, boxes, 4]`, scores `[images, classes, boxes]`, the most boxes of a class (optional, 0), the
/// largest overlap of two that stay (optional, 0), the least score (optional).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NonMaxSuppression {
    /// Whether boxes are centre and size `[x, y, width, height]`, not two corners `[y, x, y, x]`.
    centres: bool,
}

/// Makes a NonMaxSuppression.
pub(super) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    match definition.int("center_point_box")?.unwrap_or(0) {
        format @ 0..=1 => Ok(Arc::new(NonMaxSuppression { centres: format == 1 })),
        other => Err(DefinitionError::Value("center_point_box", format!("is {other}, not 0 or 1"))),
    }
}

/// The borders of a box.
#[derive(Debug, Clone, Copy)]
struct Borders {
    low: [f32; 2],
    high: [f32; 2],
}

impl Borders {
    fn of(centres: bool, fields: &[f32]) -> Option<Self> {
        let &[a, b, c, d] = fields else { return None };
        Some(match centres {
            true => Self { low: [a - c / 2.0, b - d / 2.0], high: [a + c / 2.0, b + d / 2.0] },
            // Any two corners that lie across from each other.
            false => Self { low: [a.min(c), b.min(d)], high: [a.max(c), b.max(d)] },
        })
    }

    fn area(&self) -> f32 {
        (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])
    }

    /// What two have in common as a part of what they cover together.
    fn overlap(&self, other: &Self) -> f32 {
        let side = |i: usize| (self.high[i].min(other.high[i]) - self.low[i].max(other.low[i])).max(0.0);
        let common = side(0) * side(1);
        let together = self.area() + other.area() - common;
        if common > 0.0 && together > 0.0 { common / together } else { 0.0 }
    }
}

impl NonMaxSuppression {
    /// The boxes of one class that stay, highest score first.
    fn chosen(boxes: &[Borders], scores: &[f32], most: usize, overlap: f32, least: Option<f32>) -> Vec<usize> {
        let mut order: Vec<usize> = (0..boxes.len()).filter(|&i| least.is_none_or(|least| scores[i] > least)).collect();
        // The first of equals comes first.
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let mut chosen: Vec<usize> = vec![];
        for i in order {
            if chosen.len() >= most {
                break;
            }
            if chosen.iter().all(|&j| boxes[i].overlap(&boxes[j]) <= overlap) {
                chosen.push(i);
            }
        }
        chosen
    }
}

impl Operator for NonMaxSuppression {
    fn name(&self) -> &str {
        "NonMaxSuppression"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (boxes, scores) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        let agree = |a: &Dim, b: &Dim| a.known().zip(b.known()).is_none_or(|(a, b)| a == b);
        let fits = boxes.rank() == 3
            && scores.rank() == 3
            && agree(&boxes.shape[0], &scores.shape[0])
            && agree(&boxes.shape[1], &scores.shape[2])
            && agree(&boxes.shape[2], &Dim::Known(4));
        if !fits || [boxes, scores].iter().any(|f| f.element_type != ElementType::F32) {
            return Err(ShapeError::new(format!("scores {scores} do not go with boxes {boxes}")));
        }
        for (i, float) in [(2, false), (3, true), (4, true)] {
            let Some(limit) = Fact::optional(inputs, i) else { continue };
            let one = limit.shape.iter().all(|d| agree(d, &Dim::Known(1)));
            if !one || limit.element_type != if float { ElementType::F32 } else { ElementType::I64 } {
                return Err(ShapeError::new(format!("input {i} is {limit}, not one number")));
            }
        }
        Ok(vec![Fact::new(ElementType::I64, [Dim::Unknown, Dim::Known(3)])])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (boxes, scores) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let facts: Vec<Option<Fact>> =
            (0..5).map(|i| inputs.optional(i).map(|t| Fact::new(t.element_type(), t.shape().to_vec()))).collect();
        self.infer(&facts.iter().map(Option::as_ref).collect::<Vec<_>>())?;
        let (images, count, classes) = (boxes.shape()[0], boxes.shape()[1], scores.shape()[1]);
        let most = inputs.integers(2)?.and_then(|n| n.first().copied()).unwrap_or(0);
        let most = usize::try_from(most).unwrap_or(0);
        let number = |i: usize| inputs.optional(i).and_then(|t| t.as_slice::<f32>().ok()?.first().copied());
        let (overlap, least) = (number(3).unwrap_or(0.0), number(4));
        let (fields, scores) = (boxes.as_slice::<f32>()?, scores.as_slice::<f32>()?);
        let mut out = vec![];
        for image in 0..images {
            let boxes = fields[image * count * 4..(image + 1) * count * 4].chunks(4);
            let boxes: Vec<Borders> = boxes.filter_map(|b| Borders::of(self.centres, b)).collect();
            for class in 0..classes {
                let scores = &scores[(image * classes + class) * count..][..count];
                for chosen in Self::chosen(&boxes, scores, most, overlap, least) {
                    out.extend([image, class, chosen].map(|i| i64::try_from(i).unwrap_or(i64::MAX)));
                }
            }
        }
        Ok(vec![Tensor::new([out.len() / 3, 3], out)?.into()])
    }

    fn candidates(&self, _: &Request<'_>) -> Candidates {
        Err("how many boxes it chooses depends on the data".to_owned())
    }

    fn work(&self, inputs: &[Option<&Fact>], _: &[Fact]) -> f64 {
        let scores = inputs.get(1).copied().flatten().and_then(Fact::concrete).unwrap_or_default();
        let boxes = scores.last().map_or(0.0, |&n| n as f64);
        // Each with some that were chosen.
        scores.iter().map(|&d| d as f64).product::<f64>() * boxes.min(100.0) * 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(d: &Definition, boxes: &[[f32; 4]], scores: &[f32], most: i64, least: Option<f32>) -> Vec<i64> {
        let mut inputs = vec![
            Value::from(Tensor::new([1, boxes.len(), 4], boxes.concat()).unwrap()),
            Tensor::new([1, scores.len() / boxes.len(), boxes.len()], scores.to_vec()).unwrap().into(),
            Tensor::scalar(most).into(),
            Tensor::scalar(0.5f32).into(),
        ];
        inputs.extend(least.map(|least| Value::from(Tensor::vector(vec![least]))));
        let inputs: Vec<_> = inputs.iter().map(Some).collect();
        let y = make(d).unwrap().evaluate(&mut Context::default(), Inputs(&inputs)).unwrap();
        let y = y[0].as_tensor().unwrap();
        assert_eq!(y.shape()[1], 3);
        y.as_slice::<i64>().unwrap().chunks(3).flat_map(|c| c[1..].to_vec()).collect()
    }

    #[test]
    fn the_best_of_those_that_overlap_stay() {
        let d = Definition::new("NonMaxSuppression");
        // The second overlaps each other by more than a half, the first and the third by a third; corners in any order.
        let boxes = [[0.0, 0.0, 1.0, 3.0], [1.0, 3.5, 0.0, 0.5], [0.0, 1.5, 1.0, 4.5]];
        assert_eq!(run(&d, &boxes, &[0.9, 0.8, 0.7], 3, None), [0, 0, 0, 2]);
        assert_eq!(run(&d, &boxes, &[0.5, 0.8, 0.7], 3, None), [0, 1, 0, 2]);
        assert_eq!(run(&d, &boxes, &[0.9, 0.8, 0.7], 1, None), [0, 0]);
        assert_eq!(run(&d, &boxes, &[0.9, 0.8, 0.7], 3, Some(0.7)), [0, 0]);
        assert_eq!(run(&d, &boxes, &[0.9, 0.8, 0.7], 0, None), Vec::<i64>::new());
        // Two classes choose for themselves; the first of equals comes first.
        assert_eq!(run(&d, &boxes[..2], &[0.1, 0.2, 0.3, 0.3], 2, None), [0, 1, 1, 0]);
        let centres = d.attribute("center_point_box", 1);
        assert_eq!(run(&centres, &[[0.0, 0.0, 2.0, 2.0], [0.2, 0.0, 2.0, 2.0]], &[0.1, 0.2], 2, None), [0, 1]);
    }
}
