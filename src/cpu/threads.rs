//! The threads of a device: a pool of its own, never the application's global one.

#[cfg(not(target_arch = "wasm32"))]
use std::cell::Cell;
use std::fmt;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

/// How often a thread looks for what it waits for before it may go to sleep: for some hundred microseconds.
#[cfg(not(target_arch = "wasm32"))]
const LOOKS: usize = 1000;

/// After so many looks it lets others have its core in between.
#[cfg(not(target_arch = "wasm32"))]
const EAGER: usize = 100;

/// Looks whether something has come until it has, or for a while. To be woken takes longer than most nodes.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn wait(come: impl Fn() -> bool) {
    for look in 0..LOOKS {
        if come() {
            return;
        }
        if look < EAGER {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

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

    /// Does work on one of the threads: what it shares out among them needs no hand-over of its own then. The others stay
    /// awake while there is something to share out now and then.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn inside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let Some(pool) = self.pool() else { return work() };
        pool.install(|| {
            let own = rayon::current_thread_index();
            let done = AtomicBool::new(false);
            let done = &done;
            rayon::in_place_scope(|scope| {
                scope.spawn_broadcast(move |_, context| {
                    if Some(context.index()) != own {
                        stay_awake(done);
                    }
                });
                // Also where the work panics.
                let _end = End(done);
                work()
            })
        })
    }

    /// Does work.
    #[cfg(target_arch = "wasm32")]
    pub fn inside<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }
}

/// Says that all is done when it goes.
#[cfg(not(target_arch = "wasm32"))]
struct End<'a>(&'a AtomicBool);

#[cfg(not(target_arch = "wasm32"))]
impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Takes up work as soon as there is some, until all is done or there was none for a while.
#[cfg(not(target_arch = "wasm32"))]
fn stay_awake(done: &AtomicBool) {
    let worked = Cell::new(true);
    while worked.replace(false) && !done.load(Ordering::Acquire) {
        wait(|| {
            worked.set(rayon::yield_now() == Some(rayon::Yield::Executed));
            worked.get() || done.load(Ordering::Acquire)
        });
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Threads({})", self.count)
    }
}
