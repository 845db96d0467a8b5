//! One slot: a mapping with a queue of claims, seen as Rust slices while a claim is held.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bytemuck::Pod;

use crate::claim::{Claim, Queue, Want, claim};
use crate::map::{Map, MemoryError};

/// Memory of one buffer. Freed, or kept for reuse, when the last handle is dropped.
#[derive(Debug)]
pub struct Slot {
    map: Option<Map>,
    bytes: usize,
    queue: Queue,
}

impl Slot {
    /// A slot of this many bytes, all zero.
    ///
    /// # Errors
    /// [`MemoryError`] when the size is beyond 4 GiB or the system has no memory.
    pub fn zeroed(bytes: usize) -> Result<Slot, MemoryError> {
        Ok(Slot { map: Some(Map::zeroed(bytes)?), bytes, queue: Queue::default() })
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
    fn too_large_is_an_error() {
        let error = Slot::zeroed(SLOT_BYTES + 1).expect_err("beyond a slot");
        assert_eq!(error, MemoryError::TooLarge { bytes: SLOT_BYTES + 1 });
    }
}
