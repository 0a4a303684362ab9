//! Ranges of values: what they were on samples, and how much of that is worth representing.

use super::Range;

/// Bins of a histogram.
const BINS: usize = 2048;
/// Steps of eight bits.
const STEPS: usize = 256;
/// The part of all numbers that [`Range::Percentile`] keeps inside.
const KEPT: f64 = 0.9999;

/// What is known of a value's elements: first their range and their means, then how they are spread.
#[derive(Debug, Clone)]
pub struct Seen {
    pub low: f32,
    pub high: f32,
    /// How often each part of the range was met, but for 0 itself.
    bins: Vec<f64>,
    /// How often 0 itself was: a step of every range, so that it is never wrong, and no reason to choose another.
    zeros: f64,
}

impl Default for Seen {
    fn default() -> Self {
        Self { low: 0.0, high: 0.0, bins: vec![], zeros: 0.0 }
    }
}

impl Seen {
    /// Widens the range. It always holds 0, which must be a step.
    pub fn widen(&mut self, values: &[f32]) {
        for &value in values.iter().filter(|v| v.is_finite()) {
            self.low = self.low.min(value);
            self.high = self.high.max(value);
        }
    }

    fn width(&self) -> f64 {
        f64::from(self.high) - f64::from(self.low)
    }

    /// Counts elements; the range is known by now.
    pub fn count(&mut self, values: &[f32]) {
        self.bins.resize(BINS, 0.0);
        let scale = BINS as f64 / self.width().max(f64::MIN_POSITIVE);
        for &value in values.iter().filter(|v| v.is_finite()) {
            if value == 0.0 {
                self.zeros += 1.0;
                continue;
            }
            let bin = ((f64::from(value) - f64::from(self.low)) * scale) as usize;
            if let Some(count) = self.bins.get_mut(bin.min(BINS - 1)) {
                *count += 1.0;
            }
        }
    }

    /// The middle of a bin.
    fn middle(&self, bin: usize) -> f64 {
        f64::from(self.low) + (bin as f64 + 0.5) * self.width() / BINS as f64
    }

    /// The range that is to be represented.
    pub fn range(&self, how: Range) -> [f32; 2] {
        let whole = [self.low, self.high];
        if self.bins.iter().sum::<f64>() == 0.0 || self.width() <= 0.0 {
            return whole;
        }
        match how {
            Range::MinMax => whole,
            Range::Percentile => self.percentile(),
            Range::MeanSquare => self.best(|range| self.square_error(range)),
            Range::Entropy => self.best(|range| self.divergence(range)),
        }
    }

    /// The range cut down so that a part of all numbers, half of it on each side, is outside.
    fn percentile(&self) -> [f32; 2] {
        let outside = (self.bins.iter().sum::<f64>() + self.zeros) * (1.0 - KEPT) / 2.0;
        let reached = |sum: &mut f64, count: &f64| {
            *sum += count;
            *sum > outside
        };
        let (mut below, mut above) = (0.0, 0.0);
        let first = self.bins.iter().position(|count| reached(&mut below, count));
        let behind = self.bins.iter().rev().position(|count| reached(&mut above, count));
        let bin = self.width() / BINS as f64;
        let low = first.map_or(0.0, |at| f64::from(self.low) + at as f64 * bin);
        let high = behind.map_or(0.0, |at| f64::from(self.high) - at as f64 * bin);
        [low.min(0.0) as f32, high.max(0.0) as f32]
    }

    /// Of parts of the range, both sides cut at the same magnitude, the one whose error is least.
    fn best(&self, error: impl Fn([f32; 2]) -> f64) -> [f32; 2] {
        let largest = self.high.max(-self.low);
        let cut = |i: usize| largest * i as f32 / 100.0;
        // The widest of those that are as good.
        let ranges = (20..=100).rev().map(|i| [self.low.max(-cut(i)), self.high.min(cut(i))]);
        ranges.min_by(|a, b| error(*a).total_cmp(&error(*b))).unwrap_or([self.low, self.high])
    }

    /// The mean of the squares of what rounding to steps in this range changes.
    fn square_error(&self, [low, high]: [f32; 2]) -> f64 {
        let (low, high) = (f64::from(low), f64::from(high));
        let step = ((high - low) / (STEPS - 1) as f64).max(f64::MIN_POSITIVE);
        let each = |(bin, count): (usize, &f64)| {
            let value = self.middle(bin);
            // Inside, an element lies anywhere within its step.
            let outside = (value - value.clamp(low, high)).powi(2);
            count * if outside > 0.0 { outside } else { step * step / 12.0 }
        };
        self.bins.iter().enumerate().map(each).sum()
    }

