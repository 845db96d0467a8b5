//! A piece of a workgroup's kernel: a block that each of its invocations runs.
//!
//! ```text
//! for z, y of the group:  for x of the group by the tile's width:  block over v128
//!                         the last width % 4:                      block over scalars
//! ```
//!
//! Values and variables of the group are the same for all invocations: pieces use those of the body
//! around. A piece that does nothing but `if local.x < n { … }` ends at n.

use std::collections::HashSet;

use crossover_kernels::ir::{Axis, BinaryOp, Block, Inst, Stmt, Type, Value};
use wasm_encoder::ValType;

use super::body::{Body, Form, Width};
use super::code::{LANES, Rep};
use super::tile::Tile;

/// Where a row of invocations ends.
#[derive(Clone, Copy)]
enum End {
    Fixed(u32),
    /// In a wasm local.
    At(u32),
}

/// What the invocations of a row do.
#[derive(Clone, Copy)]
struct Row<'a> {
    /// One after the other.
    parts: [&'a [Stmt]; 2],
    end: End,
}

impl<'a> Body<'a> {
    /// The block, for all invocations of the group.
    pub(super) fn each(&mut self, block: &'a Block) {
        let group = self.workgroup();
        let held = self.code.mark();
        let row = self.row(block, group.size[0]);
        self.each_axis(2, row);
        for axis in 0..3 {
            self.code.get(group.origin[axis]);
            self.code.set(self.context.axes[axis]);
        }
        self.code.release(&held);
    }

    /// Walks along z, then y, then x.
    fn each_axis(&mut self, axis: usize, row: Row<'a>) {
        if axis == 0 {
            return self.row_of_group(row);
        }
        let size = self.workgroup().size[axis];
        if size == 1 {
            return self.each_axis(axis - 1, row);
        }
        self.begin(axis);
        let top = self.code.open_loop();
        self.each_axis(axis - 1, row);
        self.step(axis, 1);
        self.push_before(axis, End::Fixed(size));
        self.code.branch_if(top);
        self.code.close();
    }

    /// The first place along an axis.
    fn begin(&mut self, axis: usize) {
        let group = self.workgroup();
        self.code.get(group.origin[axis]);
        self.code.set(self.context.axes[axis]);
        self.code.i32_const(0);
        self.code.set(group.place[axis]);
    }

    fn step(&mut self, axis: usize, by: u32) {
        let group = self.workgroup();
        for local in [self.context.axes[axis], group.place[axis]] {
            self.code.get(local);
            self.code.i32_const(by);
            self.code.sink().i32_add().local_set(local);
        }
    }

    /// Pushes whether the place is before the end.
    fn push_before(&mut self, axis: usize, end: End) {
        self.code.get(self.workgroup().place[axis]);
        match end {
            End::Fixed(n) => self.code.i32_const(n),
            End::At(local) => self.code.get(local),
        }
        self.code.sink().i32_lt_u();
    }

    fn row_of_group(&mut self, row: Row<'a>) {
        let group = self.workgroup();
        let width = match row.end {
            End::Fixed(width) => width,
            End::At(_) => group.size[0],
        };
        let rest = width % LANES;
        self.begin(0);
        if width >= LANES {
            let end = match row.end {
                End::At(local) if rest == 0 => End::At(local),
                End::Fixed(_) | End::At(_) => End::Fixed(width - rest),
            };
            let wanted = group.vector.tile.vectors;
            let tile = Tile { vectors: vectors(width, wanted), rows: 1 };
            let form = Form { tile, ..group.vector };
            self.passages(Row { end, ..row }, form, LANES * tile.vectors);
        }
        if rest > 0 {
            self.passages(Row { end: End::Fixed(width), ..row }, group.scalar, 1);
        }
    }

    fn passages(&mut self, row: Row<'a>, form: Form<'a>, step: u32) {
        let done = self.code.open_block();
        let top = self.code.open_loop();
        if let End::At(_) = row.end {
            self.push_before(0, row.end);
            self.code.sink().i32_eqz();
            self.code.branch_if(done);
        }
        self.piece(row.parts, form);
        self.step(0, step);
        match row.end {
            End::Fixed(_) => {
                self.push_before(0, row.end);
                self.code.branch_if(top);
            }
            End::At(_) => self.code.branch(top),
        }
        self.code.close();
        self.code.close();
    }

