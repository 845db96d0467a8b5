//! Buffers from and as the arrays of other crates: `ndarray` and Arrow, each a feature.
//!
//! The way out copies nothing: a buffer's content is seen as their array, under the claim that every look at it
//! needs. The way in copies once, and counts it: the memory of a wasm module needs address space of its
//! own, 4 GiB and a guard, and foreign allocations have none.

#[cfg(feature = "arrow")]
mod arrow;
#[cfg(feature = "ndarray")]
mod ndarray;

use std::sync::atomic::{AtomicU64, Ordering};

/// What has been copied into new buffers: bytes and copies.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    bytes: AtomicU64,
    count: AtomicU64,
    nanos: AtomicU64,
}

impl Taken {
    /// Counts a copy that began at some time and is over.
    pub(crate) fn count(&self, bytes: usize, began: std::time::Instant) {
        let nanos = began.elapsed().as_nanos() as u64;
        for (all, one) in [(&self.bytes, bytes as u64), (&self.count, 1), (&self.nanos, nanos)] {
            all.fetch_add(one, Ordering::Relaxed);
        }
    }

    pub(crate) fn copied(&self) -> crate::Copied {
        let [bytes, count, nanos] =
            [&self.bytes, &self.count, &self.nanos].map(|all| all.load(Ordering::Relaxed));
        crate::Copied { bytes, count, seconds: nanos as f64 * 1e-9 }
    }
}
