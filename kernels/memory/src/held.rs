//! Slots taken at once or not at all, by who has no time to queue: calls that are over in less.

use std::ops::Range;

use bytemuck::Pod;
use smallvec::SmallVec;

use crate::claim::{Claim, claim, elements};
use crate::lent::Lent;
use crate::queue::Want;
use crate::slot::Slot;

/// Slots in place: more than most kernels have buffers.
const INLINE_PARTS: usize = 4;

/// The right to touch some slots, whose newest bytes are here. Given back when dropped.
#[derive(Debug)]
pub struct Held<'c>(SmallVec<[(&'c Slot, Want); INLINE_PARTS]>);

/// Takes slots that nobody else has and whose newest bytes are here, each named once; `None` where one of them is not
/// to be had so. Who wants them then queues ([`crate::claim`]).
///
/// ```
/// use crossover_memory::{Slot, Want, hold};
/// let slot = Slot::zeroed(8)?;
/// let mut held = hold([(&slot, Want::Write)]).expect("nobody else has it");
/// assert!(hold([(&slot, Want::Read)]).is_none());
/// held.slice_mut::<u32>(0).fill(7);
/// drop(held);
/// let held = hold([(&slot, Want::Read)]);
/// assert!(held.is_some() && hold([(&slot, Want::Read)]).is_some(), "readers share");
/// # Ok::<(), crossover_memory::MemoryError>(())
/// ```
#[inline]
pub fn hold<'c>(wants: impl IntoIterator<Item = (&'c Slot, Want)>) -> Option<Held<'c>> {
    let mut held = Held(SmallVec::new());
    for (slot, want) in wants {
        if !slot.queue().hold(want) {
            return None;
        }
        held.0.push((slot, want));
        // Who leaves bytes elsewhere has the slot for itself meanwhile: they are here until it is given back.
        if slot.is_pending() {
            return None;
        }
    }
    Some(held)
}

impl<'c> Held<'c> {
    /// The slots, and what each is held for, in the order in which they were named.
    pub fn parts(&self) -> &[(&'c Slot, Want)] {
        &self.0
    }

    /// The elements of a slot that is held for writing, by its number; a rest shorter than an element is left out.
    ///
    /// # Panics
    /// When there is none of that number, or it is held for reading.
    pub fn slice_mut<T: Pod>(&mut self, at: usize) -> &mut [T] {
        let (slot, want) = self.0[at];
        assert_eq!(want, Want::Write, "what is changed is held for writing");
        let (first, count) = elements::<T>(slot, &(0..slot.bytes()));
        // SAFETY: the mapping holds `bytes` committed bytes, aligned to a page, `elements` is within them, and any
        // bits are a `T`. While `self` lives nobody else has a claim on the slot, and it is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(first, count) }
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.iter().for_each(|(slot, want)| slot.queue().let_go(*want));
    }
}

/// One slot for one look at it: held where nobody else has it, queued for else.
#[derive(Debug)]
pub(crate) enum Access<'c> {
    Held(Lent<'c, Slot>, Want),
    Queued(Lent<'c, Slot>, Box<Claim<'c>>),
}

impl<'c> Access<'c> {
    #[inline]
    pub(crate) fn to(slot: Lent<'c, Slot>, want: Want) -> Access<'c> {
        if slot.queue().hold(want) {
            return Access::Held(slot, want);
        }
        let claim = Box::new(claim([(slot.clone(), want)]));
        Access::Queued(slot, claim)
    }

    pub(crate) fn slot(&self) -> &Slot {
        let (Access::Held(slot, _) | Access::Queued(slot, _)) = self;
        slot
    }

    /// Blocks until it is granted.
    #[inline]
    pub(crate) fn wait(&self) {
        if let Access::Queued(_, claim) = self {
            claim.wait();
        }
    }

    /// The elements in some bytes, once it is granted.
    ///
    /// # Panics
    /// When the bytes are not within the slot or begin amid an element.
    #[inline]
    pub(crate) fn slice<T: Pod>(&self, part: &Range<usize>) -> &[T] {
        match self {
            Access::Held(slot, _) => {
                // Bytes that are lost stay as they were; whoever must know has called `settle`.
                let _ = slot.settle_pending(part);
                let (first, count) = elements::<T>(slot, part);
                // SAFETY: as in `Held::slice_mut`; others may read, too.
                unsafe { std::slice::from_raw_parts(first, count) }
            }
            Access::Queued(slot, claim) => claim.slice_part(slot, part),
        }
    }

    /// The same to change, of access to write.
    ///
    /// # Panics
    /// As there, or when the access is to read.
    #[inline]
    pub(crate) fn slice_mut<T: Pod>(&mut self, part: &Range<usize>) -> &mut [T] {
        match self {
            Access::Held(slot, want) => {
                assert_eq!(*want, Want::Write, "what is changed is held for writing");
                let _ = slot.settle_pending(part);
                let (first, count) = elements::<T>(slot, part);
                // SAFETY: as in `Held::slice_mut`.
                unsafe { std::slice::from_raw_parts_mut(first, count) }
            }
            Access::Queued(slot, claim) => claim.slice_part_mut(slot, part),
        }
    }
}

impl Drop for Access<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Access::Held(slot, want) = self {
            slot.queue().let_go(*want);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::hold;
    use crate::claim::claim;
    use crate::queue::Want;
    use crate::slot::Slot;

    #[test]
    fn all_slots_are_held_or_none() {
        let [a, b] = [8, 16].map(|bytes| Arc::new(Slot::zeroed(bytes).expect("memory")));
        let reader = claim([(b.clone(), Want::Read)]);
        assert!(hold([(&*a, Want::Write), (&*b, Want::Write)]).is_none());
        assert!(a.queue().is_idle(), "it was given back");
        let held = hold([(&*a, Want::Write), (&*b, Want::Read)]).expect("readers share");
        drop(reader);
        let writer = claim([(b.clone(), Want::Write)]);
        assert!(!writer.is_granted());
        assert!(hold([(&*b, Want::Read)]).is_none(), "somebody is queued");
        drop(held);
        writer.wait();
    }

    #[test]
    fn bytes_that_are_elsewhere_are_left_to_those_who_fetch_them() {
        let slot = Arc::new(Slot::zeroed(4).expect("memory"));
        claim([(slot.clone(), Want::Write)]).defer(&slot, 0..4, Box::new(|_, _| Ok(())), false);
        assert!(hold([(&*slot, Want::Read)]).is_none());
        assert!(slot.queue().is_idle());
        assert_eq!(slot.read::<u8>().len(), 4, "whoever looks fetches them");
        assert!(hold([(&*slot, Want::Read)]).is_some());
    }
}
