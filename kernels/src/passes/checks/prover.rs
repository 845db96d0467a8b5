//! What is known of values where a statement stands: intervals, orderings, conditions.

use std::collections::{HashMap, HashSet};

use crate::ir::{
    BinaryOp, Block, Const, Extent, Function, Inst, Param, Stmt, Type, UnaryOp, Value,
};
use crate::passes::rewrite;
use crate::passes::rule::{Hits, Rule};

/// The least and the greatest value.
pub(super) type Interval = (i128, i128);

/// What holds at a statement.
#[derive(Clone, Default)]
pub(super) struct Facts {
    /// Conditions whose value is known.
    truths: HashMap<Value, bool>,
    /// Pairs of integers of which the first is less.
    less: HashSet<(Value, Value)>,
    /// Pairs of integers of which the first is not greater.
    at_most: HashSet<(Value, Value)>,
    /// Pairs of integers that differ.
    unequal: HashSet<(Value, Value)>,
    /// Intervals narrower than the type's.
    intervals: HashMap<Value, Interval>,
}

/// Goes through a function from above.
pub(super) struct Prover<'f> {
    pub(super) function: &'f Function,
    /// The extents that ids are known to stay below; empty where none are.
    pub(super) grid: &'f [Extent],
    /// The points of the grid that are looked at, along each axis; none for all.
    pub(super) points: Option<[Interval; 3]>,
    /// The size of workgroups: then the grid is made of whole ones.
    pub(super) workgroup: Option<[u32; 3]>,
    /// How many operators up it looks again when it asks for an interval, since conditions may have narrowed what
    /// a value was computed from.
    pub(super) depth: u32,
    /// Where it notes the least and the greatest index at which each buffer is accessed; empty where nobody asks.
    pub(super) accessed: Vec<Option<Interval>>,
    pub(super) hits: &'f mut Hits,
}

