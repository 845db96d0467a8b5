//! Where the interior of a row, or of a whole plane, is: code that evaluates splits and guards
//! ([`super::interior`]) in 64 bits, so that nothing wraps unseen.

use std::collections::HashMap;

use crossover_kernels::ir::{Axis, BinaryOp, Inst, Type, Value};
use wasm_encoder::ValType;

use super::body::{Body, Context, Form};
use super::code::{Code, Rep};
use super::interior::{Guard, Interior, Relation, Split, is_bounded, mask};

/// One past the largest `u32`.
const PAST_U32: i64 = 1 << 32;

/// Ranges in which to look for an interior, as wasm locals: x from the first to behind the last, y and
/// z from the first to the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region {
    pub(super) x: [u32; 2],
    pub(super) y: [u32; 2],
    pub(super) z: [u32; 2],
}

/// What the guards come to, as wasm locals: one comparison at the end tells of all values together whether
/// one of them wraps.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    /// Whether all that were tested hold.
    ok: u32,
    /// All bits of the bounds that must be below 2³².
    bits: u32,
}

/// Writes the code that looks.
pub(super) struct Search<'c, 'a> {
    pub(super) code: &'c mut Code,
    pub(super) context: Context<'a>,
    pub(super) inside: &'a Interior,
    /// The whole kernel, one invocation at a time.
    pub(super) scalar: Form<'a>,
    /// The bounds of values there.
    pub(super) bounds: HashMap<Value, [u32; 2]>,
}

impl Search<'_, '_> {
    /// The `x` of the interior, as wasm locals `lo` and `hi` with `from ≤ lo ≤ hi ≤ to`; empty where
    /// a guard does not hold. Splits are those of the row at y.
    pub(super) fn interior(mut self, region: Region) -> [u32; 2] {
        let [from, to] = region.x;
        let wide = [from, to].map(|bound| {
            let local = self.code.local(ValType::I64);
            self.code.sink().local_get(bound).i64_extend_i32_u().local_set(local);
            local
        });
        for split in &self.inside.splits {
            self.apply(split, wide);
        }
        let [lo, hi] = wide;
        let region = Region { x: wide, ..region };
        let all =
            Verdict { ok: self.code.local(ValType::I32), bits: self.code.local(ValType::I64) };
        self.code.sink().local_get(lo).local_get(hi).i64_lt_s().local_set(all.ok);
        self.code.sink().i64_const(0).local_set(all.bits);
        for guard in &self.inside.guards {
            self.test(*guard, region, all);
        }
        let ok = all.ok;
        self.code.sink().local_get(all.bits).i64_const(PAST_U32).i64_lt_u();
        self.code.and_into(ok);
        let narrow = [self.code.local(ValType::I32), self.code.local(ValType::I32)];
        let mut sink = self.code.sink();
        sink.local_get(lo).i32_wrap_i64().local_get(from).local_get(ok).select();
        sink.local_set(narrow[0]);
        sink.local_get(hi).i32_wrap_i64().local_get(from).local_get(ok).select();
        sink.local_set(narrow[1]);
        narrow
    }

    /// Cuts the range to where the split holds.
    fn apply(&mut self, split: &Split, [lo, hi]: [u32; 2]) {
        let (sum, bound) = (self.code.local(ValType::I64), self.code.local(ValType::I64));
        let mut body = Body::new(&mut *self.code, self.context, self.scalar);
        body.code.sink().i64_const(0);
        for term in &split.terms {
            body.push_wide(term.value, true);
            if term.subtracted {
                body.code.sink().i64_sub();
            } else {
                body.code.sink().i64_add();
            }
        }
        body.code.set(sum);
        body.push_wide(split.bound, false);
        body.code.set(bound);
        let (least, past) =
            if split.ty == Type::I32 { (-(1i64 << 31), 1i64 << 31) } else { (0, PAST_U32) };
        // The x at which the left side is a given number is that number minus the sum.
        let code = &mut *self.code;
        code.sink().i64_const(least).local_get(sum).i64_sub();
        code.raise(lo);
        code.sink().i64_const(past).local_get(sum).i64_sub();
        code.lower(hi);
        code.sink().local_get(bound).local_get(sum).i64_sub().local_set(bound);
        match split.relation {
            Relation::Less => {
                code.get(bound);
                code.lower(hi);
            }
            Relation::AtMost => {
                code.sink().local_get(bound).i64_const(1).i64_add();
                code.lower(hi);
            }
            Relation::Greater => {
                code.sink().local_get(bound).i64_const(1).i64_add();
                code.raise(lo);
            }
            Relation::AtLeast => {
                code.get(bound);
                code.raise(lo);
            }
            Relation::Differs => {
                // The longer side of the point.
                let left = code.local(ValType::I32);
                let mut sink = code.sink();
                sink.local_get(bound).local_get(lo).i64_sub();
                sink.local_get(hi).local_get(bound).i64_sub().i64_gt_s().local_set(left);
                sink.local_get(bound).local_get(hi).local_get(left).select();
                code.lower(hi);
                let mut sink = code.sink();
                sink.local_get(lo).local_get(bound).i64_const(1).i64_add();
                sink.local_get(left).select();
                code.raise(lo);
            }
        }
    }

