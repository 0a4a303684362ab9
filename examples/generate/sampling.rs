//! Which token comes next, given what the model says of each.

/// How a token is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    /// 0 takes the likeliest; the larger, the more even are the chances.
    pub temperature: f32,
    /// Only so many of the likeliest are drawn from.
    pub top: usize,
    /// The state of the dice.
    pub seed: u64,
}

impl Sampling {
    /// The next token: logits become chances, `exp(logit / temperature)` of the likeliest `top`.
    pub fn draw(&mut self, logits: &[f32]) -> usize {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
        order.truncate(if self.temperature > 0.0 { self.top.max(1) } else { 1 });
        let Some(&first) = order.first() else { return 0 };
        let temperature = self.temperature.max(1e-6);
        let chance = |token: usize| f64::from((logits[token] - logits[first]) / temperature).exp();
        let mut left = self.dice() * order.iter().map(|&token| chance(token)).sum::<f64>();
        let drawn = order.iter().find(|&&token| {
            left -= chance(token);
            left < 0.0
        });
        *drawn.unwrap_or(&first)
    }

    /// From 0 to below 1 (SplitMix64).
    fn dice(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_drawn_as_often_as_they_are_likely() {
        let logits = [0.0, 2f32.ln(), f32::NEG_INFINITY, 1f32.ln(), -50.0];
        let mut greedy = Sampling { temperature: 0.0, top: 5, seed: 1 };
        assert_eq!(greedy.draw(&logits), 1);
        // Temperature, top, and the chances of each.
        for (temperature, top, chances) in [
            (1.0, 5, [0.25, 0.5, 0.0, 0.25, 0.0]),
            (0.5, 5, [1.0 / 6.0, 4.0 / 6.0, 0.0, 1.0 / 6.0, 0.0]),
            (1.0, 2, [1.0 / 3.0, 2.0 / 3.0, 0.0, 0.0, 0.0]),
        ] {
            let mut sampling = Sampling { temperature, top, seed: 7 };
            let mut drawn = [0.0; 5];
            (0..10_000).for_each(|_| drawn[sampling.draw(&logits)] += 1e-4);
            // Six times the deviation of 10,000 draws.
            assert!(
                drawn.iter().zip(chances).all(|(d, c): (&f64, f64)| (d - c).abs() < 0.03),
                "{drawn:?}, {chances:?}"
            );
        }
    }
}
