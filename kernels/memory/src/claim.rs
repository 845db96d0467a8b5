//! Claims: who may touch the bytes of which slots, in the order of asking.
//!
//! Each slot keeps a queue of outstanding claims. A claim is granted once no earlier one of the
//! queue conflicts with it, so that calls see each other's results in the order in which they were
//! made. Claims on several slots are queued under one lock: their order is the same on every slot,
//! and no two calls can wait for each other.
//!
//! Most claims are on slots that nobody else wants. Those take each slot by its word ([`crate::queue`]),
//! without locks: a claim that gets all of its slots at once waits for nobody, so that its place in the
//! order does not matter.
//!
//! A device that works through what it is given in order needs no waiting between its own calls: claims of
//! one [`Stream`] go ahead of those before them that have been issued in it. They may touch the slots only by
//! way of that device.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bytemuck::Pod;
use smallvec::SmallVec;

use crate::lent::Lent;
use crate::queue::{Stream, Want};
use crate::slot::{Fill, Slot};

/// Slots of a claim that has them in itself: more than most kernels have buffers.
const INLINE_PARTS: usize = 4;

/// Held by everyone who queues claims: see the head of this file.
static ORDER: Mutex<()> = Mutex::new(());

/// The right to touch some slots, queued for or granted. Released when dropped.
#[derive(Debug)]
pub struct Claim<'c> {
    parts: SmallVec<[Part<'c>; INLINE_PARTS]>,
    stream: Option<Stream>,
    /// Whether the device has the work: nobody looks at the bytes by way of this claim meanwhile.
    is_issued: bool,
}

/// A claim's part in one slot. Small, since claims are moved about.
#[derive(Debug)]
struct Part<'c> {
    slot: Lent<'c, Slot>,
    /// Its number in the queue.
    number: u64,
    want: Want,
    place: Place,
    /// Whether it is known to be granted. What is granted stays so.
    granted: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It has not asked yet.
    None,
    /// It holds the slot by its word.
    Held,
    /// It is in the queue.
    Queued,
}

/// Queues for the slots, each named once. Returns at once; [`Claim::wait`] blocks until all are granted.
pub fn claim<'c, S: Into<Lent<'c, Slot>>>(wants: impl IntoIterator<Item = (S, Want)>) -> Claim<'c> {
    claim_in(None, wants)
}

/// The same for work that is issued in a stream, if in any.
pub fn claim_in<'c, S: Into<Lent<'c, Slot>>>(
    stream: Option<Stream>,
    wants: impl IntoIterator<Item = (S, Want)>,
) -> Claim<'c> {
    let mut parts = SmallVec::new();
    for (slot, want) in wants {
        let (slot, number, granted) = (slot.into(), 0, AtomicBool::new(false));
        parts.push(Part { slot, number, want, place: Place::None, granted });
    }
    // What is issued in a stream is looked for in the queue.
    if stream.is_some() || !hold(&mut parts) {
        let _order = ORDER.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter_mut().for_each(Part::enter);
    }
    Claim { parts, stream, is_issued: false }
}

/// Takes all slots by their words, or none.
fn hold(parts: &mut [Part<'_>]) -> bool {
    for at in 0..parts.len() {
        let part = &mut parts[at];
        if !part.slot.queue().hold(part.want) {
            parts[..at].iter_mut().for_each(Part::leave);
            return false;
        }
        (part.place, *part.granted.get_mut()) = (Place::Held, true);
    }
    true
}

impl Claim<'_> {
    /// Blocks until every slot is granted.
    pub fn wait(&self) {
        self.parts.iter().for_each(Part::wait);
    }

    /// Blocks until, on every slot, all that it would wait for has been issued in its stream.
    pub fn wait_in_stream(&self) {
        self.parts.iter().for_each(|part| part.wait_in(self.stream));
    }

    /// The stream of the work.
    pub fn stream(&self) -> Option<Stream> {
        self.stream
    }

    /// Says that the work has been given to the device: later claims of the stream may go on. Until the claim
    /// is given up, or taken back, it is the device's alone.
    pub fn issue(&mut self) {
        if self.stream.is_some() {
            self.is_issued = true;
            self.parts.iter().for_each(|part| part.issue(self.stream));
        }
    }

    /// Says that the device has not done the work, and does nothing any more that it was given before: later
    /// claims of the stream wait again.
    pub fn take_back(&mut self) {
        self.is_issued = false;
        self.parts.iter().for_each(|part| part.issue(None));
    }

    /// Whether every slot is granted now.
    pub fn is_granted(&self) -> bool {
        self.parts.iter().all(Part::is_granted)
    }
}