    /// `ok &= the guard holds`
    fn test(&mut self, guard: Guard, region: Region, all: Verdict) {
        match guard {
            Guard::Below(a, b) => {
                let [_, greatest] = self.bounds_of(a, region, all.bits);
                let [least, _] = self.bounds_of(b, region, all.bits);
                self.code.sink().local_get(greatest).local_get(least).i64_lt_s();
            }
            Guard::NotZero(a) => {
                let [least, _] = self.bounds_of(a, region, all.bits);
                self.code.sink().local_get(least).i64_const(0).i64_gt_s();
            }
        }
        self.code.and_into(all.ok);
    }

    /// Wasm locals with the least and the greatest a value can be, which of some values is anything;
    /// adds what has to be below 2³² to `bits`.
    fn bounds_of(&mut self, value: Value, region: Region, bits: u32) -> [u32; 2] {
        if let Some(bounds) = self.bounds.get(&value) {
            return *bounds;
        }
        let inside = self.inside;
        let inst = &inside.kernel.entry.def(value).inst;
        let bounds = [self.code.local(ValType::I64), self.code.local(ValType::I64)];
        if !is_bounded(&inside.kernel.entry, &inside.counters, value) {
            let mut sink = self.code.sink();
            sink.i64_const(0).local_set(bounds[0]).i64_const(PAST_U32 - 1).local_set(bounds[1]);
            return bounds;
        }
        let mut of = |value: Value| self.bounds_of(value, region, bits);
        match inst {
            Inst::Binary(BinaryOp::Rem, _, b) => {
                let [_, most] = of(*b);
                let [zero, last] = bounds;
                self.code.sink().i64_const(0).local_set(zero);
                self.code.sink().local_get(most).i64_const(1).i64_sub().local_set(last);
                self.code.choose(BinaryOp::Max, [zero, last], last);
            }
            Inst::Binary(BinaryOp::And, a, b) => {
                let [_, most] = of(mask(&inside.kernel.entry, *a, *b));
                self.code.sink().i64_const(0).local_set(bounds[0]);
                self.code.sink().local_get(most).local_set(bounds[1]);
            }
            Inst::Binary(op, a, b) => {
                let (a, b) = (of(*a), of(*b));
                self.binary_bounds(*op, [a, b], bounds, bits);
            }
            Inst::Select(_, a, b) => {
                let (a, b) = (of(*a), of(*b));
                self.code.choose(BinaryOp::Min, [a[0], b[0]], bounds[0]);
                self.code.choose(BinaryOp::Max, [a[1], b[1]], bounds[1]);
            }
            Inst::Counter => {
                let (start, end) = inside.counters[&value];
                let (start, end) = (of(start), of(end));
                self.code.sink().local_get(start[0]).local_set(bounds[0]);
                let last = bounds[1];
                self.code.sink().local_get(end[1]).i64_const(1).i64_sub().local_set(last);
                self.code.choose(BinaryOp::Max, [start[0], last], last);
            }
            inst => self.leaf_bounds(inst, region, bounds),
        }
        self.bounds.insert(value, bounds);
        bounds
    }

