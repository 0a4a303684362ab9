//! What is known of a device's answers, and remembered: in the process, and in the device's folder.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use super::super::GpuDevice;
use super::super::adapter::AdapterInfo;
use super::super::device::lock;
use super::report::SelfTestReport;
use crate::plan::Distrust;

/// What a driver that is broken on purpose makes of a kernel's text.
#[cfg(test)]
pub(in crate::gpu) type Broken = Arc<dyn Fn(&crate::kernel::Kernel, &str) -> String + Send + Sync>;

/// What is known of one device.
#[derive(Default)]
pub(in crate::gpu) struct Trust {
    /// What it is taken for once something was switched off.
    pub narrowed: OnceLock<AdapterInfo>,
    pub known: Mutex<Known>,
    /// What a test has its driver make of every kernel.
    #[cfg(test)]
    pub broken: Mutex<Option<Broken>>,
}

/// What checks have found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::gpu) struct Known {
    /// Whether the basics were checked.
    pub basics: bool,
    pub no_words64: bool,
    pub no_halves: bool,
    pub no_subgroups: bool,
    pub unfit: Option<String>,
    pub distrust: Arc<Distrust>,
    /// The kernels that answered right, as hashes.
    pub right: BTreeSet<u128>,
    /// Those that have no small specimen, so that none is looked for again.
    pub passed_by: BTreeSet<u128>,
    /// What is told of it, in words.
    pub report: SelfTestReport,
}

/// The version of the text that this is written as.
const HEAD: &str = "rimlight self-test 1";

/// What devices of this process are known by, by adapter and driver.
static REMEMBERED: LazyLock<Mutex<HashMap<String, Known>>> = LazyLock::new(Mutex::default);

impl Known {
    /// As text: a line for each finding. A right answer of all basics is one line.
    fn to_text(&self) -> String {
        let mut lines = vec![HEAD.to_owned()];
        let flags = [
            (self.basics, "basics"),
            (self.no_words64, "no words64"),
            (self.no_halves, "no halves"),
            (self.no_subgroups, "no subgroups"),
        ];
        lines.extend(flags.iter().filter(|(set, _)| *set).map(|(_, line)| (*line).to_owned()));
        let line = |text: &str| text.replace(['\n', '\r'], " ");
        lines.extend(self.unfit.iter().map(|reason| format!("unfit {}", line(reason))));
        lines.extend(self.distrust.families().map(|family| format!("wrong {family}")));
        lines.extend(self.report.switched_off.iter().map(|off| format!("off {}", line(off))));
        lines.extend(self.right.iter().map(|kernel| format!("right {kernel:032x}")));
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// From text; `None` if it is none.
    fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != HEAD {
            return None;
        }
        let mut known = Self::default();
        let mut distrust = Distrust::default();
        for line in lines {
            match (line, line.split_once(' ')) {
                ("basics", _) => known.basics = true,
                ("no words64", _) => known.no_words64 = true,
                ("no halves", _) => known.no_halves = true,
                ("no subgroups", _) => known.no_subgroups = true,
                (_, Some(("unfit", reason))) => known.unfit = Some(reason.to_owned()),
                (_, Some(("wrong", family))) => _ = distrust.add(family.split(" + ")),
                (_, Some(("off", off))) => known.report.switched_off.push(off.to_owned()),
                (_, Some(("right", kernel))) => _ = known.right.insert(u128::from_str_radix(kernel, 16).ok()?),
                _ => return None,
            }
        }
        known.distrust = Arc::new(distrust);
        known.report.unfit.clone_from(&known.unfit);
        Some(known)
    }
}

impl GpuDevice {
    /// The kernels that its plans do without, because they answer wrong on it.
    pub fn distrust(&self) -> Arc<Distrust> {
        Arc::clone(&lock(&self.shared().trust.known).distrust)
    }

    /// What this process, or the device's folder, knows already.
    pub(super) fn remembered(&self) -> Option<Known> {
        let key = self.trust_key();
        let known = lock(&REMEMBERED).get(&key).cloned();
        known.or_else(|| {
            let content = self.shared().folder.get()?.read("self-test", &key)?;
            Known::from_text(&String::from_utf8(content).ok()?)
        })
    }

    /// Keeps what is known for the next device of this adapter and driver, here and in the device's folder if it has one.
    pub(super) fn remember(&self) {
        // What a test has refused is no finding.
        #[cfg(test)]
        if self.faults().is_refusing() {
            return;
        }
        let known = lock(&self.shared().trust.known).clone();
        let key = self.trust_key();
        let text = known.to_text();
        let new = lock(&REMEMBERED).insert(key.clone(), known).is_none_or(|old| old.to_text() != text);
        if let Some(folder) = self.shared().folder.get()
            && (new || folder.read("self-test", &key).is_none_or(|old| old != text.as_bytes()))
            && let Err(error) = folder.write("self-test", &key, text.as_bytes())
        {
            log::warn!("what the self-test found could not be kept: {error}");
        }
    }

    /// As if this process had never seen the adapter.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        lock(&REMEMBERED).remove(&self.trust_key());
    }

    /// What findings belong to: the adapter, the driver, the dialect that its kernels are written in, and the shaders.
    fn trust_key(&self) -> String {
        // As it was opened: what was switched off since follows from the findings.
        let dialect = self.opened_as().facts.dialect;
        #[cfg(not(test))]
        let driver = "";
        // One that is broken on purpose is another.
        #[cfg(test)]
        let driver =
            lock(&self.shared().trust.broken).as_ref().map_or(String::new(), |b| format!("{:p}", Arc::as_ptr(b)));
        format!("{}|{}|{dialect:?}|{driver}", self.tuning_key(), env!("CARGO_PKG_VERSION"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_as_it_was_written_and_damage_is_none() {
        let mut distrust = Distrust::default();
        distrust.add(["conv/register.wgsl", "conv/join.wgsl"]);
        let mut known = Known {
            basics: true,
            no_halves: true,
            no_subgroups: true,
            distrust: Arc::new(distrust),
            right: [7, u128::MAX].into(),
            unfit: Some("two\nlines".to_owned()),
            ..Known::default()
        };
        known.report.switched_off.push("subgroups".to_owned());
        let read = Known::from_text(&known.to_text()).unwrap();
        assert_eq!(read.to_text(), known.to_text());
        assert_eq!((read.unfit.as_deref(), read.right.len()), (Some("two lines"), 2));
        assert_eq!(read.distrust, known.distrust);
        for bad in ["", "rimlight self-test 2\n", "rimlight self-test 1\nanything\n", "rimlight self-test 1\nright x\n"]
        {
            assert_eq!(Known::from_text(bad), None, "{bad:?}");
        }
    }
}
