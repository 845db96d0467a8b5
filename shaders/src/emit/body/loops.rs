//! Loops of a kernel: those that count, and those that end by themselves.

use std::collections::HashMap;

use crossover_kernels::analysis::begun;
use crossover_kernels::ir::{Block, Const, Kernel, Local, Stmt, Type, Value};
use naga::{BinaryOperator as Op, Statement};

use super::{Body, has_barrier};
use crate::emit::code::Node;
use crate::emit::layout::{Field, Layout};
use crate::emit::{PASSAGES_BETWEEN_LOOKS, PASSAGES_MAX, SITE_NO_END};

/// The variables that loops begin as constants, where drivers are not to know.
pub(super) fn hidden(kernel: &Kernel, params: &Layout) -> HashMap<*const Stmt, Vec<Local>> {
    let hides = params.find(Field::Zero).is_some();
    if hides { begun(&kernel.entry) } else { HashMap::new() }
}

impl Body<'_, '_> {
    /// Before a loop: variables that drivers are not to know begin with what they have, by way of a zero that is known
    /// to the host alone.
    ///
    /// ```wgsl
    /// x = bitcast<f32>(bitcast<u32>(x) ^ params.zero);
    /// ```
    pub(super) fn begin(&mut self, stmt: &Stmt) {
        for local in self.begun.get(&std::ptr::from_ref(stmt)).cloned().unwrap_or_default() {
            self.hide(local);
        }
    }

    fn hide(&mut self, local: Local) {
        let (pointer, ty) = (self.local(local), self.kernel.entry.locals[local.index()].ty);
        if ty.is_wide() || ty == Type::Bool {
            return;
        }
        let zero = self.field(Field::Zero);
        let mut bits = self.code.load(pointer);
        if ty != Type::U32 {
            bits = self.code.bitcast(bits, Type::U32);
        }
        let mut same = self.code.binary(Op::ExclusiveOr, bits, zero);
        if ty != Type::U32 {
            same = self.code.bitcast(same, ty);
        }
        self.code.store(pointer, same);
    }

    /// ```wgsl
    /// var counter = start;
    /// if (start < end) {                      // where that is not known
    ///     loop {
    ///         let i = counter;
    ///         …
    ///         continuing {
    ///             counter = i + step;
    ///             break if counter >= end;    // or (end - i) <= step, where the sum could overflow
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// The end is looked at behind the body: where invocations leave for reasons of their own, those that do not are
    /// told apart once in a passage, not twice.
    pub(super) fn count(
        &mut self,
        counter: Value,
        [start, end]: [Value; 2],
        step: u32,
        body: &Block,
    ) {
        let entry = &self.kernel.entry;
        let [first, last] = [start, end].map(|value| entry.as_const(value).and_then(Const::to_int));
        let runs = matches!((first, last), (Some(first), Some(last)) if first < last);
        let variable = self.code.scalar_variable("counter", self.ty(counter));
        let start_node = self.value(start);
        self.code.store(variable, start_node);
        if runs {
            return self.passages(counter, variable, end, step, body);
        }
        let (start, end_node) = (self.value(start), self.value(end));
        let condition = self.code.binary(Op::Less, start, end_node);
        self.code.open();
        self.passages(counter, variable, end, step, body);
        let accept = self.code.close();
        self.code.stmt(Statement::If { condition, accept, reject: naga::Block::new() });
    }

    /// The loop itself, which has a first passage.
    fn passages(&mut self, counter: Value, variable: Node, end: Value, step: u32, body: &Block) {
        let ty = self.ty(counter);
        let overflows = self.overflows(end, step);
        let end = self.value(end);
        self.code.open();
        let i = self.code.load(variable);
        self.code.name(i, "i");
        self.values[counter.index()] = Some(i);
        self.block(body);
        let body = self.code.close();

        self.code.open();
        let by = self.code.constant(Const::new(ty, u64::from(step)));
        let next = self.code.binary(Op::Add, i, by);
        self.code.store(variable, next);
        let done = if overflows {
            let unsigned = ty.bit_pattern();
            let mut left = self.code.binary(Op::Subtract, end, i);
            if ty != unsigned {
                left = self.code.bitcast(left, unsigned);
            }
            let by = self.code.constant(Const::new(unsigned, u64::from(step)));
            self.code.binary(Op::LessEqual, left, by)
        } else {
            self.code.binary(Op::GreaterEqual, next, end)
        };
        let continuing = self.code.close();
        self.code.stmt(Statement::Loop { body, continuing, break_if: Some(done) });
    }

