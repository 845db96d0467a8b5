//! Operators on four lanes: each leaves one `v128` of its result on the stack, the part that the
//! caller names (64-bit types take two). What SIMD has no instruction for goes lane by lane.

use crossover_kernels::ir::{BinaryOp, Const, Type, UnaryOp};

use super::code::{Code, Rep};
use super::scalar::half_below;

/// One instruction for each shape: `i32x4`, `i64x2`, `f32x4`, `f64x2`.
macro_rules! typed {
    ($code:expr, $ty:expr, $i32:ident, $i64:ident, $f32:ident, $f64:ident) => {
        match $ty {
            Type::Bool | Type::I32 | Type::U32 => {
                $code.sink().$i32();
            }
            Type::I64 | Type::U64 => {
                $code.sink().$i64();
            }
            Type::F32 => {
                $code.sink().$f32();
            }
            Type::F64 => {
                $code.sink().$f64();
            }
        }
    };
}

/// A comparison, for each type; `u64` operands have their signs flipped before.
macro_rules! compared {
    ($code:expr, $ty:expr, $s:ident, $u:ident, $l:ident, $f:ident, $d:ident) => {
        match $ty {
            Type::I32 => {
                $code.sink().$s();
            }
            Type::Bool | Type::U32 => {
                $code.sink().$u();
            }
            Type::I64 | Type::U64 => {
                $code.sink().$l();
            }
            Type::F32 => {
                $code.sink().$f();
            }
            Type::F64 => {
                $code.sink().$d();
            }
        }
    };
}

impl Code {
    pub(super) fn lanes_unary(&mut self, op: UnaryOp, ty: Type, a: Rep, part: usize) {
        match op {
            UnaryOp::Round => return self.lanes_round(ty, a, part),
            UnaryOp::CountOnes if ty.is_wide() => return self.lanes_unary_each(op, ty, a, part),
            UnaryOp::LeadingZeros | UnaryOp::TrailingZeros => {
                return self.lanes_unary_each(op, ty, a, part);
            }
            UnaryOp::CountOnes
            | UnaryOp::Neg
            | UnaryOp::Not
            | UnaryOp::Abs
            | UnaryOp::Sqrt
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Trunc
            | UnaryOp::RoundEven
            | UnaryOp::Exp
            | UnaryOp::Exp2
            | UnaryOp::Ln
            | UnaryOp::Log2
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Tan
            | UnaryOp::Tanh
            | UnaryOp::Asin
            | UnaryOp::Acos
            | UnaryOp::Atan
            | UnaryOp::Erf => self.lanes(a, ty, part),
        }
        match op {
            UnaryOp::Neg => typed!(self, ty, i32x4_neg, i64x2_neg, f32x4_neg, f64x2_neg),
            UnaryOp::Not => {
                self.sink().v128_not();
            }
            UnaryOp::Abs => typed!(self, ty, i32x4_abs, i64x2_abs, f32x4_abs, f64x2_abs),
            UnaryOp::Sqrt => typed!(self, ty, nop, nop, f32x4_sqrt, f64x2_sqrt),
            UnaryOp::Floor => typed!(self, ty, nop, nop, f32x4_floor, f64x2_floor),
            UnaryOp::Ceil => typed!(self, ty, nop, nop, f32x4_ceil, f64x2_ceil),
            UnaryOp::Trunc => typed!(self, ty, nop, nop, f32x4_trunc, f64x2_trunc),
            UnaryOp::RoundEven => typed!(self, ty, nop, nop, f32x4_nearest, f64x2_nearest),
            UnaryOp::CountOnes => {
                let mut sink = self.sink();
                sink.i8x16_popcnt().i16x8_extadd_pairwise_i8x16_u().i32x4_extadd_pairwise_i16x8_u();
            }
            // Handled above, or refused before anything is emitted.
            UnaryOp::Round
            | UnaryOp::LeadingZeros
            | UnaryOp::TrailingZeros
            | UnaryOp::Exp
            | UnaryOp::Exp2
            | UnaryOp::Ln
            | UnaryOp::Log2
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Tan
            | UnaryOp::Tanh
            | UnaryOp::Asin
            | UnaryOp::Acos
            | UnaryOp::Atan
            | UnaryOp::Erf => {
                self.sink().unreachable();
            }
        };
    }

    fn lanes_unary_each(&mut self, op: UnaryOp, ty: Type, a: Rep, part: usize) {
        let lane = self.local(super::code::val_type(ty));
        self.assemble(ty, part, |code, at| {
            code.lane(a, ty, at);
            code.set(lane);
            code.scalar_unary(op, ty, Rep::Scalar(lane));
        });
    }

