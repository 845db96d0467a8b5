//! Loads that neighbours have in common, made once for a workgroup and kept in memory of its own.
//!
//! ```text
//! for k in a..b { … p[f(x, k)] … q[g(y, k)] … }    ==    for k0 in (a..b).step_by(K) {
//!                                                            barrier
//!                                                            own_p = p[f(each x of the group, k0..k0 + K)]
//!                                                            own_q = q[g(each y of the group, k0..k0 + K)]
//!                                                            barrier
//!                                                            for k in k0..min(k0 + K, b) { … own_p … own_q … }
//!                                                        }
//! ```
//!
//! for devices with workgroup memory, after blocked matrix products as in Volkov and Demmel, "Benchmarking GPUs
//! to tune dense linear algebra", 2008. An index may depend on one axis of the group at most: then the group
//! needs fewer elements than it has invocations and passages. Beyond the end of the loop the last passage's elements
//! are loaded, and not used.

use std::collections::HashMap;

use super::grouped::{Grouped, is_plain, returns};
use crate::ir::{
    Axis, BinaryOp, Block, Inst, Kernel, Param, ParamKind, Span, Stmt, Type, Value, map_block,
};

/// Operators of an index at most: each element costs all of them once more.
const INDEX_OPERATORS_MAX: usize = 48;

/// How a workgroup keeps loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Invocations of a workgroup along x and y.
    pub group: [u32; 2],
    /// Passages of a loop that are loaded for at a time.
    pub depth: u32,
}

/// The kernel whose workgroups keep loads, if there are such loads, and they need no more bytes than this. Its
/// arguments are followed by the extents of its grid.
pub fn run(kernel: &Kernel, stage: Stage, bytes_max: u32) -> Option<Kernel> {
    let axes = kernel.axes();
    let sides_fit = stage.group[0] > 0 && stage.group[1] > 0 && stage.depth > 0;
    let fits = sides_fit && (axes == 2 || (axes == 1 && stage.group[1] == 1));
    if !fits || !is_plain(kernel) || returns(kernel) {
        return None;
    }
    let (own, body, mut out) = Grouped::of(kernel, stage.group);
    let mut stager = Stager { own, depth: stage.depth, bytes: 0 };
    for stmt in body {
        stager.top(stmt, &mut out);
    }
    let Stager { own, bytes, .. } = stager;
    (1..=bytes_max).contains(&bytes).then(|| own.finish(kernel, out))
}

/// What an index depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Depends {
    x: bool,
    y: bool,
    counter: bool,
}

/// A load of a loop that the group keeps.
#[derive(Clone, Copy)]
struct Kept {
    load: Value,
    buffer: Param,
    index: Value,
    element: Type,
    depends: Depends,
}

struct Stager {
    own: Grouped,
    depth: u32,
    /// Bytes of what is kept.
    bytes: u32,
}

impl Stager {
    fn top(&mut self, stmt: Stmt, out: &mut Block) {
        let Stmt::For { counter, start, end, step: 1, body } = &stmt else {
            return out.push(stmt);
        };
        let bounds = self.depends_of(*start, None).zip(self.depends_of(*end, None));
        let is_uniform = bounds == Some((Depends::default(), Depends::default()));
        let kept = match is_uniform && self.own.entry.ty(*counter) == Type::U32 && !leaves(body) {
            true => self.kept(*counter, body),
            false => Vec::new(),
        };
        if kept.is_empty() {
            return out.push(stmt);
        }
        let Stmt::For { counter, start, end, body, .. } = stmt else { return };
        self.stage_loop(counter, [start, end], body, &kept, out);
    }

    /// The loads of a loop's body that are worth keeping.
    fn kept(&self, counter: Value, body: &Block) -> Vec<Kept> {
        let [width, height] = self.own.group;
        let loads = body.iter().filter_map(|stmt| {
            let Stmt::Let(load) = *stmt else { return None };
            let Inst::Load(buffer, index) = self.own.entry.def(load).inst else { return None };
            let depends = self.depends_of(index, Some(counter))?;
            // Others of the group need the same.
            let is_shared = (!depends.x && width > 1) || (!depends.y && height > 1);
            let one_axis = !(depends.x && depends.y);
            let element = self.own.entry.ty(load);
            (self.own.entry.is_read_only(buffer) && depends.counter && is_shared && one_axis)
                .then_some(Kept { load, buffer, index, element, depends })
        });
        loads.collect()
    }

