//! The surroundings of a workgroup's points, loaded once and kept in memory of its own.
//!
//! ```text
//! … p[(y + i) w + x + j] …    ==    own_p = p[those of the group's points and of what lies around them]
//! for some i and j                  barrier
//!                                   … own_p[(y - y0 + i) W + x - x0 + j] …
//! ```
//!
//! for stencils and filters on devices with workgroup memory. An index is a row, which follows from y, times a
//! stride that is the same for all, and a column, which follows from x (`halo/place.rs`); on one axis a column
//! alone. Columns and rows of the loads of a group lie in a window whose size is known here, clamped or not;
//! where it lies, the group's first point says. What of the window lies outside of the buffer is not loaded, and
//! nobody asks for it: a load whose check holds is inside of both.

mod place;

use std::collections::HashMap;

use self::place::{Place, Places};
use super::grouped::{Grouped, is_plain};
use super::rule::Hits;
use super::{cse, fold};
use crate::ir::{
    Axis, BinaryOp, Block, Const, Inst, Kernel, Param, ParamKind, Span, Stmt, Type, Value,
};

/// How often an element of a window is loaded at least: less is not worth a barrier.
const USES_MIN: u64 = 2;

/// Invocations of a workgroup along an axis at most.
const SIDE_MAX: u32 = 1024;

/// Elements of a window at most that an invocation loads.
const ROUNDS_MAX: u32 = 16;

/// The kernel whose workgroups of so many invocations along x and y keep what lies around them, if it has such
/// loads, and they need no more bytes than this. Its arguments are followed by the extents of its grid, which are
/// at most [`EXTENT_MAX`].
pub fn run(kernel: &Kernel, group: [u32; 2], bytes_max: u32) -> Option<Kernel> {
    let axes = kernel.axes();
    let sides_fit = group.iter().all(|side| (1..=SIDE_MAX).contains(side));
    let fits = sides_fit && (axes == 2 || (axes == 1 && group[1] == 1));
    if !fits || !is_plain(kernel) {
        return None;
    }
    let (own, mut body, mut out) = Grouped::of(kernel, group);
    let mut halo = Halo { own, windows: Vec::new() };
    halo.windows = halo.find(&body);
    if halo.windows.is_empty() || halo.bytes() > u64::from(bytes_max) {
        return None;
    }
    let rank = halo.own.rank(&mut out);
    for at in 0..halo.windows.len() {
        halo.fill(at, rank, &mut out);
    }
    out.push(Stmt::Barrier(Span::default()));
    halo.redirect(&mut body);
    out.extend(body);
    let mut kernel = halo.own.finish(kernel, out);
    cse::run(&mut kernel, &mut Hits::ignored());
    fold::run(&mut kernel, &mut Hits::ignored());
    kernel.entry.compact();
    Some(kernel)
}

/// Extents of the grid at most, so that no coordinate wraps.
pub const EXTENT_MAX: u32 = 1 << 30;

/// A load that could be kept.
struct Kept {
    load: Value,
    buffer: Param,
    place: Place,
    /// How often an invocation makes it.
    times: u64,
}

/// What the group has of a buffer.
struct Window {
    loads: Vec<Kept>,
    /// Columns and rows.
    size: [u32; 2],
    /// The array that it is in, and what its columns and rows are counted from, once they are known.
    array: Option<(Param, Vec<Value>)>,
}

struct Halo {
    own: Grouped,
    windows: Vec<Window>,
}

impl Halo {
    fn bytes(&self) -> u64 {
        let bytes = |window: &Window| {
            let element = self.own.entry.ty(window.loads[0].load).bytes() as u64;
            u64::from(window.size[0]) * u64::from(window.size[1]) * element
        };
        self.windows.iter().map(bytes).sum()
    }

