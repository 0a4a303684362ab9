//! Upright rectangles, and how much two of them overlap.

/// An upright rectangle. Coordinates run to the right and down; a rectangle from 0 to 1 covers the first pixel.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rectangle {
    /// The left side.
    pub left: f32,
    /// The upper side.
    pub top: f32,
    /// The right side.
    pub right: f32,
    /// The lower side.
    pub bottom: f32,
}

impl Rectangle {
    /// The rectangle between two corners.
    pub const fn new(left: f32, top: f32, right: f32, bottom: f32) -> Self {
        Self { left, top, right, bottom }
    }

    /// The rectangle around a centre, with this width and height.
    pub fn around([x, y]: [f32; 2], [width, height]: [f32; 2]) -> Self {
        let (across, down) = (width / 2.0, height / 2.0);
        Self::new(x - across, y - down, x + across, y + down)
    }

    /// From the left to the right side.
    pub fn width(&self) -> f32 {
        self.right - self.left
    }

    /// From the upper to the lower side.
    pub fn height(&self) -> f32 {
        self.bottom - self.top
    }

    /// The point in the middle.
    pub fn centre(&self) -> [f32; 2] {
        [f32::midpoint(self.left, self.right), f32::midpoint(self.top, self.bottom)]
    }

    /// The area; 0 where a side is below 0 or no number. In 64 bits: no two sides of 32 bits overflow it.
    pub fn area(&self) -> f64 {
        area([self.left, self.top, self.right, self.bottom].map(f64::from))
    }

    /// Whether all sides are finite numbers, and none of them is on the wrong side.
    pub fn is_valid(&self) -> bool {
        let sides = [self.left, self.top, self.right, self.bottom, self.width(), self.height()];
        sides.iter().all(|side| side.is_finite()) && self.width() >= 0.0 && self.height() >= 0.0
    }

    /// Whether a point is in it; the left and upper sides are, the others are not.
    pub fn contains(&self, [x, y]: [f32; 2]) -> bool {
        (self.left..self.right).contains(&x) && (self.top..self.bottom).contains(&y)
    }

    /// Intersection over union: the area that both cover, over the area that either covers. 1 of a rectangle and itself, 0 of two
    /// that do not meet, or where neither has an area.
    ///
    /// ```
    /// use rimlight::vision::Rectangle;
    /// let (a, b) = (Rectangle::new(0.0, 0.0, 2.0, 1.0), Rectangle::new(1.0, 0.0, 3.0, 1.0));
    /// assert_eq!(a.intersection_over_union(&b), 1.0 / 3.0);
    /// ```
    pub fn intersection_over_union(&self, other: &Self) -> f32 {
        let both = area(
            [
                self.left.max(other.left),
                self.top.max(other.top),
                self.right.min(other.right),
                self.bottom.min(other.bottom),
            ]
            .map(f64::from),
        );
        let either = self.area() + other.area() - both;
        // What is no number compares as not greater.
        if both > 0.0 && either > 0.0 { (both / either) as f32 } else { 0.0 }
    }

    /// Each side times a factor: across, and down.
    #[must_use]
    pub fn scaled(&self, [across, down]: [f32; 2]) -> Self {
        Self::new(self.left * across, self.top * down, self.right * across, self.bottom * down)
    }

    /// What of it lies within a picture of this size.
    #[must_use]
    pub fn within(&self, [width, height]: [u32; 2]) -> Self {
        let (width, height) = (width as f32, height as f32);
        let (x, y) = (|x: f32| x.clamp(0.0, width), |y: f32| y.clamp(0.0, height));
        Self::new(x(self.left), y(self.top), x(self.right), y(self.bottom))
    }
}

fn area([left, top, right, bottom]: [f64; 4]) -> f64 {
    // `max` takes the number of a number and a NaN.
    (right - left).max(0.0) * (bottom - top).max(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A rectangle of whole cells in a grid of 12.
    fn cells() -> impl Strategy<Value = [u8; 4]> {
        (0u8..12, 0u8..12, 0u8..12, 0u8..12).prop_map(|(a, b, c, d)| [a.min(c), b.min(d), a.max(c), b.max(d)])
    }

    fn rectangle([left, top, right, bottom]: [u8; 4]) -> Rectangle {
        Rectangle::new(left.into(), top.into(), right.into(), bottom.into())
    }

    fn covers([left, top, right, bottom]: [u8; 4], x: u8, y: u8) -> bool {
        (left..right).contains(&x) && (top..bottom).contains(&y)
    }

    proptest! {
        /// By definition: the cells that both cover over those that either does.
        #[test]
        fn overlap_is_that_of_counted_cells(a in cells(), b in cells()) {
            let count = |f: &dyn Fn(bool, bool) -> bool| {
                (0..144u8).filter(|i| f(covers(a, i % 12, i / 12), covers(b, i % 12, i / 12))).count() as f32
            };
            let (both, either) = (count(&|a, b| a && b), count(&|a, b| a || b));
            let expected = if both > 0.0 { both / either } else { 0.0 };
            let (a, b) = (rectangle(a), rectangle(b));
            prop_assert_eq!(a.intersection_over_union(&b), expected);
            prop_assert_eq!(b.intersection_over_union(&a), expected);
        }

        /// Of any bits whatsoever, the overlap is from 0 to 1.
        #[test]
        fn any_bits_overlap_by_a_part(bits in any::<[u32; 8]>()) {
            let [l, t, r, b, l2, t2, r2, b2] = bits.map(f32::from_bits);
            let (one, other) = (Rectangle::new(l, t, r, b), Rectangle::new(l2, t2, r2, b2));
            let part = one.intersection_over_union(&other);
            prop_assert!((0.0..=1.0).contains(&part), "{one:?} {other:?}: {part}");
        }
    }

    #[test]
    fn the_largest_rectangle_overlaps_itself() {
        let largest = Rectangle::new(f32::MIN, f32::MIN, f32::MAX, f32::MAX);
        assert_eq!(largest.intersection_over_union(&largest), 1.0);
        assert!(!largest.is_valid(), "its width is beyond 32 bits");
        assert!(!Rectangle::new(2.0, 0.0, 1.0, 1.0).is_valid());
        assert!(Rectangle::default().is_valid());
    }

    #[test]
    fn what_is_outside_is_cut_off() {
        let cut = Rectangle::new(-5.0, 3.0, 700.0, 9.5).within([640, 8]);
        assert_eq!(cut, Rectangle::new(0.0, 3.0, 640.0, 8.0));
        assert_eq!(Rectangle::around([4.0, 2.0], [4.0, 2.0]), Rectangle::new(2.0, 1.0, 6.0, 3.0));
    }
}
