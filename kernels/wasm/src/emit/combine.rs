//! Several instructions of the IR that are one of WebAssembly's, with the same bits as result:
//!
//! ```text
//! fma(-a, b, c)                  relaxed_nmadd a b c
//! select(a < b, b, a)            pmax a b              and the other way round: pmin
//! select(c, a, 0)                a & c                 select(c, 0, a): a & !c
//! bits(|x|) > bits(∞)            x != x                unsigned: x is NaN
//! bits(|x|) < c                  |x| < float(c)        and <=
//! ```
//!
//! Masks are all ones or all zeros in each lane, and the bits of 0 are zeros.

use crossover_kernels::ir::{BinaryOp, Const, Inst, Type, UnaryOp, Value};

use super::body::Body;
use super::code::Rep;

/// The bits of infinity.
fn infinity(ty: Type) -> u64 {
    if ty.is_wide() { f64::INFINITY.to_bits() } else { u64::from(f32::INFINITY.to_bits()) }
}

impl Body<'_> {
    /// What a value is the negative of, and whether it is one.
    pub(super) fn without_sign(&self, value: Value) -> (Rep, bool) {
        match self.function.def(value).inst {
            Inst::Unary(UnaryOp::Neg, x) => (self.rep(x), true),
            _ => (self.rep(value), false),
        }
    }

    /// Of two values, that which the condition chooses.
    pub(super) fn lanes_select(&mut self, target: Rep, ty: Type, c: Value, [a, b]: [Value; 2]) {
        if let Some((op, [x, y])) = self.extreme(ty, c, [a, b]) {
            let (x, y) = (self.rep(x), self.rep(y));
            return self.lanes_into(target, ty, |code, part| {
                code.lanes(x, ty, part);
                code.lanes(y, ty, part);
                code.lanes_pseudo_extreme(op, ty);
            });
        }
        let zero = |rep: Rep| matches!(rep, Rep::Const(c) if c.bits == 0);
        let (c, a, b) = (self.rep(c), self.rep(a), self.rep(b));
        self.lanes_into(target, ty, |code, part| {
            match (zero(a), zero(b)) {
                (_, true) => code.lanes(a, ty, part),
                (true, false) => code.lanes(b, ty, part),
                (false, false) => {
                    code.lanes(a, ty, part);
                    code.lanes(b, ty, part);
                }
            }
            code.lanes(c, Type::Bool, 0);
            code.widen_mask(ty, part);
            match (zero(a), zero(b)) {
                (_, true) => drop(code.sink().v128_and()),
                (true, false) => drop(code.sink().v128_andnot()),
                (false, false) => code.lane_select(),
            }
        });
    }

    /// `min` or `max` in the sense of `pmin` and `pmax`, with their operands.
    fn extreme(
        &self,
        ty: Type,
        condition: Value,
        [a, b]: [Value; 2],
    ) -> Option<(BinaryOp, [Value; 2])> {
        let (x, y) = match self.function.def(condition).inst {
            Inst::Binary(BinaryOp::Lt, x, y) => (x, y),
            Inst::Binary(BinaryOp::Gt, x, y) => (y, x),
            _ => return None,
        };
        // `pmax(x, y)` is y where x < y, else x; `pmin(y, x)` is x where x < y, else y.
        match [a, b] {
            _ if !ty.is_float() => None,
            [a, b] if [a, b] == [y, x] => Some((BinaryOp::Max, [x, y])),
            [a, b] if [a, b] == [x, y] => Some((BinaryOp::Min, [y, x])),
            _ => None,
        }
    }

    /// A comparison of a float's bits that is one of the float.
    pub(super) fn float_comparison(
        &self,
        op: BinaryOp,
        a: Value,
        b: Value,
    ) -> Option<(BinaryOp, Type, [Rep; 2])> {
        let c = self.function.as_const(b)?;
        let Inst::Bitcast(size) = self.function.def(a).inst else { return None };
        let Inst::Unary(UnaryOp::Abs, x) = self.function.def(size).inst else { return None };
        let ty = self.function.ty(size);
        if !matches!(c.ty, Type::U32 | Type::U64) || !ty.is_float() || c.bits > infinity(ty) {
            return None;
        }
        match op {
            BinaryOp::Lt | BinaryOp::Le => {
                Some((op, ty, [self.rep(size), Rep::Const(Const::new(ty, c.bits))]))
            }
            BinaryOp::Gt if c.bits == infinity(ty) => {
                Some((BinaryOp::Ne, ty, [self.rep(x), self.rep(x)]))
            }
            _ => None,
        }
    }
}
