//! ONNX's backend tests: folders with `model.onnx` and `test_data_set_*/input_*.pb, output_*.pb`, run on one device.

mod case;
pub mod compare;
mod counts;
pub mod expectations;
mod random;
pub mod readme;
mod values;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use rimlight::{Device, Unsupported};

pub use compare::Bounds;
pub use counts::Counts;
pub use expectations::{Expectations, Ran};

/// A node that ran on the host in a GPU session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostNode {
    /// Its operator.
    pub operator: String,
    /// Why no kernel ran it.
    pub reason: String,
}

/// Where the nodes of a test ran in a GPU session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    /// Those on the host.
    pub host: Vec<HostNode>,
    /// Dispatches; none where constants and views were all that there was.
    pub dispatches: usize,
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Every output is as expected. With a GPU, where the nodes ran.
    Passed(Option<Work>),
    /// The model loaded, but an output is another than expected, or there is none.
    Failed(String),
    /// The model was refused when it was loaded, for this reason, in these words.
    Unsupported(Unsupported, String),
}

/// A test and how it ended.
#[derive(Debug, Clone)]
pub struct Row {
    /// The folder's name.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// How it ended.
    pub end: End,
}

/// Every folder of a test in a tree, in the order of their paths.
pub fn find(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    gather(folder, 0, &mut found);
    found.sort();
    found
}

fn gather(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    if folder.join("model.onnx").is_file() {
        found.push(folder.to_owned());
        return;
    }
    // Links may lead in circles.
    if depth == 16 {
        return;
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            gather(&entry.path(), depth + 1, found);
        }
    }
}

/// A test's name: that of its folder.
pub fn name(test: &Path) -> String {
    test.file_name().unwrap_or(test.as_os_str()).to_string_lossy().into_owned()
}

/// Runs tests on one device, several at a time (of OpenGL one), so that pipelines are compiled beside each other and shared.
/// Tests that need wider bounds than `bounds` have them ([`compare::OWN`]). `finished` is told each row as it is done; rows come back in the order of the tests.
pub fn run(
    tests: &[PathBuf],
    device: &Device,
    bounds: Bounds,
    timeout: Duration,
    finished: &(dyn Fn(&Row) + Sync),
) -> Vec<Row> {
    let rows: Mutex<Vec<Option<Row>>> = Mutex::new(vec![None; tests.len()]);
    let next = AtomicUsize::new(0);
    let worker = || {
        while let Some((i, folder)) = {
            let i = next.fetch_add(1, Ordering::Relaxed);
            tests.get(i).map(|folder| (i, folder))
        } {
            let name = name(folder);
            let end = bounded(folder, device, bounds.of(&name), timeout);
            let row = Row { name, folder: folder.clone(), end };
            finished(&row);
            rows.lock().unwrap_or_else(PoisonError::into_inner)[i] = Some(row);
        }
    };
    // OpenGL's calls wait for each other, and wgpu panics where one waits for more than 6 seconds.
    let one = device.as_gpu().is_some_and(|gpu| gpu.info().backend == "gl");
    let all = std::thread::available_parallelism().map_or(1, usize::from).min(tests.len());
    let threads = if one { all.min(1) } else { all };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(worker);
        }
    });
    rows.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
}

/// Runs a test on a thread of its own, so that one that hangs or panics is one that failed.
fn bounded(test: &Path, device: &Device, bounds: Bounds, timeout: Duration) -> End {
    let (sender, receiver) = mpsc::channel();
    let (test, device) = (test.to_owned(), device.clone());
    let worker = std::thread::spawn(move || {
        // Nobody listens any more where the time is over.
        let _ = sender.send(case::run(&test, &device, bounds));
    });
    match receiver.recv_timeout(timeout) {
        Ok(end) => end,
        Err(mpsc::RecvTimeoutError::Timeout) => End::Failed(format!("it took more than {} s", timeout.as_secs())),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            let reason = worker.join().err().map(|panic| match panic.downcast::<String>() {
                Ok(message) => *message,
                Err(panic) => panic.downcast::<&str>().map_or_else(|_| String::new(), |message| (*message).to_owned()),
            });
            End::Failed(format!("it panicked: {}", reason.unwrap_or_default()))
        }
    }
}
