//! Loop unrolling: a short loop of known length becomes its passages, one after another.
//!
//! ```text
//! for i in 0..3 { f(i) } == f(0); f(1); f(2)
//! ```
//!
//! What depended on the counter is constant then: the taps of a convolution become offsets, and
//! arrays that were indexed by it become registers. Inner loops come first. A loop with a `break` or
//! `continue` of its own stays.

use std::collections::HashMap;

use super::Pass;
use super::rewrite::{each_function, ends_in_jump};
use super::rule::{Hits, Rule};
use crate::ir::{Block, Const, Function, Inst, Kernel, Stmt, Value, ValueDef};

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
        match counters(function, &stmt) {
            Some(counters) => {
                hits.hit(Rule::Unroll);
                unroll(function, &stmt, &counters, &mut unrolled);
            }
            None => unrolled.push(stmt),
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
        let mut copy = Copy { function, own: HashMap::new() };
        let value = copy.push(ValueDef { ty: at.ty, inst: Inst::Const(*at), span });
        copy.own.insert(*counter, value);
        out.push(Stmt::Let(value));
        out.extend(copy.block(body));
    }
}

/// One passage in the making.
struct Copy<'f> {
    function: &'f mut Function,
    /// The values that the passage defines anew.
    own: HashMap<Value, Value>,
}

impl Copy<'_> {
    fn push(&mut self, def: ValueDef) -> Value {
        self.function.values.push(def);
        Value(self.function.values.len() as u32 - 1)
    }

    fn block(&mut self, block: &Block) -> Block {
        block.iter().map(|stmt| self.stmt(stmt)).collect()
    }

    fn stmt(&mut self, stmt: &Stmt) -> Stmt {
        match stmt {
            Stmt::Let(value) | Stmt::For { counter: value, .. } => {
                let mut def = self.function.def(*value).clone();
                def.inst.map_operands(&mut |v| self.own.get(&v).copied().unwrap_or(v));
                let own = self.push(def);
                self.own.insert(*value, own);
            }
            Stmt::Set(..)
            | Stmt::SetElement(..)
            | Stmt::Store(..)
            | Stmt::AtomicStore(..)
            | Stmt::Check { .. }
            | Stmt::If { .. }
            | Stmt::Loop(_)
            | Stmt::CallVoid(..)
            | Stmt::Barrier(_)
            | Stmt::Each(_)
            | Stmt::Break
            | Stmt::Continue
            | Stmt::Return => {}
        }
        let mut copy = stmt.clone();
        copy.map_values(&mut |v| self.own.get(&v).copied().unwrap_or(v));
        for inner in copy.blocks_mut() {
            *inner = self.block(inner);
        }
        copy
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
        let mut better = kernel.clone();
        run(&mut better, &mut Hits::ignored());
        better.entry.compact();
        verify(&better).expect("unrolling keeps a kernel valid");
        assert_eq!(count(&better, |stmt| matches!(stmt, Stmt::For { .. })), loops);
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