    fn lanes_round(&mut self, ty: Type, a: Rep, part: usize) {
        self.lanes(a, ty, part);
        self.lanes(a, ty, part);
        self.lanes_const(half_below(ty));
        self.lanes_const(sign_bit(ty));
        self.sink().v128_bitselect();
        typed!(self, ty, nop, nop, f32x4_add, f64x2_add);
        typed!(self, ty, nop, nop, f32x4_trunc, f64x2_trunc);
    }

    /// The result of a comparison has one part, whatever the operands.
    pub(super) fn lanes_binary(&mut self, op: BinaryOp, ty: Type, a: Rep, b: Rep, part: usize) {
        match op {
            BinaryOp::Min | BinaryOp::Max => self.lanes_choose(op, ty, a, b, part),
            BinaryOp::Shl | BinaryOp::Shr => self.lanes_shift(op, ty, a, b, part),
            BinaryOp::Div | BinaryOp::Rem if ty.is_int() => {
                self.lanes_binary_each(op, ty, a, b, part);
            }
            BinaryOp::Copysign => {
                self.lanes(b, ty, part);
                self.lanes(a, ty, part);
                self.lanes_const(sign_bit(ty));
                self.sink().v128_bitselect();
            }
            BinaryOp::Eq
            | BinaryOp::Ne
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Gt
            | BinaryOp::Ge => {
                self.lanes_compare(op, ty, a, b, 0);
                if ty.is_wide() {
                    self.lanes_compare(op, ty, a, b, 1);
                    self.narrow();
                }
            }
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Rem
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor
            | BinaryOp::Pow
            | BinaryOp::Atan2 => {
                self.lanes(a, ty, part);
                self.lanes(b, ty, part);
                self.lanes_operator(op, ty);
            }
        }
    }

    /// An operator of the two vectors on the stack.
    pub(super) fn lanes_operator(&mut self, op: BinaryOp, ty: Type) {
        match op {
            BinaryOp::Add => typed!(self, ty, i32x4_add, i64x2_add, f32x4_add, f64x2_add),
            BinaryOp::Sub => typed!(self, ty, i32x4_sub, i64x2_sub, f32x4_sub, f64x2_sub),
            BinaryOp::Mul => typed!(self, ty, i32x4_mul, i64x2_mul, f32x4_mul, f64x2_mul),
            BinaryOp::Div => typed!(self, ty, nop, nop, f32x4_div, f64x2_div),
            BinaryOp::And => {
                self.sink().v128_and();
            }
            BinaryOp::Or => {
                self.sink().v128_or();
            }
            BinaryOp::Xor => {
                self.sink().v128_xor();
            }
            // Handled by the caller, or refused before anything is emitted.
            BinaryOp::Rem
            | BinaryOp::Min
            | BinaryOp::Max
            | BinaryOp::Shl
            | BinaryOp::Shr
            | BinaryOp::Eq
            | BinaryOp::Ne
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Gt
            | BinaryOp::Ge
            | BinaryOp::Pow
            | BinaryOp::Atan2
            | BinaryOp::Copysign => {
                self.sink().unreachable();
            }
        };
    }

    /// A mask as wide as the operands' lanes, for one part of them.
    fn lanes_compare(&mut self, op: BinaryOp, ty: Type, a: Rep, b: Rep, part: usize) {
        for operand in [a, b] {
            self.lanes(operand, ty, part);
            if ty == Type::U64 {
                // Signed order of the flipped values is the order of the values.
                self.lanes_const(sign_bit(ty));
                self.sink().v128_xor();
            }
        }
        match op {
            BinaryOp::Eq => typed!(self, ty, i32x4_eq, i64x2_eq, f32x4_eq, f64x2_eq),
            BinaryOp::Ne => typed!(self, ty, i32x4_ne, i64x2_ne, f32x4_ne, f64x2_ne),
            BinaryOp::Lt => {
                compared!(self, ty, i32x4_lt_s, i32x4_lt_u, i64x2_lt_s, f32x4_lt, f64x2_lt)
            }
            BinaryOp::Le => {
                compared!(self, ty, i32x4_le_s, i32x4_le_u, i64x2_le_s, f32x4_le, f64x2_le)
            }
            BinaryOp::Gt => {
                compared!(self, ty, i32x4_gt_s, i32x4_gt_u, i64x2_gt_s, f32x4_gt, f64x2_gt)
            }
            BinaryOp::Ge => {
                compared!(self, ty, i32x4_ge_s, i32x4_ge_u, i64x2_ge_s, f32x4_ge, f64x2_ge)
            }
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Rem
            | BinaryOp::Min
            | BinaryOp::Max
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor
            | BinaryOp::Shl
            | BinaryOp::Shr
            | BinaryOp::Pow
            | BinaryOp::Atan2
            | BinaryOp::Copysign => {
                self.sink().unreachable();
            }
        };
    }

