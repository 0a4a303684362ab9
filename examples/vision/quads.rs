//! Boxes and labels as rectangles that a renderer draws, each of one colour: sides, grounds, and the cells of an atlas of letters.

use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::iso_8859_1::FONT_10X20;
use embedded_graphics::prelude::*;
use embedded_graphics::text::{Baseline, Text};
use rimlight::image::{ImageError, Picture};
use rimlight::vision::{Detection, Rectangle};

use crate::detector::label;
use crate::drawing::{Canvas, colour};

/// Width and height of a letter's cell.
const CELL: [u32; 2] = [10, 20];
/// Columns and rows of the atlas: the letters from space to tilde, and a full cell.
const GRID: [u32; 2] = [16, 6];
const FIRST: u32 = ' ' as u32;
const FULL: u32 = GRID[0] * GRID[1] - 1;

/// A rectangle of one colour, in the pixels of the window, as far as a cell of the atlas covers it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quad {
    /// Where it is.
    pub at: Rectangle,
    /// Which part of the atlas covers it, each side from 0 to 1.
    pub cell: Rectangle,
    /// Red, green, blue.
    pub colour: [u8; 3],
}

/// The atlas: how much of each texel is letter, in the red of a picture.
///
/// # Errors
/// Never, unless it has no letters.
pub fn atlas() -> Result<Picture, ImageError> {
    let [width, height] = [CELL[0] * GRID[0], CELL[1] * GRID[1]];
    let dark = Picture::from_rgb(width, height, vec![0; (width * height * 3) as usize])?;
    let mut canvas = Canvas::of(&dark);
    let style = MonoTextStyle::new(&FONT_10X20, embedded_graphics::pixelcolor::Rgb888::WHITE);
    let letters: Vec<char> = (FIRST..FIRST + FULL).filter_map(char::from_u32).collect();
    for (row, letters) in letters.chunks(GRID[0] as usize).enumerate() {
        let (text, at) = (letters.iter().collect::<String>(), Point::new(0, row as i32 * CELL[1] as i32));
        let Ok(_) = Text::with_baseline(&text, at, style, Baseline::Top).draw(&mut canvas);
    }
    let corner = Point::new((width - CELL[0]) as i32, (height - CELL[1]) as i32);
    let Ok(()) = canvas.fill_solid(
        &embedded_graphics::primitives::Rectangle::new(corner, Size::new(CELL[0], CELL[1])),
        embedded_graphics::pixelcolor::Rgb888::WHITE,
    );
    canvas.picture()
}

/// Where in a window a picture is shown: as large as it fits, in the middle.
pub fn placed(picture: [u32; 2], window: [u32; 2]) -> Rectangle {
    let [w, h] = picture.map(|side| f64::from(side.max(1)));
    let [across, down] = window.map(f64::from);
    let factor = (across / w).min(down / h);
    let [w, h] = [w * factor, h * factor];
    let [left, top] = [((across - w) / 2.0).round(), ((down - h) / 2.0).round()];
    Rectangle::new(left as f32, top as f32, (left + w).round() as f32, (top + h).round() as f32)
}

/// What is drawn over a picture.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    /// In the order in which they are drawn.
    pub quads: Vec<Quad>,
    /// How many pixels of the window a letter's pixel takes, and a fifth of how thick lines are.
    pub scale: f32,
}

impl Overlay {
    /// A frame with a label around each object of a picture of this size, which is shown there.
    pub fn objects(&mut self, found: &[Detection], labels: &[&str], picture: [u32; 2], place: &Rectangle) {
        let [across, down] = [place.width() / picture[0].max(1) as f32, place.height() / picture[1].max(1) as f32];
        // The surest last, so that its label is on top.
        for object in found.iter().rev() {
            let Rectangle { left, top, right, bottom } = object.rectangle;
            let [left, right] = [left, right].map(|x| place.left + x * across);
            let [top, bottom] = [top, bottom].map(|y| place.top + y * down);
            let (thick, colour) = ((2.0 * self.scale).round(), colour(object.class));
            for side in [
                Rectangle::new(left, top, right, top + thick),
                Rectangle::new(left, bottom - thick, right, bottom),
                Rectangle::new(left, top, left + thick, bottom),
                Rectangle::new(right - thick, top, right, bottom),
            ] {
                self.full(side, colour);
            }
            let text = format!(" {} {:.2} ", label(labels, object.class), object.score);
            let height = CELL[1] as f32 * self.scale;
            let above = if top - height < place.top { top } else { top - height };
            // Whole, as far as the picture is wide enough.
            let width = text.chars().count() as f32 * CELL[0] as f32 * self.scale;
            self.text([left.min(place.right - width).max(place.left), above], &text, colour);
        }
    }

