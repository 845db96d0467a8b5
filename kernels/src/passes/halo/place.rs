//! Where an index lies: in which column, in which row.
//!
//! An index is taken apart into a sum, in which there is one term of x, `c(x + j) + o`, and on two axes one of y
//! times a stride. `c` is a chain of minima and maxima with what is the same for the whole grid, and of constants
//! added: it never falls, and never rises by more than its operand. So for all x of a group from X on, and all j and
//! o of its loads,
//!
//! ```text
//! 0  <=  c(x + j) + o - c(X + least j) - least o  <=  x - X + j - least j + o - least o
//! ```
//!
//! whatever is clamped. Additions wrap, here as there; minima and maxima do not mind only where nothing has wrapped
//! before them, which the interval of their operand says.

use super::{BinaryOp, EXTENT_MAX, Inst, Type, Value, integer};
use crate::passes::grouped::Grouped;

/// Operators of an index at most.
const OPERATORS_MAX: usize = 64;

/// Passages of a loop, and factors of a counter, at most, so that no sum here overflows.
const NUMBER_MAX: i64 = 1 << 16;

/// Where an index lies along each axis of the grid.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) along: Vec<Along>,
    stride: Option<Value>,
}

impl Place {
    /// Elements from one row to the next, on two axes.
    pub(super) fn stride(&self) -> Option<Value> {
        self.stride
    }
}

/// A column or a row: `atom`, a counter now and then, a constant.
#[derive(Clone, Debug)]
pub(super) struct Along {
    /// `c(x + j)`.
    pub(super) atom: Value,
    chain: Vec<Link>,
    /// Least and greatest `j`, where the chain is not empty.
    pub(super) inner: (i64, i64),
    /// The counters in `j`, and where they start.
    pub(super) counters: Vec<(Value, Value)>,
    /// Least and greatest `o`.
    pub(super) outer: (i64, i64),
    /// What is in `o`: factors and counters, and the constant.
    pub(super) added: Vec<(i64, Value)>,
    pub(super) constant: i64,
}

/// A link of a chain.
#[derive(Clone, Copy, Debug)]
enum Link {
    Min(Value),
    Max(Value),
    Add(i64),
}

/// A part of an index: so many times this, times the stride if there is one.
#[derive(Clone, Copy, Debug)]
struct Term {
    factor: i64,
    stride: Option<Value>,
    /// `None` for a constant.
    of: Option<Value>,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    value: Value,
    start: Value,
    /// The least and the greatest that it is.
    range: (i64, i64),
}

/// What is known where an index stands.
pub(super) struct Places<'g> {
    own: &'g Grouped,
    counters: Vec<Counter>,
}