    fn lanes_choose(&mut self, op: BinaryOp, ty: Type, a: Rep, b: Rep, part: usize) {
        match ty {
            Type::F32 | Type::F64 => self.lanes_choose_float(op, ty, a, b, part),
            Type::I64 | Type::U64 => {
                let better = if op == BinaryOp::Min { BinaryOp::Lt } else { BinaryOp::Gt };
                self.lanes(b, ty, part);
                self.lanes(a, ty, part);
                self.lanes_compare(better, ty, b, a, part);
                self.lane_select();
            }
            Type::Bool | Type::I32 | Type::U32 => {
                self.lanes(a, ty, part);
                self.lanes(b, ty, part);
                let signed = ty == Type::I32;
                match (op == BinaryOp::Min, signed) {
                    (true, true) => {
                        self.sink().i32x4_min_s();
                    }
                    (true, false) => {
                        self.sink().i32x4_min_u();
                    }
                    (false, true) => {
                        self.sink().i32x4_max_s();
                    }
                    (false, false) => {
                        self.sink().i32x4_max_u();
                    }
                };
            }
        }
    }

    /// `pmin(a, b)` is `b where b < a, else a`: all but the case that `a` is NaN.
    fn lanes_choose_float(&mut self, op: BinaryOp, ty: Type, a: Rep, b: Rep, part: usize) {
        let is_number = |rep: Rep| matches!(rep, Rep::Const(c) if !c.is_nan());
        // Of two zeros the first is taken: they may change places where there are not two.
        let nonzero = |rep: Rep| matches!(rep, Rep::Const(c) if c.to_f64() != 0.0);
        let (a, b) = if is_number(b) && nonzero(b) { (b, a) } else { (a, b) };
        let may_be_nan = !is_number(a);
        if may_be_nan {
            self.lanes(b, ty, part);
        }
        self.lanes(a, ty, part);
        self.lanes(b, ty, part);
        self.lanes_pseudo_extreme(op, ty);
        if may_be_nan {
            self.lanes_compare(BinaryOp::Ne, ty, a, a, part);
            self.lane_select();
        }
    }

    /// `pmin` or `pmax` of the two vectors on the stack.
    pub(super) fn lanes_pseudo_extreme(&mut self, op: BinaryOp, ty: Type) {
        if op == BinaryOp::Min {
            typed!(self, ty, nop, nop, f32x4_pmin, f64x2_pmin);
        } else {
            typed!(self, ty, nop, nop, f32x4_pmax, f64x2_pmax);
        }
    }

    /// SIMD shifts take one amount for all lanes.
    fn lanes_shift(&mut self, op: BinaryOp, ty: Type, a: Rep, b: Rep, part: usize) {
        if !b.is_uniform() {
            return self.lanes_binary_each(op, ty, a, b, part);
        }
        self.lanes(a, ty, part);
        self.scalar(b, ty);
        if ty.is_wide() {
            self.sink().i32_wrap_i64();
        }
        let mut sink = self.sink();
        match (op == BinaryOp::Shl, ty.is_wide(), ty.is_signed_int()) {
            (true, false, _) => sink.i32x4_shl(),
            (true, true, _) => sink.i64x2_shl(),
            (false, false, true) => sink.i32x4_shr_s(),
            (false, false, false) => sink.i32x4_shr_u(),
            (false, true, true) => sink.i64x2_shr_s(),
            (false, true, false) => sink.i64x2_shr_u(),
        };
    }

    fn lanes_binary_each(&mut self, op: BinaryOp, ty: Type, a: Rep, b: Rep, part: usize) {
        let scalar = super::code::val_type(ty);
        let (left, right) = (self.local(scalar), self.local(scalar));
        self.assemble(ty, part, |code, at| {
            code.lane(a, ty, at);
            code.set(left);
            let by = match b {
                Rep::Const(_) | Rep::Scalar(_) | Rep::Offset(..) => b,
                Rep::Low(_) | Rep::Linear { .. } | Rep::Lanes(_) => {
                    code.lane(b, ty, at);
                    code.set(right);
                    Rep::Scalar(right)
                }
            };
            code.scalar_binary(op, ty, Rep::Scalar(left), by);
        });
    }

