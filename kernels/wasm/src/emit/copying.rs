//! Code that copies what a block loads into its panels ([`super::panel`]).
//!
//! ```text
//! for passage in from..upto:
//!     what is the same for all columns
//!     for x in xb..xe by w:  panel of x[passage] = load        or for the tile's rows
//! ```
//!
//! Columns are copied passage by passage, each along x, for that is how they lie in memory, mostly: whole
//! lines of the cache are read, and in order.

use std::collections::{HashMap, HashSet};

use crossover_kernels::ir::Value;
use wasm_encoder::ValType;

use super::affine::Memo;
use super::blocks::Cut;
use super::body::{Body, Context, Form};
use super::code::{Code, LANES, Rep, parts};
use super::grid::Grid;
use super::panel::{Panel, Side};
use super::tile::{SIDE_MAX, Tile};

/// What a body has computed, for another one that stands inside of it.
struct Known {
    reps: Vec<Option<Rep>>,
    memo: Memo,
    differences: HashSet<u32>,
    anchors: HashMap<u32, Vec<u32>>,
}

impl Grid<'_> {
    /// Copies what the panels of these columns, or else those of the tile's rows, hold of the block's
    /// passages.
    pub(super) fn copy(&mut self, cut: Cut<'_>, columns: Option<[u32; 2]>) {
        let is_copied = |panel: &&Panel| (panel.side == Side::Columns) == columns.is_some();
        for panel in cut.panels.panels.iter().filter(is_copied) {
            let held = self.code.mark();
            self.copy_panel(cut, panel, columns);
            self.code.release(&held);
        }
    }

    fn copy_panel(&mut self, cut: Cut<'_>, panel: &Panel, columns: Option<[u32; 2]>) {
        let (context, interior) = (self.context, self.forms.interior);
        let rows = if columns.is_some() { 1 } else { interior.tile.rows };
        let form = Form { tile: Tile { vectors: 1, rows }, ..interior };
        let [counter, left, passage] = [(); 3].map(|()| self.code.local(ValType::I32));
        let mut body = Body::new(&mut self.code, context, form);
        body.begin_copying(cut, panel, counter);
        body.code.i32_const(0);
        body.code.set(passage);
        let done = body.code.open_block();
        body.code.sink().local_get(cut.upto).local_get(cut.from).i32_sub().local_tee(left);
        body.code.sink().i32_eqz();
        body.code.branch_if(done);
        let again = body.code.open_loop();
        let needed = panel.needed.iter().copied();
        let (along, shared): (Vec<Value>, Vec<Value>) =
            needed.partition(|&value| body.is_varying(value));
        shared.iter().for_each(|&value| body.compute(value));
        match columns {
            None => body.store_in_panel(panel, passage),
            Some(x) => {
                let known = body.into_known();
                self.copy_along(panel, passage, x, &known, &along);
            }
        }
        self.code.add_to(passage, panel.stride);
        self.code.add_to(counter, cut.panels.count.step);
        self.code.sink().local_get(left).i32_const(1).i32_sub().local_tee(left);
        self.code.branch_if(again);
        self.code.close();
        self.code.close();
    }

    /// Copies what a passage loads along x: as many tiles at a time as there are, then one by one.
    /// A core waits for as many lines as it has instructions for in sight.
    fn copy_along(
        &mut self,
        panel: &Panel,
        passage: u32,
        [from, to]: [u32; 2],
        known: &Known,
        values: &[Value],
    ) {
        let (context, interior) = (self.context, self.forms.interior);
        let vectors = interior.tile.vectors;
        let [at, middle] = [self.code.local(ValType::I32), self.code.local(ValType::I32)];
        let step = |tiles: u32| LANES * vectors * tiles;
        let ty = interior.function.ty(panel.load);
        let many = (SIDE_MAX / (vectors * parts(ty) as u32)).max(1);
        let mut sink = self.code.sink();
        sink.local_get(passage).local_set(at).local_get(to);
        sink.local_get(to).local_get(from).i32_sub().i32_const(step(many).cast_signed());
        sink.i32_rem_u().i32_sub().local_set(middle);
        for (range, tiles) in [([from, middle], many), ([middle, to], 1)] {
            self.axis(0, range, step(tiles), |grid| {
                let held = grid.code.mark();
                let tile = Tile { vectors: vectors * tiles, rows: 1 };
                let form = Form { tile, ..interior };
                let mut body = Body::inside(&mut grid.code, context, form, known);
                values.iter().for_each(|&value| body.compute_invariant(value));
                body.store_in_panel(panel, at);
                grid.code.add_to(at, panel.tile_bytes * tiles);
                grid.code.release(&held);
            });
        }
    }
}

impl<'a> Body<'a> {
    /// Computes what copying needs of what is the same in all passages and columns.
    fn begin_copying(&mut self, cut: Cut<'_>, panel: &Panel, counter: u32) {
        let count = cut.panels.count;
        self.begin_cut(cut.panels);
        self.cut_counter(cut, counter);
        self.define(count.counter, Rep::Scalar(counter));
        for &value in &panel.needed {
            self.compute_shared(value, &panel.needed);
        }
    }

    /// Computes the parts of a value that are the same in all columns, but those that a passage
    /// computes.
    fn compute_shared(&mut self, value: Value, of_passage: &[Value]) {
        let is_known = |body: &Body<'_>, value| !body.is_varying(value) && body.is_defined(value);
        for operand in self.function.def(value).inst.operands() {
            if of_passage.contains(&operand) || is_known(self, operand) {
                continue;
            }
            if self.is_varying(operand) {
                self.compute_shared(operand, of_passage);
            } else {
                self.compute_invariant(operand);
            }
        }
    }

    fn into_known(self) -> Known {
        let Body { reps, memo, differences, anchors, .. } = self;
        Known { reps, memo, differences, anchors }
    }

    /// A body of one row inside of one of a single group.
    fn inside(code: &'a mut Code, context: Context<'a>, form: Form<'a>, known: &Known) -> Body<'a> {
        let mut body = Body::new(code, context, form);
        for (at, rep) in known.reps.iter().enumerate() {
            body.reps[at * form.tile.groups()] = *rep;
        }
        body.memo.clone_from(&known.memo);
        body.differences.clone_from(&known.differences);
        body.anchors.clone_from(&known.anchors);
        body
    }

    fn store_in_panel(&mut self, panel: &Panel, at: u32) {
        let ty = self.function.ty(panel.load);
        self.each_group_of(&[panel.load], |body| {
            let rep = body.rep(panel.load);
            for (part, offset) in body.panel_offsets(panel).into_iter().enumerate() {
                let arg = body.context.layout.scratch_arg(offset);
                body.code.get(at);
                match panel.side {
                    Side::Columns | Side::RowsInLanes => {
                        body.code.lanes(rep, ty, part);
                        body.code.sink().v128_store(arg);
                    }
                    Side::Rows => {
                        body.code.scalar(rep, ty);
                        body.code.store(ty, arg);
                    }
                }
            }
        });
    }
}
