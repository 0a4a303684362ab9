//! Drawing on pictures: sides of rectangles and polygons, and labels in the fonts of `embedded-graphics`.

use std::convert::Infallible;
use std::path::Path;

use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::MonoTextStyleBuilder;
use embedded_graphics::mono_font::iso_8859_1::FONT_10X20;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::text::{Baseline, Text};
use rimlight::image::{ImageError, Picture};
use rimlight::vision::Rectangle;

/// Colours that are told apart, also by those who see few.
const COLOURS: [[u8; 3]; 8] = [
    [230, 159, 0],
    [86, 180, 233],
    [0, 158, 115],
    [240, 228, 66],
    [0, 114, 178],
    [213, 94, 0],
    [204, 121, 167],
    [255, 255, 255],
];

/// The colour of a class. Those that often stand together in photographs (persons, cars, dogs, horses, ties) have different ones.
pub fn colour(class: usize) -> [u8; 3] {
    COLOURS[class.wrapping_add(class / 8 * 3) % COLOURS.len()]
}

/// A picture that is drawn on.
#[derive(Debug)]
pub struct Canvas {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Canvas {
    /// A canvas that begins as this picture.
    pub fn of(picture: &Picture) -> Self {
        Self { width: picture.width(), height: picture.height(), rgb: picture.rgb().to_vec() }
    }

    /// Two pictures side by side; the second is cut or filled with black where it is not as high as the first.
    pub fn beside(left: &Picture, right: &Picture) -> Self {
        let pitches = [left, right].map(|picture| picture.width() as usize * 3);
        let rows = left.rgb().chunks_exact(pitches[0]).enumerate().flat_map(|(y, row)| {
            let other = right.rgb().chunks_exact(pitches[1]).nth(y);
            row.iter().copied().chain(other.map_or(vec![0; pitches[1]], <[u8]>::to_vec))
        });
        Self { width: left.width() + right.width(), height: left.height(), rgb: rows.collect() }
    }

    /// How thick lines are: as suits the picture's size.
    fn stroke(&self) -> u32 {
        (self.width.min(self.height) / 250).max(2)
    }

    /// Draws a polygon's sides: a small square at each of their pixels. (The crate's own thick lines overflow on large pictures.)
    pub fn polygon(&mut self, corners: &[[f32; 2]], colour: [u8; 3]) {
        let half = (self.stroke() / 2) as i32;
        let ends = corners.iter().skip(1).chain(corners.first());
        for (&from, &to) in corners.iter().zip(ends) {
            let (from, to) = (self.point(from), self.point(to));
            let steps = (to.x - from.x).abs().max((to.y - from.y).abs()).max(1);
            for step in 0..=steps {
                let part = f64::from(step) / f64::from(steps);
                let at = |from: i32, to: i32| (f64::from(from) + f64::from(to - from) * part).round() as i32;
                let (x, y) = (at(from.x, to.x), at(from.y, to.y));
                for (x, y) in (y - half..=y + half).flat_map(|y| (x - half..=x + half).map(move |x| (x, y))) {
                    self.set(x, y, colour);
                }
            }
        }
    }

    /// Draws a rectangle's sides, and a label above it, or within where there is no room above.
    pub fn rectangle(&mut self, rectangle: &Rectangle, label: &str, colour: [u8; 3]) {
        let Rectangle { left, top, right, bottom } = *rectangle;
        self.polygon(&[[left, top], [right, top], [right, bottom], [left, bottom]], colour);
        self.label([left, top - 20.0], label, colour);
    }

    /// Writes a label whose upper left corner is here, or as near as it can be within the picture.
    pub fn label(&mut self, at: [f32; 2], label: &str, colour: [u8; 3]) {
        let bright = colour.iter().map(|&part| u32::from(part)).sum::<u32>() > 330;
        let ink = if bright { Rgb888::BLACK } else { Rgb888::WHITE };
        let style = MonoTextStyleBuilder::new().font(&FONT_10X20).text_color(ink).background_color(rgb888(colour));
        let text = format!(" {label} ");
        let width = text.chars().count() as f32 * 10.0;
        let [x, y] = [(at[0], self.width as f32 - width), (at[1], self.height as f32 - 20.0)]
            .map(|(at, most)| at.min(most).max(0.0));
        let at = self.point([x, y]);
        let Ok(_) = Text::with_baseline(&text, at, style.build(), Baseline::Top).draw(self);
    }

