//! Worker threads. A call takes part in its own work on the thread it is made from, and offers the
//! rest to others: threads that live as long as the executor, or the caller's ([`Workers`]). Whoever
//! comes too late finds the work over. So a call never waits for threads that are busy elsewhere, and
//! may itself be made from one of them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Threads at one piece of work, and threads a pool grows to, at most.
pub(crate) const THREADS_MAX: usize = 256;

/// What several threads do together.
pub(crate) trait Work: Send + Sync + 'static {
    /// Does a share of the work, until none is left.
    fn work(&self);
}

/// Threads that take part in calls, in place of an executor's own: those of an application that has a
/// pool already. A closure will do:
///
/// ```
/// use std::sync::Arc;
/// use crossover_wasm::{Job, WasmExecutor, WasmOptions};
///
/// # fn main() -> Result<(), crossover_kernels::error::RunError> {
/// let workers = |threads: usize, job: Job| {
///     for _ in 0..threads {
///         let job = job.clone();
///         rayon::spawn(move || job.take_part());
///     }
/// };
/// let options = WasmOptions { workers: Some(Arc::new(workers)), ..WasmOptions::default() };
/// let executor = WasmExecutor::with(options)?;
/// # Ok(())
/// # }
/// ```
pub trait Workers: Send + Sync {
    /// Has up to so many threads take part in the job, each once and as soon as it is free. Returns
    /// without waiting for them. Threads that come late, or never, do no harm: the thread that makes
    /// the call does what nobody else does.
    fn offer(&self, threads: usize, job: Job);
}

impl<F: Fn(usize, Job) + Send + Sync> Workers for F {
    fn offer(&self, threads: usize, job: Job) {
        self(threads, job);
    }
}

/// A call's work, to be shared. It can be kept for as long as one likes: once the call is over it
/// holds nothing of it.
#[derive(Clone)]
pub struct Job(Arc<Crew>);

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("is_over", &self.is_over()).finish()
    }
}

impl Job {
    /// Works until nothing is left to do; returns at once when that is so already. A panic of the work
    /// goes to the call, not to this thread.
    pub fn take_part(&self) {
        self.0.join();
    }

    /// Whether it is too late to take part.
    pub fn is_over(&self) -> bool {
        lock(&self.0.state).work.is_none()
    }
}

/// Does work on several threads.
pub(crate) struct Pool {
    workers: Arc<dyn Workers>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Default for Pool {
    fn default() -> Pool {
        Pool::of(Arc::new(Threads::default()))
    }
}

impl Pool {
    pub(crate) fn of(workers: Arc<dyn Workers>) -> Pool {
        Pool { workers }
    }

