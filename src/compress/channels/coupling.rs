//! Channels that can only go together.

/// The most channels that a model may have, all values' together, and a value by itself.
pub const MOST: usize = 1 << 24;

/// Numbers of channels, united where they can only go together.
#[derive(Debug, Default)]
pub struct Coupling {
    parent: Vec<usize>,
    /// Of each representative, whether its channels have to stay.
    fixed: Vec<bool>,
}

impl Coupling {
    /// New channels, each by itself. `None` above [`MOST`]: a small file may name any number of them.
    pub fn fresh(&mut self, count: usize) -> Option<Vec<usize>> {
        let first = self.parent.len();
        let end = first.checked_add(count).filter(|&end| end <= MOST)?;
        self.parent.extend(first..end);
        self.fixed.resize(end, false);
        Some((first..end).collect())
    }

    /// New channels that have to stay.
    pub fn fresh_fixed(&mut self, count: usize) -> Option<Vec<usize>> {
        let channels = self.fresh(count)?;
        self.fix(&channels);
        Some(channels)
    }

    /// The representative of a channel.
    pub fn find(&mut self, mut channel: usize) -> usize {
        while self.parent[channel] != channel {
            // Half of the way is saved for the next time.
            self.parent[channel] = self.parent[self.parent[channel]];
            channel = self.parent[channel];
        }
        channel
    }

    /// These go together, one by one.
    pub fn unite(&mut self, a: &[usize], b: &[usize]) {
        for (&a, &b) in a.iter().zip(b) {
            let (a, b) = (self.find(a), self.find(b));
            if a != b {
                self.parent[b] = a;
                self.fixed[a] |= self.fixed[b];
            }
        }
    }

    /// These have to stay.
    pub fn fix(&mut self, channels: &[usize]) {
        for &channel in channels {
            let channel = self.find(channel);
            self.fixed[channel] = true;
        }
    }

    /// Whether a channel has to stay.
    pub fn is_fixed(&mut self, channel: usize) -> bool {
        let channel = self.find(channel);
        self.fixed[channel]
    }
}
