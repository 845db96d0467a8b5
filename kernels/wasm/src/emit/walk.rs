//! The walk over the grid: row by row, or tile by tile.
//!
//! ```text
//! for z in z0..z1:                                       one row at a time
//!     for y in y0..y1:
//!         lo, hi = the interior, of this row or of several
//!         while x < x1:  while lo <= x and x + w <= hi:      interior body, x += w
//!                        4 more before lo, hi, or the end:   vector body,   x += 4
//!                        else                                scalar body,   x += 1
//! or:                                                    several rows at a time
//!     if all of it is interior:
//!         xt, yt = ends of the whole tiles
//!         for x in x0..xt by w, y in y0..yt by h:  interior body, perhaps in blocks
//!     for y in y0..y1:
//!         x = y < yt ? xt : x0;  vector and scalar bodies to x1
//! ```
//!
//! Where to run an invocation twice is to run it once (it reads nothing that the kernel writes), the
//! last tile of an interior and the last row of tiles begin early: they compute again what those before
//! them have computed, and no other body is needed for what is left.
//!
//! ```text
//! x = min(x, hi − w)
//! while x < hi:  interior body;  x += w;  unless x <= hi − w or x >= hi:  x = hi − w
//! ```

use crossover_kernels::ir::{Type, Value};
use wasm_encoder::ValType;

use super::body::{Body, Form};
use super::code::{LANES, Rep};
use super::grid::{Grid, range_params, step};
use super::interior::Interior;

/// Which rows are taken to have an interior together: none, all but the first and the last, or all.
const NONE: u32 = 0;
const INNER: u32 = 1;
const ALL: u32 = 2;

/// The interior of a row, as wasm locals.
#[derive(Clone, Copy, Debug)]
struct Inside {
    lo: u32,
    hi: u32,
    /// Tiles begin at `lo..lo + span`.
    span: u32,
    /// The last place of a tile, where tiles overlap.
    last: u32,
}

