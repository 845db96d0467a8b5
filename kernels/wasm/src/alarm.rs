//! Alarms: the thread that advances an engine's epoch when a deadline comes, so that loops without
//! bound look at the clock.
//!
//! One thread serves all calls of an executor. It sleeps until the earliest deadline that it knows of;
//! a later one, which is the rule, costs no more than an entry in a map.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use crossover_kernels::exec::Deadline;
use wasmtime::Engine;

/// The alarms of an executor. The thread starts with the first.
#[derive(Default)]
pub(crate) struct Alarms {
    clock: Arc<Clock>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Alarms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alarms").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Clock {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By time; the number tells apart those of one time.
    set: BTreeMap<(Instant, u64), Engine>,
    next: u64,
    /// When the thread will look again by itself; never, if `None`.
    awake: Option<Instant>,
    closed: bool,
}

/// One alarm; off when dropped.
pub(crate) struct Alarm<'a> {
    clock: &'a Clock,
    key: (Instant, u64),
}

impl Alarms {
    /// Advances the engine's epoch at the deadline.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn set(&self, engine: &Engine, deadline: Deadline) -> std::io::Result<Alarm<'_>> {
        self.start()?;
        let mut state = self.clock.lock();
        let key = (deadline.at, state.next);
        state.next += 1;
        state.set.insert(key, engine.clone());
        if state.awake.is_none_or(|awake| deadline.at < awake) {
            self.clock.changed.notify_one();
        }
        Ok(Alarm { clock: &self.clock, key })
    }

    fn start(&self) -> std::io::Result<()> {
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            let clock = self.clock.clone();
            let name = "crossover-alarm".to_owned();
            *thread = Some(std::thread::Builder::new().name(name).spawn(move || clock.run())?);
        }
        Ok(())
    }
}

impl Drop for Alarms {
    fn drop(&mut self) {
        self.clock.lock().closed = true;
        self.clock.changed.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            // It cannot panic: there is nothing to report.
            let _ended = thread.join();
        }
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.clock.lock().set.remove(&self.key);
    }
}

impl Clock {
    fn run(&self) {
        let mut state = self.lock();
        while !state.closed {
            let now = Instant::now();
            while let Some(first) = state.set.first_entry()
                && first.key().0 <= now
            {
                first.remove().increment_epoch();
            }
            state.awake = state.set.first_key_value().map(|((at, _), _)| *at);
            state = match state.awake {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let waited = self.changed.wait_timeout(state, at - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