    fn leaf_bounds(&mut self, inst: &Inst, Region { x, y, z }: Region, bounds: [u32; 2]) {
        let layout = self.context.layout;
        let range = match inst {
            Inst::Const(c) => {
                let mut sink = self.code.sink();
                let c = c.bits.cast_signed();
                sink.i64_const(c).local_set(bounds[0]).i64_const(c).local_set(bounds[1]);
                return;
            }
            Inst::Id(Axis::X) => {
                let mut sink = self.code.sink();
                sink.local_get(x[0]).local_set(bounds[0]);
                sink.local_get(x[1]).i64_const(1).i64_sub().local_set(bounds[1]);
                return;
            }
            Inst::Id(Axis::Y) => y,
            Inst::Id(Axis::Z) => z,
            Inst::Param(param) | Inst::Len(param) => [layout.param(*param); 2],
            Inst::Extent(axis) => [layout.extent(*axis); 2],
            _ => unreachable!("guards are made of values whose bounds are known"),
        };
        for (from, to) in range.into_iter().zip(bounds) {
            self.code.sink().local_get(from).i64_extend_i32_u().local_set(to);
        }
    }

    fn binary_bounds(&mut self, op: BinaryOp, [a, b]: [[u32; 2]; 2], bounds: [u32; 2], bits: u32) {
        // For growing operands sums and products grow, differences and quotients shrink with b.
        let b = if matches!(op, BinaryOp::Sub | BinaryOp::Div | BinaryOp::Shr) {
            [b[1], b[0]]
        } else {
            b
        };
        for ((a, b), to) in a.into_iter().zip(b).zip(bounds) {
            if matches!(op, BinaryOp::Min | BinaryOp::Max) {
                self.code.choose(op, [a, b], to);
                continue;
            }
            let mut sink = self.code.sink();
            sink.local_get(a).local_get(b);
            match op {
                BinaryOp::Add => sink.i64_add(),
                BinaryOp::Sub => sink.i64_sub(),
                BinaryOp::Mul => sink.i64_mul(),
                BinaryOp::Shl => sink.i64_shl(),
                BinaryOp::Shr => sink.i64_shr_u(),
                BinaryOp::Div => sink.i64_div_u(),
                _ => unreachable!("guards are made of values whose bounds are known"),
            };
            // Below 0 is far above, unsigned; and so is a product of too large numbers.
            sink.local_tee(to).local_get(bits).i64_or().local_set(bits);
        }
    }
}

impl Code {
    /// `local &= the i32 on the stack`
    fn and_into(&mut self, local: u32) {
        self.sink().local_get(local).i32_and().local_set(local);
    }

    /// `local = max(local, the i64 on the stack)`
    fn raise(&mut self, local: u32) {
        let other = self.local(ValType::I64);
        self.set(other);
        self.choose(BinaryOp::Max, [local, other], local);
    }

    /// `local = min(local, the i64 on the stack)`
    fn lower(&mut self, local: u32) {
        let other = self.local(ValType::I64);
        self.set(other);
        self.choose(BinaryOp::Min, [local, other], local);
    }

    /// `to = op(a, b)`, signed.
    fn choose(&mut self, op: BinaryOp, [a, b]: [u32; 2], to: u32) {
        let mut sink = self.sink();
        sink.local_get(a).local_get(b).local_get(a).local_get(b);
        if op == BinaryOp::Min {
            sink.i64_lt_s();
        } else {
            sink.i64_gt_s();
        }
        sink.select().local_set(to);
    }
}

impl Body<'_> {
    /// Pushes a 32-bit integer that is the same in the whole row, as a number; of a `summand` any
    /// number that is the same but for multiples of 2³².
    fn push_wide(&mut self, value: Value, summand: bool) {
        self.compute_invariant(value);
        let (rep, ty) = (self.rep(value), self.function.ty(value));
        // A constant far up stands for a negative number: `x + 0xffff_ffff` is `x - 1`.
        let negative = summand && matches!(rep, Rep::Const(c) if c.bits >> 31 == 1);
        self.code.scalar(rep, ty);
        if ty == Type::I32 || negative {
            self.code.sink().i64_extend_i32_s();
        } else {
            self.code.sink().i64_extend_i32_u();
        }
    }
}
