//! The function around the bodies: the loops over the grid, the combining of contributions, and the
//! part of each row in which bounds checks cannot fail.
//!
//! ```text
//! failed: block
//!     for z in z0..z1, for y in y0..y1:
//!         lo, hi = the x for which every check of the form `x + u < bound` holds
//!         while x + 4 <= x1:  while lo <= x and x + 4 <= hi:  vector body without those checks
//!                             else                            vector body
//!         while x < x1:       scalar body
//!     return 0
//! site, index, x, y, z = …;  return 1
//! ```
//!
//! In such a check `u` and `bound` are the same for the whole row. Lanes are combined as
//! `(l0 ∘ l1) ∘ (l2 ∘ l3)`, then the scalar tail from left to right.

use crossover_kernels::ir::{
    self, Axis, BinaryOp, Collective, CollectiveKind, Const, Inst, Kernel, Param, Stmt, Type,
    Value, ValueDef,
};
use wasm_encoder::{Function, ValType};

use super::body::{Body, Context, Failing, Width};
use super::code::{Code, LANES, Rep, parts, val_type};
use super::divergence::Divergence;
use super::layout::{Layout, RANGE_PARAMS};
use super::{GLOBALS, collective};

/// What becomes of the contributions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// There are none.
    Map,
    /// They are combined into `partial`.
    Reduce,
    /// The output gets each prefix, combined with the last parameter before.
    Scan,
}

impl Mode {
    /// The functions of a kernel.
    pub(super) fn of(kernel: &Kernel) -> Vec<Mode> {
        match collective(kernel) {
            None => vec![Mode::Map],
            Some((CollectiveKind::Reduce, _)) => vec![Mode::Reduce],
            Some((CollectiveKind::Scan, _)) => vec![Mode::Reduce, Mode::Scan],
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Mode::Map | Mode::Reduce => "run",
            Mode::Scan => "scan",
        }
    }
}

/// A check `x ± terms < bound` whose terms and bound do not change along a row.
#[derive(Clone, Debug)]
struct RowCheck {
    condition: Value,
    terms: Vec<Term>,
    bound: Value,
}

/// A summand of an index.
#[derive(Clone, Copy, Debug)]
struct Term {
    value: Value,
    subtracted: bool,
}

struct Grid<'a> {
    code: Code,
    context: Context<'a>,
    mode: Mode,
    collective: Option<(Collective, Type)>,
    /// Combined lane by lane, and in all.
    lanes: Rep,
    total: Rep,
    checks: Vec<RowCheck>,
    proved: Vec<Value>,
}

/// Emits the function of this mode. `facts` are for the vector and the scalar body.
pub(super) fn emit_function(
    kernel: &Kernel,
    layout: &Layout,
    facts: [&Divergence; 2],
    mode: Mode,
) -> Function {
    let carry = u32::from(mode == Mode::Scan);
    let mut code = Code::new(RANGE_PARAMS + kernel.entry.params.len() as u32 + carry);
    let mut local = || code.local(ValType::I32);
    let axes = [local(), local(), local()];
    let (site, index, lane) = (local(), local(), local());
    let label = code.open_block();
    let failing = Failing { label, site, index, lane };
    let context = Context { kernel, layout, vector: facts[0], scalar: facts[1], axes, failing };
    let checks = row_checks(kernel);
    let proved = checks.iter().map(|check| check.condition).collect();
    let zero = Rep::Const(Const::zero(Type::U32));
    let collective = kernel.collective.zip(kernel.contribution());
    let mut grid =
        Grid { code, context, mode, collective, lanes: zero, total: zero, checks, proved };
    grid.begin_collective();
    grid.planes();
    grid.end_collective();
    grid.code.sink().i32_const(0).return_();
    grid.code.close();
    grid.report_failure();
    grid.code.finish()
}

