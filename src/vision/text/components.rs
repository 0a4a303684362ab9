//! Connected components: pixels that touch, corners included.

/// The components of the pixels above a threshold, in the order of their first pixels: of each row of each the first and the
/// last pixel, which its convex hull is made of. Lazily: what nobody asks for is not looked for.
pub fn components(
    values: &[f32],
    width: usize,
    height: usize,
    threshold: f32,
) -> impl Iterator<Item = Vec<[f32; 2]>> + '_ {
    let mut left: Vec<bool> = values.iter().map(|&value| value > threshold).collect();
    (0..values.len()).filter_map(move |first| {
        if !left[first] {
            return None;
        }
        left[first] = false;
        let mut open = vec![first];
        let mut pixels = vec![];
        while let Some(at) = open.pop() {
            pixels.push(at);
            let (x, y) = (at % width, at / width);
            for y in y.saturating_sub(1)..(y + 2).min(height) {
                for x in x.saturating_sub(1)..(x + 2).min(width) {
                    let neighbour = y * width + x;
                    if std::mem::take(&mut left[neighbour]) {
                        open.push(neighbour);
                    }
                }
            }
        }
        pixels.sort_unstable();
        let point = |at: &usize| [(at % width) as f32, (at / width) as f32];
        let rows = pixels.chunk_by(|a, b| a / width == b / width);
        Some(rows.flat_map(|row| row.first().into_iter().chain(row.last()).map(point)).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_that_touch_are_one() {
        let picture = [
            "##.#.", //
            "..#..", //
            ".....", //
            "#.###", //
            "#.#.#", //
        ];
        let values: Vec<f32> = picture.concat().bytes().map(|b| if b == b'#' { 1.0 } else { 0.0 }).collect();
        let mut found: Vec<Vec<[f32; 2]>> = components(&values, 5, 5, 0.5).collect();
        found.iter_mut().for_each(Vec::dedup);
        let first = vec![[0.0, 0.0], [3.0, 0.0], [2.0, 1.0]];
        let second = vec![[0.0, 3.0], [0.0, 4.0]];
        let third = vec![[2.0, 3.0], [4.0, 3.0], [2.0, 4.0], [4.0, 4.0]];
        assert_eq!(found, [first, second, third]);
        assert_eq!(components(&[], 0, 0, 0.5).count() + components(&[f32::NAN; 6], 3, 2, 0.5).count(), 0);
    }
}
