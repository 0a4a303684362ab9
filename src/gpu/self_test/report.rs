//! What a self-test found.

use std::fmt;
use std::time::Duration;

use super::super::quirks::Applied;

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It answers as the host does.
    Right,
    /// It answers wrong.
    Wrong {
        /// What came.
        got: String,
        /// What should have come.
        expected: String,
    },
    /// It could not be run: it does not compile, or the device did not survive it.
    Failed(String),
    /// There is nothing to check on this device, for this reason.
    Absent(String),
}

impl Verdict {
    /// Whether nothing is wrong.
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Right | Self::Absent(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Right => f.write_str("ok"),
            Self::Wrong { got, expected } => write!(f, "WRONG: got {got}, expected {expected}"),
            Self::Failed(message) => write!(f, "WRONG: {message}"),
            Self::Absent(reason) => write!(f, "not available: {reason}"),
        }
    }
}

/// One check of a self-test.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelfCheck {
    /// What was checked.
    pub name: String,
    /// What was found.
    pub verdict: Verdict,
    /// How long it took, compiling included. Checks that ran as one share their time: it stands with the first.
    pub time: Duration,
}

impl SelfCheck {
    /// One that could not be made.
    pub(in crate::gpu) fn failed(name: &str, message: String) -> Self {
        Self { name: name.to_owned(), verdict: Verdict::Failed(message), time: Duration::ZERO }
    }
}

/// What a self-test found, and what follows from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelfTestReport {
    /// Known faults of this driver that are avoided.
    pub quirks: Vec<Applied>,
    /// The checks, in the order in which they were made.
    pub checks: Vec<SelfCheck>,
    /// What is done without on this device from now on, in words.
    pub switched_off: Vec<String>,
    /// Why the device cannot be computed on at all, if so.
    pub unfit: Option<String>,
}

impl SelfTestReport {
    /// Whether nothing was found to be wrong.
    pub fn passed(&self) -> bool {
        self.unfit.is_none() && self.checks.iter().all(|check| check.verdict.is_good())
    }

    /// The checks that found something wrong.
    pub fn failures(&self) -> impl Iterator<Item = &SelfCheck> {
        self.checks.iter().filter(|check| !check.verdict.is_good())
    }
}

/// A line for each finding.
impl fmt::Display for SelfTestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for quirk in &self.quirks {
            writeln!(f, "{quirk}")?;
        }
        for check in &self.checks {
            writeln!(f, "{}: {}", check.name, check.verdict)?;
        }
        for off in &self.switched_off {
            writeln!(f, "switched off: {off}")?;
        }
        self.unfit.iter().try_for_each(|reason| writeln!(f, "unfit: {reason}"))
    }
}
