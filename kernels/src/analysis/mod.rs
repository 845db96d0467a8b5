//! Facts about a kernel. Nothing here changes one.

mod begun;
mod cut;
mod own;
pub mod profile;
pub mod uniform;

pub use begun::begun;
pub use cut::{Cut, Uncut, cut};
pub use own::{is_own, own_row};
pub use profile::{Profile, profile};

use std::collections::HashSet;

use crate::ir::{Function, Inst, Kernel, Stmt};

/// Whether some loop's end is decided only by what it computes: such a kernel may never end.
pub fn has_unbounded_loop(kernel: &Kernel) -> bool {
    let mut found = false;
    for function in std::iter::once(&kernel.entry).chain(&kernel.helpers) {
        function.walk(&mut |stmt| found |= matches!(stmt, Stmt::Loop(_)));
    }
    found
}

/// Whether to run an invocation twice is to run it once: it loads nothing that the function stores, and has no
/// effect but stores.
pub fn is_idempotent(function: &Function) -> bool {
    let (mut loaded, mut stored) = (HashSet::new(), HashSet::new());
    function.walk(&mut |stmt| match stmt {
        Stmt::Store(buffer, ..) => drop(stored.insert(*buffer)),
        Stmt::Let(value) => {
            if let Inst::Load(buffer, _) = function.def(*value).inst {
                loaded.insert(buffer);
            }
        }
        _ => {}
    });
    !has_atomics(function) && loaded.is_disjoint(&stored)
}

/// Whether the function has an atomic operation.
pub fn has_atomics(function: &Function) -> bool {
    let mut found = false;
    function.walk(&mut |stmt| {
        found |= match stmt {
            Stmt::AtomicStore(..) => true,
            Stmt::Let(value) => matches!(
                function.def(*value).inst,
                Inst::AtomicLoad(..) | Inst::Atomic(..) | Inst::CompareSwap(..)
            ),
            _ => false,
        }
    });
    found
}
