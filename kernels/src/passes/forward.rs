//! Forwarding of variables.
//!
//! ```text
//! $x = a; …; get $x    == a            where nothing between may assign $x
//! get $x; …; get $x    == the first    likewise
//! get $x               == 0            where nothing before may have assigned it
//! $x = a; …; $x = b    == …; $x = b    where nothing between is a block or reads $x
//! $x = a               == nothing      where $x holds a already
//! ```
//!
//! After an `if`, a variable is known where both ways agree, or the other way jumps. A loop makes
//! unknown what its body assigns. Variables that nobody reads any more are left to
//! [`dce`](super::dce).

use std::collections::{HashMap, HashSet};

use super::Pass;
use super::rewrite::{Replacements, each_function, ends_in_jump};
use super::rule::{Hits, Rule};
use crate::ir::{Block, Const, Function, Inst, Kernel, Local, Stmt, Value, assigned};

/// The pass.
pub const PASS: Pass =
    Pass { name: "forward", description: "replaces reads of variables by what they hold", run };

/// Forwards in every function.
pub fn run(kernel: &mut Kernel, hits: &mut Hits) {
    each_function(kernel, |function| {
        let body = std::mem::take(&mut function.body);
        let mut known: Known =
            (0..function.locals.len()).map(|at| (Local(at as u32), Held::Zero)).collect();
        let visible = vec![false; function.values.len()];
        let mut forward = Forward { function, replaced: Replacements::default(), visible, hits };
        forward.function.body = forward.block(body, &mut known);
    });
}

/// What a variable holds.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    /// What it began with.
    Zero,
    /// This value.
    Value(Value),
}

type Known = HashMap<Local, Held>;

struct Forward<'f> {
    function: &'f mut Function,
    replaced: Replacements,
    /// Whether a value's definition dominates the statement at hand.
    visible: Vec<bool>,
    hits: &'f mut Hits,
}

impl Forward<'_> {
    fn block(&mut self, block: Block, known: &mut Known) -> Block {
        let mut out: Vec<Option<Stmt>> = Vec::new();
        // Assignments of this block that nothing can have seen yet, and where they stand in `out`.
        let mut unseen: HashMap<Local, usize> = HashMap::new();
        let mut here = Vec::new();
        for mut stmt in block {
            self.replaced.stmt(&mut stmt);
            if let Stmt::Let(value) = stmt {
                if self.let_value(value, known) {
                    self.visible[value.index()] = true;
                    here.push(value);
                    out.push(Some(stmt));
                }
            } else if let Stmt::Set(local, value) = stmt {
                if self.holds(known, local, value) {
                    self.hits.hit(Rule::SetSame);
                } else {
                    known.insert(local, Held::Value(value));
                    if let Some(at) = unseen.insert(local, out.len()) {
                        out[at] = None;
                        self.hits.hit(Rule::SetUnseen);
                    }
                    out.push(Some(stmt));
                }
            } else {
                if !stmt.blocks().is_empty() {
                    unseen.clear();
                }
                let stmt = self.nested(stmt, known);
                out.push(Some(stmt));
            }
        }
        for value in here {
            self.visible[Value::index(value)] = false;
        }
        out.into_iter().flatten().collect()
    }

    /// Whether the value is still to be computed.
    fn let_value(&mut self, value: Value, known: &mut Known) -> bool {
        let def = &mut self.function.values[value.index()];
        self.replaced.inst(&mut def.inst);
        let Inst::Get(local) = def.inst else { return true };
        match known.get(&local) {
            Some(Held::Value(held)) => {
                let first = self.function.def(*held).inst == Inst::Get(local);
                self.hits.hit(if first { Rule::ForwardGet } else { Rule::ForwardSet });
                self.replaced.insert(value, *held);
                return false;
            }
            Some(Held::Zero) => {
                self.hits.hit(Rule::ForwardZero);
                def.inst = Inst::Const(Const::zero(def.ty));
            }
            None => {
                known.insert(local, Held::Value(value));
            }
        }
        true
    }

    fn holds(&self, known: &Known, local: Local, value: Value) -> bool {
        match known.get(&local) {
            Some(Held::Value(held)) => *held == value,
            Some(Held::Zero) => self.function.as_const(value).is_some_and(|c| c.bits == 0),
            None => false,
        }
    }

    fn nested(&mut self, stmt: Stmt, known: &mut Known) -> Stmt {
        match stmt {
            Stmt::If { condition, then, otherwise } => {
                let mut known_otherwise = known.clone();
                let then = self.block(then, known);
                let otherwise = self.block(otherwise, &mut known_otherwise);
                if ends_in_jump(&then) {
                    *known = known_otherwise;
                } else if !ends_in_jump(&otherwise) {
                    known.retain(|local, held| known_otherwise.get(local) == Some(&*held));
                }
                self.forget_invisible(known);
                Stmt::If { condition, then, otherwise }
            }
            Stmt::For { counter, start, end, step, body } => {
                forget_assigned(&body, known);
                self.visible[counter.index()] = true;
                let body = self.block(body, &mut known.clone());
                self.visible[counter.index()] = false;
                Stmt::For { counter, start, end, step, body }
            }
            // Each invocation has what it left itself.
            Stmt::Each(body) => {
                forget_assigned(&body, known);
                let body = self.block(body, &mut known.clone());
                Stmt::Each(body)
            }
            Stmt::Loop(body) => {
                forget_assigned(&body, known);
                let body = self.block(body, &mut known.clone());
                Stmt::Loop(body)
            }
            Stmt::Let(_)
            | Stmt::Set(..)
            | Stmt::SetElement(..)
            | Stmt::Store(..)
            | Stmt::AtomicStore(..)
            | Stmt::Check { .. }
            | Stmt::CallVoid(..)
            | Stmt::Barrier(_)
            | Stmt::Break
            | Stmt::Continue
            | Stmt::Return => stmt,
        }
    }

    /// Forgets values that were computed in a block that is over.
    fn forget_invisible(&self, known: &mut Known) {
        known.retain(|_, held| match held {
            Held::Zero => true,
            Held::Value(value) => self.visible[value.index()],
        });
    }
}

