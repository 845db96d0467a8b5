//! Control flow of a tile: branches where its invocations agree, masks where they part ways.
//!
//! ```text
//! uniform if         if … else … end
//! varying if         for each group:  then = cond & mask;  if any(then) … end;  and the same of !cond
//! uniform loop       block loop … br_if end end, several passages one after another
//! varying loop       lanes leave a mask of their own; the loop ends when none is left
//! masked break       broken |= mask;  after the `if` around: mask &= !broken
//! if c { break }     mask &= !c, and out of the loop when none is left
//! ```
//!
//! Loops of which several passages stand one after another are in [`super::unroll`].

use crossover_kernels::ir::{BinaryOp, Block, Const, Stmt, Type, Value};
use wasm_encoder::ValType;

use super::body::Body;
use super::code::{Label, Rep};
use super::divergence::{Frame, Jumps, LoopFacts, Variance};
use super::tile::{PerVector, SIDE_MAX};

/// The wasm locals and labels of a loop that is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loop {
    pub(super) exit: Label,
    pub(super) next: Label,
    /// The masks that a passage begins with.
    pub(super) entry: Option<PerVector>,
    pub(super) broken: Option<PerVector>,
    pub(super) continued: Option<PerVector>,
    /// Whether some break goes into `broken`.
    pub(super) breaks: bool,
}

/// The counter of a `for`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    pub(super) counter: Value,
    pub(super) start: Value,
    pub(super) end: Value,
    pub(super) step: u32,
}

impl<'a> Body<'a> {
    // Masks

    /// The active lanes of the group; `None` when all are.
    pub(super) fn mask(&self) -> Option<u32> {
        self.masks.map(|masks| masks.at(self.at.vector))
    }

    /// A mask for each group, each pushed by `push`.
    fn new_masks(&mut self, mut push: impl FnMut(&mut Self)) -> PerVector {
        let mut masks = PerVector([0; SIDE_MAX as usize]);
        self.each_group(true, false, |body| {
            push(body);
            let mask = body.code.local(ValType::V128);
            body.code.set(mask);
            masks.0[body.at.vector as usize] = mask;
        });
        masks
    }

    pub(super) fn zero_masks(&mut self) -> PerVector {
        self.new_masks(|body| {
            body.code.sink().v128_const(0);
        })
    }

    /// Pushes the active lanes.
    pub(super) fn push_mask(&mut self) {
        match self.mask() {
            Some(mask) => self.code.get(mask),
            None => self.code.lanes_const(Const::one(Type::Bool)),
        }
    }

    /// Pushes whether a lane of any group is set.
    pub(super) fn push_any(&mut self, masks: PerVector) {
        let first = self.span.start;
        self.code.get(masks.at(first));
        for vector in first + 1..self.span.end {
            self.code.sink().local_get(masks.at(vector)).v128_or();
        }
        self.code.sink().v128_any_true();
    }

    /// The active lanes without those that have jumped.
    pub(super) fn remaining(&mut self, jumps: Jumps) -> PerVector {
        let inner = self.loops.last().copied();
        let gone = [
            (jumps.breaks, inner.and_then(|l| l.broken)),
            (jumps.continues, inner.and_then(|l| l.continued)),
            (jumps.returns, self.returned),
        ];
        self.new_masks(|body| {
            body.push_mask();
            for (any, gone) in gone {
                if let (true, Some(gone)) = (any, gone) {
                    body.code.get(gone.at(body.at.vector));
                    body.code.sink().v128_andnot();
                }
            }
        })
    }

    /// `gone |= mask`
    fn clear(&mut self, gone: Option<PerVector>) {
        let gone = gone.expect("the analysis foresaw every masked jump");
        self.each_group(true, false, |body| {
            let gone = gone.at(body.at.vector);
            body.code.get(gone);
            body.push_mask();
            body.code.sink().v128_or().local_set(gone);
        });
    }

    // Branches

    pub(super) fn uniform_if(
        &mut self,
        condition: Value,
        then: &'a Block,
        otherwise: &'a Block,
    ) -> Jumps {
        if let Some((_, holds)) = self.decided.filter(|(known, _)| *known == condition) {
            let outer = self.masks;
            let jumps = self.block(if holds { then } else { otherwise });
            self.masks = outer;
            return jumps;
        }
        let outer = self.masks;
        self.code.scalar(self.rep(condition), Type::Bool);
        self.code.open_if();
        let mut jumps = self.block(then);
        self.masks = outer;
        if !otherwise.is_empty() {
            self.code.otherwise();
            jumps = jumps.or(self.block(otherwise));
            self.masks = outer;
        }
        self.code.close();
        jumps
    }

