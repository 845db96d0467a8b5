//! Operators on one lane: each leaves its result on the stack as a scalar. The uniform values of
//! the vector body and everything in the scalar tail go this way.

use crossover_kernels::ir::{BinaryOp, Const, Type, UnaryOp};

use super::code::{Code, Rep};

/// The largest number below one half: `x + HALF_BELOW` rounds to the next integer exactly from
/// `n + 0.5` on, where `x + 0.5` would already carry 0.49999997 over.
pub(super) fn half_below(ty: Type) -> Const {
    if ty.is_wide() { 0.499_999_999_999_999_94f64.into() } else { 0.499_999_97f32.into() }
}

/// One instruction for each wasm type: `i32`, `i64`, `f32`, `f64`.
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

/// One instruction for each integer type: `i32`, `u32`, `i64`, `u64`.
macro_rules! signed {
    ($code:expr, $ty:expr, $i32:ident, $u32:ident, $i64:ident, $u64:ident) => {
        match $ty {
            Type::I32 => {
                $code.sink().$i32();
            }
            Type::I64 => {
                $code.sink().$i64();
            }
            Type::U64 => {
                $code.sink().$u64();
            }
            Type::U32 | Type::Bool | Type::F32 | Type::F64 => {
                $code.sink().$u32();
            }
        }
    };
}

/// One instruction for each float type.
macro_rules! float {
    ($code:expr, $ty:expr, $f32:ident, $f64:ident) => {
        if $ty.is_wide() {
            $code.sink().$f64();
        } else {
            $code.sink().$f32();
        }
    };
}

impl Code {
    pub(super) fn scalar_unary(&mut self, op: UnaryOp, ty: Type, a: Rep) {
        match op {
            UnaryOp::Neg if ty.is_int() => self.scalar_negate(ty, a),
            UnaryOp::Abs if ty.is_int() => return self.scalar_abs(ty, a),
            UnaryOp::Round => return self.scalar_round(ty, a),
            UnaryOp::Neg
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
            | UnaryOp::Erf
            | UnaryOp::CountOnes
            | UnaryOp::LeadingZeros
            | UnaryOp::TrailingZeros => self.scalar(a, ty),
        }
        match op {
            UnaryOp::Neg if ty.is_int() => {}
            UnaryOp::Neg => {
                float!(self, ty, f32_neg, f64_neg);
            }
            UnaryOp::Not => self.scalar_not(ty),
            UnaryOp::Abs => {
                float!(self, ty, f32_abs, f64_abs);
            }
            UnaryOp::Sqrt => {
                float!(self, ty, f32_sqrt, f64_sqrt);
            }
            UnaryOp::Floor => {
                float!(self, ty, f32_floor, f64_floor);
            }
            UnaryOp::Ceil => {
                float!(self, ty, f32_ceil, f64_ceil);
            }
            UnaryOp::Trunc => {
                float!(self, ty, f32_trunc, f64_trunc);
            }
            UnaryOp::RoundEven => {
                float!(self, ty, f32_nearest, f64_nearest);
            }
            UnaryOp::CountOnes => {
                typed!(self, ty, i32_popcnt, i64_popcnt, nop, nop);
            }
            UnaryOp::LeadingZeros => {
                typed!(self, ty, i32_clz, i64_clz, nop, nop);
            }
            UnaryOp::TrailingZeros => {
                typed!(self, ty, i32_ctz, i64_ctz, nop, nop);
            }
            // Refused before anything is emitted.
            UnaryOp::Round
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
        }
    }

    fn scalar_negate(&mut self, ty: Type, a: Rep) {
        self.scalar_const(Const::zero(ty));
        self.scalar(a, ty);
        typed!(self, ty, i32_sub, i64_sub, nop, nop);
    }

    fn scalar_not(&mut self, ty: Type) {
        if ty == Type::Bool {
            self.sink().i32_eqz();
            return;
        }
        self.scalar_const(Const::new(ty, u64::MAX));
        typed!(self, ty, i32_xor, i64_xor, nop, nop);
    }

