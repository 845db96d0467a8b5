//! Loop unrolling: a short loop of known length becomes its passages, one after another.
//!
//! ```text
//! for i in 0..3 { f(i) } == f(0); f(1); f(2)
//! $i = 4; loop { if $i > 0 {} else { break }; f($i); $i = $i >> 1 } == f(4); f(2); f(1)
//! ```
//!
//! What depended on the counter is constant then: the taps of a convolution become offsets, arrays that
//! were indexed by it become registers, and each level of a reduction in a workgroup has its own width.
//! Inner loops come first. A loop with a `break` or `continue` of its own stays, but for the one break
//! that counts.

mod simulate;

use super::Pass;
use super::rewrite::{Copy, each_function, ends_in_jump};
use super::rule::{Hits, Rule};
use crate::ir::{Block, Const, Function, Inst, Kernel, Stmt, ValueDef};

/// Most passages of a loop that is unrolled.
const PASSAGES_MAX: u64 = 8;

/// Most values in all passages together.
const VALUES_MAX: u64 = 512;

/// The pass.
pub const PASS: Pass =
    Pass { name: "unroll", description: "writes out short loops of known length", run };

/// Unrolls in every function.
pub fn run(kernel: &mut Kernel, hits: &mut Hits) {
    each_function(kernel, |function| {
        let body = std::mem::take(&mut function.body);
        function.body = unroll_block(function, body, hits);
    });
}

fn unroll_block(function: &mut Function, block: Block, hits: &mut Hits) -> Block {
    let mut unrolled = Vec::with_capacity(block.len());
    for mut stmt in block {
        for inner in stmt.blocks_mut() {
            let block = std::mem::take(inner);
            *inner = unroll_block(function, block, hits);
        }
        if let Some(counters) = counters(function, &stmt) {
            hits.hit(Rule::Unroll);
            unroll(function, &stmt, &counters, &mut unrolled);
        } else if let Some((passages, guard)) = simulate::passages(function, &unrolled, &stmt) {
            hits.hit(Rule::UnrollLoop);
            let Stmt::Loop(mut body) = stmt else { continue };
            body.remove(guard);
            for _ in 0..passages {
                unrolled.extend(Copy::new(function).block(&body));
            }
        } else {
            unrolled.push(stmt);
        }
    }
    unrolled
}

/// The counters of a loop that is to be unrolled.
fn counters(function: &Function, stmt: &Stmt) -> Option<Vec<Const>> {
    let Stmt::For { counter, start, end, step, body } = stmt else { return None };
    let (first, end) = (function.as_const(*start)?.to_int()?, function.as_const(*end)?.to_int()?);
    let distance = u64::try_from(end - first).ok()?;
    let passages = distance.div_ceil(u64::from(*step));
    if passages > PASSAGES_MAX || passages * values(body) > VALUES_MAX {
        return None;
    }
    // Behind a passage that returns there is no other.
    if jumps(body) || ends_in_jump(body) {
        return None;
    }
    let ty = function.ty(*counter);
    let at = |passage: u64| first + i128::from(passage) * i128::from(*step);
    // The low bits of any integer are the bits of its type.
    let bits = |passage: u64| (at(passage) as u64) & (u64::MAX >> (64 - ty.bits()));
    Some((0..passages).map(|passage| Const::new(ty, bits(passage))).collect())
}

fn values(block: &Block) -> u64 {
    let own = |stmt: &Stmt| stmt.blocks().into_iter().map(values).sum::<u64>() + 1;
    block.iter().map(own).sum()
}

/// Whether the block jumps out of or on with the loop whose body it is.
fn jumps(block: &Block) -> bool {
    block.iter().any(|stmt| match stmt {
        Stmt::Break | Stmt::Continue => true,
        Stmt::If { then, otherwise, .. } => jumps(then) || jumps(otherwise),
        Stmt::Let(_)
        | Stmt::Set(..)
        | Stmt::SetElement(..)
        | Stmt::Store(..)
        | Stmt::AtomicStore(..)
        | Stmt::Check { .. }
        | Stmt::For { .. }
        | Stmt::Loop(_)
        | Stmt::CallVoid(..)
        | Stmt::Barrier(_)
        | Stmt::Each(_)
        | Stmt::Return => false,
    })
}

fn unroll(function: &mut Function, stmt: &Stmt, counters: &[Const], out: &mut Block) {
    let Stmt::For { counter, body, .. } = stmt else { return };
    let span = function.def(*counter).span;
    for at in counters {
        let mut copy = Copy::new(function);
        let value = copy.push(ValueDef { ty: at.ty, inst: Inst::Const(*at), span });
        copy.stand_for(*counter, value);
        out.push(Stmt::Let(value));
        out.extend(copy.block(body));
    }
}

#[cfg(test)]
mod tests {
    use super::run;
    use crate::interp::Data;
    use crate::ir::builder::Builder;
    use crate::ir::{Access, Axis, BinaryOp, Kernel, Stmt, Type};
    use crate::passes::rule::Hits;
    use crate::passes::testing::{count, kernel_of, outcome};
    use crate::verify::verify;

