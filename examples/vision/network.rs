//! The detector that the user asks for.

use rimlight::vision::NonMaximumSuppression;
use scene::detector::{COCO, Detector, Head};

use super::program::{Failure, Typed, wrong};

/// What the options `head`, `threshold` and `overlap` say of it.
pub fn detector(typed: &Typed) -> Result<Detector, Failure> {
    let head = Head::named(&typed.text("head").unwrap_or_else(|| "yolox".to_owned())).map_err(wrong)?;
    let threshold = typed.number("threshold", 0.5, [0.0, 1.0])?;
    let iou_threshold = typed.number("overlap", 0.45, [0.0, 1.0])?;
    Ok(Detector { head, threshold, suppression: NonMaximumSuppression { iou_threshold, ..Default::default() } })
}

/// Its classes, one a line: those of the file that `labels` names, or COCO's.
pub fn labels(typed: &Typed) -> Result<String, Failure> {
    let read = |file: std::path::PathBuf| {
        std::fs::read_to_string(&file).map_err(|e| wrong(format!("cannot read '{}': {e}", file.display())))
    };
    typed.path("labels").map_or_else(|| Ok(COCO.to_owned()), read)
}
