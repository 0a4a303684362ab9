//! Work at load time on as many threads as there are cores.

/// `f(0), f(1), …, f(count - 1)`, in order; on several threads where there are any.
pub fn map<T: Send>(count: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    #[cfg(not(target_arch = "wasm32"))]
    {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count);
        if threads > 1 {
            let next = AtomicUsize::new(0);
            let work = || {
                let mut done = vec![];
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        return done;
                    }
                    done.push((i, f(i)));
                }
            };
            let mut all: Vec<(usize, T)> = std::thread::scope(|scope| {
                let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
                let mut all = work();
                for other in others {
                    match other.join() {
                        Ok(done) => all.extend(done),
                        Err(panic) => std::panic::resume_unwind(panic),
                    }
                }
                all
            });
            all.sort_by_key(|(i, _)| *i);
            return all.into_iter().map(|(_, result)| result).collect();
        }
    }
    (0..count).map(f).collect()
}

/// Both, at the same time.
#[cfg(not(target_arch = "wasm32"))]
pub fn both<A: Send, B>(first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let other = scope.spawn(first);
        let second = second();
        match other.join() {
            Ok(first) => (first, second),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_keep_their_order() {
        assert_eq!(super::map(100, |i| i * i), (0..100).map(|i| i * i).collect::<Vec<_>>());
        assert_eq!(super::map(0, |i| i), Vec::<usize>::new());
    }
}
