//! What is expected of each test: a file that names all that are not passed, with the reason, and all that need the host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use rimlight::Device;
use rimlight::kernel::DeviceClass;
use serde::{Deserialize, Serialize};

use super::{End, Row};

/// A list of expectations. What it does not name passes, in GPU sessions without a node on the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    /// Tests that are refused when the model is loaded, by the reason.
    #[serde(default)]
    pub unsupported: BTreeMap<String, BTreeSet<String>>,
    /// Tests that fail on the CPU, and how.
    #[serde(default)]
    pub failed_on_the_cpu: BTreeMap<String, String>,
    /// Tests that fail in GPU sessions, and how.
    #[serde(default)]
    pub failed_on_the_gpu: BTreeMap<String, String>,
    /// Tests with nodes on the host in GPU sessions on software adapters, by `OPERATOR: REASON`.
    #[serde(default)]
    pub on_the_host: BTreeMap<String, BTreeSet<String>>,
}

/// What the rows were run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// The CPU.
    Cpu,
    /// A GPU; where nodes ran is compared only on a software adapter, since others offer more or less.
    Gpu {
        /// Whether it is a software adapter.
        software: bool,
    },
}

impl Ran {
    /// On this device.
    pub fn on(device: &Device) -> Self {
        match device.facts() {
            Some(facts) => Self::Gpu { software: facts.class == DeviceClass::Software },
            None => Self::Cpu,
        }
    }

    /// The backend's name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Gpu { .. } => "GPU",
        }
    }
}

impl Expectations {
    /// Reads the file's text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = "# What is expected of ONNX's backend tests (folders `node` and `simple` of the package onnx 1.19.1). What is not\n\
            # named passes, and in a GPU session without a node on the host. It is written by\n\
            # `rimlight conformance DIR/node DIR/simple --backend B --expectations tests/data/conformance.toml --write`,\n\
            # once for B = cpu and once for gpu.\n"
            .to_owned();
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let key = |name: &str| {
            let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
        };
        let groups = |text: &mut String, heading: &str, groups: &BTreeMap<String, BTreeSet<String>>| {
            let _ = write!(text, "\n[{heading}]\n");
            for (reason, tests) in groups {
                let _ = writeln!(text, "{} = [", key(reason));
                for test in tests {
                    let _ = writeln!(text, "    {},", quoted(test));
                }
                text.push_str("]\n");
            }
        };
        groups(&mut text, "unsupported", &self.unsupported);
        for (heading, failed) in
            [("failed_on_the_cpu", &self.failed_on_the_cpu), ("failed_on_the_gpu", &self.failed_on_the_gpu)]
        {
            let _ = write!(text, "\n[{heading}]\n");
            for (test, how) in failed {
                let _ = writeln!(text, "{} = {}", key(test), quoted(how));
            }
        }
        groups(&mut text, "on_the_host", &self.on_the_host);
        text
    }

    /// The same list with what these rows show in the place of what it says of them.
    #[must_use]
    pub fn updated(&self, rows: &[Row], ran: Ran) -> Self {
        let mut new = self.clone();
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        let forget = |groups: &mut BTreeMap<String, BTreeSet<String>>| {
            groups.values_mut().for_each(|tests| tests.retain(|test| !names.contains(test.as_str())));
        };
        forget(&mut new.unsupported);
        let failed = match ran {
            Ran::Cpu => &mut new.failed_on_the_cpu,
            Ran::Gpu { .. } => &mut new.failed_on_the_gpu,
        };
        failed.retain(|test, _| !names.contains(test.as_str()));
        if ran == (Ran::Gpu { software: true }) {
            forget(&mut new.on_the_host);
        }
        for row in rows {
            match &row.end {
                End::Failed(how) => drop(failed.insert(row.name.clone(), how.clone())),
                End::Unsupported(reason, _) => {
                    new.unsupported.entry(reason.name().to_owned()).or_default().insert(row.name.clone());
                }
                End::Passed(Some(work)) if ran == (Ran::Gpu { software: true }) => {
                    for node in &work.host {
                        let reason = format!("{}: {}", node.operator, node.reason);
                        new.on_the_host.entry(reason).or_default().insert(row.name.clone());
                    }
                }
                End::Passed(_) => {}
            }
        }
        new.unsupported.retain(|_, tests| !tests.is_empty());
        new.on_the_host.retain(|_, tests| !tests.is_empty());
        new
    }

    /// Where the rows are not as the list says, one sentence for each test; tests of the list that were not run count too.
    pub fn differences(&self, rows: &[Row], ran: Ran) -> Vec<String> {
        let found = self.updated(rows, ran);
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        let listed: BTreeSet<&str> = self.said(ran).into_keys().collect();
        let mut differences: Vec<String> =
            listed.difference(&names).map(|test| format!("{test}: there is no such test any more")).collect();
        let (expected, found) = (self.said(ran), found.said(ran));
        for name in names {
            let said = |list: &BTreeMap<&str, String>| list.get(name).cloned().unwrap_or_else(|| "passed".to_owned());
            let (expected, found) = (said(&expected), said(&found));
            if expected != found {
                differences.push(format!("{name}: {found}; expected: {expected}"));
            }
        }
        differences
    }

    /// What the list says of each test that it names, for one backend.
    fn said(&self, ran: Ran) -> BTreeMap<&str, String> {
        let mut said: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (reason, tests) in &self.unsupported {
            for test in tests {
                said.entry(test).or_default().push(format!("unsupported ({reason})"));
            }
        }
        let failed = match ran {
            Ran::Cpu => &self.failed_on_the_cpu,
            Ran::Gpu { .. } => &self.failed_on_the_gpu,
        };
        for (test, how) in failed {
            said.entry(test).or_default().push(format!("failed ({how})"));
        }
        if ran == (Ran::Gpu { software: true }) {
            for (reason, tests) in &self.on_the_host {
                for test in tests {
                    said.entry(test).or_default().push(format!("passed with a node on the host ({reason})"));
                }
            }
        }
        said.into_iter().map(|(test, said)| (test, said.join(", "))).collect()
    }
}

