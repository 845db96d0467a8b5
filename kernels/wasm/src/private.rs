//! Histograms without contention: atomic buffers of which every worker may have a copy of its own.
//!
//! Where a kernel does nothing with an atomic buffer but add to its elements (or subtract, or combine
//! bits) and never looks at the result, the order of the operations makes no difference. Each worker
//! then counts in zeroed memory of its own, with ordinary loads and stores, and at the end the copies
//! are merged into the buffer. A single worker counts in the buffer itself.

use std::sync::Arc;

use crossover_kernels::ir::{Access, AtomicOp, Function, Inst, Kernel, Param, Stmt};
use crossover_memory::Slot;

/// How copies are merged; 0 is the neutral element of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    Add,
    Or,
    Xor,
}

impl Merge {
    fn of(op: AtomicOp) -> Option<Merge> {
        match op {
            AtomicOp::Add | AtomicOp::Sub => Some(Merge::Add),
            AtomicOp::Or => Some(Merge::Or),
            AtomicOp::Xor => Some(Merge::Xor),
            AtomicOp::And | AtomicOp::Min | AtomicOp::Max | AtomicOp::Swap => None,
        }
    }

    /// `into[i] ∘= from[i]`
    pub(crate) fn apply(self, into: &mut [u32], from: &[u32]) {
        for (into, &from) in into.iter_mut().zip(from) {
            *into = match self {
                Merge::Add => into.wrapping_add(from),
                Merge::Or => *into | from,
                Merge::Xor => *into ^ from,
            };
        }
    }
}

/// For each parameter, how copies of it are merged; `None` for those that have none.
pub(crate) fn privates(kernel: &Kernel) -> Vec<Option<Merge>> {
    let function = &kernel.entry;
    let mut found: Vec<Found> = vec![Found::Nothing; function.params.len()];
    // Workers of a collective combine more than buffers.
    if kernel.collective.is_none() {
        let used = used(function);
        function.walk(&mut |stmt| note(function, &used, stmt, &mut found));
    }
    let atomic: Vec<Param> = function
        .buffers()
        .filter_map(|(param, _, access)| (access == Access::Atomic).then_some(param))
        .collect();
    let merge = |(at, found): (usize, &Found)| match found {
        Found::Merged(merge) if atomic.contains(&Param(at as u32)) => Some(*merge),
        Found::Merged(_) | Found::Nothing | Found::Other => None,
    };
    found.iter().enumerate().map(merge).collect()
}

/// What a kernel does with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Merged(Merge),
    Other,
}

fn note(function: &Function, used: &[bool], stmt: &Stmt, found: &mut [Found]) {
    match stmt {
        Stmt::AtomicStore(buffer, ..) => found[buffer.index()] = Found::Other,
        Stmt::Let(value) => match &function.def(*value).inst {
            Inst::AtomicLoad(buffer, _) | Inst::CompareSwap(buffer, ..) => {
                found[buffer.index()] = Found::Other
            }
            Inst::Atomic(op, buffer, ..) => {
                let held = &mut found[buffer.index()];
                let merge = Merge::of(*op).filter(|_| !used[value.index()]);
                *held = match (merge, *held) {
                    (Some(new), Found::Nothing) => Found::Merged(new),
                    (Some(new), Found::Merged(old)) if new == old => Found::Merged(old),
                    (_, _) => Found::Other,
                };
            }
            Inst::Const(_)
            | Inst::Param(_)
            | Inst::Id(_)
            | Inst::Local(_)
            | Inst::Group(_)
            | Inst::Extent(_)
            | Inst::Len(_)
            | Inst::Counter
            | Inst::Unary(..)
            | Inst::Binary(..)
            | Inst::Fma(..)
            | Inst::Select(..)
            | Inst::Cast(_)
            | Inst::Bitcast(_)
            | Inst::Get(_)
            | Inst::GetElement(..)
            | Inst::Load(..)
            | Inst::Call(..) => {}
        },
        Stmt::Set(..)
        | Stmt::SetElement(..)
        | Stmt::Store(..)
        | Stmt::Check { .. }
        | Stmt::If { .. }
        | Stmt::For { .. }
        | Stmt::Loop(_)
        | Stmt::Barrier(_)
        | Stmt::Each(_)
        | Stmt::CallVoid(..)
        | Stmt::Break
        | Stmt::Continue
        | Stmt::Return => {}
    }
}

/// For each value, whether anything uses it.
pub(crate) fn used(function: &Function) -> Vec<bool> {
    let mut used = vec![false; function.values.len()];
    function.walk(&mut |stmt| {
        let mut uses = stmt.uses();
        if let Stmt::Let(value) = stmt {
            uses.extend(function.def(*value).inst.operands());
        }
        uses.into_iter().for_each(|value| used[value.index()] = true);
    });
    used
}

/// The copies of one worker: the number of the buffer among the kernel's buffers, and the memory.
pub(crate) type Copies = Vec<(usize, Merge, Arc<Slot>)>;