    /// How much is not known of the distribution any more (Kullback and Leibler's divergence) when it is told by 256 steps in
    /// this range, what is outside put to its ends.
    ///
    /// Of a distribution that is known by so many numbers alone, a part is their chance: bins within a step that are as likely
    /// come out as different as `(bins - steps) / 2n` on average (Miller and Madow), more in a wide range than in a narrow one.
    /// That is taken off, or few numbers would have all but the most frequent of them cut off.
    fn divergence(&self, [low, high]: [f32; 2]) -> f64 {
        let bin_of = |value: f32| {
            let at = (f64::from(value) - f64::from(self.low)) / self.width() * BINS as f64;
            (at.round() as usize).min(BINS)
        };
        let (first, last) = (bin_of(low), bin_of(high).max(bin_of(low) + 1));
        let Some(inside) = self.bins.get(first..last) else { return f64::INFINITY };
        let mut clipped = inside.to_vec();
        let sum = |range: Option<&[f64]>| range.map(|bins| bins.iter().sum::<f64>()).unwrap_or_default();
        if let Some(end) = clipped.first_mut() {
            *end += sum(self.bins.get(..first));
        }
        if let Some(end) = clipped.last_mut() {
            *end += sum(self.bins.get(last..));
        }
        let mut told = vec![0.0; inside.len()];
        let mut free = 0;
        for step in 0..STEPS {
            let (from, to) = (step * inside.len() / STEPS, ((step + 1) * inside.len() / STEPS).min(inside.len()));
            let Some(part) = inside.get(from..to) else { continue };
            let filled = part.iter().filter(|&&count| count > 0.0).count();
            let mean = part.iter().sum::<f64>() / filled.max(1) as f64;
            free += filled.saturating_sub(1);
            for (told, &count) in told.iter_mut().skip(from).zip(part) {
                *told = if count > 0.0 { mean } else { 0.0 };
            }
        }
        let (p, q) = (clipped.iter().sum::<f64>(), told.iter().sum::<f64>());
        let each = |(&a, &b): (&f64, &f64)| match (a, b) {
            (a, _) if a <= 0.0 => 0.0,
            // What the steps say never happens.
            (a, b) if b <= 0.0 => a / p * 30.0,
            (a, b) => a / p * ((a / p) / (b / q)).ln(),
        };
        let lost: f64 = clipped.iter().zip(&told).map(each).sum();
        (lost - free as f64 / (2.0 * p)).max(0.0)
    }
}

/// Scale and zero point of bytes without a sign for a range that holds 0.
pub fn scale([low, high]: [f32; 2]) -> (f32, u8) {
    let width = high - low;
    if !width.is_finite() || width <= f32::MIN_POSITIVE * 255.0 {
        return (1.0, 0);
    }
    let scale = width / 255.0;
    (scale, (-low / scale).round_ties_even().clamp(0.0, 255.0) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Many small numbers on both sides, most of them near 0, and few large ones. (Of numbers that are spread evenly, coarse steps
    /// tell as much as fine ones.)
    fn seen() -> Seen {
        let even = |i: usize| ((i * 7919) % 2001) as f32 / 1000.0 - 1.0;
        let mut values: Vec<f32> = (0..100_000).map(|i| even(i).powi(3)).collect();
        values.extend([40.0; 4]);
        let mut seen = Seen::default();
        seen.widen(&values);
        seen.count(&values);
        seen
    }

    #[test]
    fn what_is_rare_is_cut_off() {
        let seen = seen();
        assert_eq!(seen.range(Range::MinMax), [-1.0, 40.0]);
        let [low, high] = seen.range(Range::Percentile);
        assert!((-1.0..=-0.97).contains(&low) && (1.0..1.1).contains(&high), "{low} {high}");
        let [low, high] = seen.range(Range::Entropy);
        assert!(low == -1.0 && (1.0..20.0).contains(&high), "{low} {high}");
        // Four numbers that are far off weigh much in squares: a little is cut off, and that is the least of all.
        let [low, high] = seen.range(Range::MeanSquare);
        assert!(low == -1.0 && (35.0..40.0).contains(&high), "{low} {high}");
        let error = |high| seen.square_error([-1.0, high]);
        assert!((1..41).all(|other| error(high) <= error(other as f32)));
    }

    #[test]
    fn what_is_even_is_kept_whole() {
        let values: Vec<f32> = (0..50_000).map(|i| i as f32 / 50_000.0).collect();
        let mut seen = Seen::default();
        seen.widen(&values);
        seen.count(&values);
        for how in [Range::MinMax, Range::Percentile, Range::MeanSquare] {
            let [low, high] = seen.range(how);
            assert!(low == 0.0 && high > 0.98, "{how:?} {low} {high}");
        }
    }

    #[test]
    fn zero_is_a_step_of_every_range() {
        for range in [[-1.0, 40.0], [0.0, 6.0], [-3.0, 0.0], [0.0, 0.0], [-0.1, 0.3]] {
            let (scale, zero) = scale(range);
            assert!(scale > 0.0);
            let back = |q: f32| (q - f32::from(zero)) * scale;
            assert!(back(0.0) <= range[0] + scale && back(255.0) >= range[1] - scale, "{range:?}");
        }
    }
}
