//! Worker threads. A call takes part in its own work on the thread it is made from, and offers the
//! rest to others: threads that live as long as the executor, or the caller's ([`Workers`]). Whoever
//! comes too late finds the work over. So a call never waits for threads that are busy elsewhere, and
//! may itself be made from one of them.
//!
//! To wake a thread that sleeps takes tens of microseconds. So who waits looks again and again for a
//! while before it sleeps: a thread for work, as the next call often follows the last at once, and a
//! call for the threads that are at their last chunk of it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::apart::{Apart, current_core};

/// Threads at one piece of work, and threads a pool grows to, at most.
pub(crate) const THREADS_MAX: usize = 256;

/// How long somebody looks before sleeping: what waking up would take.
const LOOKING: Duration = Duration::from_micros(50);

/// Looks between two at the clock.
const LOOKS: usize = 32;

/// Whether the condition came to hold while it was looked at.
fn look_for(condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    loop {
        for _ in 0..LOOKS {
            if condition() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.elapsed() >= LOOKING {
            return false;
        }
        // Where there are fewer cores than threads, somebody else may have work to do.
        std::thread::yield_now();
    }
}

/// What several threads do together.
pub(crate) trait Work: Send + Sync + 'static {
    /// Does a share of the work, until none is left. The seat is a number that the same thread has
    /// had at earlier work, if it is one of the pool's; the thread that makes the call has 0.
    fn work(&self, seat: usize);
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
    ///
    /// ```
    /// use std::{sync::Arc, thread};
    /// use crossover_wasm::{Job, WasmExecutor, WasmOptions};
    /// # use crossover_kernels::exec::Executor;
    /// let workers = |threads: usize, job: Job| {
    ///     for job in std::iter::repeat_n(job, threads) {
    ///         thread::spawn(move || job.take_part());
    ///     }
    /// };
    /// let options = WasmOptions { workers: Some(Arc::new(workers)), ..WasmOptions::default() };
    /// assert_eq!(WasmExecutor::with(options)?.name(), "wasm");
    /// # Ok::<(), crossover_kernels::error::RunError>(())
    /// ```
    pub fn take_part(&self) {
        self.0.join(None);
    }

    /// Whether it is too late to take part.
    ///
    /// ```
    /// # use std::sync::{Arc, Mutex};
    /// # use crossover_kernels::exec::{Arg, Call, Executor, claim_args};
    /// # use crossover_kernels::{front, library::saxpy::saxpy, passes};
    /// # use crossover_wasm::{Job, WasmExecutor, WasmOptions};
    /// let jobs = Arc::new(Mutex::new(Vec::new()));
    /// let kept = jobs.clone();
    /// let never = move |_: usize, job: Job| kept.lock().expect("no panic").push(job);
    /// let options = WasmOptions { workers: Some(Arc::new(never)), ..WasmOptions::default() };
    /// let executor = WasmExecutor::with(options)?;
    /// # let kernel = passes::optimize(&front::kernel(saxpy::DEF, &[], &[]).expect("it is right"));
    /// # let kernel = Arc::new(kernel);
    /// # let buffer = || crossover_memory::Slot::zeroed(4 << 20).map(Arc::new).expect("memory");
    /// # let arg = || Arg::Buffer { slot: buffer().into(), len: 1 << 20 };
    /// # let args = [Arg::Scalar(2f32.into()), arg(), arg()];
    /// # let mut claim = claim_args(&kernel, &args);
    /// # claim.wait();
    /// # let (args, grid, threads, deadline) = (&args[..], [1 << 20, 1, 1], 2, None);
    /// # let mut call = Call { args, grid, threads, deadline, start: None, claim: &mut claim };
    /// executor.compile(&kernel)?.run(&mut call)?; // The thread that calls does all of it.
    /// let jobs = jobs.lock().expect("no panic");
    /// assert!(jobs.iter().all(Job::is_over) && !jobs.is_empty());
    /// # Ok::<(), crossover_kernels::error::RunError>(())
    /// ```
    pub fn is_over(&self) -> bool {
        lock(&self.0.work).is_none()
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
            return work.work(0);
        }
        let crew = Arc::new(Crew::of(work.clone()));
        // Whatever becomes of this thread, the work is over before the call is.
        let closing = Closing(&crew);
        self.workers.offer(threads - 1, Job(crew.clone()));
        work.work(0);
        drop(closing);
        let panicked = crew.panicked.load(Ordering::Relaxed);
        assert!(!panicked, "a worker thread panicked while it ran a kernel");
    }
}

/// The threads at one piece of work.
struct Crew {
    /// `None` when it is over.
    work: Mutex<Option<Arc<dyn Work>>>,
    /// Where the call was made.
    core: Option<usize>,
    /// Threads that are at it, and those that have come in all, but for the one that made the call.
    active: AtomicUsize,
    arrived: AtomicUsize,
    panicked: AtomicBool,
    /// Whether the call sleeps until they have left.
    asleep: Mutex<bool>,
    left: Condvar,
}

