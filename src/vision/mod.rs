//! What detectors say of a picture: from a network's raw outputs to rectangles, in plain functions of plain numbers.
//!
//! A detector takes a picture fitted to its input ([`Fitted`] remembers how), and answers with thousands of rows. A decoder makes
//! [`Detection`]s of those that are sure enough ([`yolox`], [`yolov5`], [`yolov8`], [`ultraface`]), [`NonMaximumSuppression`] keeps
//! one for each object, and [`Fitted::back`] says where in the picture that is. [`Tracker`] follows objects from frame to frame.
//! [`TextDetector`] finds lines of text in a map of probabilities.
//!
//! ```
//! use rimlight::TensorView;
//! use rimlight::vision::{Fitted, NonMaximumSuppression, yolov8};
//!
//! // A picture of 1280 × 720 in a letterbox of 640 × 640, and what a YOLOv8 of two classes says: `[1, 4 + 2, rows]`.
//! let fitted = Fitted::letterbox([1280, 720], [640, 640], true)?;
//! #[rustfmt::skip]
//! let rows = [
//!     320.0, 321.0, 100.0f32, // centres: left to right,
//!     320.0, 320.0, 300.0,    // and top to bottom
//!     100.0, 100.0, 20.0,     // widths
//!     50.0, 50.0, 20.0,       // heights
//!     0.9, 0.8, 0.1,          // how likely each is of class 0,
//!     0.0, 0.0, 0.2,          // and of class 1
//! ];
//! let found = yolov8(&TensorView::new([1, 6, 3], &rows)?, 0.25)?;
//! let found = NonMaximumSuppression::default().apply(&found);
//! assert_eq!(found.len(), 1);
//! let rectangle = fitted.back(found[0].rectangle);
//! assert_eq!((rectangle.left, rectangle.top, rectangle.width()), (540.0, 310.0, 200.0));
//! # Ok::<(), rimlight::Error>(())
//! ```
//!
//! Outputs of another shape are a [`VisionError`]. What a network cannot mean (a score that is no number, a rectangle without an
//! end) is left out: one bad row costs that row.

mod detection;
mod error;
mod fitted;
mod heads;
mod rectangle;
mod suppression;
mod text;
mod track;

pub use detection::Detection;
pub use error::VisionError;
pub use fitted::Fitted;
pub(crate) use fitted::letterbox;
pub use heads::{RawHead, YOLOV5_ANCHORS, ultraface, yolov5, yolov5_raw, yolov8, yolox};
pub use rectangle::Rectangle;
pub use suppression::NonMaximumSuppression;
pub use text::{RotatedRectangle, TextDetector, TextRegion};
pub use track::{Track, TrackState, Tracker, Zone, ZoneCounts};