impl<'g> Places<'g> {
    pub(super) fn new(own: &'g Grouped) -> Places<'g> {
        Places { own, counters: Vec::new() }
    }

    /// Takes down a loop, and says how many passages it has, if that is known.
    pub(super) fn enter(
        &mut self,
        value: Value,
        start: Value,
        end: Value,
        step: u32,
    ) -> Option<u64> {
        let of = |value: Value| integer(self.own.entry.as_const(value)?);
        let (first, end) = (of(start)?, of(end)?);
        let is_short = first.abs() <= NUMBER_MAX && end.abs() <= NUMBER_MAX;
        if !is_short || first >= end || (self.own.entry.ty(value) == Type::U32 && first < 0) {
            return None;
        }
        self.counters.push(Counter { value, start, range: (first, end - 1) });
        Some(((end - first) as u64).div_ceil(u64::from(step)))
    }

    /// Where an index lies, if it lies in a window.
    pub(super) fn of(&self, index: Value) -> Option<Place> {
        let mut terms = Vec::new();
        let mut left = OPERATORS_MAX;
        self.terms(index, Term { factor: 1, stride: None, of: None }, &mut terms, &mut left)?;
        let axes = self.own.here.len();
        let mut stride = None;
        for term in &mut terms {
            // A stride alone is a row.
            if axes == 2
                && term.stride.is_none()
                && let Some(value) = term.of
                && self.is_uniform(value)
            {
                *term = Term { stride: Some(value), of: None, ..*term };
            }
            match (stride, term.stride) {
                (None, other) => stride = other,
                (Some(stride), Some(other)) if !self.is_same(stride, other) => return None,
                (Some(_), _) => {}
            }
        }
        if stride.is_some() != (axes == 2) {
            return None;
        }
        let (rows, columns): (Vec<Term>, Vec<Term>) =
            terms.into_iter().partition(|term| term.stride.is_some());
        let mut along = vec![self.along(&columns, 0)?];
        if axes == 2 {
            along.push(self.along(&rows, 1)?);
        }
        Some(Place { along, stride })
    }

    /// Whether loads at both places are of one window.
    pub(super) fn is_alike(&self, a: &Place, b: &Place) -> bool {
        let strides = match (a.stride, b.stride) {
            (Some(a), Some(b)) => self.is_same(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        let mut along = a.along.iter().zip(&b.along);
        strides && along.all(|(a, b)| self.is_same_chain(&a.chain, &b.chain))
    }

    fn is_same_chain(&self, a: &[Link], b: &[Link]) -> bool {
        let is_same = |(a, b): (&Link, &Link)| match (*a, *b) {
            (Link::Min(a), Link::Min(b)) | (Link::Max(a), Link::Max(b)) => self.is_same(a, b),
            (Link::Add(a), Link::Add(b)) => a == b,
            (Link::Min(_) | Link::Max(_) | Link::Add(_), _) => false,
        };
        a.len() == b.len() && a.iter().zip(b).all(is_same)
    }

    /// Takes a value apart into terms, each times what `by` says.
    fn terms(&self, value: Value, by: Term, into: &mut Vec<Term>, left: &mut usize) -> Option<()> {
        *left = left.checked_sub(1)?;
        let entry = &self.own.entry;
        if !matches!(entry.ty(value), Type::I32 | Type::U32) {
            return None;
        }
        let number = |value: Value| integer(entry.as_const(value)?);
        let times = |factor: i64| {
            let factor = by.factor * factor;
            (factor.abs() <= NUMBER_MAX).then_some(Term { factor, ..by })
        };
        match entry.def(value).inst {
            Inst::Const(c) => {
                // As the sum wraps, so does a constant.
                let constant = i64::from((by.factor * integer(c)?) as i32);
                into.push(Term { factor: constant, ..by });
            }
            Inst::Binary(BinaryOp::Add, a, b) => {
                self.terms(a, by, into, left)?;
                self.terms(b, by, into, left)?;
            }
            Inst::Binary(BinaryOp::Sub, a, b) => {
                self.terms(a, by, into, left)?;
                self.terms(b, times(-1)?, into, left)?;
            }
            Inst::Binary(BinaryOp::Mul, a, b) => {
                let (a, b) = if number(a).is_some() { (b, a) } else { (a, b) };
                if let Some(factor) = number(b) {
                    return self.terms(a, times(factor)?, into, left);
                }
                let (a, stride) = match (self.is_uniform(a), self.is_uniform(b)) {
                    (_, true) => (a, b),
                    (true, false) => (b, a),
                    (false, false) => return None,
                };
                if by.stride.is_some() {
                    return None;
                }
                self.terms(a, Term { stride: Some(stride), ..by }, into, left)?;
            }
            Inst::Cast(a) | Inst::Bitcast(a) => self.terms(a, by, into, left)?,
            _ => into.push(Term { of: Some(value), ..by }),
        }
        Some(())
    }

    /// A column or a row of these terms.
    fn along(&self, terms: &[Term], axis: usize) -> Option<Along> {
        let mut found: Option<Along> = None;
        let (mut added, mut constant, mut outer) = (Vec::new(), 0, (0, 0));
        for term in terms {
            let Some(value) = term.of else {
                constant += term.factor;
                continue;
            };
            if let Some(counter) = self.counter(value) {
                let ends = [counter.range.0, counter.range.1].map(|end| end * term.factor);
                outer.0 += ends[0].min(ends[1]);
                outer.1 += ends[0].max(ends[1]);
                added.push((term.factor, value));
                continue;
            }
            if found.is_some() || term.factor != 1 {
                return None;
            }
            found = Some(self.chain(value, axis, &mut { OPERATORS_MAX })?.0);
        }
        let outer = (outer.0 + constant, outer.1 + constant);
        found.map(|along| Along { outer, added, constant, ..along })
    }

    fn counter(&self, value: Value) -> Option<Counter> {
        self.counters.iter().find(|counter| counter.value == value).copied()
    }

    /// The chain that a value is, and the interval of what it would be if nothing wrapped: but for multiples of
    /// 2^32, it is that.
    fn chain(&self, value: Value, axis: usize, left: &mut usize) -> Option<(Along, (i64, i64))> {
        *left = left.checked_sub(1)?;
        let entry = &self.own.entry;
        let ty = entry.ty(value);
        let ends = ends(ty)?;
        if value == self.own.here[axis] {
            let along = Along {
                atom: value,
                chain: Vec::new(),
                inner: (0, 0),
                counters: Vec::new(),
                outer: (0, 0),
                added: Vec::new(),
                constant: 0,
            };
            return Some((along, (0, i64::from(EXTENT_MAX) - 1)));
        }
        let (mut along, range) = match entry.def(value).inst {
            Inst::Cast(a) | Inst::Bitcast(a) => self.chain(a, axis, left)?,
            Inst::Binary(op @ (BinaryOp::Min | BinaryOp::Max), a, b) => {
                let (a, bound) = if self.is_uniform(a) { (b, a) } else { (a, b) };
                let (mut along, range) = self.chain(a, axis, left)?;
                if !self.is_uniform(bound) || range.0 < ends.0 || range.1 > ends.1 {
                    return None;
                }
                let bounds = entry.as_const(bound).and_then(|c| c.to_int());
                let bounds = match bounds.and_then(|c| i64::try_from(c).ok()) {
                    Some(bound) => (bound, bound),
                    None => ends,
                };
                let is_min = op == BinaryOp::Min;
                along.chain.push(if is_min { Link::Min(bound) } else { Link::Max(bound) });
                let of = |a: i64, b: i64| if is_min { a.min(b) } else { a.max(b) };
                (along, (of(range.0, bounds.0), of(range.1, bounds.1)))
            }
            Inst::Binary(op @ (BinaryOp::Add | BinaryOp::Sub), a, b) => {
                let is_sum = op == BinaryOp::Add;
                let is_added =
                    |value| self.counter(value).is_some() || entry.as_const(value).is_some();
                let (a, b) = if is_sum && is_added(a) { (b, a) } else { (a, b) };
                let (mut along, range) = self.chain(a, axis, left)?;
                let by = match self.counter(b) {
                    // From its start, and only within.
                    Some(counter) if is_sum && along.chain.is_empty() => {
                        along.counters.push((b, counter.start));
                        counter.range
                    }
                    Some(_) => return None,
                    None => {
                        let by = integer(entry.as_const(b)?)?;
                        let by = if is_sum { by } else { -by };
                        (by, by)
                    }
                };
                if along.chain.is_empty() {
                    along.inner = (along.inner.0 + by.0, along.inner.1 + by.1);
                } else {
                    along.chain.push(Link::Add(by.0));
                }
                (along, (range.0 + by.0, range.1 + by.1))
            }
            _ => return None,
        };
        along.atom = value;
        Some((along, range))
    }

    /// Whether a value follows from arguments alone.
    fn is_uniform(&self, value: Value) -> bool {
        self.is_uniform_within(value, &mut { OPERATORS_MAX })
    }

    fn is_uniform_within(&self, value: Value, left: &mut usize) -> bool {
        *left = left.saturating_sub(1);
        if *left == 0 || self.own.here.contains(&value) {
            return false;
        }
        let mut of = |value: Value| self.is_uniform_within(value, left);
        match self.own.entry.def(value).inst {
            Inst::Const(_) | Inst::Param(_) | Inst::Len(_) => true,
            Inst::Unary(_, a) | Inst::Cast(a) | Inst::Bitcast(a) => of(a),
            // A division may stand behind a condition that says it can be made.
            Inst::Binary(BinaryOp::Div | BinaryOp::Rem, ..) => false,
            Inst::Binary(_, a, b) => of(a) && of(b),
            _ => false,
        }
    }

    /// Whether two uniform values are the same.
    fn is_same(&self, a: Value, b: Value) -> bool {
        let (left, right) = (self.own.entry.def(a), self.own.entry.def(b));
        if a == b || (left.ty, &left.inst) == (right.ty, &right.inst) {
            return true;
        }
        let (a, b) = (left.inst.operands(), right.inst.operands());
        // But for their operands.
        let bare = |inst: &Inst| {
            let mut inst = inst.clone();
            inst.map_operands(&mut |_| Value(0));
            inst
        };
        !a.is_empty()
            && left.ty == right.ty
            && bare(&left.inst) == bare(&right.inst)
            && a.iter().zip(&b).all(|(a, b)| self.is_same(*a, *b))
    }
}

/// The least and the greatest number of a type that coordinates have.
fn ends(ty: Type) -> Option<(i64, i64)> {
    match ty {
        Type::U32 => Some((0, i64::from(u32::MAX))),
        Type::I32 => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
        Type::Bool | Type::U64 | Type::I64 | Type::F32 | Type::F64 => None,
    }
}