    /// What a value depends on, if it follows from places, arguments and the counter alone.
    fn depends_of(&self, value: Value, counter: Option<Value>) -> Option<Depends> {
        let mut left = INDEX_OPERATORS_MAX;
        self.depends_within(value, counter, &mut left)
    }

    fn depends_within(
        &self,
        value: Value,
        counter: Option<Value>,
        left: &mut usize,
    ) -> Option<Depends> {
        *left = left.checked_sub(1)?;
        let none = Depends::default();
        if Some(value) == counter {
            return Some(Depends { counter: true, ..none });
        }
        match self.own.here.iter().position(|&here| here == value) {
            Some(0) => return Some(Depends { x: true, ..none }),
            Some(_) => return Some(Depends { y: true, ..none }),
            None => {}
        }
        let mut of = |value: Value| self.depends_within(value, counter, left);
        let both = |a: Depends, b: Depends| Depends {
            x: a.x || b.x,
            y: a.y || b.y,
            counter: a.counter || b.counter,
        };
        match self.own.entry.def(value).inst {
            Inst::Const(_) | Inst::Param(_) | Inst::Len(_) => Some(none),
            Inst::Unary(_, a) | Inst::Cast(a) | Inst::Bitcast(a) => of(a),
            Inst::Binary(_, a, b) => Some(both(of(a)?, of(b)?)),
            Inst::Select(c, a, b) => Some(both(of(c)?, both(of(a)?, of(b)?))),
            _ => None,
        }
    }

    fn stage_loop(
        &mut self,
        counter: Value,
        [start, end]: [Value; 2],
        mut body: Block,
        kept: &[Kept],
        out: &mut Block,
    ) {
        let depth = self.depth;
        let first = self.own.value(Type::U32, Inst::Counter);
        let mut outer = vec![Stmt::Barrier(Span::default())];
        // Elements of the group's memory are numbered row by row; each invocation loads every so many.
        let rank = self.own.rank(&mut outer);
        let one = self.own.number(&mut outer, 1);
        let last = self.own.binary(&mut outer, BinaryOp::Sub, end, one);
        let mut arrays = Vec::new();
        for load in kept {
            arrays.push(self.fill(load, counter, [first, last], rank, &mut outer));
        }
        outer.push(Stmt::Barrier(Span::default()));
        let left = self.own.binary(&mut outer, BinaryOp::Sub, end, first);
        let whole = self.own.number(&mut outer, depth);
        let passages = self.own.binary(&mut outer, BinaryOp::Min, left, whole);
        let zero = self.own.number(&mut outer, 0);

        let passage = self.own.value(Type::U32, Inst::Counter);
        let mut inner = Block::new();
        let now = self.own.binary(&mut inner, BinaryOp::Add, first, passage);
        for (load, array) in kept.iter().zip(arrays) {
            let at = self.place(load.depends, passage, &mut inner);
            self.own.entry.values[load.load.index()].inst = Inst::Load(array, at);
        }
        self.replace(&mut body, counter, now);
        inner.extend(body);
        outer.push(Stmt::For {
            counter: passage,
            start: zero,
            end: passages,
            step: 1,
            body: inner,
        });
        out.push(Stmt::For { counter: first, start, end, step: depth, body: outer });
    }

    /// Where the group keeps what the invocation needs in a passage: `k, x` or `y, k`, neighbours side by side.
    fn place(&mut self, depends: Depends, passage: Value, out: &mut Block) -> Value {
        let (axis, row, column) = match depends {
            Depends { x: true, .. } => (Axis::X, true, self.own.group[0]),
            Depends { y: true, .. } => (Axis::Y, false, self.depth),
            Depends { .. } => return passage,
        };
        let own = self.own.push(out, Inst::Local(axis));
        let size = self.own.number(out, column);
        let (row, column) = if row { (passage, own) } else { (own, passage) };
        let start = self.own.binary(out, BinaryOp::Mul, row, size);
        self.own.binary(out, BinaryOp::Add, start, column)
    }

