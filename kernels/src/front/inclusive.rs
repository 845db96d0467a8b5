//! `for k in a..=b`, which the IR's `for` up to but not including an end does not have.
//!
//! With a known `b` that has a successor it is `a..b + 1`. Else it runs `(b - a) / step + 1` times,
//! counted without a sign, because the largest `b` has no successor. Only one range has more passages
//! than its type has numbers: all of them, one by one. Where it cannot be ruled out, the range is
//! swept once, and all of it a second time for its last number:
//!
//! ```text
//! for sweep in 0..(if whole { 2 } else { 1 }) {
//!     for passage in 0..(if sweep == 1 { 1 } else { times }) {       times: 2ⁿ − 1 of the whole
//!         k = (if sweep == 1 { b } else { a }) + passage; body       break: left = true; break
//!     }
//!     if left { break }
//! }
//! ```

use crate::eval;
use crate::ir::builder::Builder;
use crate::ir::{BinaryOp, Block, Const, Inst, Local, Stmt, Type, Value};

/// What a loop runs over.
#[derive(Clone, Copy)]
pub(super) struct Range {
    pub(super) start: Value,
    /// The last number, if a step hits it.
    pub(super) end: Value,
    pub(super) step: u32,
}

/// Writes the loop. Its body has been lowered, and reads `counter`.
pub(super) fn lower(b: &mut Builder, counter: Value, range: Range, body: Block) {
    let Range { start, end, step } = range;
    if let Some(past) = successor(b, end) {
        let end = b.constant(past);
        return b.stmt(Stmt::For { counter, start, end, step, body });
    }
    let distance = distance(b, range);
    let bits = b.function().ty(distance);
    let stride = b.constant(Const::new(bits, u64::from(step)));
    let before = b.binary(BinaryOp::Div, distance, stride);
    let one = b.constant(Const::one(bits));
    let times = b.binary(BinaryOp::Add, before, one);
    let zero = b.constant(Const::zero(bits));
    let runs = b.binary(BinaryOp::Le, start, end);
    let times = b.select(runs, times, zero);
    if step > 1 || starts_late(b, start) {
        return sweep(b, counter, range, times, body);
    }
    let all = b.constant(Const::new(bits, u64::MAX));
    let longest = b.binary(BinaryOp::Eq, distance, all);
    // An empty range may be as long, counted without a sign.
    let whole = b.binary(BinaryOp::And, longest, runs);
    let times = b.select(whole, all, times);
    sweep_twice_if(b, whole, counter, range, times, body);
}

/// The number after a known one, if the type has it.
fn successor(b: &Builder, end: Value) -> Option<Const> {
    let last = b.function().as_const(end)?;
    let past = eval::binary(BinaryOp::Add, last, Const::one(last.ty))?;
    (past.to_int() > last.to_int()).then_some(past)
}

/// Whether the range is known not to start at the least number of its type.
fn starts_late(b: &Builder, start: Value) -> bool {
    b.function().as_const(start).is_some_and(|first| {
        let least = if first.ty.is_signed_int() { 1 << (first.ty.bits() - 1) } else { 0 };
        first != Const::new(first.ty, least)
    })
}

/// `end - start`, without a sign.
fn distance(b: &mut Builder, Range { start, end, .. }: Range) -> Value {
    let ty = b.function().ty(start);
    let bits = ty.bit_pattern();
    let unsigned = |b: &mut Builder, v| if ty == bits { v } else { b.bitcast(v, bits) };
    let (first, last) = (unsigned(b, start), unsigned(b, end));
    b.binary(BinaryOp::Sub, last, first)
}

/// So many passages from the start on. The body's counter is computed from how many there were.
fn sweep(b: &mut Builder, counter: Value, range: Range, times: Value, body: Block) {
    let (ty, bits) = (b.function().ty(range.start), b.function().ty(times));
    let zero = b.constant(Const::zero(bits));
    let stride = b.constant(Const::new(bits, u64::from(range.step)));
    let passage = b.counter(bits);
    b.open();
    let offset = b.binary(BinaryOp::Mul, passage, stride);
    let offset = if ty == bits { offset } else { b.bitcast(offset, ty) };
    let mut whole = b.close();
    b.function_mut().values[counter.index()].inst =
        Inst::Binary(BinaryOp::Add, range.start, offset);
    whole.push(Stmt::Let(counter));
    whole.extend(body);
    b.stmt(Stmt::For { counter: passage, start: zero, end: times, step: 1, body: whole });
}

/// A sweep, and if the condition holds and nothing has left the loop, another for the last number.
fn sweep_twice_if(
    b: &mut Builder,
    whole: Value,
    counter: Value,
    range: Range,
    times: Value,
    mut body: Block,
) {
    let left = b.local(Type::Bool, None);
    let (no, yes) = (b.constant(false), b.constant(true));
    let can_leave = tell_breaks(&mut body, left, yes);
    if can_leave {
        b.set(left, no);
    }
    let (zero, one, two) = (b.constant(0u32), b.constant(1u32), b.constant(2u32));
    let single = b.constant(Const::one(b.function().ty(times)));
    let sweeps = b.select(whole, two, one);
    let number = b.counter(Type::U32);
    b.open();
    let second = b.binary(BinaryOp::Eq, number, one);
    let times = b.select(second, single, times);
    let start = b.select(second, range.end, range.start);
    sweep(b, counter, Range { start, ..range }, times, body);
    if can_leave {
        let left = b.get(left);
        b.if_else(left, |b| b.stmt(Stmt::Break), |_| {});
    }
    let body = b.close();
    b.stmt(Stmt::For { counter: number, start: zero, end: sweeps, step: 1, body });
}

/// Sets the variable before every `break` of the loop whose body this is; whether there is one.
fn tell_breaks(block: &mut Block, left: Local, yes: Value) -> bool {
    let mut found = false;
    for mut stmt in std::mem::take(block) {
        match &mut stmt {
            Stmt::Break => {
                block.push(Stmt::Set(left, yes));
                found = true;
            }
            Stmt::If { then, otherwise, .. } => {
                found |= tell_breaks(then, left, yes);
                found |= tell_breaks(otherwise, left, yes);
            }
            // Theirs are their own.
            Stmt::For { .. } | Stmt::Loop(_) => {}
            Stmt::Let(_)
            | Stmt::Set(..)
            | Stmt::SetElement(..)
            | Stmt::Store(..)
            | Stmt::AtomicStore(..)
            | Stmt::Check { .. }
            | Stmt::CallVoid(..)
            | Stmt::Barrier(_)
            | Stmt::Each(_)
            | Stmt::Continue
            | Stmt::Return => {}
        }
        block.push(stmt);
    }
    found
}
