//! Contraction: a product and a sum with one rounding, where the kernel allows it
//! (`#[kernel(contract)]`).
//!
//! ```text
//! x * y + z == fma(x, y, z)        z - x * y == fma(-x, y, z)        x * y - z == fma(x, y, -z)
//! ```
//!
//! All of them floats. The only pass that changes bits, which is why a kernel has to ask for it. A product that is used
//! elsewhere as well is left alone: it would be computed twice.

use super::Pass;
use super::rewrite::{Rewrite, each_function, rewrite};
use super::rule::{Hits, Rule};
use crate::ir::builder::Builder;
use crate::ir::{BinaryOp, Function, Inst, Kernel, Stmt, UnaryOp, Value};

/// The pass.
pub const PASS: Pass =
    Pass { name: "contract", description: "rounds a product and a sum once", run };

/// Contracts every function of a kernel that allows it.
pub fn run(kernel: &mut Kernel, hits: &mut Hits) {
    if !kernel.contract {
        return;
    }
    each_function(kernel, |function| {
        let uses = uses(function);
        rewrite(function, &mut Contract { uses, hits });
    });
}

/// How often each value is used.
fn uses(function: &Function) -> Vec<u32> {
    let mut uses = vec![0; function.values.len()];
    function.walk(&mut |stmt| {
        let mut used = stmt.uses();
        if let Stmt::Let(value) = stmt {
            used.extend(function.def(*value).inst.operands());
        }
        for value in used {
            uses[value.index()] += 1;
        }
    });
    uses
}

struct Contract<'h> {
    uses: Vec<u32>,
    hits: &'h mut Hits,
}

impl Contract<'_> {
    /// The factors of a product that is used only once.
    fn factors(&self, function: &Function, value: Value) -> Option<(Value, Value)> {
        match function.def(value).inst {
            // Values that this pass made are not counted, and are no products.
            Inst::Binary(BinaryOp::Mul, x, y) if self.uses.get(value.index()) == Some(&1) => {
                Some((x, y))
            }
            _ => None,
        }
    }
}

impl Rewrite for Contract<'_> {
    fn value(&mut self, b: &mut Builder, value: Value) -> Option<Value> {
        let ty = b.function().ty(value);
        let Inst::Binary(op, left, right) = b.function().def(value).inst else { return None };
        if !ty.is_float() {
            return None;
        }
        let factors = [left, right].map(|side| self.factors(b.function(), side));
        let (rule, inst) = match (op, factors) {
            (BinaryOp::Add, [Some((x, y)), _]) => (Rule::ContractAdd, Inst::Fma(x, y, right)),
            (BinaryOp::Add, [None, Some((x, y))]) => (Rule::ContractAdd, Inst::Fma(x, y, left)),
            (BinaryOp::Sub, [_, Some((x, y))]) => {
                let x = b.unary(UnaryOp::Neg, x);
                (Rule::ContractSub, Inst::Fma(x, y, left))
            }
            (BinaryOp::Sub, [Some((x, y)), None]) => {
                let z = b.unary(UnaryOp::Neg, right);
                (Rule::ContractFrom, Inst::Fma(x, y, z))
            }
            (_, _) => return None,
        };
        self.hits.hit(rule);
        Some(b.value(ty, inst))
    }
}