impl Grid<'_> {
    fn planes(&mut self) {
        self.axis(2, |grid| grid.axis(1, Grid::row));
    }

    /// `for at in from..to`, of y or z.
    fn axis(&mut self, axis: usize, inner: impl FnOnce(&mut Self)) {
        let at = self.context.axes[axis];
        let [from, to] = range_params(axis);
        self.code.get(from);
        self.code.set(at);
        let done = self.code.open_block();
        let top = self.code.open_loop();
        self.code.sink().local_get(at).local_get(to).i32_ge_u();
        self.code.branch_if(done);
        inner(self);
        self.code.sink().local_get(at).i32_const(1).i32_add().local_set(at);
        self.code.branch(top);
        self.code.close();
        self.code.close();
    }

    fn row(&mut self) {
        let x = self.context.axes[0];
        let [from, to] = range_params(0);
        let unchecked = (!self.checks.is_empty()).then(|| self.unchecked_range());
        self.code.get(from);
        self.code.set(x);
        let tail = self.code.open_block();
        let groups = self.code.open_loop();
        self.code.sink().local_get(to).local_get(x).i32_sub();
        self.code.i32_const(LANES);
        self.code.sink().i32_lt_u();
        self.code.branch_if(tail);
        if let Some(range) = unchecked {
            self.push_inside(range);
            self.code.open_if();
            let fast = self.code.open_loop();
            self.group(Width::Vector, true);
            self.push_inside(range);
            self.code.branch_if(fast);
            self.code.close();
            self.code.branch(groups);
            self.code.close();
        }
        self.group(Width::Vector, false);
        self.code.branch(groups);
        self.code.close();
        self.code.close();
        self.combine_lanes();
        self.tail();
    }

    fn tail(&mut self) {
        let x = self.context.axes[0];
        let [_, to] = range_params(0);
        let done = self.code.open_block();
        let top = self.code.open_loop();
        self.code.sink().local_get(x).local_get(to).i32_ge_u();
        self.code.branch_if(done);
        self.group(Width::Scalar, false);
        self.code.branch(top);
        self.code.close();
        self.code.close();
    }

    /// One passage of a body, and on to the next group.
    fn group(&mut self, width: Width, unchecked: bool) {
        let held = self.code.mark();
        let proved: &[Value] = if unchecked { &self.proved } else { &[] };
        let result = Body::new(&mut self.code, self.context, width, proved).emit();
        if let (Some(result), Some((collective, ty))) = (result, self.collective) {
            self.contribute(collective.op.binary(), ty, result, width);
        }
        self.code.release(&held);
        let x = self.context.axes[0];
        let step = if width == Width::Vector { LANES } else { 1 };
        self.code.get(x);
        self.code.i32_const(step);
        self.code.sink().i32_add().local_set(x);
    }

    // Collectives

    fn begin_collective(&mut self) {
        let Some((collective, ty)) = self.collective else { return };
        let identity = Rep::Const(collective.op.identity(ty));
        self.lanes = Rep::Lanes(self.code.lanes_local(ty));
        self.total = Rep::Scalar(self.code.local(val_type(ty)));
        self.set_lanes(identity, ty);
        let carry = RANGE_PARAMS + self.context.kernel.entry.params.len() as u32;
        let start = if self.mode == Mode::Scan { Rep::Scalar(carry) } else { identity };
        self.set_total(|code| code.scalar(start, ty));
    }

    fn set_lanes(&mut self, value: Rep, ty: Type) {
        let Rep::Lanes(locals) = self.lanes else { return };
        for (part, local) in locals.into_iter().take(parts(ty)).enumerate() {
            self.code.lanes(value, ty, part);
            self.code.set(local);
        }
    }

    fn set_total(&mut self, push: impl FnOnce(&mut Code)) {
        push(&mut self.code);
        if let Rep::Scalar(local) = self.total {
            self.code.set(local);
        }
    }

    fn contribute(&mut self, op: BinaryOp, ty: Type, result: Rep, width: Width) {
        match (self.mode, width) {
            (Mode::Map, _) => {}
            (Mode::Reduce, Width::Vector) => {
                let (lanes, Rep::Lanes(locals)) = (self.lanes, self.lanes) else { return };
                for (part, local) in locals.into_iter().take(parts(ty)).enumerate() {
                    self.code.lanes_binary(op, ty, lanes, result, part);
                    self.code.set(local);
                }
            }
            (Mode::Reduce, Width::Scalar) => self.add_to_total(op, ty, result),
            (Mode::Scan, Width::Vector) => {
                let one = self.code.local(val_type(ty));
                for lane in 0..LANES {
                    self.code.lane(result, ty, lane);
                    self.code.set(one);
                    self.add_to_total(op, ty, Rep::Scalar(one));
                    self.store_prefix(ty, lane);
                }
            }
            (Mode::Scan, Width::Scalar) => {
                self.add_to_total(op, ty, result);
                self.store_prefix(ty, 0);
            }
        }
    }

    fn add_to_total(&mut self, op: BinaryOp, ty: Type, value: Rep) {
        let total = self.total;
        self.set_total(|code| code.scalar_binary(op, ty, total, value));
    }

    fn store_prefix(&mut self, ty: Type, lane: u32) {
        let output = Param(self.context.kernel.entry.params.len() as u32 - 1);
        let offset = u64::from(lane) * ty.bytes() as u64;
        let arg = self.context.layout.buffer_arg(output, ty, offset);
        let x = Rep::Scalar(self.context.axes[0]);
        self.code.store_element(x, self.total, ty, arg);
    }

    /// `total = total ∘ ((l0 ∘ l1) ∘ (l2 ∘ l3))`
    fn combine_lanes(&mut self) {
        let (Some((collective, ty)), Mode::Reduce) = (self.collective, self.mode) else { return };
        let op = collective.op.binary();
        let of = |code: &mut Code, a: Rep, b: Rep| {
            let local = code.local(val_type(ty));
            code.scalar_binary(op, ty, a, b);
            code.set(local);
            Rep::Scalar(local)
        };
        let mut lane = [Rep::Const(Const::zero(ty)); LANES as usize];
        for (at, rep) in lane.iter_mut().enumerate() {
            let local = self.code.local(val_type(ty));
            self.code.lane(self.lanes, ty, at as u32);
            self.code.set(local);
            *rep = Rep::Scalar(local);
        }
        let low = of(&mut self.code, lane[0], lane[1]);
        let high = of(&mut self.code, lane[2], lane[3]);
        let all = of(&mut self.code, low, high);
        self.add_to_total(op, ty, all);
        self.set_lanes(Rep::Const(collective.op.identity(ty)), ty);
    }

    fn end_collective(&mut self) {
        if let Some((_, ty)) = self.collective {
            self.code.scalar(self.total, ty);
            self.code.sink().global_set(GLOBALS.len() as u32);
        }
    }

    fn report_failure(&mut self) {
        let [x, y, z] = self.context.axes;
        let Failing { site, index, lane, .. } = self.context.failing;
        let mut sink = self.code.sink();
        sink.local_get(site).global_set(0).local_get(index).global_set(1);
        sink.local_get(x).local_get(lane).i32_add().global_set(2);
        sink.local_get(y).global_set(3).local_get(z).global_set(4).i32_const(1);
    }

    // Unchecked ranges

    /// Pushes whether the group at x is inside: `x − lo < span`, unsigned.
    fn push_inside(&mut self, [lo, span]: [u32; 2]) {
        let x = self.context.axes[0];
        self.code.sink().local_get(x).local_get(lo).i32_sub().local_get(span).i32_lt_u();
    }

    /// Computes where the row's checks hold: the first x, and for how many x a whole group does.
    fn unchecked_range(&mut self) -> [u32; 2] {
        let [from, to] = range_params(0);
        let mut local = || self.code.local(ValType::I32);
        let (lo, hi) = (local(), local());
        self.code.sink().local_get(from).local_set(lo).local_get(to).local_set(hi);
        for check in self.checks.clone() {
            let [first, past] = self.check_range(&check);
            for (op, bound, by) in [(BinaryOp::Max, lo, first), (BinaryOp::Min, hi, past)] {
                self.code.scalar_binary(op, Type::U32, Rep::Scalar(bound), Rep::Scalar(by));
                self.code.set(bound);
            }
        }
        // span = max(hi, lo + 3) − (lo + 3), without wrapping: lo and hi may be any number.
        let last = (LANES - 1).cast_signed();
        let mut sink = self.code.sink();
        sink.local_get(hi).local_get(lo).i32_sub().i32_const(last).i32_sub().i32_const(0);
        sink.local_get(hi).local_get(lo).i32_gt_u();
        sink.local_get(hi).local_get(lo).i32_sub().i32_const(last).i32_gt_u();
        sink.i32_and().select().local_set(hi);
        [lo, hi]
    }

    /// The range of x in which one check holds. With `u` the sum of the terms: from 0 to
    /// `bound − u`, or, for a negative `u`, from `−u` to `bound − u`; saturating.
    fn check_range(&mut self, check: &RowCheck) -> [u32; 2] {
        let mut body = Body::new(&mut self.code, self.context, Width::Scalar, &[]);
        body.code.i32_const(0);
        for term in &check.terms {
            body.compute_invariant(term.value);
            body.code.scalar(body.rep(term.value), Type::U32);
            if term.subtracted {
                body.code.sink().i32_sub();
            } else {
                body.code.sink().i32_add();
            }
        }
        let u = body.code.local(ValType::I32);
        body.code.set(u);
        body.compute_invariant(check.bound);
        let bound = body.rep(check.bound);
        let code = &mut self.code;
        let (limit, first, past) =
            (code.local(ValType::I32), code.local(ValType::I32), code.local(ValType::I32));
        code.scalar(bound, Type::U32);
        code.set(limit);
        let mut sink = code.sink();
        // first = u < 0 ? −u : 0
        sink.i32_const(0).local_get(u).i32_sub().i32_const(0);
        sink.local_get(u).i32_const(0).i32_lt_s().select().local_set(first);
        // past = u < 0 ? saturating(first + limit) : saturating(limit − u)
        sink.i32_const(-1).local_get(first).local_get(limit).i32_add();
        sink.local_get(first).local_get(limit).i32_add().local_get(first).i32_lt_u().select();
        sink.local_get(limit).local_get(u).i32_sub().i32_const(0);
        sink.local_get(limit).local_get(u).i32_gt_u().select();
        sink.local_get(u).i32_const(0).i32_lt_s().select().local_set(past);
        [first, past]
    }
}

