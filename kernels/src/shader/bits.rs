//! Functions of bits: fields, packed vectors, numbers taken apart, half-precision floats.
//!
//! Formulas are those of the WGSL specification ("Bit reinterpretation", "Data packing built-in
//! functions"). Halves are converted by integer operations: a device may flush subnormal numbers.

use naga::MathFunction;

use super::body::Body;
use super::expr::Scalars;
use crate::ir::{BinaryOp, Const, Type, UnaryOp, Value};

impl Body<'_> {
    fn op(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        self.b.binary(op, a, b)
    }

    /// With a constant of the same type on the right.
    fn by(&mut self, op: BinaryOp, a: Value, bits: u64) -> Value {
        let ty = self.b.function().ty(a);
        let c = self.b.constant(Const::new(ty, bits));
        self.b.binary(op, a, c)
    }

    /// Functions of one lane.
    pub(super) fn of_bits(&mut self, fun: MathFunction, ty: Type, args: &[Value]) -> Option<Value> {
        let x = args[0];
        Some(match (fun, args) {
            (MathFunction::ReverseBits, _) if ty.bits() == 32 => self.reversed(x),
            (MathFunction::FirstTrailingBit, _) => {
                let at = self.b.unary(UnaryOp::TrailingZeros, x);
                self.unless_zero(x, at)
            }
            (MathFunction::FirstLeadingBit, _) => {
                let bits = if ty.is_signed_int() {
                    let sign = self.by(BinaryOp::Shr, x, u64::from(ty.bits()) - 1);
                    self.op(BinaryOp::Xor, x, sign)
                } else {
                    x
                };
                let zeros = self.b.unary(UnaryOp::LeadingZeros, bits);
                let last = self.b.constant(Const::new(ty, u64::from(ty.bits()) - 1));
                let at = self.op(BinaryOp::Sub, last, zeros);
                self.unless_zero(bits, at)
            }
            (MathFunction::ExtractBits, [x, offset, count]) if ty.bits() == 32 => {
                let (offset, count) = self.field(*offset, *count);
                let end = self.op(BinaryOp::Add, offset, count);
                let above = self.rest_of_32(end);
                let unused = self.rest_of_32(count);
                let (above, unused) = (self.as_type(above, ty), self.as_type(unused, ty));
                let raised = self.op(BinaryOp::Shl, *x, above);
                let field = self.op(BinaryOp::Shr, raised, unused);
                self.unless_none(count, field, ty)
            }
            (MathFunction::InsertBits, [x, new, offset, count]) if ty.bits() == 32 => {
                let (offset, count) = self.field(*offset, *count);
                let all = self.b.constant(u32::MAX);
                let unused = self.rest_of_32(count);
                let low = self.op(BinaryOp::Shr, all, unused);
                let mask = self.op(BinaryOp::Shl, low, offset);
                let mask = self.unless_none(count, mask, Type::U32);
                let (mask, offset) = (self.as_type(mask, ty), self.as_type(offset, ty));
                let moved = self.op(BinaryOp::Shl, *new, offset);
                let outside = self.b.unary(UnaryOp::Not, mask);
                let kept = self.op(BinaryOp::And, *x, outside);
                let inside = self.op(BinaryOp::And, moved, mask);
                self.op(BinaryOp::Or, kept, inside)
            }
            (MathFunction::QuantizeToF16, _) if ty == Type::F32 => {
                let half = self.half_of(x);
                self.of_half(half)
            }
            (MathFunction::Ldexp, [x, exponent]) => self.scaled_by_power(*x, *exponent, ty)?,
            _ => return None,
        })
    }

    /// `-1` instead, where the value is zero.
    fn unless_zero(&mut self, value: Value, at: Value) -> Value {
        let ty = self.b.function().ty(value);
        let (zero, none) = (self.zero(ty), self.b.constant(Const::new(ty, u64::MAX)));
        let is_zero = self.op(BinaryOp::Eq, value, zero);
        self.b.select(is_zero, none, at)
    }

    /// `0` instead, where a field has no bits.
    fn unless_none(&mut self, count: Value, field: Value, ty: Type) -> Value {
        let (zero, none) = (self.b.constant(0u32), self.zero(ty));
        let is_none = self.op(BinaryOp::Eq, count, zero);
        self.b.select(is_none, none, field)
    }

    /// Where a field begins and how many bits it has, inside the word; 31 and 0 where it begins behind.
    fn field(&mut self, offset: Value, count: Value) -> (Value, Value) {
        let offset = self.by(BinaryOp::Min, offset, 32);
        let rest = self.rest_of_32_all(offset);
        let count = self.op(BinaryOp::Min, count, rest);
        (self.by(BinaryOp::Min, offset, 31), count)
    }

    fn rest_of_32_all(&mut self, n: Value) -> Value {
        let all = self.b.constant(32u32);
        self.op(BinaryOp::Sub, all, n)
    }

    /// `32 - n`, held below 32: the result of a shift by 32 is not used.
    fn rest_of_32(&mut self, n: Value) -> Value {
        let rest = self.rest_of_32_all(n);
        self.by(BinaryOp::Min, rest, 31)
    }

    fn reversed(&mut self, x: Value) -> Value {
        let ty = self.b.function().ty(x);
        let mut bits = self.as_type(x, Type::U32);
        for (by, mask) in
            [(1, 0x5555_5555), (2, 0x3333_3333), (4, 0x0f0f_0f0f), (8, 0x00ff_00ff), (16, 0xffff)]
        {
            let high = self.by(BinaryOp::Shr, bits, by);
            let high = self.by(BinaryOp::And, high, mask);
            let low = self.by(BinaryOp::And, bits, mask);
            let low = self.by(BinaryOp::Shl, low, by);
            bits = self.op(BinaryOp::Or, high, low);
        }
        self.as_type(bits, ty)
    }

    // Packed vectors

    /// Functions between a word and a vector.
    pub(super) fn of_words(&mut self, fun: MathFunction, args: &[Scalars]) -> Option<Scalars> {
        use MathFunction::{
            Dot4I8Packed, Dot4U8Packed, Pack2x16float, Pack2x16snorm, Pack2x16unorm, Pack4x8snorm,
            Pack4x8unorm, Pack4xI8, Pack4xI8Clamp, Pack4xU8, Pack4xU8Clamp, Unpack2x16float,
            Unpack2x16snorm, Unpack2x16unorm, Unpack4x8snorm, Unpack4x8unorm, Unpack4xI8,
            Unpack4xU8,
        };
        let x = &args[0];
        Some(match fun {
            Pack4x8snorm => vec![self.pack(x, 8, |body, v| body.fixed_of(v, -1.0, 127.0))],
            Pack4x8unorm => vec![self.pack(x, 8, |body, v| body.fixed_of(v, 0.0, 255.0))],
            Pack2x16snorm => vec![self.pack(x, 16, |body, v| body.fixed_of(v, -1.0, 32767.0))],
            Pack2x16unorm => vec![self.pack(x, 16, |body, v| body.fixed_of(v, 0.0, 65535.0))],
            Pack2x16float => vec![self.pack(x, 16, Body::half_of)],
            Pack4xI8 | Pack4xU8 => vec![self.pack(x, 8, |body, v| body.as_type(v, Type::U32))],
            Pack4xI8Clamp => vec![self.pack(x, 8, |body, v| {
                let raised = body.by(BinaryOp::Max, v, -128i64 as u64);
                let held = body.by(BinaryOp::Min, raised, 127);
                body.as_type(held, Type::U32)
            })],
            Pack4xU8Clamp => vec![self.pack(x, 8, |body, v| body.by(BinaryOp::Min, v, 255))],
            Unpack4x8snorm => self.unpack(x[0], 8, true, |body, v| body.of_fixed(v, 127.0)),
            Unpack4x8unorm => self.unpack(x[0], 8, false, |body, v| body.of_fixed(v, 255.0)),
            Unpack2x16snorm => self.unpack(x[0], 16, true, |body, v| body.of_fixed(v, 32767.0)),
            Unpack2x16unorm => self.unpack(x[0], 16, false, |body, v| body.of_fixed(v, 65535.0)),
            Unpack2x16float => self.unpack(x[0], 16, false, Body::of_half),
            Unpack4xI8 => self.unpack(x[0], 8, true, |_, v| v),
            Unpack4xU8 => self.unpack(x[0], 8, false, |_, v| v),
            Dot4I8Packed | Dot4U8Packed => {
                let signed = fun == Dot4I8Packed;
                let a = self.unpack(x[0], 8, signed, |_, v| v);
                let b = self.unpack(args.get(1)?[0], 8, signed, |_, v| v);
                vec![self.dot(&a, &b)]
            }
            _ => return None,
        })
    }

    /// Fields of so many bits each, the first lowest; `field` makes a `u32` of an element.
    fn pack(
        &mut self,
        elements: &[Value],
        bits: u64,
        field: impl Fn(&mut Self, Value) -> Value,
    ) -> Value {
        let mut word = self.b.constant(0u32);
        for (at, &element) in elements.iter().enumerate() {
            let field = field(self, element);
            let field = self.by(BinaryOp::And, field, (1 << bits) - 1);
            let placed = self.by(BinaryOp::Shl, field, at as u64 * bits);
            word = self.op(BinaryOp::Or, word, placed);
        }
        word
    }

    /// The fields of a word, as `i32` or `u32`, and what `element` makes of each.
    fn unpack(
        &mut self,
        word: Value,
        bits: u64,
        signed: bool,
        element: impl Fn(&mut Self, Value) -> Value,
    ) -> Scalars {
        let ty = if signed { Type::I32 } else { Type::U32 };
        let word = self.as_type(word, ty);
        let fields = (0..32 / bits).map(|at| {
            let raised = self.by(BinaryOp::Shl, word, 32 - bits - at * bits);
            let field = self.by(BinaryOp::Shr, raised, 32 - bits);
            element(self, field)
        });
        fields.collect()
    }

    /// `⌊0.5 + scale · clamp(v, low, 1)⌋`
    fn fixed_of(&mut self, v: Value, low: f32, scale: f32) -> Value {
        let (low, one) = (self.b.constant(low), self.b.constant(1f32));
        let (half, scale) = (self.b.constant(0.5f32), self.b.constant(scale));
        let raised = self.op(BinaryOp::Max, v, low);
        let held = self.op(BinaryOp::Min, raised, one);
        let scaled = self.op(BinaryOp::Mul, scale, held);
        let shifted = self.op(BinaryOp::Add, half, scaled);
        let whole = self.b.unary(UnaryOp::Floor, shifted);
        let number = self.b.cast(whole, Type::I32);
        self.as_type(number, Type::U32)
    }

    /// `max(v / scale, -1)`
    fn of_fixed(&mut self, v: Value, scale: f32) -> Value {
        let number = self.b.cast(v, Type::F32);
        let (scale, low) = (self.b.constant(scale), self.b.constant(-1f32));
        let ratio = self.op(BinaryOp::Div, number, scale);
        self.op(BinaryOp::Max, ratio, low)
    }

    // Half precision

    /// The half that is next to an `f32`, of two the even one.
    fn half_of(&mut self, v: Value) -> Value {
        let bits = self.b.bitcast(v, Type::U32);
        let sign = self.by(BinaryOp::Shr, bits, 16);
        let sign = self.by(BinaryOp::And, sign, 0x8000);
        let size = self.by(BinaryOp::And, bits, 0x7fff_ffff);
        // Rounded at bit 13, in integers; a carry reaches the exponent, or infinity.
        let last = self.by(BinaryOp::Shr, size, 13);
        let last = self.by(BinaryOp::And, last, 1);
        let up = self.by(BinaryOp::Add, size, 0xfff);
        let up = self.op(BinaryOp::Add, up, last);
        let rebased = self.by(BinaryOp::Sub, up, 112 << 23);
        let normal = self.by(BinaryOp::Shr, rebased, 13);
        // Below 2⁻¹⁴: in units of 2⁻²⁴.
        let absolute = self.b.unary(UnaryOp::Abs, v);
        let unit = self.b.constant(16_777_216f32);
        let units = self.op(BinaryOp::Mul, absolute, unit);
        let units = self.b.unary(UnaryOp::RoundEven, units);
        let small = self.b.cast(units, Type::U32);
        let is_small = self.by(BinaryOp::Lt, size, 113 << 23);
        let finite = self.b.select(is_small, small, normal);
        let (infinity, nan) = (self.b.constant(0x7c00u32), self.b.constant(0x7e00u32));
        let is_large = self.by(BinaryOp::Ge, size, 143 << 23);
        let number = self.b.select(is_large, infinity, finite);
        let is_nan = self.by(BinaryOp::Gt, size, 0x7f80_0000);
        let number = self.b.select(is_nan, nan, number);
        self.op(BinaryOp::Or, sign, number)
    }

    /// The `f32` that a half is.
    fn of_half(&mut self, half: Value) -> Value {
        let sign = self.by(BinaryOp::And, half, 0x8000);
        let sign = self.by(BinaryOp::Shl, sign, 16);
        let size = self.by(BinaryOp::And, half, 0x7fff);
        let body = self.by(BinaryOp::Shl, size, 13);
        let normal = self.by(BinaryOp::Add, body, 112 << 23);
        let special = self.by(BinaryOp::Or, body, 0x7f80_0000);
        let units = self.b.cast(size, Type::F32);
        let unit = self.b.constant(1.0f32 / 16_777_216.0);
        let small = self.op(BinaryOp::Mul, units, unit);
        let small = self.b.bitcast(small, Type::U32);
        let is_small = self.by(BinaryOp::Lt, size, 0x400);
        let number = self.b.select(is_small, small, normal);
        let is_special = self.by(BinaryOp::Ge, size, 0x7c00);
        let number = self.b.select(is_special, special, number);
        let bits = self.op(BinaryOp::Or, sign, number);
        self.b.bitcast(bits, Type::F32)
    }

    // Numbers taken apart

    /// `x · 2ⁿ`, in two steps, so that neither factor overflows.
    fn scaled_by_power(&mut self, x: Value, exponent: Value, ty: Type) -> Option<Value> {
        let (mantissa, bias) = float_format(ty)?;
        let bits = ty.bit_pattern();
        let signed = if bits == Type::U64 { Type::I64 } else { Type::I32 };
        let exponent = self.b.cast(exponent, signed);
        let raised = self.by(BinaryOp::Max, exponent, (-2 * bias + 2) as u64);
        let held = self.by(BinaryOp::Min, raised, 2 * bias as u64);
        let first = self.by(BinaryOp::Shr, held, 1);
        let second = self.op(BinaryOp::Sub, held, first);
        let mut product = x;
        for part in [first, second] {
            let biased = self.by(BinaryOp::Add, part, bias as u64);
            let placed = self.by(BinaryOp::Shl, biased, mantissa);
            let factor = self.b.bitcast(placed, ty);
            product = self.op(BinaryOp::Mul, product, factor);
        }
        Some(product)
    }

    /// A fraction in `[0.5, 1)` and an exponent, of each lane: all fractions, then all exponents.
    pub(super) fn frexp(&mut self, lanes: &[Value], ty: Type) -> Option<Scalars> {
        let parts: Option<Vec<[Value; 2]>> = lanes.iter().map(|&x| self.apart(x, ty)).collect();
        let parts = parts?;
        Some([0, 1].into_iter().flat_map(|part| parts.iter().map(move |p| p[part])).collect())
    }

    fn apart(&mut self, x: Value, ty: Type) -> Option<[Value; 2]> {
        let (mantissa, bias) = float_format(ty)?;
        let pattern = ty.bit_pattern();
        let magnitude = self.b.unary(UnaryOp::Abs, x);
        let least = self.number(ty, 2f64.powi(1 - bias as i32));
        let is_small = self.op(BinaryOp::Lt, magnitude, least);
        // Subnormal numbers become normal ones.
        let lift = self.number(ty, 2f64.powi(mantissa as i32 + 1));
        let lifted = self.op(BinaryOp::Mul, x, lift);
        let normal = self.b.select(is_small, lifted, x);
        let bits = self.b.bitcast(normal, pattern);
        let field = self.by(BinaryOp::Shr, bits, mantissa);
        let field = self.by(BinaryOp::And, field, 2 * bias as u64 + 1);
        let stays = !((2 * bias as u64 + 1) << mantissa);
        let fraction = self.by(BinaryOp::And, bits, stays);
        let fraction = self.by(BinaryOp::Or, fraction, (bias as u64 - 1) << mantissa);
        let fraction = self.b.bitcast(fraction, ty);
        let field = self.b.cast(field, Type::I32);
        let exponent = self.by(BinaryOp::Sub, field, bias as u64 - 1);
        let lowered = self.by(BinaryOp::Sub, exponent, mantissa + 1);
        let exponent = self.b.select(is_small, lowered, exponent);
        // Zero, infinity and NaN are their own fractions.
        let (zero, none) = (self.zero(ty), self.b.constant(0i32));
        let infinity = self.number(ty, f64::INFINITY);
        let is_zero = self.op(BinaryOp::Eq, x, zero);
        let is_finite = self.op(BinaryOp::Lt, magnitude, infinity);
        let is_special = self.b.unary(UnaryOp::Not, is_finite);
        let is_special = self.op(BinaryOp::Or, is_zero, is_special);
        Some([self.b.select(is_special, x, fraction), self.b.select(is_special, none, exponent)])
    }
}

/// Bits of the mantissa, and the bias of the exponent.
fn float_format(ty: Type) -> Option<(u64, i64)> {
    match ty {
        Type::F32 => Some((23, 127)),
        Type::F64 => Some((52, 1023)),
        _ => None,
    }
}
