//! Address space from the operating system: reserve, commit, recycle.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of address space a slot offers: all that a 32-bit wasm memory can reach.
pub const SLOT_BYTES: usize = 1 << 32;

/// Bytes after a slot that are never committed, so that an access with a constant offset past the
/// end faults instead of reaching a neighbour.
pub const GUARD_BYTES: usize = 32 << 20;

/// Mappings kept for reuse, and the committed bytes they may hold together: the first touch of
/// fresh pages costs far more than clearing used ones.
const POOL_MAPS_MAX: usize = 64;
const POOL_BYTES_MAX: usize = 1 << 30;

/// From this size on a mapping asks for large pages, of 2 MiB on most machines.
const HUGE_BYTES: usize = 4 << 20;

/// Where mappings begin beyond a round address: each so many bytes further than the one before, and the eighth where the
/// first does. What is at the same place of two buffers whose addresses differ in high bits alone is taken for one
/// another by what a processor predicts from some bits of an address.
///
/// Measured on an AMD EPYC (Zen 5), a stencil over 64 MiB in rows of 16 KiB: 7.4 to 7.9 ms from buffers 4 GiB and 32 MiB
/// apart, or 64 MiB, or 96; 6.2 to 6.4 ms where they are 56 to 512 KiB further apart.
const COLOURS: usize = 8;
const COLOUR_BYTES: usize = 128 << 10;

/// What is reserved: the slot wherever it begins, and the guard behind it.
const RESERVED_BYTES: usize = COLOURS * COLOUR_BYTES + SLOT_BYTES + GUARD_BYTES;

/// Memory that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// More than a slot can hold.
    #[error("a buffer of {bytes} bytes is beyond the limit of {SLOT_BYTES} bytes")]
    TooLarge {
        /// Bytes asked for.
        bytes: usize,
    },
    /// The newest bytes were on a device that is gone.
    #[error("the newest content of a buffer is lost: {message}")]
    Lost {
        /// Why.
        message: String,
    },
    /// The operating system refuses.
    #[error("the operating system gives no memory for a buffer of {bytes} bytes: {message}")]
    System {
        /// Bytes asked for.
        bytes: usize,
        /// Its reason.
        message: String,
    },
}

/// A reserved range, from `offset` on [`SLOT_BYTES`] and a guard, of which the first `committed` bytes are usable.
#[derive(Debug)]
pub(crate) struct Map {
    start: *mut u8,
    offset: usize,
    committed: usize,
}

// SAFETY: the range belongs to this value alone; who may access the bytes is decided by `Slot`.
unsafe impl Send for Map {}
// SAFETY: `Map` itself reads and writes nothing through a shared reference.
unsafe impl Sync for Map {}

static POOL: Mutex<Vec<Map>> = Mutex::new(Vec::new());

impl Map {
    /// A range whose first `bytes` bytes are committed and zero.
    pub(crate) fn zeroed(bytes: usize) -> Result<Map, MemoryError> {
        if bytes > SLOT_BYTES {
            return Err(MemoryError::TooLarge { bytes });
        }
        let mut map = match take_pooled(bytes) {
            Some(map) => map,
            None => Map::reserve(bytes)?,
        };
        let old = map.committed;
        if bytes > old {
            map.commit(bytes)?;
        }
        // SAFETY: the first `old` bytes are committed and only this value knows them; what lies
        // behind is fresh and zero.
        unsafe { map.base().write_bytes(0, old.min(bytes)) };
        Ok(map)
    }

