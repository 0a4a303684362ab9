//! The threads of a device: a pool of its own, never the application's global one.

use std::fmt;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::{Arc, OnceLock};

/// A number of threads, and their pool once it is needed. Clones share the pool.
#[derive(Clone)]
pub struct Threads {
    count: usize,
    #[cfg(not(target_arch = "wasm32"))]
    pool: Arc<OnceLock<Option<rayon::ThreadPool>>>,
}

impl Threads {
    /// This many threads, or as many as there are cores. No thread is started before there is work.
    pub fn new(count: Option<usize>) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = if cfg!(target_arch = "wasm32") { 1 } else { count.unwrap_or_else(cores).clamp(1, 1024) };
        Self {
            count,
            #[cfg(not(target_arch = "wasm32"))]
            pool: Arc::default(),
        }
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The pool; `None` where there is one thread, or none could be started: then the caller's thread does the work.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn pool(&self) -> Option<&rayon::ThreadPool> {
        self.pool
            .get_or_init(|| {
                if self.count == 1 {
                    return None;
                }
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(self.count)
                    .thread_name(|i| format!("rimlight-{i}"))
                    .build();
                pool.inspect_err(|e| log::warn!("no threads could be started, one must do: {e}")).ok()
            })
            .as_ref()
    }

    /// Does work on one of the threads: what it shares out among them needs no hand-over of its own then.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn inside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self.pool() {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Does work.
    #[cfg(target_arch = "wasm32")]
    pub fn inside<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Threads({})", self.count)
    }
}
