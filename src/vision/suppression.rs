//! Non-maximum suppression: of rectangles that overlap much, the surest.

use super::Detection;

/// Non-maximum suppression: keeps the surest detection, drops those that overlap it too much, and so on with what is left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NonMaximumSuppression {
    /// Which intersection over union is too much: what is above it.
    pub iou_threshold: f32,
    /// Whether detections suppress those of other classes too.
    pub class_agnostic: bool,
    /// How many of the surest detections are looked at.
    pub max_candidates: usize,
    /// How many are kept at most. Time is bounded by its product with `max_candidates`.
    pub max_detections: usize,
}

impl Default for NonMaximumSuppression {
    /// Class by class, 0.45; 300 of the 30,000 surest.
    fn default() -> Self {
        Self { iou_threshold: 0.45, class_agnostic: false, max_candidates: 30_000, max_detections: 300 }
    }
}

impl NonMaximumSuppression {
    /// The detections that are kept, the surest first, of equally sure ones the one that comes first. Those whose score is no number
    /// or whose rectangle cannot be are dropped.
    ///
    /// ```
    /// use rimlight::vision::{Detection, NonMaximumSuppression, Rectangle};
    /// let at = |left: f32, score: f32, class: usize| {
    ///     Detection { rectangle: Rectangle::new(left, 0.0, left + 10.0, 10.0), score, class }
    /// };
    /// let found = [at(0.0, 0.6, 3), at(1.0, 0.9, 3), at(1.0, 0.5, 4), at(20.0, 0.4, 3)];
    /// let each_class = NonMaximumSuppression::default();
    /// assert_eq!(each_class.apply(&found), [found[1], found[2], found[3]]);
    /// let all = NonMaximumSuppression { class_agnostic: true, ..each_class };
    /// assert_eq!(all.apply(&found), [found[1], found[3]]);
    /// ```
    #[must_use]
    pub fn apply(&self, detections: &[Detection]) -> Vec<Detection> {
        let can_be = |d: &&Detection| !d.score.is_nan() && d.rectangle.is_valid();
        let mut candidates: Vec<&Detection> = detections.iter().filter(can_be).collect();
        // A stable sort: equally sure ones stay in order.
        candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
        candidates.truncate(self.max_candidates);
        let mut kept: Vec<Detection> = vec![];
        for candidate in candidates {
            if kept.len() >= self.max_detections {
                break;
            }
            let suppresses = |other: &Detection| {
                (self.class_agnostic || other.class == candidate.class)
                    && other.rectangle.intersection_over_union(&candidate.rectangle) > self.iou_threshold
            };
            if !kept.iter().any(suppresses) {
                kept.push(*candidate);
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vision::Rectangle;

    fn detection() -> impl Strategy<Value = Detection> {
        // Few scores, so that many are equal; one in eight is no number.
        let side = || 0.5f32..12.0;
        ((0f32..30.0, 0f32..30.0), side(), side(), 0u8..8, 0usize..3).prop_map(|((x, y), w, h, score, class)| {
            let score = if score == 0 { f32::NAN } else { f32::from(score) / 8.0 };
            Detection { rectangle: Rectangle::new(x, y, x + w, y + h), score, class }
        })
    }

    /// By definition: take the first of the surest, strike out what overlaps it, again.
    fn naive(nms: &NonMaximumSuppression, detections: &[Detection]) -> Vec<Detection> {
        let mut left: Vec<Detection> = detections.iter().copied().filter(|d| !d.score.is_nan()).collect();
        let mut kept = vec![];
        while !left.is_empty() {
            let best = (0..left.len()).fold(0, |best, i| if left[i].score > left[best].score { i } else { best });
            let best = left.remove(best);
            kept.push(best);
            left.retain(|other| {
                let same = nms.class_agnostic || other.class == best.class;
                !(same && other.rectangle.intersection_over_union(&best.rectangle) > nms.iou_threshold)
            });
        }
        kept
    }

    proptest! {
        #[test]
        fn keeps_what_the_definition_keeps(
            detections in proptest::collection::vec(detection(), 0..60),
            iou_threshold in 0f32..1.0,
            class_agnostic in any::<bool>(),
        ) {
            let nms = NonMaximumSuppression { iou_threshold, class_agnostic, ..NonMaximumSuppression::default() };
            let kept = nms.apply(&detections);
            prop_assert_eq!(&kept, &naive(&nms, &detections));
            // What is kept stays.
            prop_assert_eq!(nms.apply(&kept), kept);
        }
    }

    #[test]
    fn work_is_bounded() {
        let at = |i: u16| Detection {
            rectangle: Rectangle::around([f32::from(i) * 3.0, 0.0], [2.0, 2.0]),
            score: f32::from(i) / 1e5,
            class: 0,
        };
        let many: Vec<Detection> = (0..50_000).map(at).collect();
        let nms = NonMaximumSuppression::default();
        let kept = nms.apply(&many);
        assert_eq!((kept.len(), kept[0], kept[299]), (300, many[49_999], many[49_700]));
        assert_eq!(NonMaximumSuppression { max_candidates: 5, ..nms }.apply(&many).len(), 5);
        assert!(NonMaximumSuppression { max_detections: 0, ..nms }.apply(&many).is_empty());
    }

    #[test]
    fn what_cannot_be_is_dropped() {
        let bad = |rectangle, score| Detection { rectangle, score, class: 0 };
        let whole = Rectangle::new(0.0, 0.0, 9.0, 9.0);
        let given = [
            bad(Rectangle { left: f32::NAN, ..whole }, 1.0),
            bad(Rectangle { right: f32::INFINITY, ..whole }, 1.0),
            bad(Rectangle { right: -1.0, ..whole }, 1.0),
            bad(whole, f32::NAN),
            bad(whole, 0.1),
        ];
        assert_eq!(NonMaximumSuppression::default().apply(&given), given[4..]);
    }
}
