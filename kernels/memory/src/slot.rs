//! One slot: a mapping with a queue of claims, seen as Rust slices while a claim is held.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytemuck::Pod;

use crate::claim::Claim;
use crate::held::Access;
use crate::lent::Lent;
use crate::map::{Map, MemoryError};
use crate::queue::{Queue, Want};
use crate::ranges::Ranges;

/// Memory of one buffer. Freed, or kept for reuse, when the last handle is dropped.
#[derive(Debug)]
pub struct Slot {
    map: Option<Map>,
    bytes: usize,
    queue: Queue,
    pending: Pending,
}

/// Writes the newest bytes of a part of a slot, which begins at the given one; the error says why they
/// cannot be had.
pub type Fill = Box<dyn FnMut(usize, &mut [u8]) -> Result<(), String> + Send>;

/// Bytes that are elsewhere until somebody looks.
#[derive(Default)]
struct Pending {
    waiting: AtomicBool,
    state: Mutex<PendingState>,
}

#[derive(Default)]
struct PendingState {
    elsewhere: Vec<Elsewhere>,
    lost: Option<String>,
    /// Whether the loss is for ever.
    is_forfeited: bool,
}

/// Bytes that one fill brings.
struct Elsewhere {
    missing: Ranges,
    fill: Fill,
}

impl PendingState {
    /// Some bytes need not come from elsewhere any more.
    fn forget(&mut self, part: &Range<usize>) {
        self.elsewhere.iter_mut().for_each(|elsewhere| elsewhere.missing.remove(part));
        self.elsewhere.retain(|elsewhere| !elsewhere.missing.is_empty());
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl Slot {
    /// A slot of this many bytes, all zero.
    ///
    /// # Errors
    /// [`MemoryError`] when the size is beyond 4 GiB or the system has no memory.
    pub fn zeroed(bytes: usize) -> Result<Slot, MemoryError> {
        let map = Some(Map::zeroed(bytes)?);
        Ok(Slot { map, bytes, queue: Queue::default(), pending: Pending::default() })
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The address of the first byte, for wasm memories and GPU imports. It is aligned to a page;
    /// [`crate::SLOT_BYTES`] and [`crate::GUARD_BYTES`] from here belong to this slot. Who reads or
    /// writes through it holds a [`Claim`] on the slot.
    pub fn base(&self) -> *mut u8 {
        self.map.as_ref().expect("a slot has its mapping until it is dropped").base()
    }

    /// Bytes from the first one that can be touched: those in use, up to whole pages.
    pub fn committed_bytes(&self) -> usize {
        self.map.as_ref().map_or(0, Map::committed)
    }

    /// Whether any of the newest bytes are elsewhere: the next look at them fetches them.
    pub fn is_pending(&self) -> bool {
        self.pending.waiting.load(Ordering::Acquire)
    }

    /// How many of the newest bytes are elsewhere.
    pub fn pending_bytes(&self) -> usize {
        if !self.is_pending() {
            return 0;
        }
        let state = self.pending.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.elsewhere.iter().map(|elsewhere| elsewhere.missing.bytes()).sum()
    }

    /// Whether the newest bytes can be had, here or elsewhere, as far as is known.
    ///
    /// # Errors
    /// [`MemoryError::Lost`] when they cannot.
    pub fn held(&self) -> Result<(), MemoryError> {
        if !self.is_pending() {
            return Ok(());
        }
        let state = self.pending.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.lost {
            Some(message) => Err(MemoryError::Lost { message: message.clone() }),
            None => Ok(()),
        }
    }

    /// Sees to it that the newest bytes are here. Looking through a claim does so by itself; whoever
    /// goes through [`Slot::base`] calls this first, holding a granted claim.
    ///
    /// # Errors
    /// [`MemoryError::Lost`] when they cannot be had; the slot then keeps what it held before.
    pub fn settle(&self, claim: &Claim<'_>) -> Result<(), MemoryError> {
        self.settle_part(claim, &(0..self.bytes))
    }

    /// The same for a part of it.
    ///
    /// # Errors
    /// As [`Slot::settle`].
    pub fn settle_part(&self, _claim: &Claim<'_>, part: &Range<usize>) -> Result<(), MemoryError> {
        self.settle_pending(part)
    }

    pub(crate) fn settle_pending(&self, part: &Range<usize>) -> Result<(), MemoryError> {
        if !self.pending.waiting.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut state = self.pending.state.lock().unwrap_or_else(PoisonError::into_inner);
        let PendingState { elsewhere, lost, .. } = &mut *state;
        'fetching: for Elsewhere { missing, fill } in elsewhere.iter_mut() {
            for gap in missing.within(part) {
                // SAFETY: the mapping holds `bytes` committed bytes, and the gap is within them. While it is
                // missing nobody has a slice of it: `defer` needs the only claim, and whoever makes a slice
                // passes through here first, under this lock, for all that it covers.
                let bytes = unsafe {
                    std::slice::from_raw_parts_mut(self.base().add(gap.start), gap.len())
                };
                match fill(gap.start, bytes) {
                    Ok(()) => missing.remove(&gap),
                    Err(message) => {
                        *lost = Some(message);
                        break 'fetching;
                    }
                }
            }
        }
        if let Some(message) = lost {
            let message = message.clone();
            elsewhere.clear();
            return Err(MemoryError::Lost { message });
        }
        elsewhere.retain(|elsewhere| !elsewhere.missing.is_empty());
        if elsewhere.is_empty() {
            self.pending.waiting.store(false, Ordering::Release);
        }
        Ok(())
    }

    pub(crate) fn set_lost(&self, message: String) {
        let mut state = self.pending.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.elsewhere.clear();
        state.lost = Some(message);
        self.pending.waiting.store(true, Ordering::Release);
    }

    pub(crate) fn forfeit(&self, message: String) {
        self.set_lost(message);
        self.pending.state.lock().unwrap_or_else(PoisonError::into_inner).is_forfeited = true;
    }

    /// Some bytes need not come from elsewhere any more.
    pub(crate) fn forget_pending(&self, part: &Range<usize>) {
        let mut state = self.pending.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(part);
        if *part == (0..self.bytes) && !state.is_forfeited {
            state.lost = None;
        }
        let waits = !state.elsewhere.is_empty() || state.lost.is_some();
        self.pending.waiting.store(waits, Ordering::Release);
    }

    /// Where the slot's content is lost, it stays so: what is elsewhere may have been made from it.
    pub(crate) fn set_pending(&self, part: Range<usize>, fill: Fill) {
        if part.is_empty() {
            return;
        }
        let mut missing = Ranges::default();
        missing.insert(part.clone());
        let mut state = self.pending.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(&part);
        state.elsewhere.push(Elsewhere { missing, fill });
        self.pending.waiting.store(true, Ordering::Release);
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Waits for earlier writers, then gives the slot as elements of `T`; a rest shorter than an
    /// element is left out.
    pub fn read<T: Pod>(self: &Arc<Self>) -> ReadGuard<'_, T> {
        self.read_part(0..self.bytes)
    }

    /// The same for some bytes of it, which begin at an element. Bytes beyond the slot are left out.
    pub fn read_part<T: Pod>(self: &Arc<Self>, part: Range<usize>) -> ReadGuard<'_, T> {
        ReadGuard::of(Lent::Lent(self), part)
    }

    /// Waits for all earlier claims, then gives the slot as elements of `T` to change; a rest
    /// shorter than an element is left out.
    pub fn write<T: Pod>(self: &Arc<Self>) -> WriteGuard<'_, T> {
        self.write_part(0..self.bytes)
    }

