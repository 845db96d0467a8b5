//! Loop-invariant values move in front of their loop.
//!
//! ```text
//! loop { …; v = op x y; … }  ==  v = op x y; loop { …; … }     x, y defined outside
//! ```
//!
//! Only pure values that stand directly in the loop's body move: one inside an `if` would be
//! computed more often than before. An integer division moves only if its divisor is a constant
//! other than zero, since its check stays behind. Inner loops come first, so that a value can leave
//! several.

use std::collections::HashSet;

use super::Pass;
use super::rewrite::each_function;
use super::rule::{Hits, Rule};
use crate::ir::{BinaryOp, Block, Function, Inst, Kernel, Stmt, Value, defined};

/// The pass.
pub const PASS: Pass =
    Pass { name: "hoist", description: "moves what does not change out of loops", run };

/// Hoists in every function.
pub fn run(kernel: &mut Kernel, hits: &mut Hits) {
    each_function(kernel, |function| {
        let body = std::mem::take(&mut function.body);
        function.body = hoist_block(function, body, hits);
    });
}

fn hoist_block(function: &Function, block: Block, hits: &mut Hits) -> Block {
    let mut out = Vec::new();
    for mut stmt in block {
        for inner in stmt.blocks_mut() {
            *inner = hoist_block(function, std::mem::take(inner), hits);
        }
        if matches!(stmt, Stmt::For { .. } | Stmt::Loop(_)) {
            let counts = matches!(stmt, Stmt::For { .. });
            let rule = if counts { Rule::HoistFor } else { Rule::HoistLoop };
            let mut inside = HashSet::new();
            defined(&stmt, &mut inside);
            for body in stmt.blocks_mut() {
                let invariant = |stmt: &Stmt, inside: &HashSet<Value>| match stmt {
                    Stmt::Let(value) => is_invariant(function, *value, inside),
                    _ => false,
                };
                let mut stays = Vec::new();
                for stmt in std::mem::take(body) {
                    if invariant(&stmt, &inside) {
                        if let Stmt::Let(value) = stmt {
                            inside.remove(&value);
                        }
                        hits.hit(rule);
                        out.push(stmt);
                    } else {
                        stays.push(stmt);
                    }
                }
                *body = stays;
            }
        }
        out.push(stmt);
    }
    out
}

fn is_invariant(function: &Function, value: Value, inside: &HashSet<Value>) -> bool {
    let inst = &function.def(value).inst;
    let safe = match inst {
        Inst::Binary(BinaryOp::Div | BinaryOp::Rem, x, y) if function.ty(*x).is_int() => {
            function.as_const(*y).is_some_and(|c| c.bits != 0)
        }
        _ => inst.is_pure(),
    };
    safe && inst.operands().iter().all(|operand| !inside.contains(operand))
}

#[cfg(test)]
mod tests {
    use super::PASS;
    use crate::interp::Data;
    use crate::ir::builder::Builder;
    use crate::ir::{Access, Axis, BinaryOp, Kernel, Stmt, Type};
    use crate::passes::testing::{kernel_of, unchanged_by};

    fn lets_in_loops(kernel: &Kernel) -> usize {
        let mut lets = 0;
        kernel.entry.walk(&mut |stmt| {
            if let Stmt::For { body, .. } = stmt {
                lets += body.iter().filter(|s| matches!(s, Stmt::Let(_))).count();
            }
        });
        lets
    }

    /// `y[id] += (id · 3 / d) · j` for all j < 3, in each of two passes of an outer loop.
    fn nest(divisor: Option<u32>) -> Kernel {
        let mut b = Builder::new("nest");
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let d = b.scalar("d", Type::U32);
        let id = b.id(Axis::X);
        let (zero, two, three) = (b.constant(0u32), b.constant(2u32), b.constant(3u32));
        b.for_range(zero, two, 1, |b, _| {
            b.for_range(zero, three, 1, |b, j| {
                let product = b.binary(BinaryOp::Mul, id, three);
                let d = match divisor {
                    Some(c) => b.constant(c),
                    None => b.argument(d),
                };
                let quotient = b.checked_binary(BinaryOp::Div, product, d);
                let old = b.checked_load(y, id);
                let term = b.binary(BinaryOp::Mul, quotient, j);
                let new = b.binary(BinaryOp::Add, old, term);
                b.checked_store(y, id, new);
            });
        });
        kernel_of(b.finish(), 3)
    }

    #[test]
    fn invariants_leave_all_loops_and_checked_divisions_stay() {
        let args = |d: u32| vec![Data::Narrow(vec![9; 3]), Data::Scalar(d.into())];
        // What stays: the load, the product with j, the sum; and the division by an argument.
        let after = unchanged_by(&PASS, &nest(Some(2)), &[args(1)]);
        assert_eq!(lets_in_loops(&after), 3);
        let after = unchanged_by(&PASS, &nest(None), &[args(2), args(0)]);
        assert_eq!(lets_in_loops(&after), 4);
    }
}