    /// The windows that are worth it.
    fn find(&self, body: &Block) -> Vec<Window> {
        let mut loads = Vec::new();
        let mut places = Places::new(&self.own);
        self.collect(body, &mut places, 1, &mut loads);
        let mut found: Vec<Vec<Kept>> = Vec::new();
        for kept in loads {
            let same = found.iter_mut().find(|others| {
                others[0].buffer == kept.buffer && places.is_alike(&others[0].place, &kept.place)
            });
            match same {
                Some(others) => others.push(kept),
                None => found.push(vec![kept]),
            }
        }
        let [width, height] = self.own.group;
        let invocations = u64::from(width) * u64::from(height);
        let window = |loads: Vec<Kept>| {
            let mut size = [width, 1];
            for (at, side) in size.iter_mut().enumerate().take(self.own.here.len()) {
                let group = [width, height][at];
                *side = u32::try_from(i64::from(group) + spread(&loads, at)?).ok()?;
            }
            let elements = u64::from(size[0]) * u64::from(size[1]);
            let uses: u64 = loads.iter().map(|load| load.times).sum();
            let is_worth_it = uses.saturating_mul(invocations) >= USES_MIN * elements
                && elements <= invocations * u64::from(ROUNDS_MAX);
            is_worth_it.then_some(Window { loads, size, array: None })
        };
        found.into_iter().filter_map(window).collect()
    }

    fn collect(&self, block: &Block, places: &mut Places<'_>, times: u64, into: &mut Vec<Kept>) {
        for stmt in block {
            match stmt {
                Stmt::Let(load) => {
                    if let Inst::Load(buffer, index) = self.own.entry.def(*load).inst
                        && self.own.entry.is_read_only(buffer)
                        && let Some(place) = places.of(index)
                    {
                        into.push(Kept { load: *load, buffer, place, times });
                    }
                }
                Stmt::For { counter, start, end, step, body } => {
                    let passages = places.enter(*counter, *start, *end, *step);
                    self.collect(body, places, times.saturating_mul(passages.unwrap_or(1)), into);
                }
                stmt => {
                    for inner in stmt.blocks() {
                        self.collect(inner, places, times, into);
                    }
                }
            }
        }
    }

    /// Has the group load a window.
    fn fill(&mut self, at: usize, rank: Value, out: &mut Block) {
        let [columns, rows] = self.windows[at].size;
        let first = self.first(at, out);
        let mut least = Vec::new();
        for (side, first) in first.iter().enumerate() {
            let ahead = self.own.number(out, least_outer(&self.windows[at].loads, side) as u32);
            least.push(self.own.binary(out, BinaryOp::Add, *first, ahead));
        }
        let (buffer, load) = (self.windows[at].loads[0].buffer, self.windows[at].loads[0].load);
        let (element, span) = (self.own.entry.ty(load), self.own.entry.def(load).span);
        let stride = self.windows[at].loads[0].place.stride();
        let [width, height] = self.own.group;
        let (len, invocations) = (columns * rows, width * height);
        let name = format!("own_{}", self.own.entry.params[buffer.index()].name);
        let array = self.own.add_param(&name, ParamKind::Shared { element, len, atomic: false });
        let stride = stride.map(|stride| self.own.copy(stride, &mut HashMap::new(), out));
        let buffer_len = self.own.push(out, Inst::Len(buffer));
        for round in 0..len.div_ceil(invocations) {
            let own = &mut self.own;
            let ahead = own.number(out, round * invocations);
            let slot = own.binary(out, BinaryOp::Add, rank, ahead);
            let mut index = slot;
            if let Some(stride) = stride {
                let wide = own.number(out, columns);
                let row = own.binary(out, BinaryOp::Div, slot, wide);
                let row = own.binary(out, BinaryOp::Add, least[1], row);
                let start = own.binary(out, BinaryOp::Mul, row, stride);
                let column = own.binary(out, BinaryOp::Rem, slot, wide);
                index = own.binary(out, BinaryOp::Add, start, column);
            }
            let index = own.binary(out, BinaryOp::Add, index, least[0]);
            let mut condition =
                own.value(Type::Bool, Inst::Binary(BinaryOp::Lt, index, buffer_len));
            out.push(Stmt::Let(condition));
            if (round + 1) * invocations > len {
                let end = own.number(out, len);
                let is_slot = own.value(Type::Bool, Inst::Binary(BinaryOp::Lt, slot, end));
                out.push(Stmt::Let(is_slot));
                let both = Inst::Binary(BinaryOp::And, condition, is_slot);
                condition = own.value(Type::Bool, both);
                out.push(Stmt::Let(condition));
            }
            let element = own.value(element, Inst::Load(buffer, index));
            own.entry.values[element.index()].span = span;
            let then = vec![Stmt::Let(element), Stmt::Store(array, slot, element)];
            out.push(Stmt::If { condition, then, otherwise: Block::new() });
        }
        self.windows[at].array = Some((array, first));
    }

