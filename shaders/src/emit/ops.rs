//! Operators, one function for each shape. The meaning is that of `crossover_kernels::eval`, bit
//! for bit where WGSL allows it:
//!
//! - division and square root of floats are as exact as the driver's;
//! - a driver may flush denormals, and may fuse a product with a sum;
//! - a driver may assume that there are no NaNs, so where NaN decides, its bits are looked at;
//! - rounding of `f64` is left to no driver.

use crossover_kernels::ir::{AtomicOp, BinaryOp, Const, Type, UnaryOp};
use naga::{AtomicFunction, BinaryOperator as Op, MathFunction as Math, UnaryOperator};

use super::code::{Code, Node};

impl Code<'_> {
    /// An operator of one operand of type `ty`; the transcendental ones are lowered before.
    pub(super) fn unary_op(&mut self, op: UnaryOp, ty: Type, a: Node) -> Node {
        match op {
            UnaryOp::Neg => self.unary(UnaryOperator::Negate, a),
            UnaryOp::Not if ty == Type::Bool => self.unary(UnaryOperator::LogicalNot, a),
            UnaryOp::Not => self.unary(UnaryOperator::BitwiseNot, a),
            UnaryOp::Abs if ty.is_int() => self.abs_int(ty, a),
            UnaryOp::Abs => self.math(Math::Abs, &[a]),
            UnaryOp::Sqrt => self.math(Math::Sqrt, &[a]),
            UnaryOp::Floor if ty == Type::F64 => self.step_f64(Op::Greater, Op::Subtract, a),
            UnaryOp::Floor => self.math(Math::Floor, &[a]),
            UnaryOp::Ceil if ty == Type::F64 => self.step_f64(Op::Less, Op::Add, a),
            UnaryOp::Ceil => self.math(Math::Ceil, &[a]),
            UnaryOp::Trunc => self.trunc(ty, a),
            UnaryOp::RoundEven if ty == Type::F64 => self.round(ty, a, Ties::Even),
            UnaryOp::RoundEven => self.math(Math::Round, &[a]),
            UnaryOp::Round => self.round(ty, a, Ties::Away),
            UnaryOp::CountOnes => self.count(Count::Ones, ty, a),
            UnaryOp::LeadingZeros => self.count(Count::LeadingZeros, ty, a),
            UnaryOp::TrailingZeros => self.count(Count::TrailingZeros, ty, a),
            UnaryOp::Exp
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
            | UnaryOp::Erf => unreachable!("legality refuses transcendental operators"),
        }
    }

    /// `select(a, -a, a < 0)`: wraps for the smallest integer.
    fn abs_int(&mut self, ty: Type, a: Node) -> Node {
        let zero = self.constant(Const::zero(ty));
        let negative = self.binary(Op::Less, a, zero);
        let negated = self.unary(UnaryOperator::Negate, a);
        self.select(negative, negated, a)
    }

    /// Towards zero. Drivers round `f64` wrongly (llvmpipe of Mesa 25: `trunc(2147483647.5)` is
    /// the number itself), so there the bits behind the point are cleared:
    ///
    /// ```wgsl
    /// let exponent = u32(bits >> 52u) & 0x7ffu;                       // 1023 for [1, 2)
    /// let fraction = 0xfffffffffffffu >> ((exponent - 1023u) & 63u);
    /// select(select(bits & ~fraction, bits & SIGN, exponent < 1023u), bits, exponent >= 1075u)
    /// ```
    fn trunc(&mut self, ty: Type, a: Node) -> Node {
        if ty != Type::F64 {
            return self.math(Math::Trunc, &[a]);
        }
        let bits = self.bits(ty, a);
        let by = self.u32(52);
        let high = self.binary(Op::ShiftRight, bits, by);
        let high = self.convert(high, Type::U32);
        let (mask, bias, last, width) =
            (self.u32(0x7ff), self.u32(1023), self.u32(1075), self.u32(63));
        let exponent = self.binary(Op::And, high, mask);
        let shift = self.binary(Op::Subtract, exponent, bias);
        let shift = self.binary(Op::And, shift, width);
        let mantissa = self.constant(Const::from((1u64 << 52) - 1));
        let fraction = self.binary(Op::ShiftRight, mantissa, shift);
        let whole = self.unary(UnaryOperator::BitwiseNot, fraction);
        let whole = self.binary(Op::And, bits, whole);
        let sign = self.constant(Const::from(1u64 << 63));
        let zero = self.binary(Op::And, bits, sign);
        let small = self.binary(Op::Less, exponent, bias);
        let large = self.binary(Op::GreaterEqual, exponent, last);
        let truncated = self.select(small, zero, whole);
        let truncated = self.select(large, bits, truncated);
        self.bitcast(truncated, ty)
    }

    /// `t = trunc(a)`, and one `step` further where `t` is `beyond` `a`: floor and ceiling.
    fn step_f64(&mut self, beyond: Op, step: Op, a: Node) -> Node {
        let truncated = self.trunc(Type::F64, a);
        let one = self.constant(Const::one(Type::F64));
        let next = self.binary(step, truncated, one);
        let wrong = self.binary(beyond, truncated, a);
        self.select(wrong, next, truncated)
    }

    /// `t = trunc(a)`, one further from zero where `|a - t|` is beyond a half, or a half and the
    /// tie goes there; with the sign of `a`. The difference is exact; from infinities it is NaN,
    /// which is not beyond anything.
    fn round(&mut self, ty: Type, a: Node, ties: Ties) -> Node {
        let truncated = self.trunc(ty, a);
        let rest = self.binary(Op::Subtract, a, truncated);
        let rest = self.math(Math::Abs, &[rest]);
        let half = self.constant(float(ty, 0.5));
        let magnitude = self.math(Math::Abs, &[truncated]);
        let further = match ties {
            Ties::Away => self.binary(Op::GreaterEqual, rest, half),
            Ties::Even => {
                let beyond = self.binary(Op::Greater, rest, half);
                let tie = self.binary(Op::Equal, rest, half);
                let halved = self.binary(Op::Multiply, magnitude, half);
                let whole = self.trunc(ty, halved);
                let odd = self.binary(Op::Less, whole, halved);
                let tie = self.binary(Op::LogicalAnd, tie, odd);
                self.binary(Op::LogicalOr, beyond, tie)
            }
        };
        let one = self.constant(Const::one(ty));
        let next = self.binary(Op::Add, magnitude, one);
        let rounded = self.select(further, next, magnitude);
        let signed = self.copysign(ty, rounded, a);
        let nan = self.is_nan(ty, a);
        self.select(nan, a, signed)
    }

    /// Counts on 32 bits; on 64, of both halves.
    fn count(&mut self, count: Count, ty: Type, a: Node) -> Node {
        let bits = self.bits(ty, a);
        let total = if ty.is_wide() {
            self.count_wide(count, bits)
        } else {
            self.math(count.function(), &[bits])
        };
        match ty {
            Type::U32 => total,
            Type::I64 => {
                let wide = self.convert(total, Type::U64);
                self.bitcast(wide, ty)
            }
            Type::Bool | Type::I32 | Type::F32 | Type::U64 | Type::F64 => self.convert(total, ty),
        }
    }

    fn count_wide(&mut self, count: Count, bits: Node) -> Node {
        let low = self.convert(bits, Type::U32);
        let by = self.u32(32);
        let high = self.binary(Op::ShiftRight, bits, by);
        let high = self.convert(high, Type::U32);
        let (low_count, high_count) =
            (self.math(count.function(), &[low]), self.math(count.function(), &[high]));
        let sum = self.binary(Op::Add, low_count, high_count);
        // A half of zeros counts 32: with the sum that is right exactly where it is needed.
        let zero = self.u32(0);
        match count {
            Count::Ones => sum,
            Count::LeadingZeros => {
                let empty = self.binary(Op::Equal, high, zero);
                self.select(empty, sum, high_count)
            }
            Count::TrailingZeros => {
                let empty = self.binary(Op::Equal, low, zero);
                self.select(empty, sum, low_count)
            }
        }
    }

    /// An operator of two operands of type `ty`.
    pub(super) fn binary_op(&mut self, op: BinaryOp, ty: Type, a: Node, b: Node) -> Node {
        match op {
            BinaryOp::Add => self.binary(Op::Add, a, b),
            BinaryOp::Sub => self.binary(Op::Subtract, a, b),
            BinaryOp::Mul => self.binary(Op::Multiply, a, b),
            BinaryOp::Div => self.binary(Op::Divide, a, b),
            BinaryOp::Rem => self.binary(Op::Modulo, a, b),
            BinaryOp::Min if ty.is_float() => self.extreme(Op::Less, ty, a, b),
            BinaryOp::Max if ty.is_float() => self.extreme(Op::Greater, ty, a, b),
            BinaryOp::Min if !ty.is_wide() => self.math(naga::MathFunction::Min, &[a, b]),
            BinaryOp::Max if !ty.is_wide() => self.math(naga::MathFunction::Max, &[a, b]),
            BinaryOp::Min => {
                let smaller = self.binary(Op::Less, b, a);
                self.select(smaller, b, a)
            }
            BinaryOp::Max => {
                let larger = self.binary(Op::Greater, b, a);
                self.select(larger, b, a)
            }
            BinaryOp::And if ty == Type::Bool => self.binary(Op::LogicalAnd, a, b),
            BinaryOp::Or if ty == Type::Bool => self.binary(Op::LogicalOr, a, b),
            BinaryOp::Xor if ty == Type::Bool => self.binary(Op::NotEqual, a, b),
            BinaryOp::And => self.binary(Op::And, a, b),
            BinaryOp::Or => self.binary(Op::InclusiveOr, a, b),
            BinaryOp::Xor => self.binary(Op::ExclusiveOr, a, b),
            BinaryOp::Shl => self.shift(Op::ShiftLeft, ty, a, b),
            BinaryOp::Shr => self.shift(Op::ShiftRight, ty, a, b),
            BinaryOp::Eq => self.binary(Op::Equal, a, b),
            // naga's `!=` on floats is false for NaN.
            BinaryOp::Ne if ty.is_float() => {
                let equal = self.binary(Op::Equal, a, b);
                self.unary(UnaryOperator::LogicalNot, equal)
            }
            BinaryOp::Ne => self.binary(Op::NotEqual, a, b),
            BinaryOp::Lt => self.binary(Op::Less, a, b),
            BinaryOp::Le => self.binary(Op::LessEqual, a, b),
            BinaryOp::Gt => self.binary(Op::Greater, a, b),
            BinaryOp::Ge => self.binary(Op::GreaterEqual, a, b),
            BinaryOp::Copysign => self.copysign(ty, a, b),
            BinaryOp::Pow | BinaryOp::Atan2 => {
                unreachable!("legality refuses transcendental operators")
            }
        }
    }

    /// `select(a, b, b op a || a is NaN)`
    fn extreme(&mut self, op: Op, ty: Type, a: Node, b: Node) -> Node {
        let better = self.binary(op, b, a);
        let nan = self.is_nan(ty, a);
        let other = self.binary(Op::LogicalOr, better, nan);
        self.select(other, b, a)
    }

    /// The amount is a `u32` below the width.
    fn shift(&mut self, op: Op, ty: Type, a: Node, amount: Node) -> Node {
        let narrow = if ty == Type::U32 { amount } else { self.cast(amount, ty, Type::U32) };
        let mask = self.u32(ty.bits() - 1);
        let amount = self.binary(Op::And, narrow, mask);
        self.binary(op, a, amount)
    }

    /// The magnitude of `a` and the sign of `b`, by bits.
    fn copysign(&mut self, ty: Type, a: Node, b: Node) -> Node {
        let bits = ty.bit_pattern();
        let sign = 1u64 << (ty.bits() - 1);
        let (a, b) = (self.bits(ty, a), self.bits(ty, b));
        let magnitude_mask = self.constant(Const::new(bits, sign - 1));
        let magnitude = self.binary(Op::And, a, magnitude_mask);
        let sign_mask = self.constant(Const::new(bits, sign));
        let sign = self.binary(Op::And, b, sign_mask);
        let both = self.binary(Op::InclusiveOr, magnitude, sign);
        self.bitcast(both, ty)
    }

    /// Whether a float is not a number, by bits: its magnitude is beyond that of infinity.
    fn is_nan(&mut self, ty: Type, a: Node) -> Node {
        let pattern = ty.bit_pattern();
        let bits = self.bits(ty, a);
        let magnitude_mask = self.constant(Const::new(pattern, (1 << (ty.bits() - 1)) - 1));
        let magnitude = self.binary(Op::And, bits, magnitude_mask);
        let infinity = match ty {
            Type::F64 => f64::INFINITY.to_bits(),
            _ => u64::from(f32::INFINITY.to_bits()),
        };
        let infinity = self.constant(Const::new(pattern, infinity));
        self.binary(Op::Greater, magnitude, infinity)
    }

    /// The bit pattern of a value.
    fn bits(&mut self, ty: Type, a: Node) -> Node {
        if ty == ty.bit_pattern() { a } else { self.bitcast(a, ty.bit_pattern()) }
    }

    /// Conversion as Rust's `as`.
    pub(super) fn cast(&mut self, a: Node, from: Type, to: Type) -> Node {
        if from == to {
            return a;
        }
        if from.is_float() && to.is_int() {
            return self.cast_saturating(a, from, to);
        }
        if from.is_int() && to.is_int() && from.bits() != to.bits() {
            // First the width, with the sign of the source, then the sign of the result.
            let same_sign = match (from.is_signed_int(), to.is_wide()) {
                (true, true) => Type::I64,
                (true, false) => Type::I32,
                (false, true) => Type::U64,
                (false, false) => Type::U32,
            };
            let resized = self.convert(a, same_sign);
            return if same_sign == to { resized } else { self.bitcast(resized, to) };
        }
        self.convert(a, to)
    }

    /// Saturates, and gives 0 for NaN. The conversion itself only sees numbers, which naga clamps
    /// to what the float type can express in the integer type: below that is the smallest integer,
    /// above it may not be the largest.
    fn cast_saturating(&mut self, a: Node, from: Type, to: Type) -> Node {
        let zero = self.constant(Const::zero(from));
        let nan = self.is_nan(from, a);
        let number = self.select(nan, zero, a);
        let converted = self.convert(number, to);
        let (limit, largest) = match to {
            Type::I32 => (2f64.powi(31), i32::MAX.into()),
            Type::I64 => (2f64.powi(63), i64::MAX.into()),
            Type::U64 => (2f64.powi(64), u64::MAX.into()),
            Type::Bool | Type::U32 | Type::F32 | Type::F64 => {
                (2f64.powi(32), Const::from(u32::MAX))
            }
        };
        let limit = self.constant(float(from, limit));
        let beyond = self.binary(Op::GreaterEqual, number, limit);
        let largest = self.constant(largest);
        self.select(beyond, largest, converted)
    }
}