    /// The same for some bytes of it, which begin at an element. Bytes beyond the slot are left out.
    pub fn write_part<T: Pod>(self: &Arc<Self>, part: Range<usize>) -> WriteGuard<'_, T> {
        let part = self.clamp::<T>(part);
        WriteGuard { access: Access::to(Lent::Lent(self), Want::Write), part, element: PhantomData }
    }

    /// Bytes within the slot, from an element on.
    fn clamp<T>(&self, part: Range<usize>) -> Range<usize> {
        let start = part.start.min(self.bytes) / size_of::<T>().max(1) * size_of::<T>();
        start..part.end.clamp(start, self.bytes.max(start))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(map) = self.map.take() {
            map.recycle();
        }
    }
}

/// Shared access to a slot's elements.
#[derive(Debug)]
pub struct ReadGuard<'s, T> {
    access: Access<'s>,
    part: Range<usize>,
    element: PhantomData<T>,
}

impl<'s, T: Pod> ReadGuard<'s, T> {
    /// Some bytes of a slot that is lent or shared, as [`Slot::read_part`].
    #[inline]
    pub fn of(slot: Lent<'s, Slot>, part: Range<usize>) -> ReadGuard<'s, T> {
        let part = slot.clamp::<T>(part);
        ReadGuard { access: Access::to(slot, Want::Read), part, element: PhantomData }
    }
}

impl<T> ReadGuard<'_, T> {
    /// Waits until nobody writes who came before, and sees to it that the newest bytes are here.
    ///
    /// # Errors
    /// [`MemoryError::Lost`] when they cannot be had; the slot then keeps what it held before.
    #[inline]
    pub fn settle(&self) -> Result<(), MemoryError> {
        self.access.wait();
        self.access.slot().settle_pending(&self.part)
    }
}

impl<T: Pod> Deref for ReadGuard<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.access.slice(&self.part)
    }
}

/// Exclusive access to a slot's elements.
#[derive(Debug)]
pub struct WriteGuard<'s, T> {
    access: Access<'s>,
    part: Range<usize>,
    element: PhantomData<T>,
}

impl<T> WriteGuard<'_, T> {
    /// Waits until nobody has the slot who came before, and sees to it that the newest bytes are here.
    ///
    /// # Errors
    /// As [`ReadGuard::settle`].
    #[inline]
    pub fn settle(&self) -> Result<(), MemoryError> {
        self.access.wait();
        self.access.slot().settle_pending(&self.part)
    }
}

impl<T: Pod> Deref for WriteGuard<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.access.slice(&self.part)
    }
}

impl<T: Pod> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.access.slice_mut(&self.part)
    }
}

