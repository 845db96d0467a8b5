//! What a pass is. The list of passes is in [`super`].

use super::rule::Hits;
use crate::ir::Kernel;

/// A step that changes a whole kernel and not what it computes.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// A short name: what logs, snapshots and ablations call it.
    pub name: &'static str,
    /// What it does, in one line.
    pub description: &'static str,
    /// Does it, and tells each rewrite. The kernel is valid before and after.
    pub run: fn(&mut Kernel, &mut Hits),
}
