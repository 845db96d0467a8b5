//! Dead code.
//!
//! ```text
//! v = op …                  == nothing     nobody uses v; loads, gets and pure values
//! $x = a, $x[i] = a         == nothing     nobody reads $x, and it is not the result
//! if c {} else {}           == nothing
//! for … {}                  == nothing
//! ```
//!
//! Stores, atomics and checks stay, and so does a `loop`: it may never end.

use super::Pass;
use super::rewrite::each_function;
use super::rule::{Hits, Rule};
use crate::ir::{Block, Function, Inst, Kernel, Local, Stmt, Value};

/// The pass.
pub const PASS: Pass = Pass { name: "dce", description: "removes what nobody uses", run };

/// Removes dead code from every function, until there is none.
pub fn run(kernel: &mut Kernel, hits: &mut Hits) {
    each_function(kernel, |function| {
        let mut before = usize::MAX;
        let mut size = statements(function);
        while size < before {
            before = size;
            let live = Live::of(function);
            let body = std::mem::take(&mut function.body);
            function.body = live.keep(function, body, hits);
            size = statements(function);
        }
    });
}

fn statements(function: &Function) -> usize {
    let mut count = 0;
    function.walk(&mut |_| count += 1);
    count
}

/// What is used.
struct Live {
    values: Vec<bool>,
    locals: Vec<bool>,
}

impl Live {
    fn of(function: &Function) -> Live {
        let mut live = Live {
            values: vec![false; function.values.len()],
            locals: vec![false; function.locals.len()],
        };
        if let Some(result) = function.result {
            live.locals[result.index()] = true;
        }
        // A variable that turns out to be read makes what is assigned to it live.
        let mut before = usize::MAX;
        let mut found = 0;
        while found != before {
            before = found;
            function.walk(&mut |stmt| live.mark_stmt(function, stmt));
            found = live.values.iter().chain(&live.locals).filter(|&&live| live).count();
        }
        live
    }

    fn mark_stmt(&mut self, function: &Function, stmt: &Stmt) {
        let used = match stmt {
            Stmt::Let(value) => {
                if function.def(*value).inst.has_effect() {
                    self.mark(function, *value);
                }
                return;
            }
            Stmt::Set(local, _) | Stmt::SetElement(local, ..) => self.locals[local.index()],
            Stmt::Store(..)
            | Stmt::AtomicStore(..)
            | Stmt::Check { .. }
            | Stmt::If { .. }
            | Stmt::For { .. }
            | Stmt::Loop(_)
            | Stmt::CallVoid(..)
            | Stmt::Barrier(_)
            | Stmt::Each(_)
            | Stmt::Break
            | Stmt::Continue
            | Stmt::Return => true,
        };
        if used {
            for value in stmt.uses() {
                self.mark(function, value);
            }
        }
    }

    fn mark(&mut self, function: &Function, value: Value) {
        let mut work = vec![value];
        while let Some(value) = work.pop() {
            if std::mem::replace(&mut self.values[value.index()], true) {
                continue;
            }
            let inst = &function.def(value).inst;
            if let Some(local) = read_local(inst) {
                self.locals[local.index()] = true;
            }
            work.extend(inst.operands());
        }
    }

    fn keep(&self, function: &Function, block: Block, hits: &mut Hits) -> Block {
        block.into_iter().filter_map(|stmt| self.keep_stmt(function, stmt, hits)).collect()
    }

    fn keep_stmt(&self, function: &Function, mut stmt: Stmt, hits: &mut Hits) -> Option<Stmt> {
        for inner in stmt.blocks_mut() {
            *inner = self.keep(function, std::mem::take(inner), hits);
        }
        let (rule, needed) = match &stmt {
            Stmt::Let(value) => (Rule::DeadValue, self.values[value.index()]),
            Stmt::Set(local, _) | Stmt::SetElement(local, ..) => {
                (Rule::DeadSet, self.locals[local.index()])
            }
            Stmt::If { then, otherwise, .. } => {
                (Rule::DeadIf, !(then.is_empty() && otherwise.is_empty()))
            }
            Stmt::For { body, .. } => (Rule::DeadFor, !body.is_empty()),
            Stmt::Store(..)
            | Stmt::AtomicStore(..)
            | Stmt::Check { .. }
            | Stmt::Loop(_)
            | Stmt::CallVoid(..)
            | Stmt::Barrier(_)
            | Stmt::Each(_)
            | Stmt::Break
            | Stmt::Continue
            | Stmt::Return => return Some(stmt),
        };
        if needed {
            return Some(stmt);
        }
        hits.hit(rule);
        None
    }
}

fn read_local(inst: &Inst) -> Option<Local> {
    match inst {
        Inst::Get(local) | Inst::GetElement(local, _) => Some(*local),
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
        | Inst::Load(..)
        | Inst::AtomicLoad(..)
        | Inst::Atomic(..)
        | Inst::CompareSwap(..)
        | Inst::Call(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::PASS;
    use crate::interp::Data;
    use crate::ir::builder::Builder;
    use crate::ir::{Access, AtomicOp, Axis, BinaryOp, Inst, Stmt, Type};
    use crate::passes::testing::{count, kernel_of, unchanged_by};

    #[test]
    fn what_feeds_only_itself_goes_and_effects_stay() {
        let mut b = Builder::new("dead");
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let total = b.buffer("total", Type::U32, Access::Atomic);
        let id = b.id(Axis::X);
        let (zero, two) = (b.constant(0u32), b.constant(2u32));
        let count_local = b.local(Type::U32, None);
        b.for_range(zero, two, 1, |b, _| {
            let old = b.get(count_local);
            let new = b.binary(BinaryOp::Add, old, two);
            b.set(count_local, new);
        });
        let low = b.binary(BinaryOp::Lt, id, two);
        b.if_else(
            low,
            |b| {
                b.checked_load(y, id);
            },
            |b| {
                b.binary(BinaryOp::Mul, two, two);
            },
        );
        b.check_bounds(total, zero);
        b.value(Type::U32, Inst::Atomic(AtomicOp::Add, total, zero, id));
        let kernel = kernel_of(b.finish(), 3);
        let args = vec![Data::Narrow(vec![9; 3]), Data::Narrow(vec![0])];
        let after = unchanged_by(&PASS, &kernel, &[args]);
        assert_eq!(count(&after, |s| matches!(s, Stmt::For { .. } | Stmt::Set(..))), 0);
        // The check of the unused load stays, and so does its `if`.
        assert_eq!(count(&after, |s| matches!(s, Stmt::Check { .. })), 2);
        assert_eq!(count(&after, |s| matches!(s, Stmt::If { .. })), 1);
        let loads = after.entry.values.iter().filter(|v| matches!(v.inst, Inst::Load(..))).count();
        assert_eq!(loads, 0);
        assert!(after.entry.values.iter().any(|v| matches!(v.inst, Inst::Atomic(..))));
    }
}
