//! Loops of which several passages stand one after another.
//!
//! ```text
//! left = number of passages
//! if left > 0:  loop:  passage;  if left == 1: leave
//!                      passage;  if left == 2: leave
//!                      …
//!                      counter += n · step;  left -= n;  if left > 0: again
//! ```
//!
//! The way out after each passage is also a **fence**. Cranelift moves arithmetic down to the end of
//! its block, so that the loads of all passages would come first and fill the registers; a branch ends
//! the block, and whatever is needed where it leads is computed before it. A way out is better than a
//! branch around the passage: values that a passage changes then have no second origin, for which
//! they would be copied.
//!
//! A tile of several rows goes through a passage row by row, with fences of their own, which are never
//! taken. Every other passage goes backwards: a multiply-add overwrites a factor and leaves the old
//! sum's register free, so that sums move on by a register in one passage, and back in the next.
//!
//! Measured with products of packed panels in the first cache, tiles of 5 × 2, of 64 GFLOP/s: 32 with
//! neither, 35 with fences alone, 60 with both.

use crossover_kernels::ir::{BinaryOp, Block, Inst, Stmt, Type};
use wasm_encoder::ValType;

use super::blocks::Cut;
use super::body::Body;
use super::code::{Label, Rep};
use super::control::{Count, Loop};
use super::divergence::{LoopFacts, Variance};
use super::tile::Order;

/// Groups of a tile between two fences.
const FENCED_GROUPS: u32 = 4;

impl<'a> Body<'a> {
    /// Loops of 32-bit counters in which all invocations agree.
    pub(super) fn is_unrolled(&self, facts: LoopFacts, count: Count) -> bool {
        let ty = self.function.ty(count.counter);
        (self.form.unroll > 1 || self.cut_of(count).is_some())
            && facts == LoopFacts::default()
            && self.variance(count.counter) == Variance::Uniform
            && matches!(ty, Type::U32 | Type::I32)
    }