    /// `a * b + c`, or `c - a * b`, operands on the stack.
    pub(super) fn lanes_fma(&mut self, ty: Type, minus: bool) {
        let mut sink = self.sink();
        match (ty.is_wide(), minus) {
            (true, false) => sink.f64x2_relaxed_madd(),
            (true, true) => sink.f64x2_relaxed_nmadd(),
            (false, false) => sink.f32x4_relaxed_madd(),
            (false, true) => sink.f32x4_relaxed_nmadd(),
        };
    }

    pub(super) fn lanes_cast(&mut self, from: Type, to: Type, a: Rep, part: usize) {
        use Type::{Bool, F32, F64, I32, I64, U32, U64};
        match (from, to) {
            (Bool, _) => {
                self.lanes(a, Bool, 0);
                self.widen_mask(to, part);
                self.lanes_const(Const::one(to));
                self.sink().v128_and();
            }
            (F32, I32) => self.lanes_then(a, from, part, |c| {
                c.sink().i32x4_trunc_sat_f32x4_s();
            }),
            (F32, U32) => self.lanes_then(a, from, part, |c| {
                c.sink().i32x4_trunc_sat_f32x4_u();
            }),
            (I32, F32) => self.lanes_then(a, from, part, |c| {
                c.sink().f32x4_convert_i32x4_s();
            }),
            (U32, F32) => self.lanes_then(a, from, part, |c| {
                c.sink().f32x4_convert_i32x4_u();
            }),
            (I32 | U32, I64 | U64) => self.lanes_extend(from, a, part),
            (I32, F64) => self.half_then(a, from, part, |c| {
                c.sink().f64x2_convert_low_i32x4_s();
            }),
            (U32, F64) => self.half_then(a, from, part, |c| {
                c.sink().f64x2_convert_low_i32x4_u();
            }),
            (F32, F64) => self.half_then(a, from, part, |c| {
                c.sink().f64x2_promote_low_f32x4();
            }),
            (I64 | U64, I32 | U32) => {
                self.lanes(a, from, 0);
                self.lanes(a, from, 1);
                self.narrow();
            }
            (F64, F32) => self.join(a, |c| {
                c.sink().f32x4_demote_f64x2_zero();
            }),
            (F64, I32) => self.join(a, |c| {
                c.sink().i32x4_trunc_sat_f64x2_s_zero();
            }),
            (F64, U32) => self.join(a, |c| {
                c.sink().i32x4_trunc_sat_f64x2_u_zero();
            }),
            (F32 | F64, I64 | U64) | (I64 | U64, F32 | F64) => {
                self.lanes_cast_each(from, to, a, part);
            }
            // Casts to `bool` do not verify.
            (I32 | U32, I32 | U32)
            | (I64 | U64, I64 | U64)
            | (F32, F32)
            | (F64, F64)
            | (I32 | U32 | F32 | F64 | I64 | U64, Bool) => self.lanes(a, from, part),
        }
    }

    fn lanes_then(&mut self, a: Rep, ty: Type, part: usize, op: impl FnOnce(&mut Code)) {
        self.lanes(a, ty, part);
        op(self);
    }

    fn half_then(&mut self, a: Rep, ty: Type, part: usize, op: impl FnOnce(&mut Code)) {
        self.half(a, ty, part);
        op(self);
    }

    /// Both parts of an `f64`, each made two 32-bit lanes by `op`.
    fn join(&mut self, a: Rep, mut op: impl FnMut(&mut Code)) {
        self.lanes(a, Type::F64, 0);
        op(self);
        self.lanes(a, Type::F64, 1);
        op(self);
        self.join_low_halves();
    }

    fn lanes_extend(&mut self, from: Type, a: Rep, part: usize) {
        self.lanes(a, from, 0);
        let mut sink = self.sink();
        match (from == Type::I32, part) {
            (true, 0) => sink.i64x2_extend_low_i32x4_s(),
            (true, _) => sink.i64x2_extend_high_i32x4_s(),
            (false, 0) => sink.i64x2_extend_low_i32x4_u(),
            (false, _) => sink.i64x2_extend_high_i32x4_u(),
        };
    }

    fn lanes_cast_each(&mut self, from: Type, to: Type, a: Rep, part: usize) {
        let lane = self.local(super::code::val_type(from));
        self.assemble(to, part, |code, at| {
            code.lane(a, from, at);
            code.set(lane);
            code.scalar_cast(from, to, Rep::Scalar(lane));
        });
    }
}

/// The sign bit of a float or of a 64-bit integer.
fn sign_bit(ty: Type) -> Const {
    Const::new(ty, if ty.is_wide() { 1 << 63 } else { 1 << 31 })
}