    /// `$h = first; loop { if $h > 0 {} else { break }; y[id] = y[id] * 3 + $h; $h = $h >> by }`
    fn halving(first: u32, by: u32) -> Kernel {
        let mut b = Builder::new("halving");
        let y = b.buffer("y", Type::I32, Access::ReadWrite);
        let id = b.id(Axis::X);
        let h = b.local(Type::U32, None);
        let (first, by) = (b.constant(first), b.constant(by));
        let (zero, three) = (b.constant(0u32), b.constant(3i32));
        b.set(h, first);
        b.repeat(|b| {
            let now = b.get(h);
            let goes_on = b.binary(BinaryOp::Gt, now, zero);
            b.if_else(goes_on, |_| {}, |b| b.stmt(Stmt::Break));
            let v = b.checked_load(y, id);
            let v = b.binary(BinaryOp::Mul, v, three);
            let signed = b.cast(now, Type::I32);
            let v = b.binary(BinaryOp::Add, v, signed);
            b.checked_store(y, id, v);
            let next = b.binary(BinaryOp::Shr, now, by);
            b.set(h, next);
        });
        // What is left of the counter.
        let (end, v) = (b.get(h), b.checked_load(y, id));
        let end = b.cast(end, Type::I32);
        let v = b.binary(BinaryOp::Sub, v, end);
        b.checked_store(y, id, v);
        kernel_of(b.finish(), 3)
    }

    /// `for i in -1..=5 step 2: for j in 0..inner: y[id] = y[id] * 3 + i + j`
    fn nested(inner: u32) -> Kernel {
        let mut b = Builder::new("nested");
        let y = b.buffer("y", Type::I32, Access::ReadWrite);
        let id = b.id(Axis::X);
        let (first, last, three) = (b.constant(-1i32), b.constant(6i32), b.constant(3i32));
        let (zero, inner) = (b.constant(0i32), b.constant(inner.cast_signed()));
        b.for_range(first, last, 2, |b, i| {
            b.for_range(zero, inner, 1, |b, j| {
                let v = b.checked_load(y, id);
                let v = b.binary(BinaryOp::Mul, v, three);
                let v = b.binary(BinaryOp::Add, v, i);
                let v = b.binary(BinaryOp::Add, v, j);
                b.checked_store(y, id, v);
            });
        });
        kernel_of(b.finish(), 3)
    }

    fn check(kernel: &Kernel, loops: usize) {
        let is_loop = |stmt: &Stmt| matches!(stmt, Stmt::For { .. } | Stmt::Loop(_));
        let mut better = kernel.clone();
        run(&mut better, &mut Hits::ignored());
        better.entry.compact();
        verify(&better).expect("unrolling keeps a kernel valid");
        assert_eq!(count(&better, is_loop), loops);
        let data = vec![Data::Narrow(vec![1, 7, 0x8000_0000])];
        assert_eq!(outcome(kernel, data.clone()), outcome(&better, data));
    }

    #[test]
    fn short_loops_are_written_out_inner_ones_first() {
        check(&nested(3), 0);
        check(&nested(0), 0);
    }

    #[test]
    fn long_loops_stay() {
        check(&nested(1000), 4);
        check(&halving(1 << 20, 1), 1);
    }

    #[test]
    fn a_loop_whose_variable_is_known_is_written_out() {
        check(&halving(128, 1), 0);
        check(&halving(7, 2), 0);
        check(&halving(0, 1), 0);
    }

    #[test]
    fn a_loop_that_never_ends_stays() {
        // Nobody runs it.
        let mut kernel = halving(5, 0);
        run(&mut kernel, &mut Hits::ignored());
        assert_eq!(count(&kernel, |stmt| matches!(stmt, Stmt::Loop(_))), 1);
    }

    #[test]
    fn a_loop_that_returns_stays() {
        let mut b = Builder::new("returns");
        let y = b.buffer("y", Type::I32, Access::ReadWrite);
        let id = b.id(Axis::X);
        let (zero, three) = (b.constant(0i32), b.constant(3i32));
        b.for_range(zero, three, 1, |b, i| {
            b.checked_store(y, id, i);
            b.stmt(Stmt::Return);
        });
        check(&kernel_of(b.finish(), 3), 1);
    }

    #[test]
    fn a_loop_that_is_left_stays() {
        let mut b = Builder::new("left");
        let y = b.buffer("y", Type::I32, Access::ReadWrite);
        let id = b.id(Axis::X);
        let (zero, three) = (b.constant(0i32), b.constant(3i32));
        b.for_range(zero, three, 1, |b, i| {
            b.checked_store(y, id, i);
            let enough = b.binary(BinaryOp::Ge, i, zero);
            b.if_else(enough, |b| b.stmt(Stmt::Break), |_| {});
        });
        check(&kernel_of(b.finish(), 3), 1);
    }
}
