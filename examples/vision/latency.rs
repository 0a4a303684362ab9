//! How long things took, in memory that does not grow: how many took how long, in steps of a hundredth.

use std::fmt;
use std::time::Duration;

/// By how much each step is longer than the one before.
const STEP: f64 = 1.01;
/// Steps from a microsecond to some quarters of an hour.
const STEPS: usize = 2100;

/// Times, and which of them most stayed below.
#[derive(Debug, Clone)]
pub struct Latencies {
    counts: Vec<u64>,
    count: u64,
    worst: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; STEPS], count: 0, worst: Duration::ZERO }
    }
}

impl Latencies {
    /// Takes one more.
    pub fn record(&mut self, time: Duration) {
        let step = (time.as_secs_f64() * 1e6).max(1.0).ln() / STEP.ln();
        if let Some(count) = self.counts.get_mut((step as usize).min(STEPS - 1)) {
            *count += 1;
        }
        self.count += 1;
        self.worst = self.worst.max(time);
    }

    /// How many there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The time that this part of them (0 to 1) does not exceed, by nearest rank: up to a hundredth too long, never longer than
    /// the longest. Zero of none.
    pub fn percentile(&self, part: f64) -> Duration {
        let rank = ((part * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut below = 0;
        let step = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        step.map_or(Duration::ZERO, |step| Duration::from_secs_f64(STEP.powf(step as f64 + 1.0) / 1e6)).min(self.worst)
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let [half, most, nearly_all] = [0.5, 0.9, 0.99].map(|part| ms(self.percentile(part)));
        write!(f, "p50 {half:.1} ms, p90 {most:.1}, p99 {nearly_all:.1}, worst {:.1}", ms(self.worst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(0.5), Duration::ZERO);
        // From microseconds to minutes, in no order.
        let times = (0..1000u64).map(|i| Duration::from_micros((i * 7919 % 1000).pow(3) / 5 + 1));
        let mut sorted: Vec<Duration> = times.clone().collect();
        sorted.sort_unstable();
        times.for_each(|time| latencies.record(time));
        assert_eq!(latencies.count(), 1000);
        for (part, rank) in [(0.0, 1), (0.001, 1), (0.5, 500), (0.9, 900), (0.99, 990), (0.9901, 991), (1.0, 1000)] {
            let (exact, found) = (sorted[rank - 1].as_secs_f64(), latencies.percentile(part).as_secs_f64());
            assert!((exact..=exact * 1.011).contains(&found), "{part}: {found} for {exact}");
        }
        assert_eq!(latencies.percentile(1.0), *sorted.last().unwrap());
        assert!(latencies.to_string().starts_with("p50 25"), "{latencies}");
    }

    #[test]
    fn any_time_is_taken() {
        let mut latencies = Latencies::default();
        [Duration::ZERO, Duration::MAX].into_iter().for_each(|time| latencies.record(time));
        assert!(latencies.percentile(0.5) <= Duration::from_micros(2));
        assert_eq!(latencies.count(), 2);
    }
}
