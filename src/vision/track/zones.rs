//! Parts of the picture, and who is in them, who came and who went.

use super::{Track, TrackState};

/// A part of the picture: a polygon.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Zone {
    /// Its corners, in order.
    pub corners: Vec<[f32; 2]>,
}

impl Zone {
    /// Whether a point lies in it: a line from there to the right crosses its sides an odd number of times.
    ///
    /// ```
    /// use rimlight::vision::Zone;
    /// let triangle = Zone { corners: vec![[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]] };
    /// assert!(triangle.contains([2.0, 3.0]) && !triangle.contains([8.0, 8.0]));
    /// ```
    pub fn contains(&self, [x, y]: [f32; 2]) -> bool {
        let ends = self.corners.iter().skip(1).chain(self.corners.first());
        let crosses = |&(from, to): &(&[f32; 2], &[f32; 2])| {
            (from[1] > y) != (to[1] > y) && x < (to[0] - from[0]) * (y - from[1]) / (to[1] - from[1]) + from[0]
        };
        self.corners.iter().zip(ends).filter(crosses).count() % 2 == 1
    }
}

/// Counts the objects of a zone, by where they stand: the middle of their lower sides.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ZoneCounts {
    /// How often an object came in.
    pub entered: u64,
    /// How often one went out, or was given up within.
    pub left: u64,
    inside: Vec<u64>,
}

impl ZoneCounts {
    /// The numbers of the objects that are in it, in ascending order.
    pub fn inside(&self) -> &[u64] {
        &self.inside
    }

    /// Takes the tracks of a frame ([`Tracker::update`](super::Tracker::update)). One that is lost stays where it was last seen.
    pub fn update(&mut self, zone: &Zone, tracks: &[Track]) {
        let stays = |track: &Track| match track.state {
            TrackState::Tentative => false,
            TrackState::Lost => self.inside.contains(&track.id),
            TrackState::Confirmed => zone.contains([track.rectangle.centre()[0], track.rectangle.bottom]),
        };
        let mut now: Vec<u64> = tracks.iter().filter(|track| stays(track)).map(|track| track.id).collect();
        now.sort_unstable();
        let not_in = |ids: &[u64], others: &[u64]| ids.iter().filter(|id| !others.contains(id)).count() as u64;
        self.entered += not_in(&now, &self.inside);
        self.left += not_in(&self.inside, &now);
        self.inside = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::{Detection, Rectangle, Tracker};

    #[test]
    fn who_walks_through_is_counted_once() {
        let zone = Zone { corners: vec![[100.0, 0.0], [200.0, 0.0], [200.0, 300.0], [100.0, 300.0]] };
        let (mut tracker, mut counts, mut most) = (Tracker::default(), ZoneCounts::default(), 0);
        for frame in 0..60 {
            let x = 5.0 * frame as f32;
            let at =
                |x: f32, y: f32| Detection { rectangle: Rectangle::around([x, y], [40.0, 80.0]), score: 0.9, class: 0 };
            // One walks through, hidden for a while; one the other way; one stays outside.
            let mut seen = vec![at(300.0 - x, 200.0), at(30.0, 30.0)];
            if !(25..30).contains(&frame) {
                seen.push(at(x, 100.0));
            }
            counts.update(&zone, tracker.update(&seen));
            most = most.max(counts.inside().len());
        }
        assert_eq!((counts.entered, counts.left, most, counts.inside().len()), (2, 2, 2, 0));
    }

    #[test]
    fn a_zone_without_an_area_holds_nothing() {
        for corners in [vec![], vec![[1.0, 1.0]], vec![[0.0, 0.0], [4.0, 4.0]], vec![[f32::NAN; 2]; 3]] {
            assert!(!Zone { corners }.contains([1.0, 1.0]));
        }
    }
}