    /// Does the work on this thread and up to `threads - 1` others, and returns when all have left.
    ///
    /// # Panics
    /// When the work does.
    pub(crate) fn run(&self, threads: usize, work: &Arc<dyn Work>) {
        if threads <= 1 {
            return work.work();
        }
        let crew = Arc::new(Crew::of(work.clone()));
        // Whatever becomes of this thread, the work is over before the call is.
        let closing = Closing(&crew);
        self.workers.offer(threads - 1, Job(crew.clone()));
        work.work();
        drop(closing);
        let panicked = lock(&crew.state).panicked;
        assert!(!panicked, "a worker thread panicked while it ran a kernel");
    }
}

/// The threads at one piece of work.
struct Crew {
    state: Mutex<CrewState>,
    changed: Condvar,
}

struct CrewState {
    /// `None` when it is over.
    work: Option<Arc<dyn Work>>,
    active: usize,
    panicked: bool,
}

impl Crew {
    fn of(work: Arc<dyn Work>) -> Crew {
        let state = CrewState { work: Some(work), active: 0, panicked: false };
        Crew { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Takes part, unless the work is over.
    fn join(&self) {
        let work = {
            let mut state = lock(&self.state);
            let Some(work) = state.work.clone() else { return };
            state.active += 1;
            work
        };
        let done = catch_unwind(AssertUnwindSafe(|| work.work()));
        drop(work);
        let mut state = lock(&self.state);
        state.active -= 1;
        state.panicked |= done.is_err();
        self.changed.notify_all();
    }
}

/// Lets nobody in any more when dropped, and waits until all have left.
struct Closing<'a>(&'a Crew);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.work = None;
        while state.active > 0 {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Threads of our own, started when they are first asked for.
#[derive(Default)]
struct Threads {
    queue: Arc<Queue>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Job>,
    closed: bool,
}

impl Workers for Threads {
    fn offer(&self, threads: usize, job: Job) {
        let threads = threads.min(THREADS_MAX);
        self.grow(threads);
        let mut state = lock(&self.queue.state);
        // What nobody had time for.
        state.waiting.retain(|waiting| !waiting.is_over());
        state.waiting.extend((0..threads).map(|_| job.clone()));
        drop(state);
        (0..threads).for_each(|_| self.queue.changed.notify_one());
    }
}

impl Threads {
    fn grow(&self, count: usize) {
        let mut handles = lock(&self.handles);
        while handles.len() < count {
            let queue = self.queue.clone();
            let name = format!("crossover-wasm-{}", handles.len());
            match std::thread::Builder::new().name(name).spawn(move || queue.serve()) {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    // Fewer threads do the same work.
                    tracing::warn!(%error, "no further worker thread");
                    return;
                }
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        lock(&self.queue.state).closed = true;
        self.queue.changed.notify_all();
        for handle in lock(&self.handles).drain(..) {
            // A worker catches the panics of its work: the thread itself ends well.
            let _ended = handle.join();
        }
    }
}

impl Queue {
    fn serve(&self) {
        while let Some(job) = self.next() {
            job.take_part();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.waiting.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Job, Pool, Work};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, Weak};

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

    fn count(left: usize) -> (Arc<Count>, Arc<dyn Work>) {
        let count = Arc::new(Count { left: left.into(), done: 0.into() });
        (count.clone(), count)
    }

    #[test]
    fn far_more_threads_than_cores_do_the_same_work() {
        let pool = Pool::default();
        for threads in [64, 300, usize::MAX] {
            let (count, work) = count(10_000);
            pool.run(threads, &work);
            assert_eq!(count.done.load(Ordering::SeqCst), 10_000);
        }
    }

    #[test]
    fn workers_that_never_come_or_come_late_do_no_harm() {
        let kept: Arc<Mutex<Vec<Job>>> = Arc::default();
        let late = kept.clone();
        let pool = Pool::of(Arc::new(move |_: usize, job: Job| late.lock().unwrap().push(job)));
        let (count, work) = count(50);
        pool.run(4, &work);
        assert_eq!(count.done.load(Ordering::SeqCst), 50);
        let held: Weak<dyn Work> = Arc::downgrade(&work);
        drop((count, work));
        assert!(held.upgrade().is_none(), "a job that is over holds nothing");
        for job in kept.lock().unwrap().drain(..) {
            assert!(job.is_over());
            job.take_part();
        }
    }

    #[test]
    fn rayons_threads_take_part() {
        struct Meeting(Mutex<Vec<std::thread::ThreadId>>, std::sync::Barrier);
        impl Work for Meeting {
            fn work(&self) {
                self.0.lock().unwrap().push(std::thread::current().id());
                self.1.wait();
            }
        }
        let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
        let pool = Pool::of(Arc::new(move |count: usize, job: Job| {
            for _ in 0..count {
                let job = job.clone();
                threads.spawn(move || job.take_part());
            }
        }));
        let meeting = Arc::new(Meeting(Mutex::default(), std::sync::Barrier::new(3)));
        let work: Arc<dyn Work> = meeting.clone();
        pool.run(3, &work);
        let mut ids = meeting.0.lock().unwrap().clone();
        assert_eq!(ids.len(), 3);
        ids.dedup();
        assert_eq!(ids.len(), 3, "each on a thread of its own");
    }
}