    /// A line of text on a ground of this colour, black or white as can be read on it.
    pub fn text(&mut self, [left, top]: [f32; 2], text: &str, ground: [u8; 3]) {
        // On whole pixels letters stay sharp.
        let ([left, top], [width, height]) = ([left.round(), top.round()], CELL.map(|side| side as f32 * self.scale));
        let right = left + width * text.chars().count() as f32;
        self.full(Rectangle::new(left, top, right, top + height), ground);
        let bright = ground.iter().map(|&part| u32::from(part)).sum::<u32>() > 330;
        let colour = if bright { [0; 3] } else { [255; 3] };
        for (i, letter) in text.chars().enumerate().filter(|(_, letter)| *letter != ' ') {
            let left = left + width * i as f32;
            let at = Rectangle::new(left, top, left + width, top + height);
            // What the atlas has not is shown as a question mark.
            let number = (letter as u32).checked_sub(FIRST).filter(|&number| number < FULL);
            let cell = cell(number.unwrap_or('?' as u32 - FIRST));
            self.quads.push(Quad { at, cell, colour });
        }
    }

    fn full(&mut self, at: Rectangle, colour: [u8; 3]) {
        self.quads.push(Quad { at, cell: cell(FULL), colour });
    }
}

/// A cell's place in the atlas.
fn cell(number: u32) -> Rectangle {
    let [column, row] = [number % GRID[0], number / GRID[0]].map(|at| at as f32);
    let [width, height] = GRID.map(|count| 1.0 / count as f32);
    Rectangle::new(column * width, row * height, (column + 1.0) * width, (row + 1.0) * height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_where_their_cells_say() {
        let atlas = atlas().unwrap();
        let lit = |cell: Rectangle| {
            let [left, right] = [cell.left, cell.right].map(|x| (x * atlas.width() as f32) as usize);
            let [top, bottom] = [cell.top, cell.bottom].map(|y| (y * atlas.height() as f32) as usize);
            let lit = |x: usize, y: usize| usize::from(atlas.rgb()[(y * atlas.width() as usize + x) * 3] > 0);
            (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y))).map(|(x, y)| lit(x, y)).sum::<usize>()
        };
        assert_eq!((lit(cell(0)), lit(cell(FULL))), (0, 200));
        let count = |letter: char| lit(cell(letter as u32 - FIRST));
        assert!(0 < count('.') && count('.') < count('i') && count('i') < count('M') && count('~') > 0);
    }

    #[test]
    fn a_picture_is_shown_whole_and_in_the_middle() {
        assert_eq!(placed([200, 100], [400, 400]), Rectangle::new(0.0, 100.0, 400.0, 300.0));
        assert_eq!(placed([100, 200], [400, 100]), Rectangle::new(175.0, 0.0, 225.0, 100.0));
        assert!(placed([0, 0], [0, 0]).is_valid());
    }

    #[test]
    fn boxes_lie_over_their_objects() {
        let (picture, place) = ([100, 50], Rectangle::new(0.0, 100.0, 400.0, 300.0));
        let found = [Detection { rectangle: Rectangle::new(10.0, 20.0, 40.0, 45.0), score: 0.876, class: 0 }];
        let mut overlay = Overlay { quads: vec![], scale: 1.0 };
        overlay.objects(&found, &["dog"], picture, &place);
        let sides = overlay.quads[..4].iter().map(|quad| quad.at);
        let all = sides.reduce(|a, b| {
            Rectangle::new(a.left.min(b.left), a.top.min(b.top), a.right.max(b.right), a.bottom.max(b.bottom))
        });
        assert_eq!(all, Some(Rectangle::new(40.0, 180.0, 160.0, 280.0)));
        // The label's ground above it, and seven letters.
        assert_eq!((overlay.quads[4].at, overlay.quads.len()), (Rectangle::new(40.0, 160.0, 140.0, 180.0), 12));
        assert_eq!(overlay.quads[5].cell, cell('d' as u32 - FIRST));
        // Where there is no room to the right of it, further left.
        let right = Detection { rectangle: Rectangle::new(90.0, 20.0, 100.0, 45.0), ..found[0] };
        let mut overlay = Overlay { quads: vec![], scale: 1.0 };
        overlay.objects(&[right], &["dog"], picture, &place);
        assert_eq!(overlay.quads[4].at, Rectangle::new(300.0, 160.0, 400.0, 180.0));
        // Where there is no room above, within; and what has no letter.
        let high = Detection { rectangle: Rectangle::new(10.0, 2.0, 40.0, 45.0), ..found[0] };
        let mut overlay = Overlay { quads: vec![], scale: 2.0 };
        overlay.objects(&[high], &["ß"], picture, &place);
        assert_eq!(overlay.quads[4].at.top, 108.0);
        assert_eq!(overlay.quads[5].cell, cell('?' as u32 - FIRST));
    }
}