    fn scalar_abs(&mut self, ty: Type, a: Rep) {
        self.scalar_negate(ty, a);
        self.scalar(a, ty);
        self.scalar(a, ty);
        self.scalar_const(Const::zero(ty));
        typed!(self, ty, i32_lt_s, i64_lt_s, nop, nop);
        self.sink().select();
    }

    fn scalar_round(&mut self, ty: Type, a: Rep) {
        self.scalar(a, ty);
        self.scalar_const(half_below(ty));
        self.scalar(a, ty);
        float!(self, ty, f32_copysign, f64_copysign);
        float!(self, ty, f32_add, f64_add);
        float!(self, ty, f32_trunc, f64_trunc);
    }

    pub(super) fn scalar_binary(&mut self, op: BinaryOp, ty: Type, a: Rep, b: Rep) {
        match op {
            BinaryOp::Min | BinaryOp::Max => self.scalar_choose(op, ty, a, b),
            BinaryOp::Div if ty.is_signed_int() => self.scalar_divide(ty, a, b),
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
            | BinaryOp::Eq
            | BinaryOp::Ne
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Gt
            | BinaryOp::Ge
            | BinaryOp::Pow
            | BinaryOp::Atan2
            | BinaryOp::Copysign => {
                self.scalar(a, ty);
                self.scalar(b, ty);
                self.scalar_operator(op, ty);
            }
        }
    }

    /// `b where b < a or a is NaN, else a`; `max` the other way round.
    fn scalar_choose(&mut self, op: BinaryOp, ty: Type, a: Rep, b: Rep) {
        let better = if op == BinaryOp::Min { BinaryOp::Lt } else { BinaryOp::Gt };
        self.scalar(b, ty);
        self.scalar(a, ty);
        self.scalar(b, ty);
        self.scalar(a, ty);
        self.scalar_operator(better, ty);
        if ty.is_float() {
            self.scalar(a, ty);
            self.scalar(a, ty);
            self.scalar_operator(BinaryOp::Ne, ty);
            self.sink().i32_or();
        }
        self.sink().select();
    }

    /// `−a where b is −1, else a / b`: the machine traps for `MIN / −1`.
    fn scalar_divide(&mut self, ty: Type, a: Rep, b: Rep) {
        let minus_one = Const::new(ty, u64::MAX);
        let is_minus_one = |code: &mut Code| {
            code.scalar(b, ty);
            code.scalar_const(minus_one);
            code.scalar_operator(BinaryOp::Eq, ty);
        };
        if let Rep::Const(c) = b
            && c != minus_one
        {
            self.scalar(a, ty);
            self.scalar(b, ty);
            return self.scalar_operator(BinaryOp::Div, ty);
        }
        self.scalar_negate(ty, a);
        self.scalar(a, ty);
        self.scalar_const(Const::one(ty));
        self.scalar(b, ty);
        is_minus_one(self);
        self.sink().select();
        self.scalar_operator(BinaryOp::Div, ty);
        is_minus_one(self);
        self.sink().select();
    }

