//! Claims: who may touch the bytes of which slots, in the order of asking.
//!
//! Each slot keeps a queue of outstanding claims. A claim is granted once no earlier one of the
//! queue conflicts with it, so that calls see each other's results in the order in which they were
//! made. Claims on several slots are queued under one lock: their order is the same on every slot,
//! and no two calls can wait for each other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytemuck::Pod;

use crate::slot::{Fill, Slot};

/// What a claim is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Shared with other readers.
    Read,
    /// Exclusive.
    Write,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    outstanding: Vec<(u64, Want)>,
    /// Threads that wait for a claim to be released: waking nobody is a call of the system, too.
    waiting: usize,
}

/// Held by everyone who queues claims: see the head of this file.
static ORDER: Mutex<()> = Mutex::new(());

/// The right to touch some slots, queued for or granted. Released when dropped.
#[derive(Debug)]
pub struct Claim {
    parts: Vec<Part>,
}

/// The claim's place in the queue of one slot.
#[derive(Debug)]
struct Part {
    slot: Arc<Slot>,
    number: u64,
    want: Want,
    /// Whether it is known to be granted. What is granted stays so.
    granted: AtomicBool,
}

/// Queues for the slots, each named once. Returns at once; [`Claim::wait`] blocks until all are granted.
pub fn claim(wants: impl IntoIterator<Item = (Arc<Slot>, Want)>) -> Claim {
    let _order = ORDER.lock().unwrap_or_else(PoisonError::into_inner);
    let parts = wants
        .into_iter()
        .map(|(slot, want)| {
            let (number, granted) = slot.queue().enter(want);
            Part { slot, number, want, granted: AtomicBool::new(granted) }
        })
        .collect();
    Claim { parts }
}

impl Claim {
    /// Blocks until every slot is granted.
    pub fn wait(&self) {
        self.parts.iter().for_each(Part::wait);
    }

    /// Whether every slot is granted now.
    pub fn is_granted(&self) -> bool {
        self.parts.iter().all(Part::is_granted)
    }
}

impl Part {
    fn wait(&self) {
        if !self.granted.load(Ordering::Acquire) {
            self.slot.queue().wait(self.number, self.want);
            self.granted.store(true, Ordering::Release);
        }
    }

    fn is_granted(&self) -> bool {
        self.granted.load(Ordering::Acquire) || self.slot.queue().is_granted(self.number, self.want)
    }
}

impl Claim {
    /// The elements of a claimed slot, once the claim is granted; a rest shorter than an element is
    /// left out.
    ///
    /// # Panics
    /// When the claim does not cover the slot.
    pub fn slice<T: Pod>(&self, slot: &Slot) -> &[T] {
        self.granted(slot, Want::Read);
        // SAFETY: the mapping holds `bytes` committed bytes, aligned to a page, and any bits are a
        // `T`. The claim is granted for as long as `self` lives: no other claim writes, and writing
        // through this one takes `&mut self`.
        unsafe { std::slice::from_raw_parts(slot.base().cast(), slot.bytes() / size_of::<T>()) }
    }

    /// The elements of a slot claimed for writing, once the claim is granted; a rest shorter than
    /// an element is left out.
    ///
    /// # Panics
    /// When the claim does not cover the slot for writing.
    pub fn slice_mut<T: Pod>(&mut self, slot: &Slot) -> &mut [T] {
        self.granted(slot, Want::Write);
        // SAFETY: as in `slice`, and the granted claim is the only one on the slot, borrowed
        // exclusively.
        unsafe { std::slice::from_raw_parts_mut(slot.base().cast(), slot.bytes() / size_of::<T>()) }
    }

    /// Leaves the newest bytes of a slot claimed for writing elsewhere: `fill` fetches them when
    /// somebody looks. An earlier fill that nobody needed is forgotten.
    ///
    /// # Panics
    /// When the claim does not cover the slot for writing.
    pub fn defer(&mut self, slot: &Slot, fill: Fill) {
        self.wait_for(slot, Want::Write);
        slot.set_pending(Some(fill));
    }

