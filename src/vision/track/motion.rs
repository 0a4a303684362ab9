//! Motion with constant velocity: an alpha-beta filter, which is what a Kalman filter of that model settles to.

use crate::vision::Rectangle;

/// Which part of a surprise is taken as a change of place, once the filter has settled.
const ALPHA: f64 = 0.6;
/// Which part of it as a change of velocity, a frame.
const BETA: f64 = 0.25;

/// Centre and size of an object, and how they change from frame to frame.
#[derive(Debug, Clone)]
pub struct Motion {
    /// Centre across and down, width, height.
    at: [f64; 4],
    /// Their change a frame; sizes are taken to stay as they are.
    velocity: [f64; 2],
    /// Frames that were seen.
    seen: u32,
}

impl Motion {
    /// At rest, since nothing else is known.
    pub fn at(rectangle: &Rectangle) -> Self {
        Self { at: numbers(rectangle), velocity: [0.0; 2], seen: 1 }
    }

    /// A frame goes by.
    pub fn advance(&mut self) {
        self.at.iter_mut().zip(self.velocity).for_each(|(at, velocity)| *at += velocity);
    }

    /// It is seen here. The second and third time tell more of the velocity than later ones.
    pub fn correct(&mut self, rectangle: &Rectangle) {
        self.seen = self.seen.saturating_add(1);
        let (alpha, beta) = match self.seen {
            2 => (1.0, 1.0),
            3 => (0.8, 0.5),
            _ => (ALPHA, BETA),
        };
        let surprise: Vec<f64> = numbers(rectangle).iter().zip(self.at).map(|(seen, at)| seen - at).collect();
        self.at.iter_mut().zip(&surprise).for_each(|(at, surprise)| *at += alpha * surprise);
        self.velocity.iter_mut().zip(&surprise).for_each(|(velocity, surprise)| *velocity += beta * surprise);
    }

    /// Where it is, or should be.
    pub fn rectangle(&self) -> Rectangle {
        let [x, y, width, height] = self.at.map(|v| v as f32);
        Rectangle::around([x, y], [width, height])
    }

    /// Pixels a frame, across and down.
    pub fn velocity(&self) -> [f32; 2] {
        self.velocity.map(|v| v as f32)
    }
}

fn numbers(rectangle: &Rectangle) -> [f64; 4] {
    let [x, y] = rectangle.centre();
    [x, y, rectangle.width(), rectangle.height()].map(f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What moves evenly is foretold; what stops is soon known to have.
    #[test]
    fn velocity_is_learned() {
        let at = |x: f32| Rectangle::around([x, 2.0 * x], [30.0, 20.0]);
        let mut motion = Motion::at(&at(0.0));
        for frame in 1..10 {
            motion.advance();
            motion.correct(&at(5.0 * frame as f32));
        }
        assert_eq!(motion.velocity(), [5.0, 10.0]);
        motion.advance();
        assert_eq!(motion.rectangle(), at(50.0));
        for _ in 0..12 {
            motion.correct(&at(50.0));
            motion.advance();
        }
        assert!(motion.velocity()[0].abs() < 0.1, "{:?}", motion.velocity());
    }
}
