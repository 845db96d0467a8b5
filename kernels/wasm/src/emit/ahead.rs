//! Rows whose lanes go to elements of their own, atomically, touch first what they load in order.
//!
//! ```text
//! for parts of the row:
//!     if the row is long:
//!         for x in the part by a line of the cache:  load what its invocations load there
//!     the tiles of the part
//! ```
//!
//! Such code is long, and waits for its own stores: few of its loads are in sight of a core at a time, fewer
//! than memory can answer, and it waits for each. A loop of loads alone is short; what it has touched is in
//! the first cache then.
//!
//! Measured on counts of 2²⁴ numbers in memory: 12.9 ms in plain C, and 8.1 to 9.6 ms where 16 KiB are
//! touched first, 10.1 to 11.8 where 4 KiB are. What is in the second cache anyway is counted 1.09 times
//! slower so: short rows are left alone.

use crossover_kernels::ir::{Function, Inst, Stmt, Type, Value};
use wasm_encoder::ValType;

use super::body::{Body, Form};
use super::code::Label;
use super::divergence::Variance;
use super::grid::Grid;
use super::memory::element_shift;
use super::panel::is_arithmetic;
use super::tile::Tile;

/// Bytes of a part: half of a small first cache.
const PART_BYTES: u32 = 16 << 10;

/// Bytes of a long row: half of a second cache.
const LONG_BYTES: u32 = 1 << 20;

/// Bytes of a line of a cache.
const LINE_BYTES: u32 = 64;

/// A part of a row that is begun: its loop, and the wasm local with the x before which its tiles begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) again: Label,
    pub(super) end: u32,
}

/// The loads to touch ahead: in order along x, where lanes are sent all over by atomic operations.
fn loads_ahead(form: Form<'_>) -> Vec<Value> {
    let function = form.function;
    let mut scattered = false;
    function.walk(&mut |stmt| scattered |= is_scattered(form, stmt));
    let is_ahead = |value: &Value| match function.def(*value).inst {
        Inst::Load(_, index) => {
            form.facts.variance(index) == Variance::Linear(1)
                && form.exact[index.index()]
                && is_arithmetic(function, index)
        }
        _ => false,
    };
    let at_top = function.body.iter().filter_map(|stmt| match stmt {
        Stmt::Let(value) => Some(*value),
        _ => None,
    });
    if scattered { at_top.filter(is_ahead).collect() } else { Vec::new() }
}

fn is_scattered(form: Form<'_>, stmt: &Stmt) -> bool {
    let index = match stmt {
        Stmt::AtomicStore(_, index, _) => Some(*index),
        Stmt::Let(value) => match form.function.def(*value).inst {
            Inst::Atomic(_, _, index, _) | Inst::CompareSwap(_, index, ..) => Some(index),
            _ => None,
        },
        _ => None,
    };
    index.is_some_and(|index| form.facts.variance(index) == Variance::Varying)
}

fn bytes(function: &Function, load: Value) -> u32 {
    let ty: Type = function.ty(load);
    ty.bytes() as u32
}

impl Grid<'_> {
    /// Begins a part of the row at x, if there is anything to touch. Tiles of the row begin before
    /// `lo + span`.
    pub(super) fn begin_part(&mut self, [lo, span]: [u32; 2]) -> Option<Part> {
        let interior = self.forms.interior;
        let loads = loads_ahead(interior);
        let of = |load: &Value| bytes(interior.function, *load);
        let line = LINE_BYTES / loads.iter().map(of).max()?;
        let all = loads.iter().map(of).sum::<u32>();
        let [part, long] = [PART_BYTES, LONG_BYTES].map(|bytes| (bytes / all).max(line));
        let x = self.context.axes[0];
        let [to, is_long, end, begin, left] = [(); 5].map(|()| self.code.local(ValType::I32));
        let mut sink = self.code.sink();
        sink.local_get(lo).local_get(span).i32_add().local_set(to);
        sink.local_get(to).local_get(x).i32_sub().i32_const(long.cast_signed());
        sink.i32_gt_u().local_set(is_long);
        let again = self.code.open_loop();
        let mut sink = self.code.sink();
        sink.local_get(to).local_set(end).local_get(is_long);
        self.code.open_if();
        self.code.part_end(x, to, [part; 2], end);
        self.code.sink().local_get(x).local_set(begin);
        let touch = self.code.open_loop();
        let held = self.code.mark();
        let form = Form { tile: Tile::ONE, fences: None, ..interior };
        let mut body = Body::new(&mut self.code, self.context, form);
        loads.iter().for_each(|load| body.touch(*load));
        self.code.release(&held);
        let (line, mut sink) = (line.cast_signed(), self.code.sink());
        sink.local_get(end).local_get(x).i32_sub().local_set(left);
        sink.local_get(x).i32_const(line).i32_add().local_set(x);
        sink.local_get(left).i32_const(line).i32_gt_u();
        self.code.branch_if(touch);
        self.code.close();
        self.code.sink().local_get(begin).local_set(x);
        self.code.close();
        Some(Part { again, end })
    }
}

impl Body<'_> {
    /// Loads the first lane's element for nothing.
    fn touch(&mut self, load: Value) {
        let def = self.function.def(load);
        let Inst::Load(buffer, index) = def.inst else { return };
        self.compute_invariant(index);
        self.code.address(self.rep(index), element_shift(def.ty));
        let arg = self.buffer_arg(buffer, def.ty, 0);
        self.code.load(def.ty, arg);
        self.code.sink().drop();
    }
}