#[cfg(test)]
mod tests {
    use rimlight::Unsupported;

    use super::*;
    use crate::conformance::{HostNode, Work};

    fn row(name: &str, end: End) -> Row {
        Row { name: name.to_owned(), folder: Default::default(), end }
    }

    fn rows() -> Vec<Row> {
        let node = HostNode { operator: "NonZero".to_owned(), reason: "\"its\" shape".to_owned() };
        vec![
            row("a", End::Passed(Some(Work::default()))),
            row("b", End::Failed("element 0 is 1 instead of 2".to_owned())),
            row("c", End::Unsupported(Unsupported::Operator, "no Foo".to_owned())),
            row("d", End::Passed(Some(Work { host: vec![node], dispatches: 1 }))),
        ]
    }

    #[test]
    fn a_list_that_was_written_is_read_again_and_agrees() {
        const GPU: Ran = Ran::Gpu { software: true };
        let list = Expectations::default();
        assert_eq!(list.differences(&rows(), GPU).len(), 3);
        let list = list.updated(&rows(), GPU);
        let read = Expectations::read(&list.text()).unwrap();
        assert_eq!(read, list);
        assert!(read.differences(&rows(), GPU).is_empty());
        assert_eq!(read.differences(&rows(), Ran::Cpu), ["b: failed (element 0 is 1 instead of 2); expected: passed"]);
    }

    #[test]
    fn a_row_that_starts_to_pass_and_one_that_is_gone_are_differences() {
        let list = Expectations::default().updated(&rows(), Ran::Cpu);
        let mut rows = rows();
        rows[1].end = End::Passed(None);
        rows.remove(2);
        let differences = list.differences(&rows, Ran::Cpu);
        let said = ["c: there is no such test any more", "b: passed; expected: failed (element 0 is 1 instead of 2)"];
        assert_eq!(differences, said);
    }
}