    /// The operator itself, operands on the stack.
    pub(super) fn scalar_operator(&mut self, op: BinaryOp, ty: Type) {
        match op {
            BinaryOp::Add => typed!(self, ty, i32_add, i64_add, f32_add, f64_add),
            BinaryOp::Sub => typed!(self, ty, i32_sub, i64_sub, f32_sub, f64_sub),
            BinaryOp::Mul => typed!(self, ty, i32_mul, i64_mul, f32_mul, f64_mul),
            BinaryOp::Div if ty.is_float() => float!(self, ty, f32_div, f64_div),
            BinaryOp::Div => signed!(self, ty, i32_div_s, i32_div_u, i64_div_s, i64_div_u),
            BinaryOp::Rem => signed!(self, ty, i32_rem_s, i32_rem_u, i64_rem_s, i64_rem_u),
            BinaryOp::And => typed!(self, ty, i32_and, i64_and, nop, nop),
            BinaryOp::Or => typed!(self, ty, i32_or, i64_or, nop, nop),
            BinaryOp::Xor => typed!(self, ty, i32_xor, i64_xor, nop, nop),
            BinaryOp::Shl => typed!(self, ty, i32_shl, i64_shl, nop, nop),
            BinaryOp::Shr => signed!(self, ty, i32_shr_s, i32_shr_u, i64_shr_s, i64_shr_u),
            BinaryOp::Eq => typed!(self, ty, i32_eq, i64_eq, f32_eq, f64_eq),
            BinaryOp::Ne => typed!(self, ty, i32_ne, i64_ne, f32_ne, f64_ne),
            BinaryOp::Lt if ty.is_float() => float!(self, ty, f32_lt, f64_lt),
            BinaryOp::Le if ty.is_float() => float!(self, ty, f32_le, f64_le),
            BinaryOp::Gt if ty.is_float() => float!(self, ty, f32_gt, f64_gt),
            BinaryOp::Ge if ty.is_float() => float!(self, ty, f32_ge, f64_ge),
            BinaryOp::Lt => signed!(self, ty, i32_lt_s, i32_lt_u, i64_lt_s, i64_lt_u),
            BinaryOp::Le => signed!(self, ty, i32_le_s, i32_le_u, i64_le_s, i64_le_u),
            BinaryOp::Gt => signed!(self, ty, i32_gt_s, i32_gt_u, i64_gt_s, i64_gt_u),
            BinaryOp::Ge => signed!(self, ty, i32_ge_s, i32_ge_u, i64_ge_s, i64_ge_u),
            BinaryOp::Copysign => float!(self, ty, f32_copysign, f64_copysign),
            // `min` and `max` need their operands twice, the others are refused before.
            BinaryOp::Min | BinaryOp::Max | BinaryOp::Pow | BinaryOp::Atan2 => {
                self.sink().unreachable();
            }
        };
    }

    /// `a * b + c`, by the same instruction as in the vector body: whether it rounds once or twice
    /// is the machine's choice, but one choice.
    pub(super) fn scalar_cast(&mut self, from: Type, to: Type, a: Rep) {
        use Type::{Bool, F32, F64, I32, I64, U32, U64};
        self.scalar(a, from);
        let mut sink = self.sink();
        match (from, to) {
            (F32, I32) => sink.i32_trunc_sat_f32_s(),
            (F32, U32) => sink.i32_trunc_sat_f32_u(),
            (F32, I64) => sink.i64_trunc_sat_f32_s(),
            (F32, U64) => sink.i64_trunc_sat_f32_u(),
            (F32, F64) => sink.f64_promote_f32(),
            (F64, I32) => sink.i32_trunc_sat_f64_s(),
            (F64, U32) => sink.i32_trunc_sat_f64_u(),
            (F64, I64) => sink.i64_trunc_sat_f64_s(),
            (F64, U64) => sink.i64_trunc_sat_f64_u(),
            (F64, F32) => sink.f32_demote_f64(),
            (I32, I64 | U64) => sink.i64_extend_i32_s(),
            (Bool | U32, I64 | U64) => sink.i64_extend_i32_u(),
            (I64 | U64, I32 | U32) => sink.i32_wrap_i64(),
            (I32, F32) => sink.f32_convert_i32_s(),
            (Bool | U32, F32) => sink.f32_convert_i32_u(),
            (I32, F64) => sink.f64_convert_i32_s(),
            (Bool | U32, F64) => sink.f64_convert_i32_u(),
            (I64, F32) => sink.f32_convert_i64_s(),
            (U64, F32) => sink.f32_convert_i64_u(),
            (I64, F64) => sink.f64_convert_i64_s(),
            (U64, F64) => sink.f64_convert_i64_u(),
            // Casts to `bool` do not verify.
            (Bool | I32 | U32, Bool | I32 | U32)
            | (I64 | U64, I64 | U64)
            | (F32, F32)
            | (F64, F64)
            | (F32 | F64 | I64 | U64, Bool) => &mut sink,
        };
    }

    pub(super) fn scalar_bitcast(&mut self, from: Type, to: Type, a: Rep) {
        self.scalar(a, from);
        match (from.is_float(), to.is_float()) {
            (true, false) => float!(self, from, i32_reinterpret_f32, i64_reinterpret_f64),
            (false, true) => float!(self, to, f32_reinterpret_i32, f64_reinterpret_i64),
            (true, true) | (false, false) => {}
        }
    }
}
