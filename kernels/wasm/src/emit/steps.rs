//! Assignments that change an integer by something:
//!
//! ```text
//! x = x + k     under a mask:  x = x + (k & mask),  and x − mask where k is 1: a lane's mask is −1
//! ```
//!
//! The same for `-`, `|` and `^`. It takes one instruction less than to choose between the old value and
//! the new, which is two or three micro-operations itself.

use std::collections::HashMap;

use crossover_kernels::ir::{BinaryOp, Block, Const, Function, Inst, Local, Stmt, Type, Value};

use super::body::Body;
use super::code::{Rep, parts};

/// By what a variable changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    op: BinaryOp,
    by: Value,
}

/// The assignments of a function that are steps, by address.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps(HashMap<*const Stmt, Step>);

impl Steps {
    pub(super) fn of(function: &Function) -> Steps {
        let mut steps = Steps::default();
        steps.block(function, &function.body);
        steps
    }

    pub(super) fn find(&self, stmt: &Stmt) -> Option<Step> {
        self.0.get(&std::ptr::from_ref(stmt)).copied()
    }

    fn block(&mut self, function: &Function, block: &Block) {
        // What the variables hold, where the block itself has looked.
        let mut known: HashMap<Value, Local> = HashMap::new();
        for stmt in block {
            match stmt {
                Stmt::Let(value) => {
                    if let Inst::Get(local) = function.def(*value).inst {
                        known.insert(*value, local);
                    }
                }
                Stmt::Set(local, value) => {
                    if let Some(step) = step(function, &known, *local, *value) {
                        self.0.insert(std::ptr::from_ref(stmt), step);
                    }
                    known.retain(|_, held| held != local);
                }
                _ => {}
            }
            for inner in stmt.blocks() {
                self.block(function, inner);
                forget_assigned(inner, &mut known);
            }
        }
    }
}

fn forget_assigned(block: &Block, known: &mut HashMap<Value, Local>) {
    for stmt in block {
        if let Stmt::Set(local, _) = stmt {
            known.retain(|_, held| held != local);
        }
        stmt.blocks().into_iter().for_each(|inner| forget_assigned(inner, known));
    }
}

fn step(
    function: &Function,
    known: &HashMap<Value, Local>,
    local: Local,
    value: Value,
) -> Option<Step> {
    let Inst::Binary(op, a, b) = function.def(value).inst else { return None };
    let is_old = |value: Value| known.get(&value) == Some(&local);
    let by = match op {
        BinaryOp::Add | BinaryOp::Or | BinaryOp::Xor if is_old(a) => b,
        BinaryOp::Add | BinaryOp::Or | BinaryOp::Xor if is_old(b) => a,
        BinaryOp::Sub if is_old(a) => b,
        _ => return None,
    };
    function.ty(value).is_int().then_some(Step { op, by })
}

impl Body<'_> {
    /// Takes the step in the lanes of the mask.
    pub(super) fn masked_step(&mut self, target: Rep, ty: Type, step: Step, mask: u32) {
        let Rep::Lanes(locals) = target else { return };
        let by = self.rep(step.by);
        let is_one = matches!(by, Rep::Const(c) if c == Const::one(ty));
        for (part, local) in locals.into_iter().take(parts(ty)).enumerate() {
            self.code.get(local);
            match step.op {
                BinaryOp::Add if is_one => {
                    self.code.mask_for(mask, ty, part);
                    self.code.lanes_operator(BinaryOp::Sub, ty);
                }
                op => {
                    self.code.lanes(by, ty, part);
                    self.code.mask_for(mask, ty, part);
                    self.code.sink().v128_and();
                    self.code.lanes_operator(op, ty);
                }
            }
            self.code.set(local);
        }
    }
}
