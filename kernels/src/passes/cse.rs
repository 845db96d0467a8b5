//! Common subexpressions.
//!
//! ```text
//! a = op x y; …; b = op x y    == b is a       pure, and a dominates b
//! a = load p i; …; b = load p i == b is a      p is only read by the whole call
//! check c; …; check c          == check c      the first dominates the second
//! ```
//!
//! Operands of commutative operators are put in order first. Where the first check stands, the
//! second cannot fail, whatever its site: a value does not change between the two.

use std::collections::{HashMap, HashSet};

use super::Pass;
use super::rewrite::{Replacements, each_function};
use super::rule::{Hits, Rule};
use crate::ir::{Access, Block, Function, Inst, Kernel, ParamKind, Stmt, Type, Value};

/// The pass.
pub const PASS: Pass =
    Pass { name: "cse", description: "computes and checks the same thing once", run };

/// Merges in every function.
pub fn run(kernel: &mut Kernel, hits: &mut Hits) {
    each_function(kernel, |function| {
        let body = std::mem::take(&mut function.body);
        let mut cse = Cse {
            function,
            replaced: Replacements::default(),
            seen: HashMap::new(),
            proven: HashSet::new(),
            hits,
        };
        cse.function.body = cse.block(body);
    });
}

struct Cse<'f> {
    function: &'f mut Function,
    replaced: Replacements,
    /// What dominating statements have computed.
    seen: HashMap<(Type, Inst), Value>,
    /// Conditions that dominating checks have passed.
    proven: HashSet<Value>,
    hits: &'f mut Hits,
}

impl Cse<'_> {
    fn block(&mut self, block: Block) -> Block {
        let mut out = Vec::new();
        let (mut seen_here, mut proven_here) = (Vec::new(), Vec::new());
        for mut stmt in block {
            self.replaced.stmt(&mut stmt);
            if let Stmt::Let(value) = stmt {
                let key = self.key(value);
                if let Some(key) = key {
                    if let Some(&same) = self.seen.get(&key) {
                        self.hits.hit(self.rule(value, same));
                        self.replaced.insert(value, same);
                        continue;
                    }
                    self.seen.insert(key.clone(), value);
                    seen_here.push(key);
                }
            }
            if let Stmt::Check { condition, .. } = stmt {
                if !self.proven.insert(condition) {
                    self.hits.hit(Rule::SameCheck);
                    continue;
                }
                proven_here.push(condition);
            }
            for inner in stmt.blocks_mut() {
                *inner = self.block(std::mem::take(inner));
            }
            out.push(stmt);
        }
        for key in seen_here {
            self.seen.remove(&key);
        }
        for condition in proven_here {
            self.proven.remove(&condition);
        }
        out
    }

    /// What makes two values the same; `None` for those that are computed each time. The
    /// instruction is rewritten in place.
    fn key(&mut self, value: Value) -> Option<(Type, Inst)> {
        let inst = &mut self.function.values[value.index()].inst;
        self.replaced.inst(inst);
        let mut inst = inst.clone();
        if let Inst::Binary(op, x, y) = &mut inst
            && *x > *y
            && op.is_commutative(self.function.ty(*x))
        {
            std::mem::swap(x, y);
        }
        (inst.is_pure() || self.is_constant_load(&inst)).then(|| (self.function.ty(value), inst))
    }

    /// Which equation makes the second value the first.
    fn rule(&self, second: Value, first: Value) -> Rule {
        let (second, first) = (&self.function.def(second).inst, &self.function.def(first).inst);
        match second {
            Inst::Load(..) => Rule::SameLoad,
            _ if second == first => Rule::SameValue,
            _ => Rule::SameSwapped,
        }
    }

    fn is_constant_load(&self, inst: &Inst) -> bool {
        let Inst::Load(buffer, _) = inst else { return false };
        match self.function.params[buffer.index()].kind {
            ParamKind::Buffer { access, .. } => access == Access::Read,
            ParamKind::Scalar(_) | ParamKind::Shared { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PASS;
    use crate::interp::Data;
    use crate::ir::builder::Builder;
    use crate::ir::{Access, Axis, BinaryOp, Inst, Stmt, Type};
    use crate::passes::testing::{count, kernel_of, unchanged_by};

    #[test]
    fn the_same_is_computed_loaded_and_checked_once() {
        let mut b = Builder::new("twice");
        let x = b.buffer("x", Type::U32, Access::Read);
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let id = b.id(Axis::X);
        let (first, second) = (b.checked_load(x, id), b.checked_load(x, id));
        let a = b.binary(BinaryOp::Mul, first, id);
        let c = b.binary(BinaryOp::Mul, id, second);
        let v = b.binary(BinaryOp::Add, a, c);
        b.checked_store(y, id, v);
        let again = b.checked_load(y, id);
        b.checked_store(y, id, again);
        let kernel = kernel_of(b.finish(), 3);
        let args = |len| vec![Data::Narrow(vec![4; len]), Data::Narrow(vec![9; 3])];
        let after = unchanged_by(&PASS, &kernel, &[args(3), args(2)]);
        let loads = after.entry.values.iter().filter(|v| matches!(v.inst, Inst::Load(..))).count();
        assert_eq!(loads, 2);
        let products = after.entry.values.iter();
        let products = products.filter(|v| matches!(v.inst, Inst::Binary(BinaryOp::Mul, ..)));
        assert_eq!(products.count(), 1);
        assert_eq!(count(&after, |s| matches!(s, Stmt::Check { .. })), 2);
    }

    #[test]
    fn blocks_beside_each_other_share_nothing() {
        let mut b = Builder::new("beside");
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let id = b.id(Axis::X);
        let two = b.constant(2u32);
        let low = b.binary(BinaryOp::Lt, id, two);
        let square = |b: &mut Builder| {
            let square = b.binary(BinaryOp::Mul, id, id);
            b.checked_store(y, id, square);
        };
        b.if_else(low, square, square);
        let kernel = kernel_of(b.finish(), 4);
        let after = unchanged_by(
            &PASS,
            &kernel,
            &[vec![Data::Narrow(vec![9; 4])], vec![Data::Narrow(vec![9; 3])]],
        );
        assert_eq!(count(&after, |s| matches!(s, Stmt::Check { .. })), 2);
    }
}