    pub(super) fn varying_if(
        &mut self,
        condition: Value,
        then: &'a Block,
        otherwise: &'a Block,
    ) -> Jumps {
        if let ([Stmt::Break], []) = (&then[..], &otherwise[..])
            && let Some(inner) = self.loops.last().copied()
            && let (Some(masks), Some(Frame::Loop(_))) = (self.masks, self.frames.last())
            && inner.entry == Some(masks)
        {
            self.break_lanes(condition, masks, inner);
            return Jumps::default();
        }
        let mut jumps = Jumps::default();
        self.frames.push(Frame::VaryingIf);
        self.each_group(true, false, |body| {
            let vector = body.at.vector;
            let span = std::mem::replace(&mut body.span, vector..vector + 1);
            jumps = jumps.or(body.varying_if_group(condition, then, otherwise));
            body.span = span;
        });
        self.frames.pop();
        jumps
    }

    /// The lanes for which the condition holds are through with the loop.
    fn break_lanes(&mut self, condition: Value, masks: PerVector, inner: Loop) {
        self.each_group(true, false, |body| {
            let mask = masks.at(body.at.vector);
            body.code.get(mask);
            body.code.lanes(body.rep(condition), Type::Bool, 0);
            body.code.sink().v128_andnot().local_set(mask);
        });
        self.push_any(masks);
        self.code.sink().i32_eqz();
        self.code.branch_if(inner.exit);
    }

    fn varying_if_group(
        &mut self,
        condition: Value,
        then: &'a Block,
        otherwise: &'a Block,
    ) -> Jumps {
        let condition = self.rep(condition);
        let mut jumps = Jumps::default();
        if !then.is_empty() {
            self.code.lanes(condition, Type::Bool, 0);
            if let Some(mask) = self.mask() {
                self.code.sink().local_get(mask).v128_and();
            }
            jumps = jumps.or(self.masked_block(then));
        }
        if !otherwise.is_empty() {
            self.push_mask();
            self.code.lanes(condition, Type::Bool, 0);
            self.code.sink().v128_andnot();
            jumps = jumps.or(self.masked_block(otherwise));
        }
        jumps
    }

    /// Runs the block for the group's lanes of the mask on the stack, if there is any.
    fn masked_block(&mut self, block: &'a Block) -> Jumps {
        let outer = self.masks;
        let mask = self.code.local(ValType::V128);
        self.code.sink().local_tee(mask).v128_any_true();
        self.code.open_if();
        let mut masks = outer.unwrap_or(PerVector([mask; SIDE_MAX as usize]));
        masks.0[self.at.vector as usize] = mask;
        self.masks = Some(masks);
        let jumps = self.block(block);
        self.code.close();
        self.masks = outer;
        jumps
    }

    // Jumps

    pub(super) fn leave_passage(&mut self, stmt: &Stmt) -> Jumps {
        let inner = *self.loops.last().expect("verified: jumps stand in a loop");
        let breaks = matches!(stmt, Stmt::Break);
        if !self.form.facts.is_masked_in_loop(&self.frames) {
            self.code.branch(if breaks { inner.exit } else { inner.next });
            return Jumps::default();
        }
        if let Some(inner) = self.loops.last_mut() {
            inner.breaks |= breaks;
        }
        self.clear(if breaks { inner.broken } else { inner.continued });
        Jumps { breaks, continues: !breaks, returns: false }
    }

    pub(super) fn leave_invocation(&mut self) -> Jumps {
        if !self.form.facts.is_masked_return(&self.frames) {
            let end = self.end.expect("the body's block is open");
            self.code.branch(end);
            return Jumps::default();
        }
        self.clear(self.returned);
        Jumps { returns: true, ..Jumps::default() }
    }

    // Loops

    pub(super) fn repeat(
        &mut self,
        stmt: &'a Stmt,
        count: Option<Count>,
        body: &'a Block,
    ) -> Jumps {
        let id = std::ptr::from_ref(stmt);
        let facts = self.form.facts.loop_facts(id);
        self.frames.push(Frame::Loop(id));
        let memo = self.memo.clone();
        match count.filter(|count| self.is_unrolled(facts, *count)) {
            Some(count) => self.unrolled(count, body),
            None => self.repeat_one(facts, count, body),
        }
        self.memo = memo;
        self.frames.pop();
        Jumps { returns: facts.jumps.returns, ..Jumps::default() }
    }

