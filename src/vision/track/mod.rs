//! Following objects from frame to frame, as SORT does: each track foretells where its object will be, and takes the detection that
//! overlaps that most.

mod motion;
mod zones;

pub use zones::{Zone, ZoneCounts};

use super::{Detection, Rectangle};
use motion::Motion;

/// Whether an object is there for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackState {
    /// Seen in too few frames in a row to be sure.
    Tentative,
    /// Seen in this frame, and in enough before.
    Confirmed,
    /// Confirmed once, but not seen in this frame; its rectangle is where it should be.
    Lost,
}

/// An object that is followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Track {
    /// Its number, which no other object gets.
    pub id: u64,
    /// Whether it is there for certain.
    pub state: TrackState,
    /// Where it is, smoothed over frames; while it is lost, where it should be.
    pub rectangle: Rectangle,
    /// Pixels a frame that its centre moves across and down.
    pub velocity: [f32; 2],
    /// Its class.
    pub class: usize,
    /// The score that it was last seen with.
    pub score: f32,
    /// Frames that it was seen in.
    pub hits: u32,
    /// Frames since it was last seen; 0 if it is seen in this one.
    pub missed: u32,
}

/// Follows objects from frame to frame.
///
/// ```
/// use rimlight::vision::{Detection, Rectangle, TrackState, Tracker};
/// let mut tracker = Tracker::default();
/// for frame in 0..5 {
///     let left = 10.0 * frame as f32;
///     let seen = Detection { rectangle: Rectangle::new(left, 0.0, left + 40.0, 80.0), score: 0.9, class: 0 };
///     tracker.update(&[seen]);
/// }
/// // It is hidden for a frame, but goes on.
/// tracker.update(&[]);
/// let [track] = tracker.tracks() else { panic!("one object") };
/// assert_eq!((track.id, track.state, track.hits), (1, TrackState::Lost, 5));
/// assert!((track.rectangle.left - 50.0).abs() < 3.0);
/// ```
#[derive(Debug, Clone)]
pub struct Tracker {
    /// The least intersection over union of where an object should be and a detection that is taken for it.
    pub iou_threshold: f32,
    /// Frames in a row that an object is seen in before it is confirmed.
    pub min_hits: u32,
    /// Frames that a confirmed object may be lost for before it is given up.
    pub max_age: u32,
    /// How many objects are followed at most. Time is bounded by its product with the number of detections.
    pub max_tracks: usize,
    followed: Vec<(Track, Motion)>,
    tracks: Vec<Track>,
    last_id: u64,
}

impl Default for Tracker {
    /// Overlaps from 0.3 on, 3 frames, 30 frames, 300 objects.
    fn default() -> Self {
        Self {
            iou_threshold: 0.3,
            min_hits: 3,
            max_age: 30,
            max_tracks: 300,
            followed: vec![],
            tracks: vec![],
            last_id: 0,
        }
    }
}

impl Tracker {
    /// Takes what is seen in the next frame, and gives the tracks as they are then, in the order of their numbers. Detections that cannot
    /// be (scores or sides that are no numbers) are left out, and so are those beyond twice `max_tracks`, the least sure first.
    pub fn update(&mut self, detections: &[Detection]) -> &[Track] {
        let can_be = |d: &&Detection| !d.score.is_nan() && d.rectangle.is_valid();
        let mut seen: Vec<&Detection> = detections.iter().filter(can_be).collect();
        seen.sort_by(|a, b| b.score.total_cmp(&a.score));
        seen.truncate(self.max_tracks.saturating_mul(2));
        self.followed.iter_mut().for_each(|(_, motion)| motion.advance());
        let pairs = self.pairs(&seen);
        let mut taken = vec![false; seen.len()];
        for ((track, motion), found) in self.followed.iter_mut().zip(pairs) {
            if let Some(taken) = found.and_then(|found| taken.get_mut(found)) {
                *taken = true;
            }
            match found.and_then(|found| seen.get(found)) {
                Some(detection) => {
                    motion.correct(&detection.rectangle);
                    (track.score, track.missed, track.hits) = (detection.score, 0, track.hits.saturating_add(1));
                    if track.hits >= self.min_hits || track.state == TrackState::Lost {
                        track.state = TrackState::Confirmed;
                    }
                }
                None => {
                    track.missed = track.missed.saturating_add(1);
                    if track.state == TrackState::Confirmed {
                        track.state = TrackState::Lost;
                    }
                }
            }
            (track.rectangle, track.velocity) = (motion.rectangle(), motion.velocity());
        }
        let max_age = self.max_age;
        // One that was never confirmed is given up at once; so is one whose numbers have run away.
        self.followed.retain(|(track, _)| {
            let patience = if track.state == TrackState::Tentative { 0 } else { max_age };
            track.missed <= patience && track.rectangle.is_valid()
        });
        for (detection, _) in seen.iter().zip(taken).filter(|(_, taken)| !taken) {
            if self.followed.len() >= self.max_tracks {
                break;
            }
            self.last_id += 1;
            let begun = self.begun(detection);
            self.followed.push(begun);
        }
        self.tracks = self.followed.iter().map(|(track, _)| *track).collect();
        &self.tracks
    }

