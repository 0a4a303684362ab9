//! How many tests ended in which way.

use std::fmt;

use super::{End, Row};

/// The counts of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passed in all.
    pub passed: usize,
    /// Failed.
    pub failed: usize,
    /// Refused when they were loaded.
    pub unsupported: usize,
    /// Where the passed ones ran; `None` on the CPU.
    pub places: Option<Places>,
}

/// Where passed tests ran in GPU sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Places {
    /// Dispatches, and no node on the host.
    pub gpu: usize,
    /// Neither: constants and views were all that was left.
    pub nothing: usize,
    /// At least one node on the host.
    pub host: usize,
}

impl Counts {
    /// Counts rows.
    pub fn new<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let mut counts = Self::default();
        for row in rows {
            match &row.end {
                End::Failed(_) => counts.failed += 1,
                End::Unsupported(..) => counts.unsupported += 1,
                End::Passed(work) => {
                    counts.passed += 1;
                    let Some(work) = work else { continue };
                    let places = counts.places.get_or_insert_default();
                    match (work.host.is_empty(), work.dispatches) {
                        (false, _) => places.host += 1,
                        (true, 0) => places.nothing += 1,
                        (true, _) => places.gpu += 1,
                    }
                }
            }
        }
        counts
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Places { gpu, nothing, host }) = self.places {
            writeln!(
                f,
                "of those that passed: {gpu} on the GPU alone, {nothing} with nothing left to do, {host} with nodes on the host"
            )?;
        }
        write!(f, "{} passed, {} failed, {} unsupported", self.passed, self.failed, self.unsupported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{HostNode, Work};

    #[test]
    fn what_has_nothing_left_to_do_is_counted_apart() {
        let node = HostNode { operator: "NonZero".to_owned(), reason: "its shape is not known".to_owned() };
        let ends = [
            End::Passed(Some(Work { host: vec![], dispatches: 2 })),
            End::Passed(Some(Work { host: vec![], dispatches: 0 })),
            End::Passed(Some(Work { host: vec![node], dispatches: 0 })),
            End::Failed(String::new()),
        ];
        let rows = ends.map(|end| Row { name: String::new(), folder: Default::default(), end });
        let counts = Counts::new(&rows);
        assert_eq!(counts.places, Some(Places { gpu: 1, nothing: 1, host: 1 }));
        assert!(counts.to_string().ends_with("host\n3 passed, 1 failed, 0 unsupported"), "{counts}");
    }
}
