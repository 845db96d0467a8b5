//! How often a `loop` runs whose end depends on one variable alone, that it changes in a known way.

use std::collections::HashMap;

use crate::eval;
use crate::ir::{Block, Const, Function, Inst, Local, Stmt, Value};

use super::{VALUES_MAX, values};

/// Most passages: a workgroup of 1024 has ten levels.
const PASSAGES_MAX: usize = 12;

/// The number of passages, and which statement of the body is the way out; `None` where it is not known.
/// `before` is what stands before the loop in its block.
pub(super) fn passages(
    function: &Function,
    before: &[Stmt],
    stmt: &Stmt,
) -> Option<(usize, usize)> {
    let Stmt::Loop(body) = stmt else { return None };
    let (guard, condition, leaves_if) = guard(function, body)?;
    let rest = &body[guard + 1..];
    let next = rest.iter().find_map(|stmt| match stmt {
        Stmt::Set(local, value) if decides(function, condition, *local) => Some((*local, *value)),
        _ => None,
    });
    let (local, next) = next?;
    if jumps(rest) || sets(body, local) != 1 {
        return None;
    }
    let mut held = initial(function, before, local)?;
    for passages in 0..=PASSAGES_MAX {
        let mut known = Known { function, local, held, values: HashMap::new() };
        if (known.value(condition)?.bits == 1) == leaves_if {
            let all = passages as u64 * values(body);
            return (all <= VALUES_MAX).then_some((passages, guard));
        }
        held = known.value(next)?;
    }
    None
}

/// The first statement that is more than arithmetic, if it is the way out: which it is, its condition,
/// and whether it leaves where that holds.
fn guard(function: &Function, body: &Block) -> Option<(usize, Value, bool)> {
    let is_arithmetic = |stmt: &Stmt| match stmt {
        Stmt::Let(value) => {
            let inst = &function.def(*value).inst;
            inst.is_pure() || matches!(inst, Inst::Get(_))
        }
        _ => false,
    };
    let at = body.iter().position(|stmt| !is_arithmetic(stmt))?;
    let Stmt::If { condition, then, otherwise } = &body[at] else { return None };
    match (&then[..], &otherwise[..]) {
        ([Stmt::Break], []) => Some((at, *condition, true)),
        ([], [Stmt::Break]) => Some((at, *condition, false)),
        _ => None,
    }
}

/// Whether a value is computed from this variable.
fn decides(function: &Function, value: Value, local: Local) -> bool {
    match &function.def(value).inst {
        Inst::Get(read) => *read == local,
        inst => inst.operands().into_iter().any(|operand| decides(function, operand, local)),
    }
}

/// Whether the statements jump anywhere out of a passage.
fn jumps(block: &[Stmt]) -> bool {
    block.iter().any(|stmt| match stmt {
        Stmt::Break | Stmt::Continue | Stmt::Return => true,
        // A jump of an inner loop is its own, but a return is not.
        Stmt::For { body, .. } | Stmt::Loop(body) | Stmt::Each(body) => returns(body),
        Stmt::If { then, otherwise, .. } => jumps(then) || jumps(otherwise),
        Stmt::Let(_)
        | Stmt::Set(..)
        | Stmt::SetElement(..)
        | Stmt::Store(..)
        | Stmt::AtomicStore(..)
        | Stmt::Check { .. }
        | Stmt::CallVoid(..)
        | Stmt::Barrier(_) => false,
    })
}

fn returns(block: &[Stmt]) -> bool {
    block.iter().any(|stmt| {
        matches!(stmt, Stmt::Return) || stmt.blocks().into_iter().any(|inner| returns(inner))
    })
}

/// How often the statements assign a variable.
fn sets(block: &[Stmt], local: Local) -> usize {
    let own = |stmt: &Stmt| usize::from(matches!(stmt, Stmt::Set(set, _) if *set == local));
    let inside =
        |stmt: &Stmt| stmt.blocks().into_iter().map(|inner| sets(inner, local)).sum::<usize>();
    block.iter().map(|stmt| own(stmt) + inside(stmt)).sum()
}

/// What a variable holds behind these statements.
fn initial(function: &Function, before: &[Stmt], local: Local) -> Option<Const> {
    let last = before.iter().rev().find(|stmt| sets(std::slice::from_ref(*stmt), local) > 0)?;
    match last {
        Stmt::Set(_, value) => function.as_const(*value),
        _ => None,
    }
}

/// Values where a variable holds a constant.
struct Known<'f> {
    function: &'f Function,
    local: Local,
    held: Const,
    values: HashMap<Value, Const>,
}

impl Known<'_> {
    fn value(&mut self, value: Value) -> Option<Const> {
        if let Some(&known) = self.values.get(&value) {
            return Some(known);
        }
        let def = self.function.def(value);
        let known = match &def.inst {
            Inst::Const(c) => *c,
            Inst::Get(local) if *local == self.local => self.held,
            Inst::Unary(op, a) if !op.is_transcendental() => eval::unary(*op, self.value(*a)?),
            Inst::Binary(op, a, b) if !op.is_transcendental() => {
                eval::binary(*op, self.value(*a)?, self.value(*b)?)?
            }
            Inst::Cast(a) => eval::cast(self.value(*a)?, def.ty),
            Inst::Bitcast(a) => Const::new(def.ty, self.value(*a)?.bits),
            Inst::Select(c, a, b) => match self.value(*c)?.bits {
                1 => self.value(*a)?,
                _ => self.value(*b)?,
            },
            _ => return None,
        };
        self.values.insert(value, known);
        Some(known)
    }
}