/// The wasm parameters with the range of an axis.
fn range_params(axis: usize) -> [u32; 2] {
    [2 * axis as u32, 2 * axis as u32 + 1]
}

fn row_checks(kernel: &Kernel) -> Vec<RowCheck> {
    let invariant = row_invariants(&kernel.entry);
    let mut checks: Vec<RowCheck> = Vec::new();
    kernel.entry.walk(&mut |stmt| {
        if let Stmt::Check { condition, .. } = stmt
            && let Some(check) = row_check(&kernel.entry, &invariant, *condition)
        {
            checks.push(check);
        }
    });
    checks
}

fn row_check(function: &ir::Function, invariant: &[bool], condition: Value) -> Option<RowCheck> {
    let Inst::Binary(BinaryOp::Lt, index, bound) = function.def(condition).inst else {
        return None;
    };
    if function.ty(index) != Type::U32 || !invariant[bound.index()] {
        return None;
    }
    let terms = linear_terms(function, invariant, index)?;
    Some(RowCheck { condition, terms, bound })
}

/// The terms of `x ± terms`; `None` for any other form.
fn linear_terms(
    function: &ir::Function,
    invariant: &[bool],
    mut index: Value,
) -> Option<Vec<Term>> {
    let mut terms = Vec::new();
    loop {
        let Inst::Binary(op, a, b) = function.def(index).inst else {
            return matches!(function.def(index).inst, Inst::Id(Axis::X)).then_some(terms);
        };
        let (rest, value, subtracted) = if op == BinaryOp::Add && invariant[b.index()] {
            (a, b, false)
        } else if op == BinaryOp::Add && invariant[a.index()] {
            (b, a, false)
        } else if op == BinaryOp::Sub && invariant[b.index()] {
            (a, b, true)
        } else {
            return None;
        };
        terms.push(Term { value, subtracted });
        index = rest;
    }
}

/// For each value, whether it is computed from the call's arguments, y and z alone, without a trap.
fn row_invariants(function: &ir::Function) -> Vec<bool> {
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

fn is_computable(def: &ValueDef) -> bool {
    match &def.inst {
        Inst::Binary(BinaryOp::Div | BinaryOp::Rem, ..) => def.ty.is_float(),
        Inst::Const(_)
        | Inst::Param(_)
        | Inst::Len(_)
        | Inst::Id(Axis::Y | Axis::Z)
        | Inst::Unary(..)
        | Inst::Binary(..)
        | Inst::Fma(..)
        | Inst::Select(..)
        | Inst::Cast(_)
        | Inst::Bitcast(_) => true,
        Inst::Id(Axis::X)
        | Inst::Counter
        | Inst::Get(_)
        | Inst::GetElement(..)
        | Inst::Load(..)
        | Inst::AtomicLoad(..)
        | Inst::Atomic(..)
        | Inst::Call(..) => false,
    }
}
