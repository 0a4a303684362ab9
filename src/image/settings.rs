//! Preprocessing as files and command lines write it: properties by name.

use super::{Channels, Fit, ImageError, PixelLayout, Preprocessing};

impl Preprocessing {
    /// Sets one property by its name, as files and command lines write it:
    /// `fit` (`stretch`, `crop`, `letterbox`, `letterbox-top-left`, `digit`), `resize_short`, `fill`, `size` (`WIDTHxHEIGHT`), `channels` (`rgb`,
    /// `bgr`, `grey`), `scale` (`1/255` is understood), `mean` and `std` (one number, or three with commas), `layout` (`nchw`, `nhwc`).
    ///
    /// # Errors
    /// If there is no such property or the value cannot be one, with what can.
    pub fn set(&mut self, property: &str, value: &str) -> Result<(), ImageError> {
        let wrong = |allowed: &str| {
            Err(ImageError::Preprocessing(format!("preprocessing: {property} cannot be '{value}'; it is {allowed}")))
        };
        let whole = |text: &str| text.trim().parse::<u32>().ok().filter(|n| (1..=super::MAX_SIDE).contains(n));
        match property {
            "fit" => {
                self.fit = match value {
                    "stretch" => Fit::Stretch,
                    "crop" => Fit::Crop(None),
                    "letterbox" => Fit::Letterbox { fill: 114, centred: true },
                    "letterbox-top-left" => Fit::Letterbox { fill: 114, centred: false },
                    "digit" => Fit::Digit,
                    _ => return wrong("stretch, crop, letterbox, letterbox-top-left or digit"),
                }
            }
            "resize_short" => match whole(value) {
                Some(short) => self.fit = Fit::Crop(Some(short)),
                None => return wrong("a number of pixels"),
            },
            "fill" => match (value.parse(), self.fit) {
                (Ok(fill), Fit::Letterbox { centred, .. }) => self.fit = Fit::Letterbox { fill, centred },
                (Ok(fill), _) => self.fit = Fit::Letterbox { fill, centred: true },
                _ => return wrong("0 to 255"),
            },
            "size" => match value.split_once('x').map(|(w, h)| (whole(w), whole(h))) {
                Some((Some(width), Some(height))) => self.size = Some([width, height]),
                _ => return wrong("WIDTHxHEIGHT, such as 640x480"),
            },
            "channels" => {
                self.channels = match value {
                    "rgb" => Channels::Rgb,
                    "bgr" => Channels::Bgr,
                    "grey" => Channels::Grey,
                    _ => return wrong("rgb, bgr or grey"),
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
            _ => {
                let known = ["fit", "resize_short", "fill", "size", "channels", "scale", "mean", "std", "layout"];
                let hint =
                    crate::error::nearest(property, known).map_or(String::new(), |k| format!("; did you mean '{k}'?"));
                let known = known.join(", ");
                return Err(ImageError::Preprocessing(format!(
                    "preprocessing has no '{property}'{hint} There are {known}"
                )));
            }
        }
        Ok(())
    }
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
    let all: Option<Vec<f32>> = text.trim_matches(['[', ']']).split(',').map(number).collect();
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
            ("fits", "crop", "did you mean 'fit'?"),
            ("fit", "squeeze", "stretch, crop"),
            ("std", "1,0,1", "none of them 0"),
            ("mean", "1,2", "one number, or three"),
            ("scale", "1/0", "1/255"),
            ("size", "0x4", "WIDTHxHEIGHT"),
        ] {
            let message = how.set(property, value).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(how, Preprocessing::default());
    }
}