impl Crew {
    fn of(work: Arc<dyn Work>) -> Crew {
        Crew {
            work: Mutex::new(Some(work)),
            core: current_core(),
            active: AtomicUsize::new(0),
            arrived: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            asleep: Mutex::new(false),
            left: Condvar::new(),
        }
    }

    /// Takes part, unless the work is over; without a seat of its own, at the next one.
    fn join(&self, seat: Option<usize>) {
        let work = {
            let held = lock(&self.work);
            let Some(work) = held.clone() else { return };
            self.active.fetch_add(1, Ordering::Relaxed);
            work
        };
        let arrived = self.arrived.fetch_add(1, Ordering::Relaxed);
        let seat = seat.unwrap_or(arrived + 1);
        let done = catch_unwind(AssertUnwindSafe(|| work.work(seat)));
        drop(work);
        if done.is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
        // What was done is seen by whoever sees that it is over.
        if self.active.fetch_sub(1, Ordering::AcqRel) == 1 && *lock(&self.asleep) {
            self.left.notify_all();
        }
    }

    fn is_left(&self) -> bool {
        self.active.load(Ordering::Acquire) == 0
    }
}

/// Lets nobody in any more when dropped, and waits until all have left.
struct Closing<'a>(&'a Crew);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        *lock(&self.0.work) = None;
        if look_for(|| self.0.is_left()) {
            return;
        }
        let mut asleep = lock(&self.0.asleep);
        *asleep = true;
        while !self.0.is_left() {
            asleep = self.0.left.wait(asleep).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Threads of our own, started when they are first asked for.
#[derive(Default)]
struct Threads {
    queue: Arc<Queue>,
    started: Mutex<Vec<Started>>,
}

struct Started {
    handle: JoinHandle<()>,
    /// Once it runs.
    apart: Arc<OnceLock<Apart>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
    /// Jobs that wait, for those who only look.
    waiting: AtomicUsize,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Job>,
    /// Threads that have to be woken.
    asleep: usize,
    closed: bool,
}

impl Workers for Threads {
    fn offer(&self, threads: usize, job: Job) {
        let threads = threads.min(THREADS_MAX);
        self.make_ready(threads, job.0.core);
        let mut state = lock(&self.queue.state);
        // What nobody had time for.
        state.waiting.retain(|waiting| !waiting.is_over());
        state.waiting.extend((0..threads).map(|_| job.clone()));
        self.queue.waiting.store(state.waiting.len(), Ordering::Relaxed);
        let asleep = state.asleep.min(threads);
        drop(state);
        (0..asleep).for_each(|_| self.queue.changed.notify_one());
    }
}

impl Threads {
    /// Sees to it that there are so many, and that none of them wakes where a caller on that core works.
    fn make_ready(&self, count: usize, core: Option<usize>) {
        let mut started = lock(&self.started);
        started.iter().take(count).filter_map(|s| s.apart.get()).for_each(|a| a.make_way(core));
        while started.len() < count {
            match self.start(started.len() + 1, core) {
                Ok(new) => started.push(new),
                Err(error) => {
                    // Fewer threads do the same work.
                    tracing::warn!(%error, "no further worker thread");
                    return;
                }
            }
        }
    }

    fn start(&self, seat: usize, core: Option<usize>) -> std::io::Result<Started> {
        let (queue, apart) = (self.queue.clone(), Arc::new(OnceLock::new()));
        let shown = apart.clone();
        let serve = move || {
            let own = Apart::of_this_thread();
            own.step_aside(core);
            queue.serve(seat, shown.get_or_init(|| own));
        };
        let name = format!("crossover-wasm-{}", seat - 1);
        let handle = std::thread::Builder::new().name(name).spawn(serve)?;
        // It may have to begin on this core to leave it.
        look_for(|| apart.get().is_some());
        Ok(Started { handle, apart })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        lock(&self.queue.state).closed = true;
        self.queue.changed.notify_all();
        for Started { handle, .. } in lock(&self.started).drain(..) {
            // A worker catches the panics of its work: the thread itself ends well.
            let _ended = handle.join();
        }
    }
}

impl Queue {
    fn serve(&self, seat: usize, apart: &Apart) {
        while let Some(job) = self.next(apart) {
            // Also if it is too late: it was for the want of a core.
            apart.step_aside(job.0.core);
            job.0.join(Some(seat));
        }
    }

    fn next(&self, apart: &Apart) -> Option<Job> {
        look_for(|| self.waiting.load(Ordering::Relaxed) > 0);
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.waiting.pop_front() {
                self.waiting.store(state.waiting.len(), Ordering::Relaxed);
                return Some(job);
            }
            if state.closed {
                return None;
            }
            apart.sleeps();
            state.asleep += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep -= 1;
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
        fn work(&self, _seat: usize) {
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
        fn work(&self, _seat: usize) {
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
            fn work(&self, _seat: usize) {
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
