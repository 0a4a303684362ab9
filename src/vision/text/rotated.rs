//! Rectangles at any angle, and the smallest one around points.

/// A rectangle at any angle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RotatedRectangle {
    /// The point in the middle.
    pub centre: [f32; 2],
    /// The direction of its first side: a vector of length 1.
    pub direction: [f32; 2],
    /// The length of its first side, and of the one across it.
    pub size: [f32; 2],
}

impl RotatedRectangle {
    /// The rectangle of least area around points: one of its sides lies along a side of their convex hull, so that each is tried.
    /// `None` of no points.
    pub fn around(points: &[[f32; 2]]) -> Option<Self> {
        let hull = convex_hull(points);
        let (&first, rest) = hull.split_first()?;
        let ends = rest.iter().chain([&first]);
        let along = hull.iter().zip(ends).filter_map(|(from, to)| {
            let (x, y) = (to[0] - from[0], to[1] - from[1]);
            let length = x.hypot(y);
            (length > 0.0).then(|| Self::along([x / length, y / length], &hull))
        });
        let area = |r: &([f64; 2], [f64; 2], [f64; 2])| r.2[0] * r.2[1];
        let (centre, direction, size) =
            along.min_by(|a, b| area(a).total_cmp(&area(b))).unwrap_or((first, [1.0, 0.0], [0.0, 0.0]));
        let [centre, direction, size] = [centre, direction, size].map(|v| v.map(|v| v as f32));
        Some(Self { centre, direction, size })
    }

    /// Centre, direction and size of the rectangle around points whose first side has this direction.
    fn along([cos, sin]: [f64; 2], points: &[[f64; 2]]) -> ([f64; 2], [f64; 2], [f64; 2]) {
        let bounds = |direction: [f64; 2]| {
            points.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[least, most], [x, y]| {
                let at = x * direction[0] + y * direction[1];
                [at.min(least), at.max(most)]
            })
        };
        let (along, across) = (bounds([cos, sin]), bounds([-sin, cos]));
        let (u, v) = (f64::midpoint(along[0], along[1]), f64::midpoint(across[0], across[1]));
        ([u * cos - v * sin, u * sin + v * cos], [cos, sin], [along[1] - along[0], across[1] - across[0]])
    }

    /// The length of the shorter side.
    pub fn shorter(&self) -> f32 {
        self.size[0].min(self.size[1])
    }

    /// Whether it is made of finite numbers, no side below 0.
    pub fn is_valid(&self) -> bool {
        let numbers = [self.centre, self.direction, self.size].concat();
        numbers.iter().all(|number| number.is_finite()) && self.shorter() >= 0.0
    }

    /// How far the sides of a shrunken region lie from where they belong: `area · ratio / perimeter`; 0 without a perimeter.
    pub fn unclip_distance(&self, ratio: f32) -> f32 {
        let [width, height] = self.size;
        let perimeter = 2.0 * (width + height);
        if perimeter > 0.0 { width * height * ratio / perimeter } else { 0.0 }
    }

    /// Each side moved outwards.
    #[must_use]
    pub fn grown(&self, distance: f32) -> Self {
        Self { size: self.size.map(|side| side + 2.0 * distance), ..*self }
    }

    /// The corners, clockwise as one sees them: the one nearest to the top left first.
    pub fn corners(&self) -> [[f32; 2]; 4] {
        let [cos, sin] = self.direction;
        let [along, across] = [self.size[0] / 2.0, self.size[1] / 2.0];
        let corner = |(u, v): (f32, f32)| {
            let (u, v) = (u * along, v * across);
            [self.centre[0] + u * cos - v * sin, self.centre[1] + u * sin + v * cos]
        };
        let mut corners = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)].map(corner);
        let sum = |corner: &[f32; 2]| corner[0] + corner[1];
        let first = (0..4).min_by(|&a, &b| sum(&corners[a]).total_cmp(&sum(&corners[b]))).unwrap_or(0);
        corners.rotate_left(first);
        corners
    }
}

/// The convex hull, without points on its sides (Andrew's monotone chain), of the points that are finite.
fn convex_hull(points: &[[f32; 2]]) -> Vec<[f64; 2]> {
    let finite = points.iter().filter(|point| point.iter().all(|v| v.is_finite()));
    let mut points: Vec<[f64; 2]> = finite.map(|point| point.map(f64::from)).collect();
    points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    points.dedup();
    if points.len() < 3 {
        return points;
    }
    let mut hull: Vec<[f64; 2]> = half_hull(points.iter());
    hull.extend(half_hull(points.iter().rev()));
    hull
}

/// The hull's lower side, or its upper one from right to left; without its last point, which the other one begins with.
fn half_hull<'a>(points: impl Iterator<Item = &'a [f64; 2]>) -> Vec<[f64; 2]> {
    let mut half: Vec<[f64; 2]> = vec![];
    for &point in points {
        while let [.., a, b] = half.as_slice()
            && (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0]) <= 0.0
        {
            half.pop();
        }
        half.push(point);
    }
    half.pop();
    half
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// All points lie in it, and none of 180 other angles takes less.
        #[test]
        fn no_angle_takes_less(points in proptest::collection::vec([-20i8..20, -20i8..20], 1..30)) {
            let points: Vec<[f32; 2]> = points.into_iter().map(|p| p.map(f32::from)).collect();
            let found = RotatedRectangle::around(&points).unwrap();
            prop_assert!(found.is_valid());
            let wide: Vec<[f64; 2]> = points.iter().map(|p| p.map(f64::from)).collect();
            let extent = |[cos, sin]: [f64; 2]| RotatedRectangle::along([cos, sin], &wide).2;
            let [width, height] = extent(found.direction.map(f64::from));
            prop_assert!((width - f64::from(found.size[0])).abs() < 1e-4 && (height - f64::from(found.size[1])).abs() < 1e-4);
            for degree in 0..180 {
                let (sin, cos) = f64::from(degree).to_radians().sin_cos();
                let [other_width, other_height] = extent([cos, sin]);
                prop_assert!(width * height <= other_width * other_height + 1e-3);
            }
        }
    }

    #[test]
    fn corners_begin_at_the_top_left() {
        let upright = RotatedRectangle::around(&[[1.0, 2.0], [5.0, 2.0], [5.0, 3.0], [1.0, 3.0]]).unwrap();
        assert_eq!(upright.corners(), [[1.0, 2.0], [5.0, 2.0], [5.0, 3.0], [1.0, 3.0]]);
        assert_eq!(upright.grown(1.0).corners()[0], [0.0, 1.0]);
        assert_eq!(upright.unclip_distance(1.5), 0.6);
    }

    #[test]
    fn points_and_lines_have_no_area() {
        assert_eq!(RotatedRectangle::around(&[]), None);
        assert_eq!(RotatedRectangle::around(&[[f32::NAN, 0.0]]), None);
        let point = RotatedRectangle::around(&[[3.0, 4.0], [3.0, 4.0]]).unwrap();
        assert_eq!((point.centre, point.size, point.unclip_distance(1.5)), ([3.0, 4.0], [0.0, 0.0], 0.0));
        let line = RotatedRectangle::around(&[[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]).unwrap();
        assert_eq!((line.size[0], line.centre), (10.0, [3.0, 4.0]));
        assert!(line.size[1] < 1e-6);
    }
}
