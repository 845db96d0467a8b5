//! Scalar types and constants. Everything a kernel computes with is one of these; buffers and
//! arrays are sequences of them.

use std::fmt;

/// A scalar type. `usize` in kernel source is [`Type::U32`]: a buffer holds at most 2³² elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Type {
    /// A truth value. Not storable in buffers.
    Bool,
    /// 32-bit signed integer.
    I32,
    /// 32-bit unsigned integer; also every index and length.
    U32,
    /// 32-bit IEEE 754 number.
    F32,
    /// 64-bit signed integer.
    I64,
    /// 64-bit unsigned integer.
    U64,
    /// 64-bit IEEE 754 number.
    F64,
}

impl Type {
    /// Every type, narrow ones first.
    pub const ALL: [Type; 7] =
        [Type::Bool, Type::I32, Type::U32, Type::F32, Type::I64, Type::U64, Type::F64];

    /// The types a buffer can hold.
    pub const STORABLE: [Type; 6] =
        [Type::I32, Type::U32, Type::F32, Type::I64, Type::U64, Type::F64];

    /// The spelling, in source and in the text form.
    pub fn name(self) -> &'static str {
        match self {
            Type::Bool => "bool",
            Type::I32 => "i32",
            Type::U32 => "u32",
            Type::F32 => "f32",
            Type::I64 => "i64",
            Type::U64 => "u64",
            Type::F64 => "f64",
        }
    }

    /// The type spelled `name`; `usize` is `u32`.
    pub fn from_name(name: &str) -> Option<Type> {
        if name == "usize" {
            return Some(Type::U32);
        }
        Type::ALL.into_iter().find(|ty| ty.name() == name)
    }

    /// Bytes of one element in a buffer. `bool` counts as four, the width of its mask.
    pub fn bytes(self) -> usize {
        match self {
            Type::Bool | Type::I32 | Type::U32 | Type::F32 => 4,
            Type::I64 | Type::U64 | Type::F64 => 8,
        }
    }

    /// Bits of one value: 1 for `bool`.
    pub fn bits(self) -> u32 {
        match self {
            Type::Bool => 1,
            Type::I32 | Type::U32 | Type::F32 => 32,
            Type::I64 | Type::U64 | Type::F64 => 64,
        }
    }

    /// Whether this is `f32` or `f64`.
    pub fn is_float(self) -> bool {
        matches!(self, Type::F32 | Type::F64)
    }

    /// Whether this is an integer; `bool` is not.
    pub fn is_int(self) -> bool {
        matches!(self, Type::I32 | Type::U32 | Type::I64 | Type::U64)
    }

    /// Whether this is `i32` or `i64`.
    pub fn is_signed_int(self) -> bool {
        matches!(self, Type::I32 | Type::I64)
    }

    /// Whether this is 64 bits wide.
    pub fn is_wide(self) -> bool {
        self.bits() == 64
    }

    /// The integer type of the same width without a sign: the type of this type's bit pattern.
    pub fn bit_pattern(self) -> Type {
        if self.is_wide() { Type::U64 } else { Type::U32 }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A typed constant as its bit pattern, zero-extended to 64 bits; `bool` is 0 or 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Const {
    /// The type of the constant.
    pub ty: Type,
    /// Its bits; the upper half is zero for 32-bit types.
    pub bits: u64,
}

impl Const {
    /// The constant with these bits, cut to the width of `ty`.
    pub fn new(ty: Type, bits: u64) -> Const {
        let bits = match ty {
            Type::Bool => bits & 1,
            Type::I32 | Type::U32 | Type::F32 => bits & 0xffff_ffff,
            Type::I64 | Type::U64 | Type::F64 => bits,
        };
        Const { ty, bits }
    }

    /// Zero, or `false`.
    pub fn zero(ty: Type) -> Const {
        Const { ty, bits: 0 }
    }

    /// One, or `true`.
    pub fn one(ty: Type) -> Const {
        match ty {
            Type::Bool | Type::I32 | Type::U32 | Type::I64 | Type::U64 => Const { ty, bits: 1 },
            Type::F32 => 1.0f32.into(),
            Type::F64 => 1.0f64.into(),
        }
    }

    /// The value as `f64`: exact for all but large 64-bit integers.
    pub fn to_f64(self) -> f64 {
        match self.ty {
            Type::Bool | Type::U32 | Type::U64 => self.bits as f64,
            Type::I32 => f64::from(self.bits as u32 as i32),
            Type::I64 => self.bits as i64 as f64,
            Type::F32 => f64::from(f32::from_bits(self.bits as u32)),
            Type::F64 => f64::from_bits(self.bits),
        }
    }

    /// The value of an integer or `bool` constant, sign-extended; `None` for floats.
    pub fn to_int(self) -> Option<i128> {
        match self.ty {
            Type::Bool | Type::U32 | Type::U64 => Some(i128::from(self.bits)),
            Type::I32 => Some(i128::from(self.bits as u32 as i32)),
            Type::I64 => Some(i128::from(self.bits as i64)),
            Type::F32 | Type::F64 => None,
        }
    }

    /// Whether this is a float whose value is not a number.
    pub fn is_nan(self) -> bool {
        match self.ty {
            Type::F32 => f32::from_bits(self.bits as u32).is_nan(),
            Type::F64 => f64::from_bits(self.bits).is_nan(),
            Type::Bool | Type::I32 | Type::U32 | Type::I64 | Type::U64 => false,
        }
    }
}

macro_rules! const_from {
    ($($rust:ty => $ty:ident, |$v:ident| $bits:expr;)*) => {$(
        impl From<$rust> for Const {
            fn from($v: $rust) -> Const {
                Const { ty: Type::$ty, bits: $bits }
            }
        }
    )*};
}

const_from! {
    bool => Bool, |v| u64::from(v);
    i32 => I32, |v| u64::from(v as u32);
    u32 => U32, |v| u64::from(v);
    f32 => F32, |v| u64::from(v.to_bits());
    i64 => I64, |v| v as u64;
    u64 => U64, |v| v;
    f64 => F64, |v| v.to_bits();
}

impl fmt::Debug for Const {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Integers in decimal; floats as their shortest decimal form where it reads back to the same bits,
/// else (NaN, infinities) as `0x…` bits.
impl fmt::Display for Const {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ty {
            Type::Bool => write!(f, "{}", self.bits == 1),
            Type::I32 => write!(f, "{}", self.bits as u32 as i32),
            Type::I64 => write!(f, "{}", self.bits as i64),
            Type::U32 | Type::U64 => write!(f, "{}", self.bits),
            Type::F32 if f32::from_bits(self.bits as u32).is_finite() => {
                write!(f, "{:?}", f32::from_bits(self.bits as u32))
            }
            Type::F64 if f64::from_bits(self.bits).is_finite() => {
                write!(f, "{:?}", f64::from_bits(self.bits))
            }
            Type::F32 | Type::F64 => write!(f, "{:#x}", self.bits),
        }
    }
}
