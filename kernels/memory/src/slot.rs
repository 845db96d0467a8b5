//! One slot: a mapping with a queue of claims, seen as Rust slices while a claim is held.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytemuck::Pod;

use crate::claim::{Claim, Queue, Want, claim};
use crate::map::{Map, MemoryError};

/// Memory of one buffer. Freed, or kept for reuse, when the last handle is dropped.
#[derive(Debug)]
pub struct Slot {
    map: Option<Map>,
    bytes: usize,
    queue: Queue,
    pending: Pending,
}

/// Writes the newest bytes into a slot; the error says why they cannot be had.
pub type Fill = Box<dyn FnOnce(&mut [u8]) -> Result<(), String> + Send>;

/// Bytes that are elsewhere until somebody looks.
#[derive(Default)]
struct Pending {
    waiting: AtomicBool,
    state: Mutex<PendingState>,
}

#[derive(Default)]
struct PendingState {
    fill: Option<Fill>,
    lost: Option<String>,
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

    /// Whether the newest bytes are elsewhere: the next look at the slot fetches them.
    pub fn is_pending(&self) -> bool {
        self.pending.waiting.load(Ordering::Acquire)
    }

    /// Sees to it that the newest bytes are here. Looking through a claim does so by itself; whoever
    /// goes through [`Slot::base`] calls this first, holding a granted claim.
    ///
    /// # Errors
    /// [`MemoryError::Lost`] when they cannot be had; the slot then keeps what it held before.
    pub fn settle(&self, _claim: &Claim) -> Result<(), MemoryError> {
        self.settle_pending()
    }

    pub(crate) fn settle_pending(&self) -> Result<(), MemoryError> {
        if !self.pending.waiting.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut state = self.pending.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fill) = state.fill.take() {
            // SAFETY: the mapping holds `bytes` committed bytes. While a fill waits nobody has a
            // slice of them: `defer` needs the only claim, and every later look passes through here
            // first, under this lock.
            let bytes = unsafe { std::slice::from_raw_parts_mut(self.base(), self.bytes) };
            state.lost = fill(bytes).err();
        }
        match &state.lost {
            Some(message) => Err(MemoryError::Lost { message: message.clone() }),
            None => {
                self.pending.waiting.store(false, Ordering::Release);
                Ok(())
            }
        }
    }

    pub(crate) fn set_lost(&self, message: String) {
        let mut state = self.pending.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.pending.waiting.store(true, Ordering::Release);
        (state.fill, state.lost) = (None, Some(message));
    }

    pub(crate) fn set_pending(&self, fill: Option<Fill>) {
        let mut state = self.pending.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.lost = None;
        self.pending.waiting.store(fill.is_some(), Ordering::Release);
        state.fill = fill;
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Waits for earlier writers, then gives the slot as elements of `T`; a rest shorter than an
    /// element is left out.
    pub fn read<T: Pod>(self: &Arc<Self>) -> ReadGuard<T> {
        let claim = claim([(self.clone(), Want::Read)]);
        ReadGuard { slot: self.clone(), claim, element: PhantomData }
    }

    /// Waits for all earlier claims, then gives the slot as elements of `T` to change; a rest
    /// shorter than an element is left out.
    pub fn write<T: Pod>(self: &Arc<Self>) -> WriteGuard<T> {
        let claim = claim([(self.clone(), Want::Write)]);
        WriteGuard { slot: self.clone(), claim, element: PhantomData }
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
pub struct ReadGuard<T> {
    slot: Arc<Slot>,
    claim: Claim,
    element: PhantomData<T>,
}

impl<T> ReadGuard<T> {
    /// The claim that the guard holds.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }
}

impl<T: Pod> Deref for ReadGuard<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.claim.slice(&self.slot)
    }
}

/// Exclusive access to a slot's elements.
#[derive(Debug)]
pub struct WriteGuard<T> {
    slot: Arc<Slot>,
    claim: Claim,
    element: PhantomData<T>,
}

impl<T> WriteGuard<T> {
    /// The claim that the guard holds.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }
}

impl<T: Pod> Deref for WriteGuard<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.claim.slice(&self.slot)
    }
}

impl<T: Pod> DerefMut for WriteGuard<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.claim.slice_mut(&self.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::Slot;
    use crate::claim::{Want, claim};
    use crate::map::{MemoryError, SLOT_BYTES};
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
        let defer = |fill: super::Fill| claim([(slot.clone(), Want::Write)]).defer(&slot, fill);
        defer(Box::new(|bytes| {
            bytes.fill(7);
            Ok(())
        }));
        assert!(slot.is_pending());
        assert_eq!(*slot.read::<u8>(), [7; 4]);
        assert!(!slot.is_pending());
        defer(Box::new(|_| Err("the device is gone".into())));
        let claim = claim([(slot.clone(), Want::Read)]);
        let lost = MemoryError::Lost { message: "the device is gone".into() };
        assert_eq!(slot.settle(&claim), Err(lost));
        assert_eq!(claim.slice::<u8>(&slot), [7; 4], "what was here before stays");
    }

    #[test]
    fn too_large_is_an_error() {
        let error = Slot::zeroed(SLOT_BYTES + 1).expect_err("beyond a slot");
        assert_eq!(error, MemoryError::TooLarge { bytes: SLOT_BYTES + 1 });
    }
}
