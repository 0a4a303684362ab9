//! From likelihoods of speech, frame by frame, to where somebody speaks.

/// How the likelihoods are read.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Speech begins with a frame at least as likely, and goes on while frames are no more than 0.15 less likely.
    pub threshold: f32,
    /// Frames of silence that end it; shorter pauses belong to it.
    pub pause: usize,
    /// Shorter speech is none.
    pub least: usize,
}

impl Default for Rules {
    /// A tenth of a second of silence ends speech, and a quarter of a second is the least.
    fn default() -> Self {
        Self { threshold: 0.5, pause: 3, least: 8 }
    }
}

/// Where somebody speaks: first frames, and those after the last.
pub fn intervals(likelihoods: &[f32], rules: Rules) -> Vec<(usize, usize)> {
    let mut found = vec![];
    let mut begun = None;
    let mut silent = 0;
    for (i, &likelihood) in likelihoods.iter().enumerate() {
        match begun {
            None if likelihood >= rules.threshold => (begun, silent) = (Some(i), 0),
            None => {}
            Some(_) if likelihood >= rules.threshold - 0.15 => silent = 0,
            Some(from) => {
                silent += 1;
                if silent >= rules.pause {
                    found.push((from, i + 1 - silent));
                    begun = None;
                }
            }
        }
    }
    found.extend(begun.map(|from| (from, likelihoods.len() - silent)));
    found.retain(|(from, to)| to - from >= rules.least);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_bridged_and_blips_left_out() {
        let rules = Rules { threshold: 0.5, pause: 2, least: 3 };
        for (likelihoods, expected) in [
            (&[][..], vec![]),
            (&[0.9, 0.9][..], vec![]),
            (&[0.0, 0.6, 0.4, 0.36, 0.1, 0.1, 0.9][..], vec![(1, 4)]),
            (&[0.6, 0.1, 0.6, 0.1, 0.1, 0.0, 0.7, 0.7, 0.7][..], vec![(0, 3), (6, 9)]),
            (&[0.9, 0.9, 0.9, 0.1][..], vec![(0, 3)]),
        ] {
            assert_eq!(intervals(likelihoods, rules), expected, "{likelihoods:?}");
        }
    }
}
