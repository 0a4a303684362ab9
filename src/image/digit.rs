//! Pictures of digits as the MNIST data set has them.
//!
//! 1. Grey, by the luma of BT.709. A picture whose border is bright is turned over: digits are bright on dark.
//! 2. The mean of the border becomes 0 and the brightest pixel 1; what is under 0.15 is background.
//! 3. The smallest rectangle around the rest gives the scale: its longer side becomes 20 of 28 pixels.
//! 4. The centre of mass comes to the middle; each pixel of the result is the mean of what lies under it.
//! 5. The brightest pixel becomes 1 again.

use super::Picture;

/// Width and height of the result.
pub(super) const SIDE: u32 = 28;
/// The longer side of the digit in it.
pub(super) const BOX: f64 = 20.0;
/// What is darker than this share of the brightest is background.
pub(super) const CUT: f64 = 0.15;
/// Below this difference between border and brightest pixel there is no digit.
pub(super) const FAINT: f64 = 16.0;

/// The 28 × 28 pixels of the digit, 0 to 1, bright on dark; all 0 where there is none.
#[expect(clippy::cast_possible_truncation, reason = "values of 0 to 1")]
pub(super) fn pixels(picture: &Picture) -> Vec<f32> {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let blank = vec![0.0; (SIDE * SIDE) as usize];
    let mut grey: Vec<f64> = picture.rgb.as_chunks::<3>().0.iter().map(|&pixel| luma(pixel)).collect();
    let on_border =
        |i: usize| i < width || i >= width * (height - 1) || i.is_multiple_of(width) || i % width == width - 1;
    let border: Vec<f64> = grey.iter().enumerate().filter(|(i, _)| on_border(*i)).map(|(_, v)| *v).collect();
    let mut base = border.iter().sum::<f64>() / border.len() as f64;
    if base > 127.5 {
        grey.iter_mut().for_each(|v| *v = 255.0 - *v);
        base = 255.0 - base;
    }
    let contrast = grey.iter().copied().fold(0.0, f64::max) - base;
    if contrast < FAINT {
        return blank;
    }
    // Bounds (left, right, top, bottom) and moments of the foreground.
    let (mut bounds, mut mass, mut across, mut down) = ([usize::MAX, 0, usize::MAX, 0], 0.0, 0.0, 0.0);
    for (i, v) in grey.iter_mut().enumerate() {
        *v = (*v - base) / contrast;
        if *v < CUT {
            *v = 0.0;
            continue;
        }
        let (x, y) = (i % width, i / width);
        bounds = [bounds[0].min(x), bounds[1].max(x), bounds[2].min(y), bounds[3].max(y)];
        mass += *v;
        across += *v * (x as f64 + 0.5);
        down += *v * (y as f64 + 0.5);
    }
    // The brightest pixel is foreground: there are bounds and a mass.
    let scale = (bounds[1] - bounds[0]).max(bounds[3] - bounds[2]).saturating_add(1) as f64 / BOX;
    let columns = shares(width, across / mass, scale);
    let rows = shares(height, down / mass, scale);
    let mut out = Vec::with_capacity(blank.len());
    for (top, row_shares) in &rows {
        for (left, column_shares) in &columns {
            let mut sum = 0.0;
            for (y, row_share) in row_shares.iter().enumerate() {
                let start = (top + y) * width + left;
                let line = &grey[start..start + column_shares.len()];
                sum += row_share * line.iter().zip(column_shares).map(|(v, share)| v * share).sum::<f64>();
            }
            out.push(sum);
        }
    }
    let brightest = out.iter().copied().fold(0.0, f64::max);
    if brightest <= 0.0 {
        return blank;
    }
    out.into_iter().map(|v| (v / brightest) as f32).collect()
}

/// For each of the 28 pixels of an axis: the first source pixel under it, and how much of it and those after it lie there.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positions are clamped to the picture")]
fn shares(count: usize, centre: f64, scale: f64) -> Vec<(usize, Vec<f64>)> {
    let share = |start: f64, pixel: usize| {
        let inside = (start + scale).min(pixel as f64 + 1.0) - start.max(pixel as f64);
        inside.max(0.0) / scale
    };
    (0..SIDE)
        .map(|i| {
            let start = centre + (f64::from(i) - f64::from(SIDE) / 2.0) * scale;
            let first = (start.max(0.0) as usize).min(count);
            let last = ((start + scale).max(0.0).ceil() as usize).clamp(first, count);
            (first, (first..last).map(|pixel| share(start, pixel)).collect())
        })
        .collect()
}

/// ITU-R BT.709's luma, rounded down.
fn luma([r, g, b]: [u8; 3]) -> f64 {
    f64::from((u32::from(r) * 2126 + u32::from(g) * 7152 + u32::from(b) * 722) / 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dark bar on white paper, high in the picture.
    fn bar() -> Picture {
        let dark = |x: usize, y: usize| (40..50).contains(&x) && (5..65).contains(&y);
        let grey = (0..100 * 120).map(|i| if dark(i % 100, i / 100) { 30 } else { 240 });
        Picture::from_rgb(100, 120, grey.flat_map(|v| [v; 3]).collect()).unwrap()
    }

    #[test]
    fn a_bar_stands_in_the_middle_bright_on_dark_twenty_pixels_high() {
        let pixels = pixels(&bar());
        let bright = |x: usize, y: usize| pixels[y * 28 + x] > 0.5;
        // 10 of 60 pixels wide: 3⅓ of 20, around the middle at 14.
        let rows: Vec<usize> = (0..28).filter(|&y| bright(14, y)).collect();
        assert_eq!((rows[0], rows.len()), (4, 20));
        let columns: Vec<usize> = (0..28).filter(|&x| bright(x, 14)).collect();
        assert_eq!(columns, [12, 13, 14, 15]);
        assert_eq!(pixels.iter().copied().fold(0.0, f32::max), 1.0);
    }

    #[test]
    fn blank_paper_is_no_digit() {
        for (width, height) in [(1, 1), (50, 1), (30, 40)] {
            let paper = Picture::from_rgb(width, height, vec![250; (width * height * 3) as usize]).unwrap();
            assert!(pixels(&paper).iter().all(|v| *v == 0.0));
        }
    }
}
