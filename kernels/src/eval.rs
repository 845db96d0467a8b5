//! What each operator means for constants. The interpreter computes with these functions, constant
//! folding uses them, and every back end is tested against them.

use crate::ir::{AtomicOp, BinaryOp, CollectiveOp, Const, Type, UnaryOp};

macro_rules! as_f32 {
    ($c:expr) => {
        f32::from_bits($c.bits as u32)
    };
}
macro_rules! as_f64 {
    ($c:expr) => {
        f64::from_bits($c.bits)
    };
}

/// The value of an operator of one operand. The operator accepts the type ([`UnaryOp::accepts`]).
///
/// Transcendental functions are computed in `f64` (for `f32`) or by the platform's library (for
/// `f64`): the reference that lowered forms are held against.
pub fn unary(op: UnaryOp, a: Const) -> Const {
    match a.ty {
        Type::Bool => Const::new(Type::Bool, !a.bits),
        Type::I32 | Type::U32 | Type::I64 | Type::U64 => unary_int(op, a),
        Type::F32 => unary_f32(op, as_f32!(a)),
        Type::F64 => unary_f64(op, as_f64!(a)).into(),
    }
}

fn unary_int(op: UnaryOp, a: Const) -> Const {
    let width = a.ty.bits();
    let count = |n: u32| Const::new(a.ty, u64::from(n));
    match op {
        UnaryOp::Neg => Const::new(a.ty, a.bits.wrapping_neg()),
        UnaryOp::Not => Const::new(a.ty, !a.bits),
        UnaryOp::Abs if a.to_int() < Some(0) => Const::new(a.ty, a.bits.wrapping_neg()),
        UnaryOp::CountOnes => count(a.bits.count_ones()),
        UnaryOp::LeadingZeros => count(a.bits.leading_zeros() - (64 - width)),
        UnaryOp::TrailingZeros => count(a.bits.trailing_zeros().min(width)),
        UnaryOp::Abs
        | UnaryOp::Sqrt
        | UnaryOp::Floor
        | UnaryOp::Ceil
        | UnaryOp::Trunc
        | UnaryOp::RoundEven
        | UnaryOp::Round
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
        | UnaryOp::Erf => a,
    }
}

fn unary_f32(op: UnaryOp, a: f32) -> Const {
    match op {
        UnaryOp::Neg => (-a).into(),
        UnaryOp::Abs => a.abs().into(),
        // Correctly rounded, and exact in f32: computed there.
        UnaryOp::Sqrt => a.sqrt().into(),
        UnaryOp::Floor => a.floor().into(),
        UnaryOp::Ceil => a.ceil().into(),
        UnaryOp::Trunc => a.trunc().into(),
        UnaryOp::RoundEven => a.round_ties_even().into(),
        UnaryOp::Round => a.round().into(),
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
        | UnaryOp::Erf => (unary_f64(op, f64::from(a)) as f32).into(),
        UnaryOp::Not | UnaryOp::CountOnes | UnaryOp::LeadingZeros | UnaryOp::TrailingZeros => {
            a.into()
        }
    }
}

fn unary_f64(op: UnaryOp, a: f64) -> f64 {
    match op {
        UnaryOp::Neg => -a,
        UnaryOp::Abs => a.abs(),
        UnaryOp::Sqrt => a.sqrt(),
        UnaryOp::Floor => a.floor(),
        UnaryOp::Ceil => a.ceil(),
        UnaryOp::Trunc => a.trunc(),
        UnaryOp::RoundEven => a.round_ties_even(),
        UnaryOp::Round => a.round(),
        UnaryOp::Exp => a.exp(),
        UnaryOp::Exp2 => a.exp2(),
        UnaryOp::Ln => a.ln(),
        UnaryOp::Log2 => a.log2(),
        UnaryOp::Sin => a.sin(),
        UnaryOp::Cos => a.cos(),
        UnaryOp::Tan => a.tan(),
        UnaryOp::Tanh => a.tanh(),
        UnaryOp::Asin => a.asin(),
        UnaryOp::Acos => a.acos(),
        UnaryOp::Atan => a.atan(),
        UnaryOp::Erf => libm::erf(a),
        UnaryOp::Not | UnaryOp::CountOnes | UnaryOp::LeadingZeros | UnaryOp::TrailingZeros => a,
    }
}