impl Part<'_> {
    fn enter(&mut self) {
        let (number, granted) = self.slot.queue().enter(self.want);
        (self.number, self.place, *self.granted.get_mut()) = (number, Place::Queued, granted);
    }

    fn leave(&mut self) {
        match self.place {
            Place::None => {}
            Place::Held => self.slot.queue().let_go(self.want),
            Place::Queued => self.slot.queue().leave(self.number),
        }
        (self.place, *self.granted.get_mut()) = (Place::None, false);
    }

    fn issue(&self, stream: Option<Stream>) {
        if self.place == Place::Queued {
            self.slot.queue().issue(self.number, stream);
        }
    }

    fn wait(&self) {
        if !self.granted.load(Ordering::Acquire) {
            self.slot.queue().wait(self.number, self.want, None);
            self.granted.store(true, Ordering::Release);
        }
    }

    fn wait_in(&self, stream: Option<Stream>) {
        if !self.granted.load(Ordering::Acquire) {
            self.slot.queue().wait(self.number, self.want, stream);
        }
    }

    fn is_granted(&self) -> bool {
        self.is_granted_in(None)
    }

    fn is_granted_in(&self, stream: Option<Stream>) -> bool {
        self.granted.load(Ordering::Acquire)
            || self.slot.queue().is_granted(self.number, self.want, stream)
    }
}

impl Claim<'_> {
    /// The elements of a claimed slot, once the claim is granted; a rest shorter than an element is
    /// left out.
    ///
    /// # Panics
    /// When the claim does not cover the slot.
    pub fn slice<T: Pod>(&self, slot: &Slot) -> &[T] {
        self.slice_part(slot, &(0..slot.bytes()))
    }

    /// The elements in some bytes of a claimed slot, once the claim is granted; a rest shorter than an
    /// element is left out. Other bytes may stay elsewhere.
    ///
    /// # Panics
    /// When the claim does not cover the slot, or the bytes are not within it or begin amid an element.
    pub fn slice_part<T: Pod>(&self, slot: &Slot, part: &Range<usize>) -> &[T] {
        self.granted(slot, part, Want::Read);
        let (first, count) = elements::<T>(slot, part);
        // SAFETY: the mapping holds `bytes` committed bytes, aligned to a page, `elements` is within them,
        // and any bits are a `T`. The claim is granted for as long as `self` lives: no other claim writes,
        // writing through this one takes `&mut self`, and what is fetched from elsewhere goes to other
        // bytes than these, which are here.
        unsafe { std::slice::from_raw_parts(first, count) }
    }

    /// The elements of a slot claimed for writing, once the claim is granted; a rest shorter than
    /// an element is left out.
    ///
    /// # Panics
    /// When the claim does not cover the slot for writing.
    pub fn slice_mut<T: Pod>(&mut self, slot: &Slot) -> &mut [T] {
        self.slice_part_mut(slot, &(0..slot.bytes()))
    }

    /// The elements in some bytes of a slot claimed for writing, as [`Claim::slice_part`].
    ///
    /// # Panics
    /// When the claim does not cover the slot for writing, or as there.
    pub fn slice_part_mut<T: Pod>(&mut self, slot: &Slot, part: &Range<usize>) -> &mut [T] {
        self.granted(slot, part, Want::Write);
        let (first, count) = elements::<T>(slot, part);
        // SAFETY: as in `slice_part`, and the granted claim is the only one on the slot, borrowed
        // exclusively.
        unsafe { std::slice::from_raw_parts_mut(first, count) }
    }

    /// Leaves the newest of some bytes of a slot claimed for writing elsewhere: `fill` fetches them when
    /// somebody looks. An earlier fill of the same bytes that nobody needed is forgotten; content that is
    /// lost stays lost, unless these bytes are made of nothing that the slot held.
    ///
    /// # Panics
    /// When the claim does not cover the slot for writing.
    pub fn defer(&mut self, slot: &Slot, part: Range<usize>, fill: Fill, is_new: bool) {
        self.wait_in_stream_for(slot);
        if is_new {
            slot.forget_pending(&part);
        }
        slot.set_pending(part, fill);
    }

    /// Declares that some bytes of a slot claimed for writing will be overwritten: they are not fetched.
    ///
    /// # Panics
    /// When the claim does not cover the slot for writing.
    pub fn overwrite(&mut self, slot: &Slot, part: &Range<usize>) {
        self.wait_for(slot, Want::Write);
        slot.forget_pending(part);
    }

    /// Says that the bytes of a slot claimed for writing are lost, and why: whoever looks is told so,
    /// until they are overwritten.
    ///
    /// # Panics
    /// When the claim does not cover the slot for writing.
    pub fn lose(&mut self, slot: &Slot, message: String) {
        self.wait_in_stream_for(slot);
        slot.set_lost(message);
    }

    /// The same, for ever: a device that hangs may still write there.
    ///
    /// # Panics
    /// When the claim does not cover the slot.
    pub fn forfeit(&mut self, slot: &Slot, message: String) {
        let part = self.part(slot, Want::Read);
        part.expect("a slot is touched under a claim that covers it").wait_in(self.stream);
        slot.forfeit(message);
    }

    /// Whether the claim is for this slot, at least to read or to write, and granted to work that is issued
    /// in this stream.
    pub fn covers_in(&self, stream: Stream, slot: &Slot, want: Want) -> bool {
        let stream = self.stream.filter(|own| *own == stream);
        self.part(slot, want).is_some_and(|part| part.is_granted_in(stream))
    }

    fn granted(&self, slot: &Slot, part: &Range<usize>, want: Want) {
        assert!(!self.is_issued, "what a device has been given is looked at under another claim");
        self.wait_for(slot, want);
        // Bytes that are lost stay as they were; whoever must know has called `settle`.
        let _ = slot.settle_pending(part);
    }

    fn wait_for(&self, slot: &Slot, want: Want) {
        self.part(slot, want).expect("a slot is touched under a claim that covers it").wait();
    }

    fn wait_in_stream_for(&self, slot: &Slot) {
        let part = self.part(slot, Want::Write);
        part.expect("a slot is touched under a claim that covers it").wait_in(self.stream);
    }

    fn part(&self, slot: &Slot, want: Want) -> Option<&Part<'_>> {
        self.parts.iter().find(|part| {
            std::ptr::eq(&*part.slot, slot) && (want == Want::Read || part.want == Want::Write)
        })
    }
}

