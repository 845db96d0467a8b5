//! What statements assign and define, with those inside.

use std::collections::HashSet;

use super::{Local, Stmt, Value};

/// Adds the variables and arrays that the block or a block inside assigns.
pub(crate) fn assigned(block: &[Stmt], locals: &mut HashSet<Local>) {
    for stmt in block {
        if let Stmt::Set(local, _) | Stmt::SetElement(local, ..) = stmt {
            locals.insert(*local);
        }
        for inner in stmt.blocks() {
            assigned(inner, locals);
        }
    }
}

/// Adds the values that the statement or a block inside defines.
pub(crate) fn defined(stmt: &Stmt, values: &mut HashSet<Value>) {
    match stmt {
        Stmt::Let(value) => {
            values.insert(*value);
        }
        Stmt::For { counter, .. } => {
            values.insert(*counter);
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
    for inner in stmt.blocks() {
        for stmt in inner {
            defined(stmt, values);
        }
    }
}