fn forget_assigned(body: &Block, known: &mut Known) {
    let mut locals = HashSet::new();
    assigned(body, &mut locals);
    known.retain(|local, _| !locals.contains(local));
}

#[cfg(test)]
mod tests {
    use super::PASS;
    use crate::interp::Data;
    use crate::ir::builder::Builder;
    use crate::ir::{Access, Axis, BinaryOp, Inst, Kernel, Stmt, Type};
    use crate::passes::testing::{count, kernel_of, unchanged_by};

    fn gets(kernel: &Kernel) -> usize {
        count(
            kernel,
            |s| matches!(s, Stmt::Let(v) if matches!(kernel.entry.def(*v).inst, Inst::Get(_))),
        )
    }

    #[test]
    fn straight_lines_and_agreeing_ways_forward() {
        let mut b = Builder::new("straight");
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let id = b.id(Axis::X);
        let (x, unset) = (b.local(Type::U32, None), b.local(Type::U32, None));
        let two = b.constant(2u32);
        b.set(x, two);
        b.set(x, id);
        let low = b.binary(BinaryOp::Lt, id, two);
        b.if_else(low, |b| b.checked_store(y, id, two), |b| b.stmt(Stmt::Return));
        let (a, zero) = (b.get(x), b.get(unset));
        let v = b.binary(BinaryOp::Add, a, zero);
        b.checked_store(y, id, v);
        let kernel = kernel_of(b.finish(), 4);
        let after = unchanged_by(&PASS, &kernel, &[vec![Data::Narrow(vec![9; 4])]]);
        assert_eq!(gets(&after), 0);
        assert_eq!(count(&after, |s| matches!(s, Stmt::Set(..))), 1);
    }

    #[test]
    fn loops_and_one_sided_assignments_stop_it() {
        let mut b = Builder::new("stop");
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let id = b.id(Axis::X);
        let (sum, best) = (b.local(Type::U32, None), b.local(Type::U32, None));
        let (zero, two) = (b.constant(0u32), b.constant(2u32));
        b.for_range(zero, id, 1, |b, k| {
            let old = b.get(sum);
            let new = b.binary(BinaryOp::Add, old, k);
            b.set(sum, new);
            let odd = b.binary(BinaryOp::Rem, new, two);
            let odd = b.binary(BinaryOp::Ne, odd, zero);
            b.if_else(
                odd,
                |b| {
                    let inner = b.binary(BinaryOp::Mul, new, two);
                    b.set(best, inner);
                },
                |_| {},
            );
        });
        let (sum, best) = (b.get(sum), b.get(best));
        let v = b.binary(BinaryOp::Add, sum, best);
        b.checked_store(y, id, v);
        let kernel = kernel_of(b.finish(), 6);
        let after = unchanged_by(&PASS, &kernel, &[vec![Data::Narrow(vec![9; 6])]]);
        assert_eq!(gets(&after), 3);
    }

    #[test]
    fn a_value_of_a_block_that_is_over_is_not_used() {
        let mut b = Builder::new("over");
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let id = b.id(Axis::X);
        let x = b.local(Type::U32, None);
        let two = b.constant(2u32);
        let low = b.binary(BinaryOp::Lt, id, two);
        b.if_else(
            low,
            |b| {
                let double = b.binary(BinaryOp::Mul, id, two);
                b.set(x, double);
            },
            |b| b.stmt(Stmt::Return),
        );
        let v = b.get(x);
        b.checked_store(y, id, v);
        let kernel = kernel_of(b.finish(), 4);
        let after = unchanged_by(&PASS, &kernel, &[vec![Data::Narrow(vec![9; 4])]]);
        assert_eq!(gets(&after), 1);
    }
}