    /// The cut of this loop.
    fn cut_of(&self, count: Count) -> Option<Cut<'a>> {
        self.cut.filter(|cut| cut.panels.count.counter == count.counter)
    }

    pub(super) fn unrolled(&mut self, count: Count, body: &'a Block) {
        let cut = self.cut_of(count);
        let (counter, left) = (self.code.local(ValType::I32), self.code.local(ValType::I32));
        match cut {
            Some(cut) => self.enter_cut(cut, counter, left),
            None => {
                let ty = self.function.ty(count.counter);
                self.overwrite(Rep::Scalar(counter), ty, self.rep(count.start));
                self.push_passages(count);
                self.code.set(left);
            }
        }
        let exit = self.code.open_block();
        self.code.sink().local_get(left).i32_eqz();
        self.code.branch_if(exit);
        let top = self.code.open_loop();
        let order = self.order;
        for at in 0..self.form.unroll {
            if at > 0 {
                self.code.get(left);
                self.code.i32_const(at);
                self.code.sink().i32_eq();
                self.code.branch_if(exit);
            }
            let by = at.wrapping_mul(count.step);
            let rep = if by == 0 { Rep::Scalar(counter) } else { Rep::Offset(counter, by) };
            self.define(count.counter, rep);
            self.passage(cut, at, exit, body);
            self.order = self.order.reversed();
        }
        self.order = order;
        self.next_round(cut, count, counter, left, top);
        self.code.close();
        self.code.close();
        if let Some(cut) = cut {
            self.leave_cut(cut);
        }
    }

    /// Behind the last passage of a round.
    fn next_round(
        &mut self,
        cut: Option<Cut<'a>>,
        count: Count,
        counter: u32,
        left: u32,
        top: Label,
    ) {
        let unroll = self.form.unroll;
        if let Some(cut) = cut {
            self.advance_panels(cut, unroll);
        }
        let mut sink = self.code.sink();
        let by = unroll.wrapping_mul(count.step).cast_signed();
        sink.local_get(counter).i32_const(by).i32_add().local_set(counter);
        sink.local_get(left).i32_const(unroll.cast_signed()).i32_sub().local_tee(left);
        self.code.branch_if(top);
    }

    /// Pushes `start < end ? (end − start − 1) / step + 1 : 0`.
    pub(super) fn push_passages(&mut self, count: Count) {
        let ty = self.function.ty(count.counter);
        let (start, end) = (self.rep(count.start), self.rep(count.end));
        self.code.scalar(end, ty);
        self.code.scalar(start, ty);
        self.code.sink().i32_sub();
        if count.step > 1 {
            self.code.sink().i32_const(1).i32_sub();
            self.code.i32_const(count.step);
            self.code.sink().i32_div_u().i32_const(1).i32_add();
        }
        self.code.i32_const(0);
        self.code.scalar_binary(BinaryOp::Lt, ty, start, end);
        self.code.sink().select();
    }

    /// One passage, the `at`-th of its round.
    fn passage(&mut self, cut: Option<Cut<'a>>, at: u32, exit: Label, body: &'a Block) {
        let straight = self.is_straight(body);
        if straight && self.form.tile.rows > 1 {
            return self.row_by_row(cut, at, exit, body);
        }
        // Nothing but straight code may go backwards: invocations store, and fail, in their order.
        let order = self.order;
        if !straight {
            self.order = Order::Forward;
        }
        let next = self.code.open_block();
        let entry = self.masks;
        let (broken, continued) = (None, None);
        self.loops.push(Loop { exit, next, entry, broken, continued, breaks: false });
        self.statements(body);
        self.loops.pop();
        self.masks = entry;
        self.order = order;
        self.code.close();
    }

    /// Whether the block only computes, loads and assigns variables.
    fn is_straight(&self, block: &Block) -> bool {
        block.iter().all(|stmt| match stmt {
            Stmt::Let(value) => !matches!(
                self.function.def(*value).inst,
                Inst::Atomic(..)
                    | Inst::CompareSwap(..)
                    | Inst::AtomicLoad(..)
                    | Inst::GetElement(..)
                    | Inst::Call(..)
            ),
            Stmt::Set(..) => true,
            Stmt::SetElement(..)
            | Stmt::Store(..)
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
            | Stmt::Return => false,
        })
    }

    /// A passage of straight code: what is the same for all rows, then row by row what is not.
    fn row_by_row(&mut self, cut: Option<Cut<'a>>, at: u32, exit: Label, body: &'a Block) {
        let is_kept = |stmt: &&Stmt| {
            cut.is_none_or(|cut| cut.panels.kept.contains(&std::ptr::from_ref(*stmt)))
        };
        let by_row = |stmt: &&Stmt| match stmt {
            Stmt::Let(value) => self.form.rows.differs(*value),
            Stmt::Set(local, _) => self.form.rows.is_varying_local(local.index()),
            _ => false,
        };
        let (by_row, shared): (Vec<&Stmt>, Vec<&Stmt>) =
            body.iter().filter(is_kept).partition(by_row);
        for stmt in shared {
            self.straight_stmt(cut, at, stmt);
        }
        let rows = self.rows.clone();
        let between = (FENCED_GROUPS / self.form.tile.vectors).max(1) as usize;
        for (done, row) in self.order.of(rows.clone()).enumerate() {
            if done > 0 && done.is_multiple_of(between) {
                self.code.get(self.context.fence);
                self.code.branch_if(exit);
            }
            self.rows = row..row + 1;
            for stmt in &by_row {
                self.straight_stmt(cut, at, stmt);
            }
        }
        self.rows = rows;
    }

    fn straight_stmt(&mut self, cut: Option<Cut<'a>>, at: u32, stmt: &'a Stmt) {
        if let (Some(cut), Stmt::Let(value)) = (cut, stmt)
            && let Some(which) = cut.panels.find(*value)
        {
            return self.load_from_panel(cut, which, at);
        }
        self.stmt(stmt);
    }
}
