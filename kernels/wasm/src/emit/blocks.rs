//! Code of blocked grids ([`super::panel`]).
//!
//! ```text
//! passages = number of them
//! for yb in y0..yt by rows, xb in x0..xt by columns:
//!     from = 0
//!     do:
//!         upto = min(from + depth, passages)
//!         copy the panels of columns xb..xe, passages from..upto
//!         for y in yb..ye by h:
//!             copy the panels of y
//!             for x in xb..xe by w:  body for passages from..upto
//!         from = upto
//!     while from < passages
//! ```
//!
//! The body of a block that is not the first loads the loop's variables, that of one which is not the
//! last stores them and is done.

use crossover_kernels::ir::Type;
use wasm_encoder::{MemArg, ValType};

use super::body::Body;
use super::code::{Code, LANES, Rep, parts};
use super::grid::Grid;
use super::panel::{Panel, Panels, Side};

/// The block that a body is for, as wasm locals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut<'a> {
    pub(super) panels: &'a Panels,
    /// The first passage, the one behind the last, and the number of all.
    pub(super) from: u32,
    pub(super) upto: u32,
    passages: u32,
    /// The number of the tile among those with panels of columns of their own.
    tile: u32,
    /// The address of where the tile's variables wait.
    waiting: u32,
}

impl Grid<'_> {
    /// All whole tiles between these.
    pub(super) fn blocks(&mut self, panels: &Panels, [x0, xt]: [u32; 2], [y0, yt]: [u32; 2]) {
        let mut local = || self.code.local(ValType::I32);
        let (from, upto, passages) = (local(), local(), local());
        let (tile, waiting, top, left) = (local(), local(), local(), local());
        let cut = Cut { panels, from, upto, passages, tile, waiting };
        let interior = self.forms.interior;
        let mut body = Body::new(&mut self.code, self.context, interior);
        body.begin_cut(panels);
        body.push_passages(panels.count);
        body.code.set(passages);
        self.ranges(top, [y0, yt], panels.rows, |grid, bottom| {
            grid.ranges(left, [x0, xt], panels.columns, |grid, right| {
                grid.depth(cut, [left, right], [top, bottom]);
            });
        });
    }

    /// `for at in from..to by step`, with a local that holds the end of each part; the last one takes what
    /// would not be half of one.
    fn ranges(
        &mut self,
        at: u32,
        [from, to]: [u32; 2],
        step: u32,
        inner: impl FnOnce(&mut Self, u32),
    ) {
        let end = self.code.local(ValType::I32);
        self.code.sink().local_get(from).local_set(at);
        let done = self.code.open_block();
        let again = self.code.open_loop();
        self.code.sink().local_get(at).local_get(to).i32_ge_u();
        self.code.branch_if(done);
        self.code.part_end(at, to, [step, longest(step)], end);
        inner(self, end);
        self.code.sink().local_get(end).local_set(at);
        self.code.branch(again);
        self.code.close();
        self.code.close();
    }

    /// The passages of a block of tiles.
    fn depth(&mut self, cut: Cut<'_>, x: [u32; 2], [top, bottom]: [u32; 2]) {
        let Cut { panels, from, upto, passages, tile, waiting } = cut;
        let interior = self.forms.interior;
        let width = LANES * interior.tile.vectors;
        self.code.sink().i32_const(0).local_set(from);
        let again = self.code.open_loop();
        self.code.part_end(from, passages, [panels.depth; 2], upto);
        self.copy(cut, Some(x));
        let start = panels.sums_offset as u32;
        self.code.i32_const(start);
        self.code.set(waiting);
        self.axis(1, [top, bottom], interior.tile.rows, |grid| {
            grid.copy(cut, None);
            grid.begin_tiles(tile);
            grid.axis(0, x, width, |grid| {
                let held = grid.code.mark();
                let mut body = Body::new(&mut grid.code, grid.context, interior);
                body.cut = Some(cut);
                body.emit();
                grid.code.release(&held);
                grid.code.add_to(waiting, panels.sums_bytes);
                grid.code.add_to(tile, 1);
            });
        });
        self.code.sink().local_get(upto).local_tee(from).local_get(passages).i32_lt_u();
        self.code.branch_if(again);
        self.code.close();
    }

    fn begin_tiles(&mut self, tile: u32) {
        self.code.i32_const(0);
        self.code.set(tile);
    }
}

/// The most rows or columns of the last of blocks of so many.
pub(super) fn longest(step: u32) -> u32 {
    step + step / 2
}

impl Code {
    /// `end = to − at > longest ? at + step : to`, where `at <= to`.
    pub(super) fn part_end(&mut self, at: u32, to: u32, [step, longest]: [u32; 2], end: u32) {
        let [step, longest] = [step, longest].map(u32::cast_signed);
        let mut sink = self.sink();
        sink.local_get(at).i32_const(step).i32_add().local_get(to);
        sink.local_get(to).local_get(at).i32_sub().i32_const(longest).i32_gt_u();
        sink.select().local_set(end);
    }

    pub(super) fn add_to(&mut self, local: u32, by: u32) {
        self.sink().local_get(local).i32_const(by.cast_signed()).i32_add().local_set(local);
    }
}

impl<'a> Body<'a> {
    /// Computes the bounds of the loop that is cut.
    pub(super) fn begin_cut(&mut self, panels: &Panels) {
        self.compute_invariant(panels.count.start);
        self.compute_invariant(panels.count.end);
    }