/// The value of an operator of two operands of one accepted type; `None` for an integer division
/// by zero.
pub fn binary(op: BinaryOp, a: Const, b: Const) -> Option<Const> {
    match a.ty {
        Type::F32 => Some(binary_f32(op, as_f32!(a), as_f32!(b))),
        Type::F64 => Some(binary_f64(op, as_f64!(a), as_f64!(b))),
        Type::Bool | Type::I32 | Type::U32 | Type::I64 | Type::U64 => binary_int(op, a, b),
    }
}

fn binary_int(op: BinaryOp, a: Const, b: Const) -> Option<Const> {
    let ty = a.ty;
    // Sign-extended, every value of every type fits: wrapping is one cut at the end.
    let (x, y) = (a.to_int()?, b.to_int()?);
    let amount = (b.bits as u32) & (ty.bits().max(1) - 1);
    let cut = |v: i128| Some(Const::new(ty, v as u64));
    match op {
        BinaryOp::Add => cut(x + y),
        BinaryOp::Sub => cut(x - y),
        BinaryOp::Mul => cut(x.wrapping_mul(y)),
        BinaryOp::Div if y == 0 => None,
        BinaryOp::Rem if y == 0 => None,
        BinaryOp::Div => cut(x / y),
        BinaryOp::Rem => cut(x % y),
        BinaryOp::Min => cut(x.min(y)),
        BinaryOp::Max => cut(x.max(y)),
        BinaryOp::And => cut(x & y),
        BinaryOp::Or => cut(x | y),
        BinaryOp::Xor => cut(x ^ y),
        BinaryOp::Shl => cut(x << amount),
        BinaryOp::Shr => cut(x >> amount),
        BinaryOp::Eq => Some((x == y).into()),
        BinaryOp::Ne => Some((x != y).into()),
        BinaryOp::Lt => Some((x < y).into()),
        BinaryOp::Le => Some((x <= y).into()),
        BinaryOp::Gt => Some((x > y).into()),
        BinaryOp::Ge => Some((x >= y).into()),
        BinaryOp::Pow | BinaryOp::Atan2 | BinaryOp::Copysign => Some(a),
    }
}

macro_rules! binary_float {
    ($name:ident, $ty:ty, $pow:expr, $atan2:expr) => {
        fn $name(op: BinaryOp, a: $ty, b: $ty) -> Const {
            match op {
                BinaryOp::Add => (a + b).into(),
                BinaryOp::Sub => (a - b).into(),
                BinaryOp::Mul => (a * b).into(),
                BinaryOp::Div => (a / b).into(),
                // Spelled out: the library leaves the choice between −0 and +0 open.
                BinaryOp::Min => (if b < a || a.is_nan() { b } else { a }).into(),
                BinaryOp::Max => (if b > a || a.is_nan() { b } else { a }).into(),
                BinaryOp::Eq => (a == b).into(),
                BinaryOp::Ne => (a != b).into(),
                BinaryOp::Lt => (a < b).into(),
                BinaryOp::Le => (a <= b).into(),
                BinaryOp::Gt => (a > b).into(),
                BinaryOp::Ge => (a >= b).into(),
                BinaryOp::Pow => $pow(a, b).into(),
                BinaryOp::Atan2 => $atan2(a, b).into(),
                BinaryOp::Copysign => a.copysign(b).into(),
                BinaryOp::Rem
                | BinaryOp::And
                | BinaryOp::Or
                | BinaryOp::Xor
                | BinaryOp::Shl
                | BinaryOp::Shr => a.into(),
            }
        }
    };
}

binary_float!(
    binary_f32,
    f32,
    |a: f32, b: f32| f64::from(a).powf(f64::from(b)) as f32,
    |a: f32, b: f32| f64::from(a).atan2(f64::from(b)) as f32
);
binary_float!(binary_f64, f64, f64::powf, f64::atan2);

/// `a * b + c`, rounded once.
pub fn fma(a: Const, b: Const, c: Const) -> Const {
    match a.ty {
        Type::F32 => as_f32!(a).mul_add(as_f32!(b), as_f32!(c)).into(),
        Type::F64 => as_f64!(a).mul_add(as_f64!(b), as_f64!(c)).into(),
        Type::Bool | Type::I32 | Type::U32 | Type::I64 | Type::U64 => a,
    }
}

