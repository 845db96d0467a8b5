//! Compiled code, kept in a folder from process to process.
//!
//! - [`Cache`] keeps entries by [`Key`]: bytes that can be had again, at the price of compiling.
//! - [`Trial`] remembers that a process has died while it had something compiled or first run, so that the
//!   next one does not die of the same.
//!
//! Processes share the folder. Nothing of it is needed: whatever fails costs a compilation and nothing else.

#![forbid(unsafe_code)]

mod entries;
mod files;
mod key;
mod trial;

pub use entries::Cache;
pub use key::{Key, KeyHasher};
pub use trial::{Crashes, Trial};
