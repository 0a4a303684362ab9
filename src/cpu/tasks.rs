//! Work shared out among a device's threads.

use super::Threads;

/// So few multiplications are done before another thread has woken up.
pub(super) const SMALL: usize = 250_000;

/// Calls `run` with each item: on several threads where there are several of both, in any order.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn each<T: Send>(threads: &Threads, items: Vec<T>, run: impl Fn(T) + Sync + Send) {
    use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
    match threads.pool() {
        Some(pool) if items.len() > 1 => pool.install(|| items.into_par_iter().for_each(run)),
        _ => items.into_iter().for_each(run),
    }
}

/// Calls `run` with each item.
#[cfg(target_arch = "wasm32")]
pub(super) fn each<T>(_: &Threads, items: Vec<T>, run: impl Fn(T)) {
    items.into_iter().for_each(run);
}
