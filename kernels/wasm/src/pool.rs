//! Worker threads that live as long as the executor. A call takes part in its own work on the
//! thread it is made from, and asks the pool for the others; whoever comes too late finds the work
//! closed. So a call never waits for threads that other calls keep busy.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Threads a pool grows to.
const THREADS_MAX: usize = 256;

/// What several threads do together.
pub(crate) trait Work: Send + Sync + 'static {
    /// Does a share of the work, until none is left.
    fn work(&self);
}

/// The threads.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Arc<Crew>>,
    closed: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

/// The threads at one piece of work.
struct Crew {
    work: Arc<dyn Work>,
    state: Mutex<CrewState>,
    changed: Condvar,
}

#[derive(Default)]
struct CrewState {
    closed: bool,
    active: usize,
    panicked: bool,
}

impl Pool {
    /// Does the work on this thread and up to `threads - 1` others, and returns when all have left.
    ///
    /// # Panics
    /// When the work does.
    pub(crate) fn run(&self, threads: usize, work: &Arc<dyn Work>) {
        if threads <= 1 {
            return work.work();
        }
        self.grow(threads - 1);
        let crew =
            Arc::new(Crew { work: work.clone(), state: Mutex::default(), changed: Condvar::new() });
        lock(&self.queue.state).waiting.extend((1..threads).map(|_| crew.clone()));
        self.queue.changed.notify_all();
        let own = catch_unwind(AssertUnwindSafe(|| work.work()));
        lock(&self.queue.state).waiting.retain(|other| !Arc::ptr_eq(other, &crew));
        let panicked = crew.close();
        if let Err(panic) = own {
            std::panic::resume_unwind(panic);
        }
        assert!(!panicked, "a worker thread panicked while it ran a kernel");
    }

    fn grow(&self, count: usize) {
        let mut threads = lock(&self.threads);
        while threads.len() < count.min(THREADS_MAX) {
            let queue = self.queue.clone();
            let name = format!("crossover-wasm-{}", threads.len());
            match std::thread::Builder::new().name(name).spawn(move || queue.serve()) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    // Fewer threads do the same work.
                    tracing::warn!(%error, "no further worker thread");
                    return;
                }
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.queue.state).closed = true;
        self.queue.changed.notify_all();
        for thread in lock(&self.threads).drain(..) {
            // A worker catches the panics of its work: the thread itself ends well.
            let _ended = thread.join();
        }
    }
}

impl Queue {
    fn serve(&self) {
        while let Some(crew) = self.next() {
            crew.join();
        }
    }

    fn next(&self) -> Option<Arc<Crew>> {
        let mut state = lock(&self.state);
        loop {
            if let Some(crew) = state.waiting.pop_front() {
                return Some(crew);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Crew {
    /// Takes part, unless the work is over.
    fn join(&self) {
        {
            let mut state = lock(&self.state);
            if state.closed {
                return;
            }
            state.active += 1;
        }
        let done = catch_unwind(AssertUnwindSafe(|| self.work.work()));
        let mut state = lock(&self.state);
        state.active -= 1;
        state.panicked |= done.is_err();
        self.changed.notify_all();
    }

    /// Lets nobody in any more, waits until all have left, and says whether one panicked.
    fn close(&self) -> bool {
        let mut state = lock(&self.state);
        state.closed = true;
        while state.active > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.panicked
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Pool, Work};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Count {
        left: AtomicUsize,
        done: AtomicUsize,
    }

    impl Work for Count {
        fn work(&self) {
            let take = |left: usize| left.checked_sub(1);
            while self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
                self.done.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    #[test]
    fn all_work_is_done_when_run_returns() {
        let pool = Pool::default();
        for round in 0..200 {
            let count = Arc::new(Count { left: round.into(), done: 0.into() });
            let work: Arc<dyn Work> = count.clone();
            pool.run(1 + round % 5, &work);
            assert_eq!(count.done.load(Ordering::SeqCst), round);
        }
    }

    struct Fails;

    impl Work for Fails {
        fn work(&self) {
            panic!("on purpose");
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_stays_usable() {
        let pool = Pool::default();
        let work: Arc<dyn Work> = Arc::new(Fails);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.run(3, &work)));
        assert!(outcome.is_err());
        let count = Arc::new(Count { left: 10.into(), done: 0.into() });
        let work: Arc<dyn Work> = count.clone();
        pool.run(3, &work);
        assert_eq!(count.done.load(Ordering::SeqCst), 10);
    }
}
