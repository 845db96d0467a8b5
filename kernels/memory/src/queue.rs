//! The queue of claims on one slot.
//!
//! One atomic word says who holds the slot without being queued: any number of readers, or a writer. It is
//! taken so only while nobody is queued; whoever queues waits for those that hold it as for earlier ones.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a claim is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Shared with other readers.
    Read,
    /// Exclusive.
    Write,
}

/// Bits of a queue's word: somebody is queued; somebody writes; and below, how many read.
const QUEUED: u32 = 1 << 31;
const WRITER: u32 = 1 << 30;
const READER: u32 = 1;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Who holds the slot without being queued.
    word: AtomicU32,
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    outstanding: Vec<Outstanding>,
    /// Threads that wait for a claim to be released: waking nobody is a call of the system, too.
    waiting: usize,
}

/// A claim in the queue of a slot.
#[derive(Debug)]
struct Outstanding {
    number: u64,
    want: Want,
    /// The stream that it has been issued in.
    issued: Option<Stream>,
}

/// Work that a device does in the order in which it is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream(u64);

impl Stream {
    /// A stream unlike all others.
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Stream {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Stream(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Queue {
    /// Takes the slot, if nobody has it who does not share, and nobody is queued.
    #[inline]
    pub(crate) fn hold(&self, want: Want) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while is_free(word, want) && word & QUEUED == 0 {
            let held = word + unit(want);
            match self.word.compare_exchange_weak(word, held, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(found) => word = found,
            }
        }
        false
    }

    /// Gives back what was taken by the word.
    #[inline]
    pub(crate) fn let_go(&self, want: Want) {
        let before = self.word.fetch_sub(unit(want), Ordering::Release);
        if before & QUEUED != 0 {
            self.wake_waiting();
        }
    }

    /// Under the lock: whoever waits has either seen the word as it is now, or sleeps already.
    #[cold]
    fn wake_waiting(&self) {
        self.wake(self.lock());
    }

    /// The number in the queue, and whether it is granted already.
    pub(crate) fn enter(&self, want: Want) -> (u64, bool) {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.outstanding.push(Outstanding { number, want, issued: None });
        // From here on nobody takes the slot by its word.
        self.word.fetch_or(QUEUED, Ordering::Relaxed);
        (number, self.grants(&state, number, want, None))
    }

    pub(crate) fn wait(&self, number: u64, want: Want, stream: Option<Stream>) {
        let mut state = self.lock();
        state.waiting += 1;
        while !self.grants(&state, number, want, stream) {
            state = self.released.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
    }

    pub(crate) fn is_granted(&self, number: u64, want: Want, stream: Option<Stream>) -> bool {
        self.grants(&self.lock(), number, want, stream)
    }

    pub(crate) fn issue(&self, number: u64, stream: Option<Stream>) {
        let mut state = self.lock();
        for held in state.outstanding.iter_mut().filter(|held| held.number == number) {
            held.issued = stream;
        }
        self.wake(state);
    }

    pub(crate) fn leave(&self, number: u64) {
        let mut state = self.lock();
        state.outstanding.retain(|held| held.number != number);
        if state.outstanding.is_empty() {
            self.word.fetch_and(!QUEUED, Ordering::Release);
        }
        self.wake(state);
    }

    fn wake(&self, state: MutexGuard<'_, State>) {
        let waiting = state.waiting > 0;
        drop(state);
        if waiting {
            self.released.notify_all();
        }
    }

    /// Whether nobody holds the slot by its word, or is queued.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.word.load(Ordering::Relaxed) == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a queued claim need not wait for any other, but for what the stream has been given before.
    /// Who holds the slot by its word came before all who are queued.
    fn grants(&self, state: &State, number: u64, want: Want, stream: Option<Stream>) -> bool {
        is_free(self.word.load(Ordering::Acquire), want) && state.grants(number, want, stream)
    }
}

/// What a claim adds to a word.
fn unit(want: Want) -> u32 {
    match want {
        Want::Read => READER,
        Want::Write => WRITER,
    }
}

/// Whether nobody has taken a slot by its word who does not share it.
fn is_free(word: u32, want: Want) -> bool {
    match want {
        Want::Read => word & WRITER == 0,
        Want::Write => word & !QUEUED == 0,
    }
}

impl State {
    /// The same among those that are queued.
    fn grants(&self, number: u64, want: Want, stream: Option<Stream>) -> bool {
        self.outstanding.iter().all(|held| {
            held.number >= number
                || (want == Want::Read && held.want == Want::Read)
                || (stream.is_some() && held.issued == stream)
        })
    }
}