    fn reserve(bytes: usize) -> Result<Map, MemoryError> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % COLOURS * COLOUR_BYTES;
        // SAFETY: an anonymous mapping at an address of the system's choice touches nothing.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                RESERVED_BYTES,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(system(bytes));
        }
        Ok(Map { start: start.cast(), offset, committed: 0 })
    }

    fn commit(&mut self, bytes: usize) -> Result<(), MemoryError> {
        let pages = bytes.next_multiple_of(page_bytes());
        // From the start on: large pages begin at round addresses.
        let usable = self.offset + pages;
        // SAFETY: `usable` is within the reservation (`SLOT_BYTES` is a multiple of a page), which
        // belongs to this value.
        let done = unsafe {
            libc::mprotect(self.start.cast(), usable, libc::PROT_READ | libc::PROT_WRITE)
        };
        if done != 0 {
            return Err(system(bytes));
        }
        self.committed = pages;
        if pages >= HUGE_BYTES {
            self.ask_for_large_pages();
        }
        Ok(())
    }

    /// Large pages where there are any: a strided walk through a large buffer then misses fewer
    /// translations. Without them everything works as well.
    fn ask_for_large_pages(&self) {
        // SAFETY: advice about memory that belongs to this value changes none of it.
        #[cfg(target_os = "linux")]
        unsafe {
            libc::madvise(self.start.cast(), self.offset + self.committed, libc::MADV_HUGEPAGE);
        }
    }

    /// The first byte.
    pub(crate) fn base(&self) -> *mut u8 {
        self.start.wrapping_add(self.offset)
    }

    /// Bytes from the first one that can be touched.
    pub(crate) fn committed(&self) -> usize {
        self.committed
    }

    /// Gives the range back, to be used again.
    pub(crate) fn recycle(self) {
        let mut pool = POOL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let held: usize = pool.iter().map(|map| map.committed).sum();
        if pool.len() < POOL_MAPS_MAX && held + self.committed <= POOL_BYTES_MAX {
            pool.push(self);
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `reserve` with this length and nothing refers to it.
        unsafe { libc::munmap(self.start.cast(), RESERVED_BYTES) };
    }
}

/// The pooled range that fits best: the smallest that is large enough, if it is not wastefully so.
fn take_pooled(bytes: usize) -> Option<Map> {
    let mut pool = POOL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let fits = |map: &Map| map.committed >= bytes && map.committed / 4 <= bytes.max(1 << 16);
    let best = (0..pool.len()).filter(|&i| fits(&pool[i])).min_by_key(|&i| pool[i].committed)?;
    Some(pool.swap_remove(best))
}

fn page_bytes() -> usize {
    // SAFETY: asks for a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

fn system(bytes: usize) -> MemoryError {
    MemoryError::System { bytes, message: std::io::Error::last_os_error().to_string() }
}

#[cfg(test)]
mod tests {
    use super::{COLOUR_BYTES, COLOURS, Map, SLOT_BYTES, page_bytes};
    use std::collections::HashSet;

    #[test]
    fn mappings_begin_at_different_places_and_are_whole_wherever_they_do() {
        let bytes = 3 * COLOUR_BYTES + 5;
        let maps: Vec<Map> = (0..64).map(|_| Map::zeroed(bytes).expect("memory")).collect();
        let places: HashSet<usize> =
            maps.iter().map(|map| map.base() as usize % (COLOURS * COLOUR_BYTES)).collect();
        assert!(places.len() > COLOURS / 2, "{places:?}");
        for (at, map) in maps.iter().enumerate() {
            assert!((map.base() as usize).is_multiple_of(page_bytes()));
            assert!(map.committed() >= bytes && map.committed() <= SLOT_BYTES);
            // SAFETY: the first `committed` bytes are usable, and the map is this test's alone.
            let all = unsafe { std::slice::from_raw_parts_mut(map.base(), map.committed()) };
            assert!(all.iter().all(|&byte| byte == 0));
            all.fill(at as u8 + 1);
        }
        for (at, map) in maps.iter().enumerate() {
            // SAFETY: as above.
            let all = unsafe { std::slice::from_raw_parts(map.base(), map.committed()) };
            assert!(all.iter().all(|&byte| byte == at as u8 + 1), "{at} is another's");
        }
    }
}
