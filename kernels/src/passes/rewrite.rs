//! What passes share: replacing values, and walking a function that is being written anew.

use std::collections::HashMap;

use crate::ir::builder::Builder;
use crate::ir::{Block, Function, Inst, Kernel, Stmt, Value, ValueDef};

/// Which values stand for others. A replaced value is no longer defined.
#[derive(Debug, Default)]
pub(super) struct Replacements(HashMap<Value, Value>);

impl Replacements {
    /// From now on `new` stands for `old`.
    pub(super) fn insert(&mut self, old: Value, new: Value) {
        self.0.insert(old, new);
    }

    /// What stands for the value: itself, mostly.
    pub(super) fn get(&self, mut value: Value) -> Value {
        while let Some(&next) = self.0.get(&value) {
            value = next;
        }
        value
    }

    /// Replaces the values a statement names.
    pub(super) fn stmt(&self, stmt: &mut Stmt) {
        stmt.map_values(&mut |value| self.get(value));
    }

    /// Replaces the operands of an instruction.
    pub(super) fn inst(&self, inst: &mut Inst) {
        inst.map_operands(&mut |value| self.get(value));
    }
}

/// A rule for values.
pub(super) trait Rewrite {
    /// What stands for the value whose `Let` is reached: `None` to keep it. New statements go
    /// before it. Its operands have been replaced.
    fn value(&mut self, b: &mut Builder, value: Value) -> Option<Value>;

    /// A block inside begins or ends: values seen before may be out of sight.
    fn block_changes(&mut self) {}
}

/// Applies a rule to every value in program order.
pub(super) fn rewrite(function: &mut Function, rule: &mut dyn Rewrite) {
    let body = std::mem::take(&mut function.body);
    let mut b = Builder::resume(std::mem::take(function));
    rewrite_block(&mut b, body, &mut Replacements::default(), rule);
    *function = b.finish();
}

fn rewrite_block(
    b: &mut Builder,
    block: Block,
    replaced: &mut Replacements,
    rule: &mut dyn Rewrite,
) {
    for mut stmt in block {
        if let Stmt::Let(value) = stmt {
            replaced.inst(&mut b.function_mut().values[value.index()].inst);
            let span = b.function().def(value).span;
            b.at(span);
            match rule.value(b, value) {
                Some(new) => replaced.insert(value, new),
                None => b.stmt(stmt),
            }
            continue;
        }
        replaced.stmt(&mut stmt);
        for inner in stmt.blocks_mut() {
            let block = std::mem::take(inner);
            b.open();
            rule.block_changes();
            rewrite_block(b, block, replaced, rule);
            rule.block_changes();
            *inner = b.close();
        }
        b.stmt(stmt);
    }
}

/// Calls `f` for the entry and every helper.
pub(super) fn each_function(kernel: &mut Kernel, mut f: impl FnMut(&mut Function)) {
    f(&mut kernel.entry);
    for helper in &mut kernel.helpers {
        f(helper);
    }
}

/// Whether control never reaches the end of the block because its last statement jumps.
pub(super) fn ends_in_jump(block: &[Stmt]) -> bool {
    match block.last() {
        Some(Stmt::Break | Stmt::Continue | Stmt::Return) => true,
        Some(Stmt::If { then, otherwise, .. }) => ends_in_jump(then) && ends_in_jump(otherwise),
        Some(_) | None => false,
    }
}

/// A copy of statements in the making, with values of its own.
pub(super) struct Copy<'f> {
    function: &'f mut Function,
    /// What stands for the values of the original.
    own: HashMap<Value, Value>,
}

impl<'f> Copy<'f> {
    pub(super) fn new(function: &'f mut Function) -> Copy<'f> {
        Copy { function, own: HashMap::new() }
    }

    /// From now on `new` stands for `old`.
    pub(super) fn stand_for(&mut self, old: Value, new: Value) {
        self.own.insert(old, new);
    }

    /// Defines a value.
    pub(super) fn push(&mut self, def: ValueDef) -> Value {
        self.function.values.push(def);
        Value(self.function.values.len() as u32 - 1)
    }

    /// The statements of a block.
    pub(super) fn block(&mut self, block: &[Stmt]) -> Block {
        block.iter().map(|stmt| self.stmt(stmt)).collect()
    }

    /// One statement.
    pub(super) fn stmt(&mut self, stmt: &Stmt) -> Stmt {
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
