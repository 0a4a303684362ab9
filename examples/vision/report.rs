//! What is told of each frame: who is there, who came and went, as a line of JSON.

use std::time::Duration;

use rimlight::vision::{Detection, TrackState, Tracker, Zone, ZoneCounts};
use serde_json::{Value, json};

use crate::detector::label;

/// When a frame was there, and what was lost before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Its number among all frames, dropped ones too, from 0.
    pub number: u64,
    /// When it was there, since the first could be.
    pub time: Duration,
    /// From then until what it shows was known.
    pub latency: Duration,
}

/// Follows objects through frames, and counts them by zones.
#[derive(Debug)]
pub struct Report<'a> {
    labels: &'a [&'a str],
    tracker: Tracker,
    zones: Vec<(String, Zone, ZoneCounts)>,
    next: u64,
}

impl<'a> Report<'a> {
    /// Before the first frame.
    pub fn new(labels: &'a [&'a str], zones: Vec<(String, Zone)>) -> Self {
        let zones = zones.into_iter().map(|(name, zone)| (name, zone, ZoneCounts::default())).collect();
        Self { labels, tracker: Tracker::default(), zones, next: 0 }
    }

    /// What is seen in the next frame, as JSON. An object has a track once it was seen in three frames in a row.
    pub fn frame(&mut self, stamp: &Stamp, seen: &[Detection]) -> Value {
        let tracks = self.tracker.update(seen);
        let mut zones = serde_json::Map::new();
        for (name, zone, counts) in &mut self.zones {
            counts.update(zone, tracks);
            let inside = counts.inside().len();
            zones.insert(name.clone(), json!({ "inside": inside, "entered": counts.entered, "left": counts.left }));
        }
        let labels = self.labels;
        let certain = tracks.iter().filter(|track| track.state != TrackState::Tentative);
        let tracks: Vec<Value> = certain
            .map(|track| {
                let at = &track.rectangle;
                let sides = [at.left, at.top, at.right, at.bottom].map(|side| rounded(side, 10.0));
                json!({
                    "id": track.id,
                    "class": track.class,
                    "label": label(labels, track.class),
                    "score": rounded(track.score, 1e3),
                    "seen": track.state == TrackState::Confirmed,
                    "box": sides,
                })
            })
            .collect();
        let dropped = stamp.number.saturating_sub(self.next);
        self.next = stamp.number + 1;
        json!({
            "frame": stamp.number,
            "time": rounded(stamp.time.as_secs_f32(), 1e3),
            "latency_ms": rounded(stamp.latency.as_secs_f32() * 1e3, 10.0),
            "dropped": dropped,
            "tracks": tracks,
            "zones": zones,
        })
    }
}

/// A number with as many parts to one.
fn rounded(number: f32, parts: f64) -> f64 {
    (f64::from(number) * parts).round() / parts
}

/// A zone as it is typed: `door=x,y,x,y,x,y`, a name and three corners or more.
///
/// # Errors
/// What is wrong with it.
pub fn zone(text: &str) -> Result<(String, Zone), String> {
    let wanted = || format!("--zone is NAME=x,y,x,y,x,y with three corners or more, not '{text}'");
    let (name, numbers) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wanted)?;
    let numbers = numbers.split(',').map(|number| number.trim().parse::<f32>().ok().filter(|n| n.is_finite()));
    let numbers = numbers.collect::<Option<Vec<f32>>>().ok_or_else(wanted)?;
    let (corners, rest) = numbers.as_chunks::<2>();
    if corners.len() < 3 || !rest.is_empty() {
        return Err(wanted());
    }
    Ok((name.to_owned(), Zone { corners: corners.to_vec() }))
}

#[cfg(test)]
mod tests {
    use rimlight::vision::Rectangle;

    use super::*;

    #[test]
    fn who_walks_through_a_zone_is_told() {
        let door = zone("door=100,0, 200,0, 200,300, 100,300").unwrap();
        let mut report = Report::new(&["person"], vec![door]);
        let mut lines = vec![];
        // Frames 8 and 9 are dropped.
        for number in (0..30u64).filter(|number| !(8..10).contains(number)) {
            let x = 10.0 * number as f32;
            let seen = Detection { rectangle: Rectangle::around([x, 100.0], [40.0, 80.0]), score: 0.876_54, class: 0 };
            let time = Duration::from_millis(40 * number);
            lines.push(report.frame(&Stamp { number, time, latency: Duration::from_micros(7654) }, &[seen]));
        }
        assert_eq!(lines[0]["tracks"], json!([]));
        let track = json!([{ "id": 1, "class": 0, "label": "person", "score": 0.877, "seen": true, "box": [0.0, 60.0, 40.0, 140.0] }]);
        assert_eq!(lines[2]["tracks"], track);
        let [before, after] = [&lines[7], &lines[8]];
        assert_eq!((&before["frame"], &after["frame"], &after["dropped"]), (&json!(7), &json!(10), &json!(2)));
        assert_eq!((&after["time"], &after["latency_ms"]), (&json!(0.4), &json!(7.7)));
        assert_eq!(lines[12]["zones"], json!({ "door": { "inside": 1, "entered": 1, "left": 0 } }));
        assert_eq!(lines[27]["zones"], json!({ "door": { "inside": 0, "entered": 1, "left": 1 } }));
        assert!(lines.iter().all(|line| !line.to_string().contains('\n')));
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for text in [
            "",
            "door",
            "door=",
            "=0,0,1,1,2,2",
            "door=0,0,1,1",
            "door=0,0,1,1,2",
            "door=0,0,1,1,2,x",
            "a=0,0,1,1,2,inf",
        ] {
            assert!(zone(text).is_err(), "{text}");
        }
    }
}
