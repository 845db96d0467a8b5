//! Which layouts leave the same as each other, bit for bit.
//!
//! A layout decides in which order invocations run, and which of them statement by statement side by side. That
//! shows in two ways: where invocations meet in memory, and where they are combined to floats, whose sums depend
//! on the order. What a kernel does with memory is looked at without its arguments:
//!
//! - a buffer is stored to at places that the position in the grid decides, and loaded, if it is, at these alone:
//!   two invocations that meet there would be a race whatever the layout. Where data decides, it may be none.
//! - atomic operations of a buffer are all of one kind that may be swapped, and nobody looks at their results.
//!
//! Lanes that are refilled fail elsewhere than those of the default: which of many failing invocations is reported
//! would follow from how long others take.
//!
//! Roundings are the same in lanes and alone: a single invocation multiplies and adds with the instruction of
//! vectors.

use crossover_kernels::ir::{
    Access, AtomicOp, CollectiveKind, Function, Inst, Kernel, Param, ParamDef, ParamKind, Stmt,
    Value,
};

use crate::private::used;
use crate::schedule::Schedule;

/// Whether calls leave the same with both layouts. Where several invocations fail, the error may name another
/// one of them.
pub(crate) fn leave_the_same(kernel: &Kernel, one: Schedule, other: Schedule) -> bool {
    one == other
        || (is_free(kernel) && combine_alike(kernel, one, other) && one.refill == other.refill)
}

/// Whether the contributions of a collective are combined in the same order: a reduction has a sum for each lane of
/// all groups, a scan goes from group to group.
fn combine_alike(kernel: &Kernel, one: Schedule, other: Schedule) -> bool {
    let Some(collective) = kernel.collective else { return true };
    let is_float = |param: &ParamDef| match param.kind {
        ParamKind::Buffer { element, .. } => element.is_float(),
        ParamKind::Scalar(_) | ParamKind::Shared { .. } => false,
    };
    if !kernel.entry.params.last().is_some_and(is_float) {
        return true;
    }
    match collective.kind {
        CollectiveKind::Reduce => one.vectors == other.vectors,
        CollectiveKind::Scan => (one.vectors > 0) == (other.vectors > 0),
    }
}

/// Whether no invocation sees how far another one is.
fn is_free(kernel: &Kernel) -> bool {
    let function = &kernel.entry;
    let meets = Meetings::of(function);
    let buffers = function.buffers().filter(|(_, _, access)| *access == Access::ReadWrite);
    meets.atomics_swap && buffers.into_iter().all(|(buffer, ..)| meets.is_apart(function, buffer))
}

/// Where invocations may meet.
struct Meetings {
    loads: Vec<(Param, Value)>,
    stores: Vec<(Param, Value)>,
    atomics_swap: bool,
}

impl Meetings {
    fn of(function: &Function) -> Meetings {
        let used = used(function);
        let (mut loads, mut stores) = (Vec::new(), Vec::new());
        let (mut kinds, mut atomics_swap) = (Vec::<(Param, Kind)>::new(), true);
        function.walk(&mut |stmt| match stmt {
            Stmt::Store(buffer, index, _) => stores.push((*buffer, *index)),
            Stmt::AtomicStore(..) | Stmt::CallVoid(..) => atomics_swap = false,
            Stmt::Let(value) => match &function.def(*value).inst {
                Inst::Load(buffer, index) => loads.push((*buffer, *index)),
                Inst::AtomicLoad(..) | Inst::CompareSwap(..) | Inst::Call(..) => {
                    atomics_swap = false;
                }
                Inst::Atomic(op, buffer, ..) => {
                    let kind = Kind::of(*op).filter(|_| !used[value.index()]);
                    let other = kinds.iter().find(|(known, _)| known == buffer);
                    atomics_swap &= match (kind, other) {
                        (Some(kind), Some((_, other))) => kind == *other,
                        (kind, None) => kind.is_some(),
                        (None, Some(_)) => false,
                    };
                    kinds.extend(kind.map(|kind| (*buffer, kind)));
                }
                _ => {}
            },
            _ => {}
        });
        Meetings { loads, stores, atomics_swap }
    }

    fn is_apart(&self, function: &Function, buffer: Param) -> bool {
        let of = |all: &[(Param, Value)]| -> Vec<Value> {
            all.iter().filter(|(param, _)| *param == buffer).map(|(_, index)| *index).collect()
        };
        let (loads, stores) = (of(&self.loads), of(&self.stores));
        let Some(first) = stores.first() else { return true };
        let is_own = loads.is_empty() || loads.iter().chain(&stores).all(|index| index == first);
        is_own && stores.iter().all(|index| is_positional(function, *index))
    }
}