    fn repeat_one(&mut self, facts: LoopFacts, count: Option<Count>, body: &'a Block) {
        let outer = self.masks;
        if facts.narrows() {
            self.masks = Some(self.new_masks(|body| body.push_mask()));
        }
        let broken = facts.jumps.breaks.then(|| self.zero_masks());
        let continued = facts.jumps.continues.then(|| self.zero_masks());
        let exit = self.code.open_block();
        if let Some(count) = count {
            self.begin_count(count, exit);
        }
        let top = self.code.open_loop();
        if let Some(continued) = continued {
            self.each_group(true, false, |body| {
                let continued = continued.at(body.at.vector);
                body.code.sink().v128_const(0).local_set(continued);
            });
        }
        let next = self.code.open_block();
        let entry = self.masks;
        self.loops.push(Loop { exit, next, entry, broken, continued, breaks: false });
        self.block(body);
        self.code.close();
        self.masks = entry;
        // Lanes that broke at the loop's own level are out of its masks already.
        let breaks = self.loops.last().is_some_and(|inner| inner.breaks);
        self.retire_lanes(Jumps { breaks, continues: false, ..facts.jumps }, exit);
        match count {
            Some(count) => self.next_count(count, top),
            None => self.code.branch(top),
        }
        self.loops.pop();
        self.code.close();
        self.code.close();
        self.masks = outer;
    }

    /// After a passage: lanes that left are out of the loop's masks.
    fn retire_lanes(&mut self, left: Jumps, exit: Label) {
        if let (true, Some(masks)) = (left.any(), self.masks) {
            let remaining = self.remaining(left);
            self.each_group(true, false, |body| {
                let vector = body.at.vector;
                body.code.get(remaining.at(vector));
                body.code.set(masks.at(vector));
            });
            self.push_any(masks);
            self.code.sink().i32_eqz();
            self.code.branch_if(exit);
        }
    }

    /// `counter = start`, and past the loop unless `start < end`.
    fn begin_count(&mut self, count: Count, exit: Label) {
        let ty = self.function.ty(count.counter);
        if self.variance(count.counter) == Variance::Uniform {
            let counter = self.fresh(ty, true);
            self.overwrite(counter, ty, self.rep(count.start));
            self.define(count.counter, counter);
            self.code.scalar_binary(BinaryOp::Lt, ty, counter, self.rep(count.end));
        } else {
            self.each_group(true, false, |body| {
                let counter = body.fresh(ty, false);
                body.overwrite(counter, ty, body.rep(count.start));
                body.define(count.counter, counter);
                body.code.lanes_binary(BinaryOp::Lt, ty, counter, body.rep(count.end), 0);
                body.keep_lanes();
            });
            self.push_left();
        }
        self.code.sink().i32_eqz();
        self.code.branch_if(exit);
    }

    /// `if end - counter > step: counter += step, again`; the difference is positive, so that
    /// nothing overflows.
    fn next_count(&mut self, count: Count, top: Label) {
        let unsigned = self.function.ty(count.counter).bit_pattern();
        let step = Rep::Const(Const::new(unsigned, u64::from(count.step)));
        if self.variance(count.counter) == Variance::Uniform {
            let (counter, end) = (self.rep(count.counter), self.rep(count.end));
            let (left, next) = (self.fresh(unsigned, true), self.fresh(unsigned, true));
            self.code.scalar_binary(BinaryOp::Sub, unsigned, end, counter);
            self.pop_into(left);
            self.code.scalar_binary(BinaryOp::Add, unsigned, counter, step);
            self.pop_into(next);
            self.overwrite(counter, unsigned, next);
            self.code.scalar_binary(BinaryOp::Gt, unsigned, left, step);
        } else {
            self.each_group(true, false, |body| {
                let (counter, end) = (body.rep(count.counter), body.rep(count.end));
                let left = body.fresh(unsigned, false);
                body.lanes_into(left, unsigned, |code, part| {
                    code.lanes_binary(BinaryOp::Sub, unsigned, end, counter, part);
                });
                body.lanes_into(counter, unsigned, |code, part| {
                    code.lanes_binary(BinaryOp::Add, unsigned, counter, step, part);
                });
                body.code.lanes_binary(BinaryOp::Gt, unsigned, left, step, 0);
                body.keep_lanes();
            });
            self.push_left();
        }
        self.code.branch_if(top);
    }

    /// Moves the scalar on the stack into its local.
    fn pop_into(&mut self, rep: Rep) {
        if let Rep::Scalar(local) = rep {
            self.code.set(local);
        }
    }

    /// The group's mask of the loop, cut by the mask on the stack.
    fn keep_lanes(&mut self) {
        let mask = self.mask().expect("a loop of varying bounds has a mask");
        self.code.sink().local_get(mask).v128_and().local_set(mask);
    }

    /// Pushes whether any lane is left in the loop.
    fn push_left(&mut self) {
        let masks = self.masks.expect("a loop of varying bounds has a mask");
        self.push_any(masks);
    }
}
