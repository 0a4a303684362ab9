//! Frames between who makes them and who works on them: what happens to those for which there is no time.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What happens to frames that come faster than they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The newest takes the place of one that still waits, which is dropped: the way of a camera.
    Latest,
    /// None is dropped; who makes them waits: the way of a file.
    All,
}

/// How many frames wait where none is dropped: one that is taken next, and one that is made meanwhile.
const WAITING: usize = 2;

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    dropped: u64,
    closed: bool,
}

/// Frames on their way from one thread to another.
#[derive(Debug)]
pub struct FrameQueue<T> {
    policy: Policy,
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> FrameQueue<T> {
    /// An empty one.
    pub fn new(policy: Policy) -> Self {
        let state = State { waiting: VecDeque::with_capacity(WAITING), dropped: 0, closed: false };
        Self { policy, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Puts a frame in. Says whether anybody will take more.
    pub fn put(&self, frame: T) -> bool {
        let full = |state: &mut State<T>| !state.closed && self.policy == Policy::All && state.waiting.len() >= WAITING;
        let mut state = self.changed.wait_while(self.state(), full).unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return false;
        }
        if self.policy == Policy::Latest {
            state.dropped += state.waiting.len() as u64;
            state.waiting.clear();
        }
        state.waiting.push_back(frame);
        self.changed.notify_all();
        true
    }

    /// Takes the next frame; waits until there is one. `None` once the queue is closed and empty.
    pub fn take(&self) -> Option<T> {
        let nothing = |state: &mut State<T>| state.waiting.is_empty() && !state.closed;
        let mut state = self.changed.wait_while(self.state(), nothing).unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_all();
        state.waiting.pop_front()
    }

    /// Takes the next frame if there is one.
    pub fn try_take(&self) -> Option<T> {
        self.changed.notify_all();
        self.state().waiting.pop_front()
    }

    /// Nothing more is put in. What waits may still be taken.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// How many frames were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.state().dropped
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_wins() {
        let queue = FrameQueue::new(Policy::Latest);
        assert_eq!(queue.try_take(), None);
        assert!((1..=5).all(|frame| queue.put(frame)));
        assert_eq!((queue.take(), queue.dropped()), (Some(5), 4));
        assert!(queue.put(6));
        queue.close();
        assert!(!queue.put(7));
        assert_eq!((queue.take(), queue.take(), queue.dropped()), (Some(6), None, 4));
    }

    #[test]
    fn none_is_dropped_and_none_overtakes() {
        let queue = FrameQueue::new(Policy::All);
        let taken: Vec<u32> = std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!((0..100).all(|frame| queue.put(frame)));
                queue.close();
            });
            std::iter::from_fn(|| queue.take()).collect()
        });
        assert_eq!((taken, queue.dropped()), ((0..100).collect(), 0));
    }

    #[test]
    fn who_waits_for_room_learns_that_nobody_takes_any_more() {
        let queue = FrameQueue::new(Policy::All);
        assert!(queue.put(0) && queue.put(1));
        std::thread::scope(|scope| {
            let third = scope.spawn(|| queue.put(2));
            queue.close();
            assert!(!third.join().unwrap());
        });
        assert_eq!([queue.take(), queue.take(), queue.take()], [Some(0), Some(1), None]);
    }
}
