//! Loops to an end that is data, whose counter is checked against lengths: where the end is below the
//! lengths, they run without the checks.
//!
//! ```text
//! for i in a..b { check i < n; … }  ==  if b <= n { for i in a..b { check i < n; … } }
//!                                       else      { for i in a..b { check i < n; … } }
//! ```
//!
//! Both loops are the same: that the first needs no checks is what [`super::checks`] finds. Only
//! innermost loops, and only where the end was loaded or counted: of all others the ranges of
//! coordinates and arguments tell enough.

use std::collections::HashSet;

use super::Pass;
use super::rewrite::{Copy, each_function};
use super::rule::{Hits, Rule};
use crate::ir::{BinaryOp, Block, Function, Inst, Kernel, Stmt, Type, Value, ValueDef, defined};

/// Most statements of a loop that is written twice.
const STATEMENTS_MAX: usize = 48;

/// The pass.
pub const PASS: Pass =
    Pass { name: "unswitch", description: "moves checks of counters out of loops", run };

/// Unswitches in every function.
pub fn run(kernel: &mut Kernel, hits: &mut Hits) {
    each_function(kernel, |function| {
        let body = std::mem::take(&mut function.body);
        function.body = unswitch_block(function, body, hits);
    });
}

fn unswitch_block(function: &mut Function, block: Block, hits: &mut Hits) -> Block {
    let mut out = Vec::with_capacity(block.len());
    for mut stmt in block {
        let lengths = lengths(function, &stmt);
        if !lengths.is_empty() {
            out.extend(take_lengths(function, &mut stmt, &lengths));
        }
        if lengths.is_empty() {
            for inner in stmt.blocks_mut() {
                *inner = unswitch_block(function, std::mem::take(inner), hits);
            }
            out.push(stmt);
        } else {
            hits.hit(Rule::Unswitch);
            unswitch(function, stmt, &lengths, &mut out);
        }
    }
    out
}