    /// Whether `i + step` for an `i` below `end` may be beyond the largest integer.
    fn overflows(&self, end: Value, step: u32) -> bool {
        if step == 1 {
            return false;
        }
        let largest: i128 = match self.ty(end) {
            Type::I32 => i128::from(i32::MAX),
            Type::I64 => i128::from(i64::MAX),
            Type::U64 => i128::from(u64::MAX),
            Type::Bool | Type::U32 | Type::F32 | Type::F64 => i128::from(u32::MAX),
        };
        let end = self.kernel.entry.as_const(end).and_then(Const::to_int);
        end.is_none_or(|end| end - 1 + i128::from(step) > largest)
    }

    /// ```wgsl
    /// loop {
    ///     passages += 1u;
    ///     if ((passages & 0xffffu) == 0u) { if (gives_up(passages, id…)) { return; } }
    ///     …
    /// }
    /// ```
    pub(super) fn repeat(&mut self, body: &Block) {
        self.code.open();
        let counts = if has_barrier(body) { self.passages_together } else { self.passages };
        let variable = counts.expect("a kernel with a loop counts passages");
        let before = self.code.load(variable);
        let one = self.code.u32(1);
        let passages = self.code.binary(Op::Add, before, one);
        self.code.store(variable, passages);
        let mask = self.code.u32(PASSAGES_BETWEEN_LOOKS - 1);
        let rest = self.code.binary(Op::And, passages, mask);
        let zero = self.code.u32(0);
        let look = self.code.binary(Op::Equal, rest, zero);
        self.code.open();
        if has_barrier(body) {
            self.end_together(passages);
        } else {
            self.look(passages);
        }
        let accept = self.code.close();
        self.code.stmt(Statement::If { condition: look, accept, reject: naga::Block::new() });
        if has_barrier(body) {
            let limit = self.code.u32(PASSAGES_MAX);
            let endless = self.code.binary(Op::GreaterEqual, passages, limit);
            self.code.break_when(endless);
        }
        self.block(body);
        let body = self.code.close();
        let continuing = naga::Block::new();
        self.code.stmt(Statement::Loop { body, continuing, break_if: None });
    }

    fn look(&mut self, passages: Node) {
        let gives_up = self.failing.and_then(|failing| failing.gives_up);
        let gives_up = gives_up.expect("a kernel with a loop can give up");
        let arguments = [passages].into_iter().chain(self.id.iter().copied()).collect();
        let stops = self.code.call(gives_up, arguments).expect("`gives_up` returns a bool");
        // A break leaves the `if` around, too: it stands at the head of the loop.
        self.code.open();
        if self.stays {
            self.code.stmt(Statement::Break);
        } else {
            self.give_nothing();
        }
        let accept = self.code.close();
        self.code.stmt(Statement::If { condition: stops, accept, reject: naga::Block::new() });
    }

    /// Says that a loop with a barrier never ends. All invocations count alike: what they have in
    /// common decides, not what others have met.
    fn end_together(&mut self, passages: Node) {
        let fail = self.failing.expect("a kernel with a loop has a status").fail;
        let limit = self.code.u32(PASSAGES_MAX);
        let endless = self.code.binary(Op::GreaterEqual, passages, limit);
        self.code.open();
        let (site, index) = (self.code.u32(SITE_NO_END), self.code.u32(0));
        let arguments = [site, index].into_iter().chain(self.id.iter().copied()).collect();
        self.code.call(fail, arguments);
        let accept = self.code.close();
        self.code.stmt(Statement::If { condition: endless, accept, reject: naga::Block::new() });
    }
}