/// An atomic operator in naga's words.
pub(super) fn atomic_function(op: AtomicOp) -> AtomicFunction {
    match op {
        AtomicOp::Add => AtomicFunction::Add,
        AtomicOp::Sub => AtomicFunction::Subtract,
        AtomicOp::Min => AtomicFunction::Min,
        AtomicOp::Max => AtomicFunction::Max,
        AtomicOp::And => AtomicFunction::And,
        AtomicOp::Or => AtomicFunction::InclusiveOr,
        AtomicOp::Xor => AtomicFunction::ExclusiveOr,
        AtomicOp::Swap => AtomicFunction::Exchange { compare: None },
    }
}

/// Where a number halfway between two integers goes.
#[derive(Clone, Copy)]
enum Ties {
    Away,
    Even,
}

#[derive(Clone, Copy)]
enum Count {
    Ones,
    LeadingZeros,
    TrailingZeros,
}

impl Count {
    fn function(self) -> Math {
        match self {
            Count::Ones => Math::CountOneBits,
            Count::LeadingZeros => Math::CountLeadingZeros,
            Count::TrailingZeros => Math::CountTrailingZeros,
        }
    }
}

/// A float constant of either width.
fn float(ty: Type, value: f64) -> Const {
    if ty == Type::F64 { value.into() } else { (value as f32).into() }
}