/// Atomic operations that give the same in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sum,
    And,
    Or,
    Xor,
    Min,
    Max,
}

impl Kind {
    fn of(op: AtomicOp) -> Option<Kind> {
        match op {
            AtomicOp::Add | AtomicOp::Sub => Some(Kind::Sum),
            AtomicOp::And => Some(Kind::And),
            AtomicOp::Or => Some(Kind::Or),
            AtomicOp::Xor => Some(Kind::Xor),
            AtomicOp::Min => Some(Kind::Min),
            AtomicOp::Max => Some(Kind::Max),
            AtomicOp::Swap => None,
        }
    }
}

/// Whether an index follows from the invocation's place in the grid, from scalars and counters.
fn is_positional(function: &Function, index: Value) -> bool {
    let (mut left, mut seen, mut has_place) = (vec![index], Vec::new(), false);
    while let Some(value) = left.pop() {
        if seen.contains(&value) {
            continue;
        }
        seen.push(value);
        let inst = &function.def(value).inst;
        has_place |= matches!(inst, Inst::Id(_) | Inst::Local(_) | Inst::Group(_));
        if !inst.is_pure() && *inst != Inst::Counter {
            return false;
        }
        left.extend(inst.operands());
    }
    has_place
}

#[cfg(test)]
mod tests {
    use crossover_kernels::ir::Kernel;
    use crossover_kernels::{front, passes};

    use crate::Schedule;

    fn kernel(source: &str) -> Kernel {
        let definitions = front::source::parse(source, "test").expect("a kernel");
        passes::optimize(&front::instantiate(&definitions[0], &[], &[]).expect("typed"))
    }

    fn layouts(source: &str) -> Vec<Schedule> {
        let kernel = kernel(source);
        let all = Schedule::interchangeable(&kernel);
        assert_eq!(all[0], Schedule::default_for(&kernel));
        assert!(all.len() <= Schedule::space(&kernel).len());
        all
    }

    #[test]
    fn a_map_may_be_laid_out_anyhow() {
        let all = layouts(
            "#[kernel] fn f(id: Id, x: &[f32], y: &mut [f32]) { y[id.x] = y[id.x] + x[id.x]; }",
        );
        assert_eq!(all.iter().map(|layout| layout.vectors).max(), Some(4));
        assert!(all.iter().any(|layout| layout.vectors == 0));
    }

    #[test]
    fn sums_of_floats_keep_their_groups_and_sums_of_integers_need_not() {
        let sum = |ty: &str| {
            layouts(&format!(
                "#[kernel(reduce = add)] fn f(id: Id, x: &[{ty}]) -> {ty} {{ x[id.x] }}"
            ))
        };
        let floats = sum("f32");
        assert!(floats.iter().all(|layout| layout.vectors == floats[0].vectors));
        assert!(sum("u32").len() > floats.len());
        let scan = layouts("#[kernel(scan = add)] fn f(id: Id, x: &[f32]) -> f32 { x[id.x] }");
        assert!(scan.len() > 1 && scan.iter().all(|layout| layout.vectors > 0));
    }

    #[test]
    fn where_invocations_may_meet_there_is_one_layout() {
        for (what, source) in [
            (
                "a place that data decides",
                "#[kernel] fn f(id: Id, at: &[u32], y: &mut [u32]) { y[at[id.x] as usize] = id.x as u32; }",
            ),
            (
                "what a neighbour stores",
                "#[kernel] fn f(id: Id, y: &mut [f32]) { if id.x > 0 { y[id.x] = y[id.x - 1]; } }",
            ),
            ("one place", "#[kernel] fn f(id: Id, y: &mut [u32]) { y[0] = id.x as u32; }"),
            (
                "an order that atomics give",
                "#[kernel] fn f(id: Id, n: &[Atomic<u32>], y: &mut [u32]) { y[id.x] = n[0].fetch_add(1); }",
            ),
        ] {
            assert_eq!(layouts(source).len(), 1, "{what}");
        }
        let counts = "#[kernel] fn f(id: Id, x: &[u32], n: &[Atomic<u32>]) { n[x[id.x] as usize % 8].fetch_add(1); }";
        assert!(layouts(counts).len() > 1, "sums are the same in any order");
    }

    #[test]
    fn lanes_are_not_refilled_of_their_own_accord() {
        let source = "#[kernel] fn f(id: Id, y: &mut [u32]) { let mut n = 0u32; let mut z = id.x as u32; \
             while z % 7 != 3 && n < 50 { z = z * 5 + 1; n += 1; } y[id.x] = n; }";
        let (kernel, all) = (kernel(source), layouts(source));
        assert!(Schedule::space(&kernel).iter().any(|layout| layout.refill));
        assert!(all.len() > 1 && !all.iter().any(|layout| layout.refill));
    }
}