    /// `counter = start + from · step`
    pub(super) fn cut_counter(&mut self, cut: Cut<'_>, counter: u32) {
        let count = cut.panels.count;
        let ty = self.function.ty(count.counter);
        self.code.get(cut.from);
        self.code.i32_const(count.step);
        self.code.sink().i32_mul();
        self.code.scalar(self.rep(count.start), ty);
        self.code.sink().i32_add().local_set(counter);
    }

    /// A local with the address of the tile's panel, less the offset of all panels of the load.
    fn panel_address(&mut self, cut: Cut<'_>, panel: &Panel) -> u32 {
        let at = self.code.local(ValType::I32);
        match panel.side {
            Side::Rows | Side::RowsInLanes => self.code.i32_const(0),
            Side::Columns => {
                self.code.get(cut.tile);
                self.code.i32_const(panel.tile_bytes);
                self.code.sink().i32_mul();
            }
        }
        self.code.set(at);
        at
    }

    /// Offsets of the parts of the group's value in the panel.
    pub(super) fn panel_offsets(&self, panel: &Panel) -> Vec<u64> {
        let ty = self.function.ty(panel.load);
        match panel.side {
            Side::Columns => {
                let count = parts(ty) as u32;
                let first = 16 * self.at.vector * count;
                // Copies are made for several tiles at a time.
                let (tile, first) = (first / panel.stride, first % panel.stride);
                let first = panel.offset + u64::from(tile * panel.tile_bytes + first);
                (0..count).map(|part| first + 16 * u64::from(part)).collect()
            }
            Side::Rows => vec![panel.offset + u64::from(self.at.row) * ty.bytes() as u64],
            // All parts of a value are the same.
            Side::RowsInLanes => vec![panel.offset + u64::from(self.at.row) * 16],
        }
    }

    // Using

    /// The loop's variables, counter, number of passages and panels for this block.
    pub(super) fn enter_cut(&mut self, cut: Cut<'a>, counter: u32, left: u32) {
        self.code.get(cut.from);
        self.code.open_if();
        self.each_waiting(cut, |body, rep, ty, part, arg| {
            let Rep::Lanes(locals) = rep else { return };
            debug_assert!(part < parts(ty));
            body.code.get(cut.waiting);
            body.code.sink().v128_load(arg).local_set(locals[part]);
        });
        self.code.close();
        self.cut_counter(cut, counter);
        self.code.sink().local_get(cut.upto).local_get(cut.from).i32_sub().local_set(left);
        let panels = &cut.panels.panels;
        self.panel_at = panels.iter().map(|panel| self.panel_address(cut, panel)).collect();
    }

    /// Ends the body unless the loop is over.
    pub(super) fn leave_cut(&mut self, cut: Cut<'a>) {
        self.code.sink().local_get(cut.upto).local_get(cut.passages).i32_lt_u();
        self.code.open_if();
        self.each_waiting(cut, |body, rep, ty, part, arg| {
            body.code.get(cut.waiting);
            body.code.lanes(rep, ty, part);
            body.code.sink().v128_store(arg);
        });
        let end = self.end.expect("the body's block is open");
        self.code.branch(end);
        self.code.close();
    }

    /// Every part of every variable that the loop assigns, and where it waits.
    fn each_waiting(
        &mut self,
        cut: Cut<'a>,
        mut f: impl FnMut(&mut Self, Rep, Type, usize, MemArg),
    ) {
        let mut offset = 0;
        for &local in &cut.panels.sums {
            let ty = self.function.locals[local].ty;
            self.each_group(true, self.form.rows.is_varying_local(local), |body| {
                let rep = body.variable(local);
                for part in 0..parts(ty) {
                    f(body, rep, ty, part, body.context.layout.scratch_arg(offset));
                    offset += 16;
                }
            });
        }
    }

    /// A round of passages is over.
    pub(super) fn advance_panels(&mut self, cut: Cut<'a>, passages: u32) {
        for (at, panel) in self.panel_at.clone().into_iter().zip(&cut.panels.panels) {
            self.code.add_to(at, panel.stride * passages);
        }
    }

    /// The value of a load from its panel, in a passage of the round.
    pub(super) fn load_from_panel(&mut self, cut: Cut<'a>, which: usize, passage: u32) {
        let panel = &cut.panels.panels[which];
        let (at, ty) = (self.panel_at[which], self.function.ty(panel.load));
        self.each_group_of(&[panel.load], |body| {
            let rep = match panel.side {
                Side::Columns => body.fresh(ty, false),
                Side::Rows => body.fresh(ty, true),
                Side::RowsInLanes => Rep::Lanes([body.code.local(ValType::V128); 2]),
            };
            for (part, offset) in body.panel_offsets(panel).into_iter().enumerate() {
                let offset = offset + u64::from(passage) * u64::from(panel.stride);
                let arg = body.context.layout.scratch_arg(offset);
                body.code.get(at);
                match rep {
                    Rep::Lanes(locals) => {
                        body.code.sink().v128_load(arg).local_set(locals[part]);
                    }
                    Rep::Scalar(local) => {
                        body.code.load(ty, arg);
                        body.code.set(local);
                    }
                    Rep::Const(_) | Rep::Low(_) | Rep::Offset(..) | Rep::Linear { .. } => {}
                }
            }
            body.define(panel.load, rep);
        });
    }
}
