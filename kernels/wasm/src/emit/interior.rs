//! The inside of the grid: a kernel as it is where no index leaves its buffer and no coordinate
//! meets a border.
//!
//! ```text
//! max(x − 1, 0)        == x − 1        where x ≥ 1
//! x + 1 == w           == false        where x < w − 1
//! check y·w + x < len  == nothing      where the largest y·w + x is below len
//! ```
//!
//! Comparisons, `min` and `max` of `x ± u` with something that is the same in the whole row are
//! **splits**: each holds on one side of a point of the row. Checks are **guards**: their indices'
//! bounds follow from the ranges of coordinates and counters. The interior is what remains of the
//! kernel when all of them hold; [`super::grid`] computes where that is, and runs the kernel as it
//! was elsewhere.

use std::collections::HashMap;

use crossover_kernels::ir::{
    Axis, BinaryOp, Block, Const, Function, Inst, Kernel, Stmt, Type, Value, ValueDef,
};
use crossover_kernels::passes::rule::Hits;
use crossover_kernels::passes::{cse, dce, fold};

use super::rows::Rows;

/// A condition on x that is assumed: `x ± terms`, as a number, relates to the bound like this.
#[derive(Clone, Debug)]
pub(super) struct Split {
    pub(super) terms: Vec<Term>,
    pub(super) relation: Relation,
    pub(super) bound: Value,
    /// The type of both sides; the left does not wrap in it.
    pub(super) ty: Type,
}

/// How the left side of a split relates to its right side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Less,
    AtMost,
    Greater,
    AtLeast,
    /// Less or greater, whichever holds for more of the row.
    Differs,
}

/// A summand of an index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    pub(super) value: Value,
    pub(super) subtracted: bool,
}

/// What has to hold of the ranges that the kernel runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// The first is below the second, always.
    Below(Value, Value),
    /// It is never 0.
    NotZero(Value),
}

/// The interior of a kernel.
#[derive(Clone, Debug)]
pub(super) struct Interior {
    /// What it is there.
    pub(super) kernel: Kernel,
    /// Where it is; values are those of the whole kernel.
    pub(super) splits: Vec<Split>,
    /// What must hold there; values are those of the interior.
    pub(super) guards: Vec<Guard>,
    /// For each value of the interior, whether guards imply that it does not wrap.
    pub(super) exact: Vec<bool>,
    /// Loads that are the same in the whole row, and may be made before it.
    pub(super) hoisted: Vec<Value>,
    /// A condition that is, of an `if` that all invocations come to: each of its sides is a loop of its own over the row.
    pub(super) switch: Option<Value>,
    /// Whether splits are different ones for different rows.
    pub(super) splits_by_row: bool,
    /// Whether rows part ways: some are borders, probably.
    pub(super) rows_part: bool,
    /// The bounds of each counter of the interior.
    pub(super) counters: HashMap<Value, (Value, Value)>,
}

impl Interior {
    pub(super) fn of(kernel: &Kernel) -> Interior {
        let mut inner = kernel.clone();
        let splits = split(&mut inner.entry);
        let rows = Rows::of(&kernel.entry);
        let by_row = |split: &Split| {
            let mut values = split.terms.iter().map(|term| term.value).chain([split.bound]);
            values.any(|value| rows.differs(value))
        };
        let splits_by_row = splits.iter().any(by_row);
        for pass in [fold::PASS, cse::PASS, dce::PASS] {
            (pass.run)(&mut inner, &mut Hits::ignored());
            inner.entry.compact();
        }
        let counters = counters(&inner.entry);
        let mut guards = Guards { function: &inner.entry, counters: &counters, found: Vec::new() };
        let mut body = inner.entry.body.clone();
        guards.block(&mut body);
        let guards = of_constants_the_greatest(&inner.entry, guards.found);
        let exact = exact(&inner.entry, &counters, &guards);
        inner.entry.body = body;
        // Conditions of checks that are gone.
        (dce::PASS.run)(&mut inner, &mut Hits::ignored());
        let hoisted = hoisted(&inner.entry, &exact);
        let switch = switch(&inner.entry);
        let rows_part = rows.control;
        Interior {
            kernel: inner,
            splits,
            guards,
            exact,
            hoisted,
            switch,
            splits_by_row,
            rows_part,
            counters,
        }
    }
}

// Splits