    /// The least column and row of the group's first point, but for what loads add to it.
    fn first(&mut self, at: usize, out: &mut Block) -> Vec<Value> {
        let mut firsts = Vec::new();
        for (side, axis) in [Axis::X, Axis::Y].into_iter().enumerate().take(self.own.here.len()) {
            let group = self.own.push(out, Inst::Group(axis));
            let size = self.own.number(out, self.own.group[side]);
            let start = self.own.binary(out, BinaryOp::Mul, group, size);
            let here = self.own.binary(out, BinaryOp::Min, start, self.own.last[side]);
            let loads = &self.windows[at].loads;
            let along = loads.iter().map(|load| &load.place.along[side]);
            let least = along.min_by_key(|along| along.inner.0).expect("a window has a load");
            let mut new = HashMap::from([(self.own.here[side], here)]);
            let (atom, counters) = (least.atom, least.counters.clone());
            for (counter, start) in counters {
                let start = self.own.copy(start, &mut HashMap::new(), out);
                new.insert(counter, start);
            }
            let first = self.own.copy(atom, &mut new, out);
            firsts.push(self.unsigned(first, out));
        }
        firsts
    }

    /// Has loads look at the windows.
    fn redirect(&mut self, block: &mut Block) {
        let old = std::mem::take(block);
        for mut stmt in old {
            if let Stmt::Let(value) = stmt
                && let Some((window, load)) = self.kept(value)
            {
                self.look(window, load, block);
            }
            for inner in stmt.blocks_mut() {
                self.redirect(inner);
            }
            block.push(stmt);
        }
    }

    fn kept(&self, value: Value) -> Option<(usize, usize)> {
        let mut windows = self.windows.iter().enumerate();
        windows.find_map(|(at, window)| {
            Some((at, window.loads.iter().position(|kept| kept.load == value)?))
        })
    }

    /// Has a load look at a window: at its column and row, from the first ones.
    fn look(&mut self, window: usize, load: usize, out: &mut Block) {
        let [columns, _] = self.windows[window].size;
        let Some((array, first)) = self.windows[window].array.clone() else { return };
        let mut places = Vec::new();
        for (side, first) in first.into_iter().enumerate() {
            let along = self.windows[window].loads[load].place.along[side].clone();
            let atom = self.unsigned(along.atom, out);
            // What is the same for all loads of a coordinate first, so that it is computed once.
            let mut place = self.own.binary(out, BinaryOp::Sub, atom, first);
            for (coefficient, counter) in along.added {
                let coefficient = self.own.number(out, coefficient as u32);
                let counter = self.unsigned(counter, out);
                let by = self.own.binary(out, BinaryOp::Mul, counter, coefficient);
                place = self.own.binary(out, BinaryOp::Add, place, by);
            }
            let ahead = along.constant - least_outer(&self.windows[window].loads, side);
            if ahead != 0 {
                let ahead = self.own.number(out, ahead as u32);
                place = self.own.binary(out, BinaryOp::Add, place, ahead);
            }
            places.push(place);
        }
        let at = match places[..] {
            [column, row] => {
                let wide = self.own.number(out, columns);
                let start = self.own.binary(out, BinaryOp::Mul, row, wide);
                self.own.binary(out, BinaryOp::Add, start, column)
            }
            _ => places[0],
        };
        let load = self.windows[window].loads[load].load;
        self.own.entry.values[load.index()].inst = Inst::Load(array, at);
    }

    /// The same bits as `u32`.
    fn unsigned(&mut self, value: Value, out: &mut Block) -> Value {
        match self.own.entry.ty(value) {
            Type::U32 => value,
            _ => self.own.push(out, Inst::Bitcast(value)),
        }
    }
}

/// How much further than the points of a group its loads reach.
fn spread(loads: &[Kept], side: usize) -> Option<i64> {
    let along = || loads.iter().map(|load| &load.place.along[side]);
    let inner = along().map(|a| a.inner.1).max()? - along().map(|a| a.inner.0).min()?;
    let outer = along().map(|a| a.outer.1).max()? - along().map(|a| a.outer.0).min()?;
    Some(inner + outer)
}

/// The least that is added to a clamped coordinate.
fn least_outer(loads: &[Kept], side: usize) -> i64 {
    loads.iter().map(|load| load.place.along[side].outer.0).min().unwrap_or(0)
}

/// A number as a coordinate counts it.
fn integer(c: Const) -> Option<i64> {
    matches!(c.ty, Type::U32 | Type::I32).then(|| i64::from(c.bits as u32 as i32))
}
