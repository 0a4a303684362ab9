//! Preprocessing as files and command lines write it: properties by name.

use super::{Channels, ImageError, PixelLayout, Preprocessing, Resize, Turn, digit};

impl Preprocessing {
    /// Sets one property by its name, as `models/manifest.toml` and command lines write it:
    ///
    /// | property | value |
    /// |---|---|
    /// | `kind` | `picture`, or `digit` for a drawn or scanned digit as MNIST has them |
    /// | `resize` | `short_side`, `stretch`, `letterbox`, `letterbox_centred`, `multiple`, `none`, `digit` |
    /// | `turn` | `0`, `90`, `180` or `270` degrees clockwise |
    /// | `mirror`, `exact` | `true`, `false` |
    /// | `region` | four numbers with commas between: left, top, width, height |
    /// | `short_side`, `multiple`, `fill` | a number |
    /// | `size`, `crop` | `640x480` or `640,480`: width and height, where the model leaves them open |
    /// | `channels` | `rgb`, `bgr`, `grey` (also called `y`) |
    /// | `scale` | a number, or one over another: `1/255` |
    /// | `mean`, `std` | one number, or three with commas between, in the order of `channels` |
    /// | `layout` | `nchw`, `nhwc` |
    ///
    /// Lists may stand in brackets. `type` and `state` are accepted and do nothing: the model says them.
    ///
    /// # Errors
    /// If there is no such property or the value cannot be one, with what can.
    pub fn set(&mut self, property: &str, value: &str) -> Result<(), ImageError> {
        let wrong = |allowed: &str| {
            Err(ImageError::Preprocessing(format!("preprocessing: {property} cannot be '{value}'; it is {allowed}")))
        };
        let whole = |text: &str| text.trim().parse::<u32>().ok().filter(|n| (1..=super::MAX_SIDE).contains(n));
        match property {
            "kind" => match value {
                "picture" => {}
                "digit" => self.resize = Resize::Digit,
                _ => return wrong("picture or digit: nothing else is made from a picture"),
            },
            "resize" => {
                self.resize = match value {
                    "short_side" => Resize::ShortSide,
                    "stretch" => Resize::Stretch,
                    "letterbox" => Resize::Letterbox,
                    "letterbox_centred" => Resize::LetterboxCentred,
                    "multiple" => Resize::Multiple,
                    "none" => Resize::Keep,
                    "digit" => Resize::Digit,
                    _ => return wrong("short_side, stretch, letterbox, letterbox_centred, multiple, none or digit"),
                }
            }
            "turn" => {
                self.turn = match value {
                    "0" => Turn::None,
                    "90" => Turn::Quarter,
                    "180" => Turn::Half,
                    "270" => Turn::ThreeQuarters,
                    _ => return wrong("0, 90, 180 or 270 degrees"),
                }
            }
            "mirror" | "exact" => match (property, value.parse()) {
                ("mirror", Ok(mirror)) => self.mirror = mirror,
                (_, Ok(exact)) => self.exact = exact,
                (_, Err(_)) => return wrong("true or false"),
            },
            "region" => {
                let sides: Option<Vec<u32>> = list(value).split(',').map(|side| side.trim().parse().ok()).collect();
                match sides.as_deref() {
                    Some(&[left, top, width, height]) => self.region = Some([left, top, width, height]),
                    _ => return wrong("left, top, width and height, such as 0,0,640,480"),
                }
            }
            "short_side" => match whole(value) {
                Some(side) => self.short_side = Some(side),
                None => return wrong("a number of pixels"),
            },
            "multiple" => match whole(value) {
                Some(multiple) => self.multiple = multiple,
                None => return wrong("a number of pixels"),
            },
            "fill" => match value.trim().parse() {
                Ok(fill) => self.fill = fill,
                Err(_) => return wrong("0 to 255"),
            },
            "size" | "crop" => match list(value).split_once(['x', ',']).map(|(w, h)| (whole(w), whole(h))) {
                Some((Some(width), Some(height))) => self.size = Some([width, height]),
                _ => return wrong("width and height, such as 640x480"),
            },
            "channels" => {
                self.channels = match value {
                    "rgb" => Channels::Rgb,
                    "bgr" => Channels::Bgr,
                    "grey" | "y" => Channels::Grey,
                    _ => return wrong("rgb, bgr, grey or y"),
                }
            }
            "layout" => {
                self.layout = match value {
                    "nchw" => PixelLayout::Nchw,
                    "nhwc" => PixelLayout::Nhwc,
                    _ => return wrong("nchw or nhwc"),
                }
            }
            "scale" => match number(value) {
                Some(scale) => self.scale = scale,
                None => return wrong("a number, or one over another: 1/255"),
            },
            "mean" => match numbers(value) {
                Some(mean) => self.mean = mean,
                None => return wrong("one number, or three with commas between"),
            },
            "std" => match numbers(value).filter(|std| !std.contains(&0.0)) {
                Some(std) => self.std = std,
                None => return wrong("one number, or three with commas between, none of them 0"),
            },
            "type" | "state" => {}
            // The steps of a digit are fixed; a file may say what they are.
            "box" | "cut" | "faint" => {
                let fixed = match property {
                    "box" => digit::BOX,
                    "cut" => digit::CUT,
                    _ => digit::FAINT,
                };
                if value.trim().parse() != Ok(fixed) {
                    return wrong(&format!("always {fixed}"));
                }
            }
            _ => {
                let known = [
                    "kind",
                    "turn",
                    "mirror",
                    "exact",
                    "region",
                    "resize",
                    "short_side",
                    "crop",
                    "size",
                    "multiple",
                    "fill",
                    "channels",
                    "scale",
                    "mean",
                    "std",
                    "layout",
                ];
                let hint = match crate::error::nearest(property, known) {
                    Some(near) => format!("; did you mean '{near}'?"),
                    None => format!("; it has {}", known.join(", ")),
                };
                return Err(ImageError::Preprocessing(format!("preprocessing has no '{property}'{hint}")));
            }
        }
        Ok(())
    }
}

/// A list without its brackets.
fn list(text: &str) -> &str {
    text.trim().trim_matches(['[', ']'])
}

fn number(text: &str) -> Option<f32> {
    let plain = |text: &str| text.trim().parse::<f32>().ok();
    let value = match text.split_once('/') {
        Some((over, under)) => plain(over)? / plain(under)?,
        None => plain(text)?,
    };
    value.is_finite().then_some(value)
}

fn numbers(text: &str) -> Option<[f32; 3]> {
    let all: Option<Vec<f32>> = list(text).split(',').map(number).collect();
    match all?[..] {
        [one] => Some([one; 3]),
        [a, b, c] => Some([a, b, c]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_are_named() {
        let mut how = Preprocessing::default();
        for (property, value, part) in [
            ("resise", "crop", "did you mean 'resize'?"),
            ("resize", "squeeze", "stretch, letterbox"),
            ("kind", "sound", "picture or digit"),
            ("cut", "0.2", "always 0.15"),
            ("turn", "45", "0, 90, 180 or 270"),
            ("mirror", "up", "true or false"),
            ("region", "1,2,3", "left, top, width and height"),
            ("std", "1,0,1", "none of them 0"),
            ("mean", "1,2", "one number, or three"),
            ("scale", "1/0", "1/255"),
            ("size", "0x4", "width and height"),
        ] {
            let message = how.set(property, value).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(how, Preprocessing::default());
    }
}