    /// Has the group load what its invocations need in so many passages, into an array of its own.
    fn fill(
        &mut self,
        kept: &Kept,
        counter: Value,
        [first, last]: [Value; 2],
        rank: Value,
        out: &mut Block,
    ) -> Param {
        let ([width, height], depth) = (self.own.group, self.depth);
        let len = match kept.depends {
            Depends { x: true, .. } => width * depth,
            Depends { y: true, .. } => height * depth,
            Depends { .. } => depth,
        };
        let kind = ParamKind::Shared { element: kept.element, len, atomic: false };
        let name = format!("own_{}", self.own.entry.params[kept.buffer.index()].name);
        let array = self.own.add_param(&name, kind);
        self.bytes = self.bytes.saturating_add(len * kept.element.bytes() as u32);
        let invocations = width * height;
        for round in 0..len.div_ceil(invocations) {
            let ahead = self.own.number(out, round * invocations);
            let element = self.own.binary(out, BinaryOp::Add, rank, ahead);
            let mut block = Block::new();
            let passage = self.load_element(kept, counter, [first, last], element, &mut block);
            block.push(Stmt::Store(array, element, passage));
            if (round + 1) * invocations <= len {
                out.extend(block);
            } else {
                let end = self.own.number(out, len);
                let condition =
                    self.own.value(Type::Bool, Inst::Binary(BinaryOp::Lt, element, end));
                out.push(Stmt::Let(condition));
                out.push(Stmt::If { condition, then: block, otherwise: Block::new() });
            }
        }
        array
    }

    /// The value of an element of the group's memory.
    fn load_element(
        &mut self,
        kept: &Kept,
        counter: Value,
        [first, last]: [Value; 2],
        element: Value,
        out: &mut Block,
    ) -> Value {
        let mut new = HashMap::new();
        let (axis, passage) = match kept.depends {
            Depends { x: true, .. } => {
                let width = self.own.number(out, self.own.group[0]);
                let column = self.own.binary(out, BinaryOp::Rem, element, width);
                (Some((Axis::X, column)), self.own.binary(out, BinaryOp::Div, element, width))
            }
            Depends { y: true, .. } => {
                let depth = self.own.number(out, self.depth);
                let row = self.own.binary(out, BinaryOp::Div, element, depth);
                (Some((Axis::Y, row)), self.own.binary(out, BinaryOp::Rem, element, depth))
            }
            Depends { .. } => (None, element),
        };
        if let Some((axis, own)) = axis {
            let group = self.own.push(out, Inst::Group(axis));
            let size = self.own.number(out, self.own.group[axis.index()]);
            let start = self.own.binary(out, BinaryOp::Mul, group, size);
            let place = self.own.binary(out, BinaryOp::Add, start, own);
            let place = self.own.binary(out, BinaryOp::Min, place, self.own.last[axis.index()]);
            new.insert(self.own.here[axis.index()], place);
        }
        let now = self.own.binary(out, BinaryOp::Add, first, passage);
        let now = self.own.binary(out, BinaryOp::Min, now, last);
        new.insert(counter, now);
        let index = self.own.copy(kept.index, &mut new, out);
        let load = self.own.value(kept.element, Inst::Load(kept.buffer, index));
        self.own.entry.values[load.index()].span = self.own.entry.def(kept.load).span;
        out.push(Stmt::Let(load));
        load
    }

    /// Has statements use a value in place of another.
    fn replace(&mut self, body: &mut Block, old: Value, new: Value) {
        let to = |v: Value| if v == old { new } else { v };
        map_block(body, &mut { to });
        let mut lets = Vec::new();
        collect_lets(body, &mut lets);
        for value in lets {
            self.own.entry.values[value.index()].inst.map_operands(&mut { to });
        }
    }
}

fn collect_lets(block: &Block, into: &mut Vec<Value>) {
    for stmt in block {
        if let Stmt::Let(value) = stmt {
            into.push(*value);
        }
        stmt.blocks().into_iter().for_each(|inner| collect_lets(inner, into));
    }
}

/// Whether statements leave the loop around them, or a passage of it.
fn leaves(block: &Block) -> bool {
    block.iter().any(|stmt| match stmt {
        Stmt::Break | Stmt::Continue | Stmt::Return => true,
        Stmt::If { then, otherwise, .. } => leaves(then) || leaves(otherwise),
        _ => false,
    })
}