#[cfg(test)]
mod tests {
    use super::Slot;
    use crate::claim::claim;
    use crate::map::{MemoryError, SLOT_BYTES};
    use crate::queue::Want;
    use std::sync::Arc;

    #[test]
    fn what_is_written_is_read_and_recycled_memory_is_zero() {
        for bytes in [0, 1, 4, 4095, 4096, 4097, 1 << 20] {
            let slot = Arc::new(Slot::zeroed(bytes).expect("memory"));
            assert!(slot.read::<u8>().iter().all(|&b| b == 0));
            slot.write::<u8>().fill(0xAB);
            assert_eq!(slot.read::<u8>().len(), bytes);
            assert!(slot.read::<u8>().iter().all(|&b| b == 0xAB));
        }
    }

    #[test]
    fn a_rest_shorter_than_an_element_is_left_out() {
        let slot = Arc::new(Slot::zeroed(11).expect("memory"));
        assert_eq!(slot.read::<f64>().len(), 1);
    }

    #[test]
    fn deferred_bytes_are_fetched_once_when_somebody_looks() {
        let slot = Arc::new(Slot::zeroed(4).expect("memory"));
        let defer = |fill: super::Fill| {
            claim([(slot.clone(), Want::Write)]).defer(&slot, 0..4, fill, false)
        };
        defer(Box::new(|_, bytes| {
            bytes.fill(7);
            Ok(())
        }));
        assert!(slot.is_pending());
        assert_eq!(*slot.read::<u8>(), [7; 4]);
        assert!(!slot.is_pending());
        defer(Box::new(|_, _| Err("the device is gone".into())));
        let claim = claim([(slot.clone(), Want::Read)]);
        let lost = MemoryError::Lost { message: "the device is gone".into() };
        assert_eq!(slot.settle(&claim), Err(lost));
        assert_eq!(claim.slice::<u8>(&slot), [7; 4], "what was here before stays");
    }

    #[test]
    fn what_is_lost_stays_lost_until_something_new_is_there() {
        let slot = Arc::new(Slot::zeroed(4).expect("memory"));
        let claimed = || claim([(slot.clone(), Want::Write)]);
        let ones = || -> super::Fill {
            Box::new(|_, bytes| {
                bytes.fill(1);
                Ok(())
            })
        };
        claimed().lose(&slot, "the device is gone".into());
        claimed().defer(&slot, 0..4, ones(), false);
        assert!(slot.held().is_err() && slot.settle(&claimed()).is_err());
        claimed().defer(&slot, 0..2, ones(), true);
        assert!(slot.held().is_err(), "half of it is still lost");
        claimed().defer(&slot, 0..4, ones(), true);
        assert_eq!((slot.held(), slot.settle(&claimed())), (Ok(()), Ok(())));
        assert_eq!(*slot.read::<u8>(), [1; 4]);
    }

    #[test]
    fn only_the_part_that_is_looked_at_is_fetched() {
        let slot = Arc::new(Slot::zeroed(100).expect("memory"));
        let fetched = Arc::new(std::sync::Mutex::new(Vec::new()));
        let log = fetched.clone();
        claim([(slot.clone(), Want::Write)]).defer(
            &slot,
            0..100,
            Box::new(move |start, bytes| {
                log.lock().expect("unpoisoned").push(start..start + bytes.len());
                bytes.fill(start as u8 + 1);
                Ok(())
            }),
            false,
        );
        assert_eq!(*slot.read_part::<u8>(10..20), [11; 10]);
        assert_eq!(slot.pending_bytes(), 90);
        let mut guard = slot.write_part::<u32>(12..24);
        guard.fill(0);
        drop(guard);
        assert_eq!(
            slot.read_part::<u8>(0..30)[10..30],
            [[11; 2].as_slice(), &[0; 12], &[25; 6]].concat()
        );
        assert_eq!(slot.read::<u8>()[99], 31);
        assert!(!slot.is_pending());
        assert_eq!(*fetched.lock().expect("unpoisoned"), [10..20, 20..24, 0..10, 24..30, 30..100]);
    }

    #[test]
    fn the_newest_of_several_fills_brings_each_byte() {
        let slot = Arc::new(Slot::zeroed(30).expect("memory"));
        let defer = |part, value: u8| {
            let fill = move |_: usize, bytes: &mut [u8]| {
                bytes.fill(value);
                Ok(())
            };
            claim([(slot.clone(), Want::Write)]).defer(&slot, part, Box::new(fill), false);
        };
        defer(0..20, 1);
        defer(10..30, 2);
        claim([(slot.clone(), Want::Write)]).overwrite(&slot, &(25..30));
        assert_eq!(slot.pending_bytes(), 25);
        let expected = [[1; 10].as_slice(), &[2; 15], &[0; 5]].concat();
        assert_eq!(*slot.read::<u8>(), *expected);
    }

    #[test]
    fn too_large_is_an_error() {
        let error = Slot::zeroed(SLOT_BYTES + 1).expect_err("beyond a slot");
        assert_eq!(error, MemoryError::TooLarge { bytes: SLOT_BYTES + 1 });
    }
}
