//! Work shared out among a device's threads.

#[cfg(not(target_arch = "wasm32"))]
use std::sync::Mutex;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Threads;
#[cfg(not(target_arch = "wasm32"))]
use super::threads::wait;

/// So few multiplications are done before another thread has taken up its part.
pub(super) const SMALL: usize = 100_000;

/// How many of these planes are one task, where all of them take so many multiplications.
pub(super) fn planes(threads: &Threads, planes: usize, products: usize) -> usize {
    if threads.count() == 1 || products < SMALL { planes } else { planes.div_ceil(threads.count() * 4) }
}

/// Calls `run` with each item: on several threads where there are several of both, in any order. A thread takes the next
/// item when it has done one.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn each<T: Send>(threads: &Threads, items: Vec<T>, run: impl Fn(T) + Sync + Send) {
    let Some(pool) = threads.pool().filter(|_| items.len() > 1) else {
        return items.into_iter().for_each(run);
    };
    let workers = threads.count().min(items.len());
    let (items, busy) = (Mutex::new(items.into_iter()), AtomicUsize::new(0));
    let next = || items.lock().ok().and_then(|mut items| items.next());
    let work = || {
        busy.fetch_add(1, Ordering::AcqRel);
        while let Some(item) = next() {
            run(item);
        }
        busy.fetch_sub(1, Ordering::AcqRel);
        // The others end soon: who slept meanwhile would have to be woken for the next node.
        wait(|| busy.load(Ordering::Acquire) == 0);
    };
    pool.install(|| together(workers, &work));
}

/// Calls `work` on so many threads, fewer if they have other things to do.
#[cfg(not(target_arch = "wasm32"))]
fn together(workers: usize, work: &(impl Fn() + Sync)) {
    if workers == 1 {
        work();
    } else {
        rayon::join(|| together(workers - workers / 2, work), || together(workers / 2, work));
    }
}

/// Calls `run` with each item.
#[cfg(target_arch = "wasm32")]
pub(super) fn each<T>(_: &Threads, items: Vec<T>, run: impl Fn(T)) {
    items.into_iter().for_each(run);
}