/// Where the elements in some bytes of a slot begin, and how many they are.
pub(crate) fn elements<T>(slot: &Slot, part: &Range<usize>) -> (*mut T, usize) {
    let within = part.start <= part.end && part.end <= slot.bytes();
    assert!(within && part.start.is_multiple_of(align_of::<T>()), "{part:?} of a slot");
    // The start is within the mapping, or just behind its last byte.
    (slot.base().wrapping_add(part.start).cast(), part.len() / size_of::<T>())
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.parts.iter_mut().for_each(Part::leave);
    }
}

#[cfg(test)]
mod tests {
    use super::{Stream, Want, claim, claim_in};
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
    fn claims_of_a_stream_go_ahead_of_what_it_has_been_given() {
        let slot = Arc::new(Slot::zeroed(64).expect("64 bytes"));
        let (ours, other) = (Stream::new(), Stream::new());
        let mut first = claim_in(Some(ours), [(slot.clone(), Want::Write)]);
        let mut second = claim_in(Some(ours), [(slot.clone(), Want::Write)]);
        let host = claim([(slot.clone(), Want::Read)]);
        assert!(first.covers_in(ours, &slot, Want::Write));
        assert!(!second.covers_in(ours, &slot, Want::Write), "the first is not issued yet");
        first.issue();
        second.wait_in_stream();
        assert!(second.covers_in(ours, &slot, Want::Write));
        assert!(!second.covers_in(other, &slot, Want::Write) && !second.is_granted());
        second.issue();
        assert!(!host.is_granted(), "the host waits for what has been issued");
        drop(first);
        assert!(second.is_granted() && !host.is_granted());
        drop(second);
        assert!(host.is_granted());
    }

    #[test]
    fn whoever_queues_waits_for_those_that_hold_and_is_passed_by_nobody() {
        let slots: [_; 3] = std::array::from_fn(|_| Arc::new(Slot::zeroed(64).expect("64 bytes")));
        let [a, b, c] = &slots;
        let reads = claim([(a.clone(), Want::Read), (b.clone(), Want::Read)]);
        assert!(reads.is_granted());
        // It gets `c`, but not `b`, and so neither: both are queued for.
        let writes = claim([(c.clone(), Want::Write), (b.clone(), Want::Write)]);
        assert!(!writes.is_granted());
        let late = claim([(b.clone(), Want::Read)]);
        assert!(!late.is_granted(), "it would share with who reads, but the writer comes first");
        let other = claim([(a.clone(), Want::Read)]);
        assert!(other.is_granted(), "nobody is queued for `a`");
        drop(reads);
        assert!(writes.is_granted() && !late.is_granted());
        drop(writes);
        assert!(late.is_granted());
        drop((late, other));
        for slot in &slots {
            assert!(slot.queue().is_idle(), "nobody is left behind");
        }
    }

    #[test]
    fn readers_and_writers_of_many_threads_exclude_each_other() {
        let slots: [_; 3] = std::array::from_fn(|_| Arc::new(Slot::zeroed(8).expect("8 bytes")));
        let inside: [AtomicU32; 3] = Default::default();
        // A writer counts as more readers than there are threads.
        let count = |want| if want == Want::Write { 100 } else { 1 };
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let (slots, inside) = (&slots, &inside);
                scope.spawn(move || {
                    let mut random = thread + 1;
                    for _ in 0..3000 {
                        random = random.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
                        let first = (random >> 28) as usize % 3;
                        let pair = [first, (first + 1 + (random >> 20) as usize % 2) % 3];
                        let wants = [random >> 12, random >> 16]
                            .map(|bits| if bits % 4 == 0 { Want::Write } else { Want::Read });
                        let wanted = || std::iter::zip(pair, wants);
                        let claim = claim(wanted().map(|(at, want)| (slots[at].clone(), want)));
                        claim.wait();
                        for (at, want) in wanted() {
                            let before = inside[at].fetch_add(count(want), Ordering::SeqCst);
                            let max = if want == Want::Write { 0 } else { 4 };
                            assert!(before <= max, "{before} inside");
                        }
                        for (at, want) in wanted() {
                            inside[at].fetch_sub(count(want), Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        for slot in &slots {
            assert!(slot.queue().is_idle(), "nobody is left behind");
        }
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
