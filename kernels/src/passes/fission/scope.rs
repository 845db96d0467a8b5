//! What a group does once for all of its invocations: the control flow around barriers, and the
//! variables that decide it.

use std::collections::HashSet;

use crate::analysis::uniform::Uniform;
use crate::ir::{Block, Function, Inst, Local, Stmt, Value};

/// The statements, variables and values of a function that belong to the group.
pub(super) struct Scope {
    pub(super) uniform: Uniform,
    /// Statements with blocks that the group walks through, by address.
    control: HashSet<*const Stmt>,
    /// Variables that decide them.
    locals: HashSet<Local>,
    /// Values that decide them.
    pub(super) needed: HashSet<Value>,
}

impl Scope {
    pub(super) fn of(function: &Function) -> Scope {
        let mut scope = Scope {
            uniform: Uniform::of(function),
            control: HashSet::new(),
            locals: HashSet::new(),
            needed: HashSet::new(),
        };
        loop {
            let before = (scope.control.len(), scope.locals.len(), scope.needed.len());
            let mut around = Vec::new();
            scope.block(function, &function.body, &mut around);
            if before == (scope.control.len(), scope.locals.len(), scope.needed.len()) {
                return scope;
            }
        }
    }

    /// Whether the group walks through the statement's blocks.
    pub(super) fn is_control(&self, stmt: &Stmt) -> bool {
        self.control.contains(&std::ptr::from_ref(stmt))
    }

    pub(super) fn has_local(&self, local: Local) -> bool {
        self.locals.contains(&local)
    }

    fn block<'f>(&mut self, function: &'f Function, block: &'f Block, around: &mut Vec<&'f Stmt>) {
        for stmt in block {
            if self.is_of_group(stmt, around) {
                for outer in around.iter() {
                    self.claim(function, outer);
                }
                if let Stmt::Set(_, value) = stmt {
                    self.need(function, *value);
                }
            }
            around.push(stmt);
            for inner in stmt.blocks() {
                self.block(function, inner, around);
            }
            around.pop();
        }
    }

    /// Whether the statement makes all blocks around it the group's.
    fn is_of_group(&self, stmt: &Stmt, around: &[&Stmt]) -> bool {
        match stmt {
            Stmt::Barrier(_) => true,
            Stmt::Set(local, _) => self.has_local(*local),
            // A jump out of one of the group's loops.
            Stmt::Break | Stmt::Continue => around
                .iter()
                .rev()
                .find(|outer| matches!(outer, Stmt::For { .. } | Stmt::Loop(_)))
                .is_some_and(|inner| self.is_control(inner)),
            // A return that all take together.
            Stmt::Return => self.uniform.together(stmt),
            _ => false,
        }
    }

    fn claim(&mut self, function: &Function, stmt: &Stmt) {
        self.control.insert(std::ptr::from_ref(stmt));
        for value in stmt.uses() {
            self.need(function, value);
        }
    }

    fn need(&mut self, function: &Function, value: Value) {
        if !self.needed.insert(value) {
            return;
        }
        let inst = &function.def(value).inst;
        if let Inst::Get(local) = inst {
            self.locals.insert(*local);
        }
        for operand in inst.operands() {
            self.need(function, operand);
        }
    }
}