/// Replaces what is known of the interior, and gives the conditions.
fn split(function: &mut Function) -> Vec<Split> {
    let mut order = Vec::new();
    function.walk(&mut |stmt| {
        if let Stmt::Let(value) = stmt {
            order.push(*value);
        }
    });
    let checked = checked_conditions(function);
    let invariant = row_invariants(function);
    let mut splits = Vec::new();
    for value in order {
        if checked[value.index()] {
            continue;
        }
        if let Some((split, inst)) = split_of(function, &invariant, value) {
            splits.push(split);
            function.values[value.index()].inst = inst;
        }
    }
    splits
}

/// The conditions of checks: they are guards.
fn checked_conditions(function: &Function) -> Vec<bool> {
    let mut checked = vec![false; function.values.len()];
    function.walk(&mut |stmt| {
        if let Stmt::Check { condition, .. } = stmt {
            checked[condition.index()] = true;
        }
    });
    checked
}

/// The split that decides the value, and what the value is then.
fn split_of(function: &Function, invariant: &[bool], value: Value) -> Option<(Split, Inst)> {
    let def = function.def(value);
    let Inst::Binary(op, a, b) = def.inst else { return None };
    let ty = function.ty(a);
    if !matches!(ty, Type::U32 | Type::I32) {
        return None;
    }
    let (side, bound, swapped) = match (invariant[a.index()], invariant[b.index()]) {
        (false, true) => (a, b, false),
        (true, false) => (b, a, true),
        (_, _) => return None,
    };
    let terms = linear_terms(function, invariant, side)?;
    let small = function.as_const(bound).is_some_and(|c| c.bits < 64);
    let truth = |holds: bool| Inst::Const(Const::new(Type::Bool, u64::from(holds)));
    let (relation, inst) = match (op, swapped) {
        (BinaryOp::Min, _) => (Relation::AtMost, Inst::Cast(side)),
        (BinaryOp::Max, _) => (Relation::AtLeast, Inst::Cast(side)),
        (BinaryOp::Eq, _) => (Relation::Differs, truth(false)),
        (BinaryOp::Ne, _) => (Relation::Differs, truth(true)),
        // A small constant is the border on the left, anything else the one on the right.
        (BinaryOp::Lt, false) | (BinaryOp::Gt, true) if small => (Relation::AtLeast, truth(false)),
        (BinaryOp::Lt, false) | (BinaryOp::Gt, true) => (Relation::Less, truth(true)),
        (BinaryOp::Le, false) | (BinaryOp::Ge, true) if small => (Relation::Greater, truth(false)),
        (BinaryOp::Le, false) | (BinaryOp::Ge, true) => (Relation::AtMost, truth(true)),
        (BinaryOp::Gt, false) | (BinaryOp::Lt, true) if small => (Relation::Greater, truth(true)),
        (BinaryOp::Gt, false) | (BinaryOp::Lt, true) => (Relation::AtMost, truth(false)),
        (BinaryOp::Ge, false) | (BinaryOp::Le, true) if small => (Relation::AtLeast, truth(true)),
        (BinaryOp::Ge, false) | (BinaryOp::Le, true) => (Relation::Less, truth(false)),
        (
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Rem
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor
            | BinaryOp::Shl
            | BinaryOp::Shr
            | BinaryOp::Pow
            | BinaryOp::Atan2
            | BinaryOp::Copysign,
            _,
        ) => return None,
    };
    Some((Split { terms, relation, bound, ty }, inst))
}

/// The terms of `x ± terms`; `None` for any other form.
fn linear_terms(function: &Function, invariant: &[bool], mut index: Value) -> Option<Vec<Term>> {
    let mut terms = Vec::new();
    loop {
        let (rest, value, subtracted) = match function.def(index).inst {
            Inst::Id(Axis::X) => return Some(terms),
            Inst::Cast(a) | Inst::Bitcast(a) if matches!(function.ty(a), Type::U32 | Type::I32) => {
                index = a;
                continue;
            }
            Inst::Binary(BinaryOp::Add, a, b) if invariant[b.index()] => (a, b, false),
            Inst::Binary(BinaryOp::Add, a, b) if invariant[a.index()] => (b, a, false),
            Inst::Binary(BinaryOp::Sub, a, b) if invariant[b.index()] => (a, b, true),
            _ => return None,
        };
        terms.push(Term { value, subtracted });
        index = rest;
    }
}

/// For each value, whether it is computed from the call's arguments, y and z alone, without a trap.
pub(super) fn row_invariants(function: &Function) -> Vec<bool> {
    let mut invariant = vec![false; function.values.len()];
    function.walk(&mut |stmt| {
        if let Stmt::Let(value) = stmt {
            let def = function.def(*value);
            invariant[value.index()] =
                is_computable(def) && def.inst.operands().iter().all(|v| invariant[v.index()]);
        }
    });
    invariant
}

