//! Keeping a worker thread off the core of the thread it works for. A system that wakes a thread likes to do so on
//! the core of whoever wakes it, which is busy with its own share of the work: the worker waits for its turn there
//! for milliseconds, dozens of calls, beside an idle core.

use std::sync::atomic::{AtomicUsize, Ordering};

/// No core.
const NONE: usize = usize::MAX;

/// The core that this thread runs on now, where the system says.
pub(crate) fn current_core() -> Option<usize> {
    sys::current_core()
}

/// Which cores a thread runs on.
pub(crate) struct Apart {
    thread: sys::Thread,
    /// The one that it stays off, and the one where it fell asleep last; or [`NONE`].
    avoided: AtomicUsize,
    slept: AtomicUsize,
}

impl Apart {
    /// Those of the thread that calls: where it may run now.
    pub(crate) fn of_this_thread() -> Apart {
        Apart {
            thread: sys::Thread::this(),
            avoided: AtomicUsize::new(NONE),
            slept: AtomicUsize::new(NONE),
        }
    }

    /// For the thread itself: if it runs on the core of a caller, it goes elsewhere.
    pub(crate) fn step_aside(&self, caller: Option<usize>) {
        if let Some(core) = caller
            && current_core() == caller
        {
            self.keep_off(core);
        }
    }

    /// For the thread itself: it is about to sleep.
    pub(crate) fn sleeps(&self) {
        self.slept.store(current_core().unwrap_or(NONE), Ordering::Relaxed);
    }

    /// For a caller on that core, before it wakes the thread.
    pub(crate) fn make_way(&self, caller: Option<usize>) {
        if let Some(core) = caller
            && self.slept.load(Ordering::Relaxed) == core
        {
            self.keep_off(core);
        }
    }

    /// Where there is no other core, nothing happens.
    fn keep_off(&self, core: usize) {
        if self.avoided.load(Ordering::Relaxed) != core && self.thread.leave(core) {
            self.avoided.store(core, Ordering::Relaxed);
        }
    }
}

#[cfg(target_os = "linux")]
mod sys {
    use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

    pub(super) fn current_core() -> Option<usize> {
        Some(sched_getcpu())
    }

    /// A thread, and the cores that it may run on; `None` where there are more than a set holds.
    pub(super) struct Thread(Pid, Option<CpuSet>);

    impl Thread {
        pub(super) fn this() -> Thread {
            Thread(gettid(), sched_getaffinity(None).ok())
        }

        /// Lets it run on all of them but one. Gives whether it does so now.
        pub(super) fn leave(&self, core: usize) -> bool {
            let Thread(id, Some(mut others)) = *self else { return false };
            if core >= CpuSet::MAX_CPU {
                return false;
            }
            others.unset(core);
            // A container may have lost the others meanwhile: then the thread stays where it is.
            others.count() > 0 && sched_setaffinity(Some(id), &others).is_ok()
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod sys {
    pub(super) fn current_core() -> Option<usize> {
        None
    }

    pub(super) struct Thread;

    impl Thread {
        pub(super) fn this() -> Thread {
            Thread
        }

        pub(super) fn leave(&self, _core: usize) -> bool {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Apart, NONE, current_core};
    use std::sync::atomic::Ordering;
    use std::sync::mpsc;

    /// Whether a thread can leave a core here: a machine may also grant the time of one core on any of several.
    #[cfg(target_os = "linux")]
    fn is_free() -> bool {
        rustix::thread::sched_getaffinity(None).is_ok_and(|cores| cores.count() > 1)
    }

    #[cfg(not(target_os = "linux"))]
    fn is_free() -> bool {
        false
    }

    #[test]
    fn a_thread_leaves_the_core_of_its_caller_where_there_is_another() {
        let is_free = is_free();
        let on_thread = move || {
            let apart = Apart::of_this_thread();
            apart.step_aside(None);
            assert_eq!(apart.avoided.load(Ordering::Relaxed), NONE);
            for _ in 0..100 {
                let core = current_core();
                apart.step_aside(core);
                // The system may have moved the thread between the two looks: then it had no need to leave.
                if is_free && apart.avoided.load(Ordering::Relaxed) == core.unwrap_or(NONE) {
                    assert_ne!(current_core(), core);
                }
            }
            assert_eq!(apart.avoided.load(Ordering::Relaxed) != NONE, is_free);
        };
        std::thread::spawn(on_thread).join().expect("no panic");
    }

    #[test]
    fn a_caller_sends_a_sleeping_thread_off_its_own_core() {
        let (fell_asleep, asleep) = mpsc::channel();
        let (wake, woken) = mpsc::channel::<Option<usize>>();
        let worker = std::thread::spawn(move || {
            let apart = std::sync::Arc::new(Apart::of_this_thread());
            apart.sleeps();
            let slept = apart.slept.load(Ordering::Relaxed);
            fell_asleep.send((apart, slept)).expect("it is waited for");
            (woken.recv().expect("it is woken"), current_core())
        });
        let (apart, slept) = asleep.recv().expect("it falls asleep");
        let caller = (slept != NONE).then_some(slept);
        apart.make_way(caller.map(|core| core + 1));
        assert_eq!(apart.avoided.load(Ordering::Relaxed), NONE, "it is not in the way");
        apart.make_way(caller);
        wake.send(caller).expect("it waits");
        let (caller, woke) = worker.join().expect("no panic");
        assert_eq!(is_free(), caller != woke);
    }
}