    /// Declares that whatever the slot lacks will be overwritten: a waiting fill is forgotten.
    ///
    /// # Panics
    /// When the claim does not cover the slot for writing.
    pub fn discard_pending(&mut self, slot: &Slot) {
        self.wait_for(slot, Want::Write);
        slot.set_pending(None);
    }

    /// Says that the bytes of a slot claimed for writing are lost, and why: whoever looks is told so,
    /// until they are overwritten.
    ///
    /// # Panics
    /// When the claim does not cover the slot for writing.
    pub fn lose(&mut self, slot: &Slot, message: String) {
        self.wait_for(slot, Want::Write);
        slot.set_lost(message);
    }

    /// Whether the claim is for this slot, at least to read or to write, and granted.
    pub fn covers(&self, slot: &Slot, want: Want) -> bool {
        self.part(slot, want).is_some_and(Part::is_granted)
    }

    fn granted(&self, slot: &Slot, want: Want) {
        self.wait_for(slot, want);
        // Bytes that are lost stay as they were; whoever must know has called `settle`.
        let _ = slot.settle_pending();
    }

    fn wait_for(&self, slot: &Slot, want: Want) {
        self.part(slot, want).expect("a slot is touched under a claim that covers it").wait();
    }

    fn part(&self, slot: &Slot, want: Want) -> Option<&Part> {
        self.parts.iter().find(|part| {
            std::ptr::eq(&*part.slot, slot) && (want == Want::Read || part.want == Want::Write)
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        for part in &self.parts {
            part.slot.queue().leave(part.number);
        }
    }
}

impl Queue {
    /// The number in the queue, and whether it is granted already.
    fn enter(&self, want: Want) -> (u64, bool) {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.outstanding.push((number, want));
        (number, state.grants(number, want))
    }

    fn wait(&self, number: u64, want: Want) {
        let mut state = self.lock();
        state.waiting += 1;
        while !state.grants(number, want) {
            state = self.released.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
    }

    fn is_granted(&self, number: u64, want: Want) -> bool {
        self.lock().grants(number, want)
    }

    fn leave(&self, number: u64) {
        let mut state = self.lock();
        state.outstanding.retain(|(other, _)| *other != number);
        let waiting = state.waiting > 0;
        drop(state);
        if waiting {
            self.released.notify_all();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn grants(&self, number: u64, want: Want) -> bool {
        self.outstanding
            .iter()
            .all(|(other, held)| *other >= number || (want == Want::Read && *held == Want::Read))
    }
}

#[cfg(test)]
mod tests {
    use super::{Want, claim};
    use crate::slot::Slot;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn readers_share_and_writers_wait_their_turn() {
        let slot = Arc::new(Slot::zeroed(64).expect("64 bytes"));
        let first = claim([(slot.clone(), Want::Read)]);
        let second = claim([(slot.clone(), Want::Read)]);
        let writer = claim([(slot.clone(), Want::Write)]);
        let late = claim([(slot.clone(), Want::Read)]);
        assert!(first.is_granted() && second.is_granted());
        assert!(!writer.is_granted() && !late.is_granted());
        drop(first);
        assert!(!writer.is_granted());
        drop(second);
        assert!(writer.is_granted() && !late.is_granted());
        drop(writer);
        assert!(late.is_granted());
    }

    #[test]
    fn crossing_claims_of_many_threads_never_deadlock_and_exclude_each_other() {
        let (a, b) = (Arc::new(Slot::zeroed(8).expect("a")), Arc::new(Slot::zeroed(8).expect("b")));
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for turn in 0..4 {
                let (a, b, inside) = (&a, &b, &inside);
                scope.spawn(move || {
                    for _ in 0..500 {
                        let (x, y) = if turn % 2 == 0 { (a, b) } else { (b, a) };
                        let claim = claim([(x.clone(), Want::Write), (y.clone(), Want::Write)]);
                        claim.wait();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