/// Statements beside an `if` that are written twice for its sake, at most.
const BESIDE: usize = 24;

/// The condition of the first `if` that the whole row decides alike, where it is most of the body.
fn switch(function: &Function) -> Option<Value> {
    let invariant = row_invariants(function);
    let (at, condition) = function.body.iter().enumerate().find_map(|(at, stmt)| match stmt {
        Stmt::If { condition, .. } if invariant[condition.index()] => Some((at, *condition)),
        _ => None,
    })?;
    let beside = |stmts: &[Stmt]| stmts.iter().map(|stmt| 1 + stmt_count(stmt)).sum::<usize>();
    let beside = beside(&function.body[..at]) + beside(&function.body[at + 1..]);
    (beside <= BESIDE).then_some(condition)
}

/// Statements in the blocks of a statement.
fn stmt_count(stmt: &Stmt) -> usize {
    let inner = stmt.blocks().into_iter().flatten();
    inner.map(|stmt| 1 + stmt_count(stmt)).sum()
}

fn is_computable(def: &ValueDef) -> bool {
    match &def.inst {
        Inst::Binary(BinaryOp::Div | BinaryOp::Rem, ..) => def.ty.is_float(),
        Inst::Const(_)
        | Inst::Param(_)
        | Inst::Len(_)
        | Inst::Extent(_)
        | Inst::Id(Axis::Y | Axis::Z)
        | Inst::Unary(..)
        | Inst::Binary(..)
        | Inst::Fma(..)
        | Inst::Select(..)
        | Inst::Cast(_)
        | Inst::Bitcast(_) => true,
        Inst::Id(Axis::X)
        | Inst::Local(_)
        | Inst::Group(_)
        | Inst::Counter
        | Inst::Get(_)
        | Inst::GetElement(..)
        | Inst::Load(..)
        | Inst::AtomicLoad(..)
        | Inst::Atomic(..)
        | Inst::CompareSwap(..)
        | Inst::Call(..) => false,
    }
}

/// The loads outside of loops that are the same in a row. Nobody stores what they load, and guards
/// prove their indices whatever stands around them.
fn hoisted(function: &Function, exact: &[bool]) -> Vec<Value> {
    let invariant = row_invariants(function);
    let may_move = |value: &Value| match function.def(*value).inst {
        Inst::Load(buffer, index) => {
            function.is_read_only(buffer) && exact[index.index()] && invariant[index.index()]
        }
        _ => false,
    };
    let at_top = function.body.iter().filter_map(|stmt| match stmt {
        Stmt::Let(value) => Some(*value),
        _ => None,
    });
    at_top.filter(may_move).collect()
}

// Guards

/// The start and end of each counter.
fn counters(function: &Function) -> HashMap<Value, (Value, Value)> {
    let mut counters = HashMap::new();
    function.walk(&mut |stmt| {
        if let Stmt::For { counter, start, end, .. } = stmt {
            counters.insert(*counter, (*start, *end));
        }
    });
    counters
}

struct Guards<'a> {
    function: &'a Function,
    counters: &'a HashMap<Value, (Value, Value)>,
    found: Vec<Guard>,
}

impl Guards<'_> {
    /// Removes the checks that become guards.
    fn block(&mut self, block: &mut Block) {
        block.retain_mut(|stmt| {
            if let Stmt::Check { condition, .. } = stmt
                && let Some(guard) = self.guard(*condition)
            {
                if !self.found.contains(&guard) {
                    self.found.push(guard);
                }
                return false;
            }
            for inner in stmt.blocks_mut() {
                self.block(inner);
            }
            true
        });
    }

    fn guard(&self, condition: Value) -> Option<Guard> {
        let bounded = |value| is_bounded(self.function, self.counters, value);
        match self.function.def(condition).inst {
            Inst::Binary(BinaryOp::Lt, a, b) if bounded(a) && bounded(b) => {
                Some(Guard::Below(a, b))
            }
            Inst::Binary(BinaryOp::Ne, a, b) if bounded(a) => {
                let zero = self.function.as_const(b).is_some_and(|c| c.bits == 0);
                zero.then_some(Guard::NotZero(a))
            }
            _ => None,
        }
    }
}