/// What the counter of a loop is checked against, known outside of it; nothing where the loop is to
/// stay as it is.
fn lengths(function: &Function, stmt: &Stmt) -> Vec<Value> {
    let Stmt::For { counter, end, body, .. } = stmt else { return Vec::new() };
    let (statements, is_inner) = size(body);
    if !is_inner
        || statements > STATEMENTS_MAX
        || function.ty(*counter) != Type::U32
        || !is_data(function, *end)
    {
        return Vec::new();
    }
    let mut inside = HashSet::new();
    defined(stmt, &mut inside);
    for stmt in body {
        if let Some(length) = length(function, stmt) {
            inside.remove(&length);
        }
    }
    let mut lengths = Vec::new();
    note_checks(function, body, *counter, &mut lengths);
    lengths.retain(|length| !inside.contains(length));
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// The length of a buffer that a statement reads.
fn length(function: &Function, stmt: &Stmt) -> Option<Value> {
    match stmt {
        Stmt::Let(value) if matches!(function.def(*value).inst, Inst::Len(_)) => Some(*value),
        _ => None,
    }
}

/// Takes these lengths out of a loop's body: they are to be known before it.
fn take_lengths(function: &Function, stmt: &mut Stmt, lengths: &[Value]) -> Block {
    let Stmt::For { body, .. } = stmt else { return Vec::new() };
    let is_taken = |stmt: &mut Stmt| length(function, stmt).is_some_and(|v| lengths.contains(&v));
    body.extract_if(.., is_taken).collect()
}

/// The number of statements, and whether there is no loop among them.
fn size(block: &Block) -> (usize, bool) {
    block.iter().fold((0, true), |(count, is_inner), stmt| {
        let is_loop = matches!(stmt, Stmt::For { .. } | Stmt::Loop(_));
        stmt.blocks()
            .into_iter()
            .map(size)
            .fold((count + 1, is_inner && !is_loop), |(count, is_inner), (more, inner)| {
                (count + more, is_inner && inner)
            })
    })
}

/// Whether a value is not computed from arguments and coordinates alone.
fn is_data(function: &Function, value: Value) -> bool {
    match &function.def(value).inst {
        Inst::Load(..)
        | Inst::AtomicLoad(..)
        | Inst::Atomic(..)
        | Inst::CompareSwap(..)
        | Inst::Get(_)
        | Inst::GetElement(..)
        | Inst::Call(..) => true,
        inst => inst.operands().into_iter().any(|operand| is_data(function, operand)),
    }
}

fn note_checks(function: &Function, block: &Block, counter: Value, lengths: &mut Vec<Value>) {
    for stmt in block {
        if let Stmt::Check { condition, .. } = stmt
            && let Inst::Binary(BinaryOp::Lt, a, b) = function.def(*condition).inst
            && a == counter
        {
            lengths.push(b);
        }
        for inner in stmt.blocks() {
            note_checks(function, inner, counter, lengths);
        }
    }
}

fn unswitch(function: &mut Function, stmt: Stmt, lengths: &[Value], out: &mut Block) {
    let Stmt::For { counter, end, .. } = stmt else { return };
    let span = function.def(counter).span;
    let mut copy = Copy::new(function);
    let mut define = |inst: Inst| {
        let value = copy.push(ValueDef { ty: Type::Bool, inst, span });
        out.push(Stmt::Let(value));
        value
    };
    let conditions = lengths.iter().map(|length| Inst::Binary(BinaryOp::Le, end, *length));
    let mut all = None;
    for condition in conditions {
        let condition = define(condition);
        all = Some(match all {
            None => condition,
            Some(all) => define(Inst::Binary(BinaryOp::And, all, condition)),
        });
    }
    let Some(condition) = all else { return };
    let then = vec![copy.stmt(&stmt)];
    out.push(Stmt::If { condition, then, otherwise: vec![stmt] });
}

#[cfg(test)]
mod tests {
    use super::run;
    use crate::interp::Data;
    use crate::ir::builder::Builder;
    use crate::ir::{Access, Axis, BinaryOp, Inst, Kernel, Stmt, Type};
    use crate::passes::rule::Hits;
    use crate::passes::testing::{count, kernel_of, outcome};
    use crate::passes::{checks, optimize};
    use crate::verify::verify;

    /// `for i in starts[id]..starts[id + 1]: sum += a[i] · b[i]`
    fn rows() -> Kernel {
        let mut b = Builder::new("rows");
        let [starts, left, right] =
            ["starts", "a", "b"].map(|name| b.buffer(name, Type::U32, Access::Read));
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let (id, one) = (b.id(Axis::X), b.constant(1u32));
        let first = b.checked_load(starts, id);
        let next = b.binary(BinaryOp::Add, id, one);
        let last = b.checked_load(starts, next);
        let sum = b.local(Type::U32, None);
        b.for_range(first, last, 1, |b, i| {
            let (l, r) = (b.checked_load(left, i), b.checked_load(right, i));
            let product = b.binary(BinaryOp::Mul, l, r);
            let old = b.get(sum);
            let new = b.binary(BinaryOp::Add, old, product);
            b.set(sum, new);
        });
        let sum = b.get(sum);
        b.checked_store(y, id, sum);
        kernel_of(b.finish(), 3)
    }

    fn check(data: [Vec<u32>; 3]) {
        let kernel = rows();
        let mut better = kernel.clone();
        run(&mut better, &mut Hits::ignored());
        better.entry.compact();
        verify(&better).expect("unswitching keeps a kernel valid");
        let is_check = |stmt: &Stmt| matches!(stmt, Stmt::Check { .. });
        let loops = |kernel: &Kernel| count(kernel, |stmt| matches!(stmt, Stmt::For { .. }));
        assert_eq!((loops(&kernel), loops(&better)), (1, 2));
        let before = count(&better, is_check);
        checks::run(&mut better, &mut Hits::ignored());
        assert_eq!(before - count(&better, is_check), 2, "both checks of one of the loops");
        let [starts, a, b] = data.map(Data::Narrow);
        let data = vec![starts, a, b, Data::Narrow(vec![7; 3])];
        let expected = outcome(&kernel, data.clone());
        assert_eq!(expected, outcome(&better, data.clone()));
        assert_eq!(expected, outcome(&optimize(&kernel), data));
    }

    #[test]
    fn ends_within_and_beyond_the_lengths() {
        let numbers = |n: u32| (1..=n).collect::<Vec<_>>();
        check([vec![0, 2, 2, 5], numbers(5), numbers(6)]);
        check([vec![0, 2, 4, 6], numbers(5), numbers(6)]);
        check([vec![0, 2, 9, 4], numbers(8), numbers(3)]);
        check([vec![5, 1, 0, u32::MAX], numbers(8), numbers(8)]);
    }

    #[test]
    fn loops_to_arguments_stay() {
        let mut b = Builder::new("stays");
        let x = b.buffer("x", Type::U32, Access::Read);
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let (id, zero, len) = (b.id(Axis::X), b.constant(0u32), b.len(x));
        b.for_range(zero, len, 1, |b, i| {
            let v = b.checked_load(x, i);
            b.checked_store(y, id, v);
        });
        let mut kernel = kernel_of(b.finish(), 2);
        run(&mut kernel, &mut Hits::ignored());
        assert_eq!(count(&kernel, |stmt| matches!(stmt, Stmt::For { .. })), 1);
        assert!(kernel.entry.values.iter().any(|v| matches!(v.inst, Inst::Len(_))));
    }
}