    /// The tracks as the last frame left them.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn begun(&self, detection: &Detection) -> (Track, Motion) {
        let Detection { rectangle, score, class } = *detection;
        let state = if self.min_hits <= 1 { TrackState::Confirmed } else { TrackState::Tentative };
        let track = Track { id: self.last_id, state, rectangle, velocity: [0.0; 2], class, score, hits: 1, missed: 0 };
        (track, Motion::at(&rectangle))
    }

    /// For each track the detection that is taken for it: of all pairs of one class the one that overlaps most, and so on with what is
    /// left. Equal ones: the older track, then the surer detection.
    fn pairs(&self, seen: &[&Detection]) -> Vec<Option<usize>> {
        let mut pairs = vec![];
        for (t, (track, motion)) in self.followed.iter().enumerate() {
            let expected = motion.rectangle();
            for (d, detection) in seen.iter().enumerate().filter(|(_, d)| d.class == track.class) {
                let overlap = expected.intersection_over_union(&detection.rectangle);
                if overlap > 0.0 && overlap >= self.iou_threshold {
                    pairs.push((overlap, t, d));
                }
            }
        }
        // A stable sort keeps the order of tracks and detections.
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut of_track, mut taken) = (vec![None; self.followed.len()], vec![false; seen.len()]);
        for (_, t, d) in pairs {
            if of_track[t].is_none() && !taken[d] {
                (of_track[t], taken[d]) = (Some(d), true);
            }
        }
        of_track
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(x: f32, y: f32, class: usize) -> Detection {
        Detection { rectangle: Rectangle::around([x, y], [40.0, 60.0]), score: 0.8, class }
    }

    proptest! {
        /// Objects on lines of their own keep their numbers, whatever their speeds, the order of the detections, or a pixel of noise.
        #[test]
        fn numbers_stay(
            speeds in proptest::collection::vec(-12f32..12.0, 1..6),
            noise in proptest::collection::vec(-1f32..1.0, 64),
            turn in 0usize..6,
        ) {
            let mut tracker = Tracker::default();
            for frame in 0..40usize {
                let mut detections: Vec<Detection> = speeds.iter().enumerate().map(|(i, speed)| {
                    let noise = noise[(frame * 7 + i * 13) % noise.len()];
                    seen(500.0 + speed * frame as f32 + noise, 100.0 * i as f32 - noise, 0)
                }).collect();
                let turn = (turn + frame) % detections.len();
                detections.rotate_left(turn);
                tracker.update(&detections);
            }
            let tracks = tracker.tracks();
            prop_assert_eq!(tracks.len(), speeds.len());
            for track in tracks {
                let line = (track.rectangle.centre()[1] / 100.0).round() as usize;
                prop_assert_eq!((track.state, track.hits), (TrackState::Confirmed, 40));
                prop_assert!((track.velocity[0] - speeds[line]).abs() < 1.5, "{} for {}", track.velocity[0], speeds[line]);
            }
        }

        /// Any bits are followed without harm.
        #[test]
        fn any_detections_are_followed(frames in proptest::collection::vec(proptest::collection::vec(any::<[u32; 5]>(), 0..8), 0..12)) {
            let mut tracker = Tracker { iou_threshold: 0.0, max_tracks: 5, ..Tracker::default() };
            for frame in frames {
                let detections: Vec<Detection> = frame.into_iter().map(|bits| {
                    let [left, top, right, bottom, score] = bits.map(f32::from_bits);
                    Detection { rectangle: Rectangle::new(left, top, right, bottom), score, class: 0 }
                }).collect();
                let tracks = tracker.update(&detections);
                prop_assert!(tracks.len() <= 5 && tracks.iter().all(|track| track.rectangle.is_valid()));
            }
        }
    }

    #[test]
    fn two_that_pass_each_other_keep_their_numbers() {
        let mut tracker = Tracker::default();
        for frame in 0..31 {
            let x = 10.0 * frame as f32;
            // They meet in the middle, one a little lower.
            tracker.update(&[seen(300.0 - x, 30.0, 0), seen(x, 0.0, 0)]);
        }
        let at = |id: u64| tracker.tracks().iter().find(|track| track.id == id).unwrap().rectangle.centre();
        assert_eq!(tracker.tracks().len(), 2);
        assert!(at(1)[0] < 10.0 && at(2)[0] > 290.0, "{:?}", tracker.tracks());
    }

    #[test]
    fn states_follow_what_is_seen() {
        let mut tracker = Tracker { max_age: 4, ..Tracker::default() };
        let states = |tracker: &Tracker| tracker.tracks().iter().map(|t| (t.id, t.state)).collect::<Vec<_>>();
        tracker.update(&[seen(0.0, 0.0, 0)]);
        assert_eq!(states(&tracker), [(1, TrackState::Tentative)]);
        // Seen once only: given up.
        assert!(tracker.update(&[]).is_empty());
        for frame in 0..4 {
            tracker.update(&[seen(8.0 * frame as f32, 0.0, 0)]);
        }
        assert_eq!(states(&tracker), [(2, TrackState::Confirmed)]);
        // Hidden for three frames; what is seen then, where it should be, is the same.
        for _ in 0..3 {
            tracker.update(&[]);
            assert_eq!(states(&tracker), [(2, TrackState::Lost)]);
        }
        tracker.update(&[seen(56.0, 0.0, 0), seen(56.0, 0.0, 7)]);
        assert_eq!(states(&tracker), [(2, TrackState::Confirmed), (3, TrackState::Tentative)]);
        for _ in 0..4 {
            tracker.update(&[]);
        }
        assert_eq!(states(&tracker), [(2, TrackState::Lost)]);
        assert!(tracker.update(&[]).is_empty());
    }
}
