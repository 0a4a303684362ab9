//! Detectors of objects by the meaning of their rows: how they want their pictures, and what they say of them.

use rimlight::image::{ImageError, Preprocessing};
use rimlight::vision::{Detection, Fitted, NonMaximumSuppression, yolov5, yolov8, yolox};
use rimlight::{Error, RunError, Tensor};

/// The classes of COCO, one a line.
pub const COCO: &str = include_str!("../../models/labels/coco_80.txt");

/// What a detector's rows mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// YOLOX.
    Yolox,
    /// YOLOv5.
    Yolov5,
    /// YOLOv8.
    Yolov8,
}

impl Head {
    /// The head of this name.
    ///
    /// # Errors
    /// If there is none; the text names those that there are.
    pub fn named(name: &str) -> Result<Self, String> {
        match name {
            "yolox" => Ok(Self::Yolox),
            "yolov5" => Ok(Self::Yolov5),
            "yolov8" => Ok(Self::Yolov8),
            other => Err(format!("--head is yolox, yolov5 or yolov8, not '{other}'")),
        }
    }

    /// How a detector of this kind wants its pictures: in a letterbox; YOLOX blue first and as they are.
    ///
    /// # Errors
    /// Never, unless the library forgets a setting.
    pub fn preprocessing(self) -> Result<Preprocessing, ImageError> {
        let mut how = Preprocessing::default();
        let (resize, channels, scale) = match self {
            Self::Yolox => ("letterbox", "bgr", "1"),
            Self::Yolov5 | Self::Yolov8 => ("letterbox_centred", "rgb", "1/255"),
        };
        let properties = [("resize", resize), ("channels", channels), ("scale", scale), ("mean", "0"), ("std", "1")];
        properties.into_iter().try_for_each(|(property, value)| how.set(property, value))?;
        Ok(how)
    }
}

/// From a detector's rows to objects in the picture.
#[derive(Debug, Clone, Copy)]
pub struct Detector {
    /// What its rows mean.
    pub head: Head,
    /// From which score on an object is one.
    pub threshold: f32,
    /// Which of several that overlap are kept.
    pub suppression: NonMaximumSuppression,
}

impl Detector {
    /// The objects in a picture of this width and height, which was fitted to an input of this shape.
    ///
    /// # Errors
    /// If the rows are not this head's.
    pub fn found(&self, rows: &Tensor, input: &[usize], picture: [u32; 2]) -> Result<Vec<Detection>, Error> {
        let &[.., height, width] = input else {
            return Err(RunError::State("a detector's input has a height and a width".to_owned()).into());
        };
        let input = [width, height].map(|side| u32::try_from(side).unwrap_or(u32::MAX));
        let fitted = Fitted::letterbox(picture, input, self.head != Head::Yolox)?;
        let found = match self.head {
            Head::Yolox => yolox(&rows.view(), input, self.threshold)?,
            Head::Yolov5 => yolov5(&rows.view(), self.threshold)?,
            Head::Yolov8 => yolov8(&rows.view(), self.threshold)?,
        };
        let back = |object: Detection| Detection { rectangle: fitted.back(object.rectangle), ..object };
        Ok(self.suppression.apply(&found).into_iter().map(back).collect())
    }
}

/// A class's label, or its number where it has none.
pub fn label(labels: &[&str], class: usize) -> String {
    labels.get(class).map_or_else(|| format!("class {class}"), |label| (*label).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_come_back_to_the_picture() {
        // One row of two classes, for a picture of 200 × 100 in 100 × 100: 25 pixels of the letterbox are above it.
        let rows = [50.0, 50.0, 20.0, 10.0, 0.1, 0.9f32];
        let rows = Tensor::new([1, 6, 1], rows.to_vec()).unwrap();
        let suppression = NonMaximumSuppression::default();
        let detector = Detector { head: Head::named("yolov8").unwrap(), threshold: 0.5, suppression };
        let found = detector.found(&rows, &[1, 3, 100, 100], [200, 100]).unwrap();
        assert_eq!(found.len(), 1);
        let seen = found[0].rectangle;
        assert_eq!((found[0].class, [seen.left, seen.top, seen.right, seen.bottom]), (1, [80.0, 40.0, 120.0, 60.0]));
        assert!(detector.found(&rows, &[4], [200, 100]).is_err());
        assert!(Detector { head: Head::Yolox, ..detector }.found(&rows, &[1, 3, 100, 100], [200, 100]).is_err());
        assert!(Head::named("ssd").is_err());
        assert_eq!((label(&["cat"], 0), label(&["cat"], 7)), ("cat".to_owned(), "class 7".to_owned()));
    }
}