/// Conversion as Rust's `as`: integers wrap, floats round to nearest, float to integer truncates
/// and saturates, NaN gives 0.
pub fn cast(a: Const, ty: Type) -> Const {
    match (a.ty, ty) {
        (Type::F32, Type::F64) => f64::from(as_f32!(a)).into(),
        (Type::F64, Type::F32) => (as_f64!(a) as f32).into(),
        (Type::F32 | Type::F64, Type::I32) => (a.to_f64() as i32).into(),
        (Type::F32 | Type::F64, Type::U32) => (a.to_f64() as u32).into(),
        (Type::F32 | Type::F64, Type::I64) => (a.to_f64() as i64).into(),
        (Type::F32 | Type::F64, Type::U64) => (a.to_f64() as u64).into(),
        (Type::F32, Type::F32) | (Type::F64, Type::F64) => a,
        // From the integer itself: through f64 a 64-bit integer would round twice.
        (_, Type::F32) => (a.to_int().unwrap_or(0) as f32).into(),
        (_, Type::F64) => (a.to_int().unwrap_or(0) as f64).into(),
        (_, Type::Bool | Type::I32 | Type::U32 | Type::I64 | Type::U64) => {
            Const::new(ty, a.to_int().unwrap_or(0) as u64)
        }
    }
}

/// The new content of an element after an atomic operation.
pub fn atomic(op: AtomicOp, old: Const, operand: Const) -> Const {
    let op = match op {
        AtomicOp::Add => BinaryOp::Add,
        AtomicOp::Sub => BinaryOp::Sub,
        AtomicOp::Min => BinaryOp::Min,
        AtomicOp::Max => BinaryOp::Max,
        AtomicOp::And => BinaryOp::And,
        AtomicOp::Or => BinaryOp::Or,
        AtomicOp::Xor => BinaryOp::Xor,
        AtomicOp::Swap => return operand,
    };
    binary(op, old, operand).unwrap_or(old)
}

/// Two contributions to a collective, combined.
pub fn combine(op: CollectiveOp, a: Const, b: Const) -> Const {
    binary(op.binary(), a, b).unwrap_or(a)
}

#[cfg(test)]
mod tests {
    use super::{binary, cast, unary};
    use crate::ir::{BinaryOp, Const, Type, UnaryOp};

    #[test]
    fn integers_wrap_and_shifts_mask() {
        let min = Const::from(i32::MIN);
        assert_eq!(binary(BinaryOp::Div, min, (-1).into()), Some(min));
        assert_eq!(binary(BinaryOp::Rem, min, (-1).into()), Some(0.into()));
        assert_eq!(unary(UnaryOp::Abs, min), min);
        assert_eq!(binary(BinaryOp::Shl, 1u32.into(), 33u32.into()), Some(2u32.into()));
        assert_eq!(binary(BinaryOp::Shr, (-8i32).into(), 1.into()), Some((-4).into()));
        assert_eq!(binary(BinaryOp::Div, 1u64.into(), 0u64.into()), None);
        let big = Const::from(u64::MAX);
        assert_eq!(binary(BinaryOp::Mul, big, big), Some(1u64.into()));
    }

    #[test]
    fn casts_saturate() {
        assert_eq!(cast(f32::NAN.into(), Type::I32), 0.into());
        assert_eq!(cast(1e20f32.into(), Type::I32), i32::MAX.into());
        assert_eq!(cast((-1.0f64).into(), Type::U64), 0u64.into());
        assert_eq!(cast((-1i32).into(), Type::U64), u64::MAX.into());
        // 2⁶³ + 2³⁹ + 1 rounds up from the integer, but down through f64.
        let v = (1u64 << 63) + (1 << 39) + 1;
        assert_eq!(cast(v.into(), Type::F32), (v as f32).into());
    }

    #[test]
    fn min_and_max_prefer_numbers() {
        let nan = Const::from(f32::NAN);
        assert_eq!(binary(BinaryOp::Min, nan, 1.0f32.into()), Some(1.0f32.into()));
        assert_eq!(binary(BinaryOp::Max, 1.0f32.into(), nan), Some(1.0f32.into()));
    }

    #[test]
    fn counts_know_the_width() {
        assert_eq!(unary(UnaryOp::LeadingZeros, 0u32.into()), 32u32.into());
        assert_eq!(unary(UnaryOp::TrailingZeros, 0i64.into()), 64i64.into());
        assert_eq!(unary(UnaryOp::LeadingZeros, (-1i32).into()), 0i32.into());
    }
}