impl Prover<'_> {
    /// The block without its superfluous checks, and what holds after it.
    pub(super) fn block(&mut self, block: Block, facts: &mut Facts) -> Block {
        block.into_iter().filter_map(|stmt| self.stmt(stmt, facts)).collect()
    }

    /// The statement without its superfluous checks, and what holds after it.
    fn stmt(&mut self, stmt: Stmt, facts: &mut Facts) -> Option<Stmt> {
        match stmt {
            Stmt::Let(value) => {
                self.note_accesses_of(value, facts);
                self.learn_interval(value, facts);
            }
            Stmt::Check { condition, .. } => {
                if let Some(rule) = self.proof(facts, condition) {
                    self.hits.hit(rule);
                    return None;
                }
                self.assume(facts, condition, true);
            }
            Stmt::If { condition, then, otherwise } => {
                return Some(self.branch(condition, then, otherwise, facts));
            }
            Stmt::For { counter, start, end, step, body } => {
                let mut inside = facts.clone();
                self.learn_counter(&mut inside, counter, start, end);
                let body = self.block(body, &mut inside);
                return Some(Stmt::For { counter, start, end, step, body });
            }
            Stmt::Loop(body) => return Some(Stmt::Loop(self.block(body, &mut facts.clone()))),
            Stmt::Store(buffer, index, _) | Stmt::AtomicStore(buffer, index, _) => {
                self.note_access(buffer, index, facts);
            }
            Stmt::Set(..)
            | Stmt::SetElement(..)
            | Stmt::CallVoid(..)
            | Stmt::Barrier(_)
            | Stmt::Each(_)
            | Stmt::Break
            | Stmt::Continue
            | Stmt::Return => {}
        }
        Some(stmt)
    }

    fn note_accesses_of(&mut self, value: Value, facts: &Facts) {
        if let Inst::Load(buffer, index)
        | Inst::AtomicLoad(buffer, index)
        | Inst::Atomic(_, buffer, index, _)
        | Inst::CompareSwap(buffer, index, ..) = self.function.def(value).inst
        {
            self.note_access(buffer, index, facts);
        }
    }

    fn note_access(&mut self, buffer: Param, index: Value, facts: &Facts) {
        if buffer.index() >= self.accessed.len() {
            return;
        }
        let (low, high) = self.interval(facts, index);
        let noted = &mut self.accessed[buffer.index()];
        *noted = Some(noted.map_or((low, high), |(a, b)| (a.min(low), b.max(high))));
    }

    fn branch(
        &mut self,
        condition: Value,
        then: Block,
        otherwise: Block,
        facts: &mut Facts,
    ) -> Stmt {
        let mut inside = facts.clone();
        self.assume(&mut inside, condition, true);
        let then = self.block(then, &mut inside);
        let mut inside = facts.clone();
        self.assume(&mut inside, condition, false);
        let otherwise = self.block(otherwise, &mut inside);
        // What follows is reached from one side only where the other jumps.
        if rewrite::ends_in_jump(&then) {
            self.assume(facts, condition, false);
        } else if rewrite::ends_in_jump(&otherwise) {
            self.assume(facts, condition, true);
        }
        Stmt::If { condition, then, otherwise }
    }

    fn learn_counter(&self, facts: &mut Facts, counter: Value, start: Value, end: Value) {
        let (from, to) = (self.interval(facts, start), self.interval(facts, end));
        facts.intervals.insert(counter, (from.0, (to.1 - 1).max(from.0)));
        facts.at_most.insert((start, counter));
        self.assume_less(facts, counter, end);
    }

    fn learn_interval(&self, value: Value, facts: &mut Facts) {
        if self.function.ty(value).is_int()
            && let Some(interval) = self.interval_of(facts, value)
        {
            facts.intervals.insert(value, interval);
        }
    }

    fn interval(&self, facts: &Facts, value: Value) -> Interval {
        self.interval_to(facts, value, self.depth)
    }

    /// The interval of a value, looking so many operators up.
    fn interval_to(&self, facts: &Facts, value: Value, depth: u32) -> Interval {
        let known = match facts.intervals.get(&value) {
            Some(interval) => *interval,
            None => whole(self.function.ty(value)),
        };
        if depth == 0 || !self.function.ty(value).is_int() {
            return known;
        }
        let Some(anew) = self.interval_from(facts, value, depth - 1) else { return known };
        let both = (known.0.max(anew.0), known.1.min(anew.1));
        if both.0 <= both.1 { both } else { known }
    }

    /// The interval of a value whose operands are known; `None` for that of its type.
    fn interval_of(&self, facts: &Facts, value: Value) -> Option<Interval> {
        self.interval_from(facts, value, self.depth)
    }

    fn interval_from(&self, facts: &Facts, value: Value, depth: u32) -> Option<Interval> {
        let def = self.function.def(value);
        let of = |value: Value| self.interval_to(facts, value, depth);
        let found = match def.inst {
            Inst::Const(c) => c.to_int().map(|c| (c, c)),
            Inst::Id(axis) if self.points.is_some() => self.points.map(|all| all[axis.index()]),
            Inst::Id(axis) => match self.grid.get(axis.index()) {
                Some(Extent::Fixed(extent)) if *extent > 0 => {
                    let size = self.workgroup.map_or(1, |size| size[axis.index()]);
                    let whole = u64::from(extent.div_ceil(size)) * u64::from(size);
                    Some((0, i128::from(whole) - 1))
                }
                Some(_) | None => None,
            },
            Inst::Group(axis) if self.points.is_some() => {
                let (points, size) = (self.points?, self.workgroup?);
                let ((low, high), size) = (points[axis.index()], i128::from(size[axis.index()]));
                Some((low / size, high / size))
            }
            Inst::Group(axis) => match (self.grid.get(axis.index()), self.workgroup) {
                (Some(Extent::Fixed(extent)), Some(size)) if *extent > 0 => {
                    Some((0, i128::from(extent.div_ceil(size[axis.index()])) - 1))
                }
                _ => None,
            },
            Inst::Local(axis) => self.workgroup.map(|size| (0, i128::from(size[axis.index()]) - 1)),
            Inst::Unary(UnaryOp::CountOnes | UnaryOp::LeadingZeros | UnaryOp::TrailingZeros, _) => {
                Some((0, i128::from(def.ty.bits())))
            }
            Inst::Binary(op, x, y) => binary_interval(op, of(x), of(y)),
            Inst::Select(_, x, y) => {
                let (a, b) = (of(x), of(y));
                Some((a.0.min(b.0), a.1.max(b.1)))
            }
            Inst::Cast(x) | Inst::Bitcast(x) if !self.function.ty(x).is_float() => Some(of(x)),
            _ => None,
        };
        // What leaves the type wraps, and may be anything.
        let (least, greatest) = whole(def.ty);
        found.filter(|(low, high)| least <= *low && *high <= greatest)
    }

    /// Adds what follows from a condition's value.
    fn assume(&self, facts: &mut Facts, condition: Value, truth: bool) {
        facts.truths.insert(condition, truth);
        match self.function.def(condition).inst {
            Inst::Unary(UnaryOp::Not, x) => self.assume(facts, x, !truth),
            Inst::Binary(BinaryOp::And, x, y) if truth => {
                self.assume(facts, x, true);
                self.assume(facts, y, true);
            }
            Inst::Binary(BinaryOp::Or, x, y) if !truth => {
                self.assume(facts, x, false);
                self.assume(facts, y, false);
            }
            // Of floats, one ordering failing says nothing about another: there are NaNs.
            Inst::Binary(op, x, y) if self.function.ty(x).is_int() => match (op, truth) {
                (BinaryOp::Lt, true) | (BinaryOp::Ge, false) => self.assume_less(facts, x, y),
                (BinaryOp::Gt, true) | (BinaryOp::Le, false) => self.assume_less(facts, y, x),
                (BinaryOp::Le, true) | (BinaryOp::Gt, false) => self.assume_at_most(facts, x, y),
                (BinaryOp::Ge, true) | (BinaryOp::Lt, false) => self.assume_at_most(facts, y, x),
                (BinaryOp::Eq, true) | (BinaryOp::Ne, false) => {
                    self.assume_at_most(facts, x, y);
                    self.assume_at_most(facts, y, x);
                }
                (BinaryOp::Ne, true) | (BinaryOp::Eq, false) => {
                    facts.unequal.insert((x, y));
                    self.narrow_unequal(facts, x, y);
                    self.narrow_unequal(facts, y, x);
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn assume_less(&self, facts: &mut Facts, x: Value, y: Value) {
        facts.less.insert((x, y));
        self.narrow(facts, x, y, 1);
        for x in self.operands_of(BinaryOp::Max, x) {
            facts.less.insert((x, y));
        }
        for y in self.operands_of(BinaryOp::Min, y) {
            facts.less.insert((x, y));
        }
    }

    fn assume_at_most(&self, facts: &mut Facts, x: Value, y: Value) {
        facts.at_most.insert((x, y));
        self.narrow(facts, x, y, 0);
    }

    /// x + gap ≤ y.
    fn narrow(&self, facts: &mut Facts, x: Value, y: Value, gap: i128) {
        let ((x_low, x_high), (y_low, y_high)) = (self.interval(facts, x), self.interval(facts, y));
        let less = (x_low, x_high.min(y_high - gap));
        let more = (y_low.max(x_low + gap), y_high);
        // Code that is never reached can assume what is false: intervals stay as they were there.
        if less.0 <= less.1 && more.0 <= more.1 {
            self.narrow_to(facts, x, less);
            self.narrow_to(facts, y, more);
        }
    }

    /// x is not y, which may be the end of its interval.
    fn narrow_unequal(&self, facts: &mut Facts, x: Value, y: Value) {
        let ((low, high), other) = (self.interval(facts, x), self.interval(facts, y));
        let (low, high) = match other {
            (point, end) if point != end => return,
            (point, _) => (low + i128::from(low == point), high - i128::from(high == point)),
        };
        if low <= high {
            self.narrow_to(facts, x, (low, high));
        }
    }

    /// An interval of a value, and of what it is a constant more than.
    fn narrow_to(&self, facts: &mut Facts, value: Value, interval: Interval) {
        facts.intervals.insert(value, interval);
        let Inst::Binary(BinaryOp::Add, x, y) = self.function.def(value).inst else { return };
        for (x, by) in [(x, y), (y, x)] {
            let Some(by) = self.function.as_const(by).and_then(Const::to_int) else { continue };
            let (low, high) = self.interval(facts, x);
            // Where the sum may wrap, it says little of what it is the sum of.
            let (least, greatest) = whole(self.function.ty(x));
            let fits = least <= low + by && high + by <= greatest;
            let narrower = (low.max(interval.0 - by), high.min(interval.1 - by));
            if fits && narrower.0 <= narrower.1 {
                facts.intervals.insert(x, narrower);
            }
        }
    }

    /// Both operands of `value` where it is this operator.
    fn operands_of(&self, op: BinaryOp, value: Value) -> Vec<Value> {
        match self.function.def(value).inst {
            Inst::Binary(found, x, y) if found == op => vec![x, y],
            _ => Vec::new(),
        }
    }

    /// Why the condition is certainly true; `None` where it may not be.
    fn proof(&self, facts: &Facts, condition: Value) -> Option<Rule> {
        if let Some(truth) = facts.truths.get(&condition) {
            return truth.then_some(Rule::ProvenCondition);
        }
        match self.function.def(condition).inst {
            Inst::Const(c) => (c == Const::from(true)).then_some(Rule::ProvenConstant),
            Inst::Unary(UnaryOp::Not, x) => {
                (facts.truths.get(&x) == Some(&false)).then_some(Rule::ProvenNot)
            }
            Inst::Binary(BinaryOp::And, x, y) => {
                self.proof(facts, x).and(self.proof(facts, y)).and(Some(Rule::ProvenAnd))
            }
            Inst::Binary(BinaryOp::Or, x, y) => {
                self.proof(facts, x).or_else(|| self.proof(facts, y)).and(Some(Rule::ProvenOr))
            }
            Inst::Binary(op, x, y) if self.function.ty(x).is_int() => match op {
                BinaryOp::Lt => self.less(facts, x, y),
                BinaryOp::Gt => self.less(facts, y, x),
                BinaryOp::Le => self.at_most(facts, x, y),
                BinaryOp::Ge => self.at_most(facts, y, x),
                BinaryOp::Eq => {
                    let both = self.at_most(facts, x, y).and(self.at_most(facts, y, x));
                    both.and(Some(Rule::ProvenEqual))
                }
                BinaryOp::Ne => self.unequal(facts, x, y),
                _ => None,
            },
            _ => None,
        }
    }

    /// Why x < y.
    fn less(&self, facts: &Facts, x: Value, y: Value) -> Option<Rule> {
        let known = |x: Value, y: Value| facts.less.contains(&(x, y));
        if known(x, y) {
            return Some(Rule::ProvenLess);
        }
        if self.interval(facts, x).1 < self.interval(facts, y).0 {
            return Some(Rule::ProvenInterval);
        }
        if self.in_grid(x, y) {
            return Some(Rule::ProvenGrid);
        }
        let unsigned = is_unsigned(self.function.ty(x));
        let by_parts = match self.function.def(x).inst {
            Inst::Binary(BinaryOp::Rem, _, n) if unsigned => (n == y).then_some(Rule::ProvenRem),
            Inst::Binary(BinaryOp::Div | BinaryOp::Shr, x, _) if unsigned => {
                self.less(facts, x, y).and(Some(Rule::ProvenQuotient))
            }
            Inst::Binary(BinaryOp::Min, a, b) => {
                let either = self.less(facts, a, y).or_else(|| self.less(facts, b, y));
                either.and(Some(Rule::ProvenMin))
            }
            _ => None,
        };
        by_parts.or_else(|| {
            let at_most = |x: Value, y: Value| facts.at_most.contains(&(x, y));
            let chained = facts.less.iter().any(|&(a, b)| {
                (a == x && (at_most(b, y) || known(b, y))) || (b == y && at_most(x, a))
            });
            chained.then_some(Rule::ProvenChain)
        })
    }

    /// Why x ≤ y.
    fn at_most(&self, facts: &Facts, x: Value, y: Value) -> Option<Rule> {
        let proven = x == y
            || facts.at_most.contains(&(x, y))
            || self.interval(facts, x).1 <= self.interval(facts, y).0
            || self.operands_of(BinaryOp::Min, x).contains(&y)
            || self.operands_of(BinaryOp::Max, y).contains(&x)
            || self.less(facts, x, y).is_some();
        proven.then_some(Rule::ProvenAtMost)
    }

    /// Why x ≠ y.
    fn unequal(&self, facts: &Facts, x: Value, y: Value) -> Option<Rule> {
        let nonzero_or = |x: Value, y: Value| {
            self.function.as_const(y).is_some_and(|c| c.bits == 0)
                && self.operands_of(BinaryOp::Or, x).iter().any(|&part| {
                    let (low, high) = self.interval(facts, part);
                    low > 0 || high < 0
                })
        };
        if nonzero_or(x, y) || nonzero_or(y, x) {
            return Some(Rule::ProvenOrNonzero);
        }
        let proven = facts.unequal.contains(&(x, y))
            || facts.unequal.contains(&(y, x))
            || self.less(facts, x, y).is_some()
            || self.less(facts, y, x).is_some();
        proven.then_some(Rule::ProvenUnequal)
    }

    /// An id below the extent of its axis.
    fn in_grid(&self, x: Value, y: Value) -> bool {
        let Inst::Id(axis) = self.function.def(x).inst else { return false };
        if self.workgroup.is_some() {
            return false;
        }
        match (self.grid.get(axis.index()), &self.function.def(y).inst) {
            (Some(Extent::Len(p)), Inst::Len(q)) => p == q,
            (Some(Extent::Scalar(p)), Inst::Param(q)) => p == q,
            _ => false,
        }
    }
}

fn is_unsigned(ty: Type) -> bool {
    matches!(ty, Type::U32 | Type::U64)
}

/// Every value of a type.
fn whole(ty: Type) -> Interval {
    match ty {
        Type::Bool => (0, 1),
        Type::I32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
        Type::U32 => (0, i128::from(u32::MAX)),
        Type::I64 => (i128::from(i64::MIN), i128::from(i64::MAX)),
        Type::U64 => (0, i128::from(u64::MAX)),
        Type::F32 | Type::F64 => (i128::MIN, i128::MAX),
    }
}

/// The interval of an operator's mathematical result; `None` where it may be anything.
fn binary_interval(op: BinaryOp, a: Interval, b: Interval) -> Option<Interval> {
    let positive = a.0 >= 0 && b.0 >= 0;
    // All ones up to the highest bit that either has.
    let mask = || (1i128 << (128 - (a.1 | b.1).leading_zeros())) - 1;
    match op {
        BinaryOp::Add => Some((a.0 + b.0, a.1 + b.1)),
        BinaryOp::Sub => Some((a.0 - b.1, a.1 - b.0)),
        BinaryOp::Mul => {
            let corner = |x: i128, y: i128| x.checked_mul(y);
            let corners =
                [corner(a.0, b.0)?, corner(a.0, b.1)?, corner(a.1, b.0)?, corner(a.1, b.1)?];
            Some((*corners.iter().min()?, *corners.iter().max()?))
        }
        BinaryOp::Div if a.0 >= 0 && b.0 > 0 => Some((a.0 / b.1, a.1 / b.0)),
        BinaryOp::Rem if a.0 >= 0 && b.0 > 0 => Some((0, a.1.min(b.1 - 1))),
        BinaryOp::Rem if b.0 > 0 => Some((1 - b.1, b.1 - 1)),
        BinaryOp::Min => Some((a.0.min(b.0), a.1.min(b.1))),
        BinaryOp::Max => Some((a.0.max(b.0), a.1.max(b.1))),
        BinaryOp::And if positive => Some((0, a.1.min(b.1))),
        BinaryOp::And if a.0 >= 0 => Some((0, a.1)),
        BinaryOp::And if b.0 >= 0 => Some((0, b.1)),
        BinaryOp::Or if positive => Some((a.0.max(b.0), mask())),
        BinaryOp::Xor if positive => Some((0, mask())),
        BinaryOp::Shl if a.0 >= 0 && b.0 == b.1 && (0..32).contains(&b.0) => {
            Some((a.0 << b.0, a.1 << b.0))
        }
        BinaryOp::Shr if b.0 == b.1 && (0..32).contains(&b.0) => Some((a.0 >> b.0, a.1 >> b.0)),
        _ => None,
    }
}