/// Of guards that several constants are below the same, that of the greatest: it says all that they do.
fn of_constants_the_greatest(function: &Function, mut guards: Vec<Guard>) -> Vec<Guard> {
    let constant = |guard: &Guard| match *guard {
        Guard::Below(a, b) => function.as_const(a).map(|c| (b, c.bits)),
        Guard::NotZero(_) => None,
    };
    let mut greatest: HashMap<Value, u64> = HashMap::new();
    for (bound, bits) in guards.iter().filter_map(constant) {
        let held = greatest.entry(bound).or_default();
        *held = bits.max(*held);
    }
    guards.retain(|guard| constant(guard).is_none_or(|(bound, bits)| greatest[&bound] == bits));
    guards
}

/// Whether bounds of a `u32` follow from the ranges of coordinates and counters.
pub(super) fn is_bounded(
    function: &Function,
    counters: &HashMap<Value, (Value, Value)>,
    value: Value,
) -> bool {
    if function.ty(value) != Type::U32 {
        return false;
    }
    let bounded = |value: &Value| is_bounded(function, counters, *value);
    let shifts = |by: Value| function.as_const(by).is_some_and(|c| c.bits > 0 && c.bits < 32);
    let inst = &function.def(value).inst;
    match inst {
        Inst::Const(_) | Inst::Param(_) | Inst::Len(_) | Inst::Id(_) | Inst::Extent(_) => true,
        Inst::Counter => counters.get(&value).is_some_and(|(a, b)| bounded(a) && bounded(b)),
        Inst::Binary(BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Max, a, b)
        | Inst::Select(_, a, b) => bounded(a) && bounded(b),
        // Whatever the other operand is.
        Inst::Binary(BinaryOp::And, a, b) => bounded(&mask(function, *a, *b)),
        Inst::Binary(BinaryOp::Min, a, b) => bounded(a) || bounded(b),
        Inst::Binary(BinaryOp::Rem, _, b) => bounded(b),
        Inst::Binary(BinaryOp::Shr, _, b) => shifts(*b),
        Inst::Binary(BinaryOp::Shl | BinaryOp::Div, a, b) => bounded(a) && shifts(*b),
        Inst::Local(_)
        | Inst::Group(_)
        | Inst::Unary(..)
        | Inst::Binary(..)
        | Inst::Fma(..)
        | Inst::Cast(_)
        | Inst::Bitcast(_)
        | Inst::Get(_)
        | Inst::GetElement(..)
        | Inst::Load(..)
        | Inst::AtomicLoad(..)
        | Inst::Atomic(..)
        | Inst::CompareSwap(..)
        | Inst::Call(..) => false,
    }
}

/// The values that are computed to evaluate the guards: none of them may wrap.
fn exact(
    function: &Function,
    counters: &HashMap<Value, (Value, Value)>,
    guards: &[Guard],
) -> Vec<bool> {
    let mut exact = vec![false; function.values.len()];
    let mut left: Vec<Value> = Vec::new();
    for guard in guards {
        match *guard {
            Guard::Below(a, b) => left.extend([a, b]),
            Guard::NotZero(a) => left.push(a),
        }
    }
    while let Some(value) = left.pop() {
        if !std::mem::replace(&mut exact[value.index()], true) {
            let operands = bounding(function, value);
            left.extend(operands.into_iter().filter(|at| is_bounded(function, counters, *at)));
            left.extend(counters.get(&value).into_iter().flat_map(|(a, b)| [*a, *b]));
        }
    }
    exact
}

/// The operands from whose bounds those of the result follow.
fn bounding(function: &Function, value: Value) -> Vec<Value> {
    let inst = &function.def(value).inst;
    match *inst {
        Inst::Select(_, a, b) => vec![a, b],
        Inst::Binary(BinaryOp::Rem, _, b) => vec![b],
        Inst::Binary(BinaryOp::And, a, b) => vec![mask(function, a, b)],
        _ => inst.operands(),
    }
}

/// Of two operands of an `and`, that which is the same everywhere, if one is: the other may be a product
/// that wraps, as hashes are.
pub(super) fn mask(function: &Function, a: Value, b: Value) -> Value {
    if is_fixed(function, a) && !is_fixed(function, b) { a } else { b }
}

fn is_fixed(function: &Function, value: Value) -> bool {
    match &function.def(value).inst {
        Inst::Const(_) | Inst::Param(_) | Inst::Len(_) | Inst::Extent(_) => true,
        Inst::Binary(_, a, b) => is_fixed(function, *a) && is_fixed(function, *b),
        _ => false,
    }
}
