//! Slots: pieces of address space that Rust, WebAssembly and the GPU share.
//!
//! A [`Slot`] reserves 4 GiB and a guard of address space and commits pages as needed, element 0 at
//! its start. The same bytes are a Rust slice ([`Slot::read`], [`Slot::write`]), the whole of a
//! wasm memory ([`Slot::base`]) and, where a driver can import host memory, a GPU buffer.
//!
//! Who may touch the bytes is decided by claims, granted in the order in which they were asked for:
//! many readers or one writer ([`claim`]). A running call holds the claims of its buffers, so a
//! slice cannot be had while a kernel writes the same bytes, and a buffer that is dropped while in
//! flight lives until the call has ended.
//!
//! A slot's newest bytes can be elsewhere, on a GPU: [`Claim::defer`] says how to fetch them, and the
//! next look at them does so, for the part that is looked at.
//!
//! All `unsafe` of the memory path is in this crate, in `map.rs`, `slot.rs`, `claim.rs` and `held.rs`.

mod claim;
mod held;
mod lent;
mod map;
mod queue;
mod ranges;
mod slot;

pub use claim::{Claim, claim, claim_in};
pub use held::{Held, hold};
pub use lent::Lent;
pub use map::{GUARD_BYTES, MemoryError, SLOT_BYTES};
pub use queue::{Stream, Want};
pub use ranges::Ranges;
pub use slot::{Fill, ReadGuard, Slot, WriteGuard};