    /// One passage of the parts in a form of its own.
    fn piece(&mut self, parts: [&'a [Stmt]; 2], form: Form<'a>) {
        let held = self.code.mark();
        let (reps, places) = (&self.reps, &self.places);
        let mut piece = Body::new(&mut *self.code, self.context, form);
        let groups = form.tile.groups();
        for (at, rep) in reps.iter().enumerate() {
            if rep.is_some() {
                piece.reps[at * groups] = *rep;
            }
        }
        piece.places = vec![vec![None; groups]; form.function.locals.len()];
        for (at, place) in places.iter().enumerate() {
            piece.places[at][0] = place[0].clone();
        }
        for local in locals_in(form, parts) {
            if piece.places[local][0].is_none() {
                piece.reset_place(local);
            }
        }
        piece.whole(parts);
        self.code.release(&held);
    }

    /// The parts as a body of its own.
    fn whole(&mut self, parts: [&'a [Stmt]; 2]) {
        if self.form.facts.masked_return
            && parts.into_iter().flatten().any(returns)
            && self.form.width == Width::Vector
        {
            self.returned = Some(self.zero_masks());
        }
        self.end = Some(self.code.open_block());
        // Nobody leaves an invocation in the first: it only computes.
        for part in parts {
            self.statements(part);
        }
        self.code.close();
    }

    /// The body of a group.
    pub(super) fn emit_group(mut self) {
        let function = self.function;
        self.reset_group_places(&function.body);
        self.whole([&[], &function.body]);
    }

    /// The variables that the group itself reads or assigns, zero.
    fn reset_group_places(&mut self, body: &'a Block) {
        self.places = vec![vec![None; 1]; self.function.locals.len()];
        let mut found = HashSet::new();
        note_locals(self.form, body, false, &mut found);
        let mut found: Vec<usize> = found.into_iter().collect();
        found.sort_unstable();
        for local in found {
            self.reset_place(local);
        }
    }

    /// What a row does, and where it may end early: at `n`, if the block is `if local.x < n { … }` and
    /// what that needs. Up to a constant `n` the condition holds.
    fn row(&mut self, block: &'a Block, width: u32) -> Row<'a> {
        let all = Row { parts: [&[], block], end: End::Fixed(width) };
        let Some(Bound { below, inclusive, before, then }) = bound(self.form, block) else {
            return all;
        };
        let Some(bound) = self.reps[below.index()].filter(|rep| rep.is_uniform()) else {
            return all;
        };
        match bound {
            Rep::Const(c) if !inclusive || c.bits == 0 => {
                let end = (c.bits as u32).saturating_add(u32::from(inclusive)).min(width);
                // A row of none still has a loop around it, which runs once.
                let parts = if end == 0 { [&[][..], &[]] } else { [before, &then[..]] };
                return Row { parts, end: End::Fixed(end.max(1)) };
            }
            _ => {}
        }
        let end = self.code.local(ValType::I32);
        if inclusive {
            // The place itself: 0 stands for a group of one, and nothing wraps below the width.
            self.code.scalar_binary(BinaryOp::Add, Type::U32, bound, Rep::Const(1u32.into()));
        } else {
            self.code.scalar(bound, Type::U32);
        }
        self.code.set(end);
        Row { end: End::At(self.least(end, width)), ..all }
    }

    /// A local with the smaller of a local and a number.
    fn least(&mut self, local: u32, most: u32) -> u32 {
        let mut sink = self.code.sink();
        let most = most.cast_signed();
        sink.local_get(local).i32_const(most).local_get(local).i32_const(most).i32_lt_u();
        sink.select().local_set(local);
        local
    }
}

/// `before; if local.x < below { then }`, or `local.x == below` (inclusive).
struct Bound<'a> {
    below: Value,
    inclusive: bool,
    before: &'a [Stmt],
    then: &'a Block,
}

/// The condition on the place along x without which the block does nothing at all.
fn bound<'a>(form: Form<'_>, block: &'a Block) -> Option<Bound<'a>> {
    let (last, before) = block.split_last()?;
    let idle = |stmt: &Stmt| match stmt {
        Stmt::Let(value) => !form.function.def(*value).inst.has_effect(),
        _ => false,
    };
    let Stmt::If { condition, then, otherwise } = last else { return None };
    if !otherwise.is_empty() || !before.iter().all(idle) {
        return None;
    }
    let is_place = |value: Value| form.function.def(value).inst == Inst::Local(Axis::X);
    let (below, inclusive) = match form.function.def(*condition).inst {
        Inst::Binary(BinaryOp::Lt, a, below) if is_place(a) => (below, false),
        Inst::Binary(BinaryOp::Gt, below, a) if is_place(a) => (below, false),
        Inst::Binary(BinaryOp::Eq, a, b) if is_place(a) => (b, true),
        Inst::Binary(BinaryOp::Eq, a, b) if is_place(b) => (a, true),
        _ => return None,
    };
    Some(Bound { below, inclusive, before, then })
}

/// The variables and arrays of a piece.
fn locals_in(form: Form<'_>, parts: [&[Stmt]; 2]) -> Vec<usize> {
    let mut found = HashSet::new();
    parts.into_iter().for_each(|part| note_locals(form, part, true, &mut found));
    let mut found: Vec<usize> = found.into_iter().collect();
    found.sort_unstable();
    found
}

fn note_locals(form: Form<'_>, block: &[Stmt], pieces: bool, found: &mut HashSet<usize>) {
    for stmt in block {
        match stmt {
            Stmt::Set(local, _) | Stmt::SetElement(local, ..) => {
                found.insert(local.index());
            }
            Stmt::Let(value) => {
                if let Inst::Get(local) | Inst::GetElement(local, _) =
                    form.function.def(*value).inst
                {
                    found.insert(local.index());
                }
            }
            Stmt::Each(_) if !pieces => continue,
            _ => {}
        }
        for inner in stmt.blocks() {
            note_locals(form, inner, pieces, found);
        }
    }
}

fn returns(stmt: &Stmt) -> bool {
    matches!(stmt, Stmt::Return) || stmt.blocks().into_iter().flatten().any(returns)
}

/// The tile of pieces: as many groups of lanes as divide the workgroup's width.
pub(super) fn vectors(width: u32, wanted: u32) -> u32 {
    let groups = width / LANES;
    (1..=wanted.max(1)).rev().find(|&n| groups > 0 && groups.is_multiple_of(n)).unwrap_or(1)
}
