//! Facts about a kernel. Nothing here changes one.

pub mod profile;
pub mod uniform;

pub use profile::{Profile, profile};

use crate::ir::{Kernel, Stmt};

/// Whether some loop's end is decided only by what it computes: such a kernel may never end.
pub fn has_unbounded_loop(kernel: &Kernel) -> bool {
    let mut found = false;
    for function in std::iter::once(&kernel.entry).chain(&kernel.helpers) {
        function.walk(&mut |stmt| found |= matches!(stmt, Stmt::Loop(_)));
    }
    found
}