impl Grid<'_> {
    pub(super) fn planes(&mut self) {
        let tiled = self.forms.interior.tile.rows > 1;
        let [from, to] = range_params(2);
        self.axis(2, [from, to], 1, |grid| if tiled { grid.tiles() } else { grid.rows() });
    }

    /// `for at in from..to`, of an axis, by a step. Where the step does not divide the distance, and
    /// invocations can be run again, the last of them is not beyond `to - step`.
    pub(super) fn axis(
        &mut self,
        axis: usize,
        [from, to]: [u32; 2],
        step: u32,
        inner: impl FnOnce(&mut Self),
    ) {
        let at = self.context.axes[axis];
        self.code.get(from);
        self.code.set(at);
        let done = self.code.open_block();
        let top = self.code.open_loop();
        self.code.sink().local_get(at).local_get(to).i32_ge_u();
        self.code.branch_if(done);
        if self.forms.idempotent && step > 1 {
            let last = self.code.local(ValType::I32);
            self.code.sink().local_get(to).i32_const(step.cast_signed()).i32_sub().local_set(last);
            self.clip(at, last);
        }
        inner(self);
        self.advance(axis, step);
        self.code.branch(top);
        self.code.close();
        self.code.close();
    }

    /// `at = min(at, last)`
    fn clip(&mut self, at: u32, last: u32) {
        let mut sink = self.code.sink();
        sink.local_get(at).local_get(last).local_get(at).local_get(last).i32_lt_u();
        sink.select().local_set(at);
    }

    fn advance(&mut self, axis: usize, step: u32) {
        let at = self.context.axes[axis];
        self.code.get(at);
        self.code.i32_const(step);
        self.code.sink().i32_add().local_set(at);
    }

    // One row at a time

    fn rows(&mut self) {
        let held = self.code.mark();
        let mut local = || self.code.local(ValType::I32);
        let (until, together) = (local(), local());
        let inside = Inside { lo: local(), hi: local(), span: local(), last: local() };
        let ([y0, _], y) = (range_params(1), self.context.axes[1]);
        self.code.sink().local_get(y0).local_set(until);
        let most = match self.forms.inside {
            Interior { splits_by_row: true, .. } => NONE,
            Interior { rows_part: true, .. } => INNER,
            _ => ALL,
        };
        self.code.i32_const(most);
        self.code.set(together);
        self.axis(1, range_params(1), 1, |grid| {
            grid.code.sink().local_get(y).local_get(until).i32_ge_u();
            grid.code.open_if();
            grid.find_inside(until, together, inside);
            grid.code.close();
            let [from, _] = range_params(0);
            let x = grid.context.axes[0];
            grid.code.get(from);
            grid.code.set(x);
            grid.row(Some(inside));
        });
        self.code.release(&held);
    }

    /// The interior that the rows from y on have in common, and the row `until` which they do: at first all
    /// rows are tried; then, as the first and the last may be borders, the others; where those have no
    /// interior together either, each is looked at alone.
    fn find_inside(&mut self, until: u32, together: u32, inside: Inside) {
        let held = self.code.mark();
        let ([y0, y1], y) = (range_params(1), self.context.axes[1]);
        let last = self.code.local(ValType::I32);
        let again = self.code.open_loop();
        let mut sink = self.code.sink();
        sink.local_get(y1);
        sink.local_get(y).i32_const(1).i32_add().local_get(y1).i32_const(1).i32_sub();
        sink.local_get(together).i32_eqz().local_get(y).local_get(y0).i32_eq().i32_or();
        sink.local_get(y1).local_get(y).i32_sub().i32_const(3).i32_lt_u().i32_or();
        sink.select().local_get(together).i32_const(ALL.cast_signed()).i32_eq().select();
        sink.local_tee(until).i32_const(1).i32_sub().local_set(last);
        let [lo, hi] = self.interior(range_params(0), [y, last]);
        let mut sink = self.code.sink();
        sink.local_get(lo).local_get(hi).i32_ge_u();
        sink.local_get(last).local_get(y).i32_gt_u().i32_and();
        self.code.open_if();
        self.code.sink().local_get(together).i32_const(1).i32_sub().local_set(together);
        self.code.branch(again);
        self.code.close();
        self.code.close();
        self.set_inside([lo, hi], inside);
        self.code.release(&held);
    }

    /// Where tiles may begin in an interior: `span` is 0 unless a whole one fits.
    fn set_inside(&mut self, [lo, hi]: [u32; 2], inside: Inside) {
        let width = step(self.forms.interior).cast_signed();
        // Tiles that overlap begin anywhere, others where the whole of them fits.
        let less = if self.forms.idempotent { 0 } else { width - 1 };
        let mut sink = self.code.sink();
        sink.local_get(lo).local_set(inside.lo).local_get(hi).local_set(inside.hi);
        sink.local_get(hi).i32_const(width).i32_sub().local_set(inside.last);
        sink.local_get(hi).local_get(lo).i32_sub().i32_const(less).i32_sub().i32_const(0);
        sink.local_get(hi).local_get(lo).i32_sub().i32_const(width).i32_ge_u();
        sink.select().local_set(inside.span);
    }

    /// The rest of a row, from x on, with the interior where one is known.
    fn row(&mut self, inside: Option<Inside>) {
        let x = self.context.axes[0];
        let [_, to] = range_params(0);
        let done = self.code.open_block();
        let again = self.code.open_loop();
        self.code.sink().local_get(x).local_get(to).i32_ge_u();
        self.code.branch_if(done);
        if let Some(inside) = inside {
            self.push_inside(inside);
            self.code.open_if();
            let held = self.code.mark();
            let hoisted = self.hoist();
            if self.forms.idempotent {
                self.clip(x, inside.last);
            }
            match self.forms.inside.switch {
                None => self.tiles_of_row(inside, &hoisted, None),
                Some(condition) => {
                    let known = hoisted[condition.index() * self.forms.interior.tile.groups()];
                    self.code.scalar(known.expect("it is hoisted, too"), Type::Bool);
                    self.code.open_if();
                    self.tiles_of_row(inside, &hoisted, Some((condition, true)));
                    self.code.otherwise();
                    self.tiles_of_row(inside, &hoisted, Some((condition, false)));
                    self.code.close();
                }
            }
            self.code.release(&held);
            self.code.branch(again);
            self.code.close();
        }
        self.strip(inside);
        self.code.branch(again);
        self.code.close();
        self.code.close();
        self.combine_lanes();
    }

    /// The tiles of a row from x on, in the interior; what is known of its condition, if there is one.
    fn tiles_of_row(
        &mut self,
        inside: Inside,
        hoisted: &[Option<Rep>],
        decided: Option<(Value, bool)>,
    ) {
        let x = self.context.axes[0];
        let fast = self.code.open_loop();
        self.body_where(self.forms.interior, hoisted, decided);
        self.advance(0, step(self.forms.interior));
        if self.forms.idempotent {
            // Most often.
            self.code.sink().local_get(x).local_get(inside.last).i32_le_u();
            self.code.branch_if(fast);
            self.code.sink().local_get(x).local_get(inside.hi).i32_lt_u();
            self.code.open_if();
            self.code.sink().local_get(inside.last).local_set(x);
            self.code.branch(fast);
            self.code.close();
        } else {
            self.push_inside(inside);
            self.code.branch_if(fast);
        }
        self.code.close();
    }

    /// Computes what the interior has the same in the whole row, and gives the places of values.
    fn hoist(&mut self) -> Vec<Option<Rep>> {
        let inside = self.forms.inside;
        let mut body = Body::new(&mut self.code, self.context, self.forms.interior);
        inside
            .hoisted
            .iter()
            .chain(&inside.switch)
            .for_each(|&value| body.compute_invariant(value));
        body.reps
    }

    /// A group of lanes, or an invocation where a group would reach over the next border.
    fn strip(&mut self, inside: Option<Inside>) {
        let width = step(self.forms.vector);
        if width > 1 {
            self.push_border(inside);
            let x = self.context.axes[0];
            self.code.sink().local_get(x).i32_sub().i32_const(width.cast_signed()).i32_ge_u();
            self.code.open_if();
            self.passage(self.forms.vector);
            self.code.otherwise();
        }
        self.passage(self.forms.scalar);
        if width > 1 {
            self.code.close();
        }
    }

    /// Pushes the next border right of x: one of the interior, or the end of the row.
    fn push_border(&mut self, inside: Option<Inside>) {
        let x = self.context.axes[0];
        let [_, to] = range_params(0);
        let Some(Inside { lo, hi, .. }) = inside else { return self.code.get(to) };
        let mut sink = self.code.sink();
        sink.local_get(lo);
        sink.local_get(hi).local_get(to).local_get(x).local_get(hi).i32_lt_u().select();
        sink.local_get(x).local_get(lo).i32_lt_u().select();
    }

    /// Pushes whether a tile may begin at x: `x − lo < span`, unsigned.
    fn push_inside(&mut self, Inside { lo, span, .. }: Inside) {
        let x = self.context.axes[0];
        self.code.sink().local_get(x).local_get(lo).i32_sub().local_get(span).i32_lt_u();
    }

    /// One passage of a body, and on to the next x.
    fn passage(&mut self, form: Form<'_>) {
        self.body(form, &[]);
        self.advance(0, step(form));
    }

    // Several rows at a time

    fn tiles(&mut self) {
        let held = self.code.mark();
        let tile = self.forms.interior.tile;
        let (width, height) = (tile.vectors * LANES, tile.rows);
        let ([x0, x1], [y0, y1]) = (range_params(0), range_params(1));
        let last = self.code.local(ValType::I32);
        self.code.sink().local_get(y1).i32_const(1).i32_sub().local_set(last);
        let [lo, hi] = self.interior([x0, x1], [y0, last]);
        let [xt, yt] = [x0, y0].map(|from| {
            let end = self.code.local(ValType::I32);
            self.code.sink().local_get(from).local_set(end);
            end
        });
        let mut sink = self.code.sink();
        sink.local_get(lo).local_get(x0).i32_eq();
        sink.local_get(hi).local_get(x1).i32_eq().i32_and();
        for ([from, to], side) in [([x0, x1], width), ([y0, y1], height)] {
            let side = side.cast_signed();
            sink.local_get(to).local_get(from).i32_sub().i32_const(side).i32_ge_u().i32_and();
        }
        self.code.open_if();
        for (end, [from, to], side) in [(xt, [x0, x1], width), (yt, [y0, y1], height)] {
            self.tiles_end(end, [from, to], side);
        }
        let interior = self.forms.interior;
        match self.forms.panels {
            Some(panels) => self.blocks(panels, [x0, xt], [y0, yt]),
            None => self.axis(0, [x0, xt], width, |grid| {
                grid.axis(1, [y0, yt], height, |grid| grid.body(interior, &[]));
            }),
        }
        self.code.close();
        let [x, y] = [self.context.axes[0], self.context.axes[1]];
        self.axis(1, [y0, y1], 1, |grid| {
            let mut sink = grid.code.sink();
            sink.local_get(xt).local_get(x0).local_get(y).local_get(yt).i32_lt_u();
            sink.select().local_set(x);
            grid.row(None);
        });
        self.code.release(&held);
    }

    /// Where the tiles along an axis end.
    fn tiles_end(&mut self, end: u32, [from, to]: [u32; 2], side: u32) {
        let side = side.cast_signed();
        let mut sink = self.code.sink();
        sink.local_get(to);
        if !self.forms.idempotent {
            sink.local_get(to).local_get(from).i32_sub().i32_const(side).i32_rem_u().i32_sub();
        }
        sink.local_set(end);
    }
}
