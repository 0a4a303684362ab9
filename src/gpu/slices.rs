//! Long segments as several submissions, so that others get at the GPU in between: a phone draws its user interface with
//! it, and a system's watchdog ends a submission that takes seconds.

use std::time::Duration;

use super::program::{Op, Segment};
use crate::kernel::DeviceClass;
use crate::plan::{Schedule, Step};

/// How long one submission of a device of this class should take at most, by estimate. Where the GPU draws the screen of
/// a phone or a page, half of a frame; where a watchdog waits for two seconds, a twentieth of that, since estimates
/// may err; nothing where there is neither.
const fn most(class: DeviceClass) -> Duration {
    match class {
        DeviceClass::Adreno | DeviceClass::Mali | DeviceClass::Apple | DeviceClass::Gl | DeviceClass::Web => {
            Duration::from_millis(8)
        }
        DeviceClass::Nvidia | DeviceClass::Intel | DeviceClass::Amd => Duration::from_millis(100),
        DeviceClass::Software => Duration::MAX,
    }
}

/// How many times faster the slower devices of a class are than the one that costs are estimated for, which does
/// 10 GFLOP/s and moves 10 GB/s: what they reach, not what they promise.
const fn pace(class: DeviceClass) -> f64 {
    match class {
        DeviceClass::Software | DeviceClass::Gl | DeviceClass::Mali | DeviceClass::Web => 2.0,
        DeviceClass::Adreno => 4.0,
        DeviceClass::Intel => 8.0,
        DeviceClass::Apple | DeviceClass::Amd | DeviceClass::Nvidia => 20.0,
    }
}

/// A segment's commands, cut before each dispatch with which a submission would take longer than `limit` (or the device
/// class's own bound): the index behind the last command of each part.
pub fn cut(segment: &Segment, schedule: &Schedule, class: DeviceClass, limit: Option<Duration>) -> Vec<usize> {
    let limit = limit.unwrap_or(most(class)).as_secs_f64() * 1e9 * pace(class);
    let mut ends = vec![];
    // Dispatches in the open part, and their time.
    let (mut dispatches, mut time) = (0, 0.0);
    for (i, op) in segment.ops.iter().enumerate() {
        if let Op::Dispatch(step) = op
            && let Step::Dispatch(dispatch) = &schedule.steps[*step]
        {
            if dispatches > 0 && time + dispatch.cost > limit {
                ends.push(i);
                (dispatches, time) = (0, 0.0);
            }
            dispatches += 1;
            time += dispatch.cost;
        }
    }
    ends.push(segment.ops.len());
    ends
}