    /// Sets a pixel, unless it is outside.
    fn set(&mut self, x: i32, y: i32, colour: [u8; 3]) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
        let at = (u64::from(y) * u64::from(self.width) + u64::from(x)) as usize * 3;
        if x < self.width
            && let Some(pixel) = self.rgb.get_mut(at..at + 3)
        {
            pixel.copy_from_slice(&colour);
        }
    }

    /// The pixel at a point, within the picture.
    fn point(&self, [x, y]: [f32; 2]) -> Point {
        let within = |at: f32, size: u32| at.round().clamp(0.0, size.saturating_sub(1) as f32) as i32;
        Point::new(within(x, self.width), within(y, self.height))
    }

    /// What was drawn.
    ///
    /// # Errors
    /// If it has no pixels.
    pub fn picture(self) -> Result<Picture, ImageError> {
        Picture::from_rgb(self.width, self.height, self.rgb)
    }

    /// Writes it into a PNG file.
    ///
    /// # Errors
    /// If it cannot be encoded or written.
    pub fn write(self, path: &Path) -> Result<(), ImageError> {
        write(&self.picture()?, path)
    }
}

/// Writes a picture into a PNG file.
///
/// # Errors
/// If it cannot be encoded or written.
pub fn write(picture: &Picture, path: &Path) -> Result<(), ImageError> {
    let bytes = picture.to_png()?;
    std::fs::write(path, bytes).map_err(|source| ImageError::Io { path: path.display().to_string(), source })
}

fn rgb888([red, green, blue]: [u8; 3]) -> Rgb888 {
    Rgb888::new(red, green, blue)
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(Point { x, y }, colour) in pixels {
            self.set(x, y, [colour.r(), colour.g(), colour.b()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_and_labels_are_drawn_within_the_picture() {
        let grey = Picture::from_rgb(120, 80, vec![90; 120 * 80 * 3]).unwrap();
        let mut canvas = Canvas::of(&grey);
        let red = [255, 0, 0];
        canvas.rectangle(&Rectangle::new(20.0, 40.0, 100.0, 70.0), "dog", red);
        let pixel = |canvas: &Canvas, x: usize, y: usize| canvas.rgb[(y * 120 + x) * 3..][..3].to_vec();
        for (x, y) in [(20, 40), (60, 40), (60, 70), (100, 55), (21, 22)] {
            assert_eq!(pixel(&canvas, x, y), red, "{x}, {y}");
        }
        for (x, y) in [(60, 55), (10, 55), (110, 55), (60, 75)] {
            assert_eq!(pixel(&canvas, x, y), [90; 3], "{x}, {y}");
        }
        // White on red.
        assert!(canvas.rgb.as_chunks::<3>().0.contains(&[255; 3]));
        let before = canvas.rgb.len();
        canvas.rectangle(&Rectangle::new(-1e9, f32::NAN, 1e9, f32::INFINITY), "a long label that does not fit", red);
        assert_eq!(canvas.rgb.len(), before);
        assert_eq!(pixel(&canvas, 119, 79), red);
    }

    #[test]
    fn two_pictures_stand_side_by_side() {
        let [left, right] = [(2, 2, 1u8), (1, 1, 9)]
            .map(|(w, h, value)| Picture::from_rgb(w, h, vec![value; (w * h * 3) as usize]).unwrap());
        let both = Canvas::beside(&left, &right);
        assert_eq!((both.width, both.height), (3, 2));
        assert_eq!(both.rgb, [[1; 6].as_slice(), &[9; 3], &[1; 6], &[0; 3]].concat());
    }
}
