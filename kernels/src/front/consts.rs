//! Constants of number types: `f32::MAX`, `f64::consts::PI`, `u32::BITS`.

use crate::ir::{Const, Type};

/// The constant `ty::name`, if the language knows it.
pub(super) fn associated(ty: Type, name: &str) -> Option<Const> {
    match ty {
        Type::F32 => float(name).map(|v| Const::from(v as f32)).or_else(|| {
            Some(match name {
                "MAX" => f32::MAX.into(),
                "MIN" => f32::MIN.into(),
                "EPSILON" => f32::EPSILON.into(),
                "MIN_POSITIVE" => f32::MIN_POSITIVE.into(),
                _ => return None,
            })
        }),
        Type::F64 => float(name).map(Const::from).or_else(|| {
            Some(match name {
                "MAX" => f64::MAX.into(),
                "MIN" => f64::MIN.into(),
                "EPSILON" => f64::EPSILON.into(),
                "MIN_POSITIVE" => f64::MIN_POSITIVE.into(),
                _ => return None,
            })
        }),
        Type::I32 => integer(name, i32::MIN.into(), i32::MAX.into(), 32),
        Type::U32 => integer(name, 0u32.into(), u32::MAX.into(), 32),
        Type::I64 => integer(name, i64::MIN.into(), i64::MAX.into(), 64),
        Type::U64 => integer(name, 0u64.into(), u64::MAX.into(), 64),
        Type::Bool => None,
    }
}

fn integer(name: &str, min: Const, max: Const, bits: u32) -> Option<Const> {
    match name {
        "MIN" => Some(min),
        "MAX" => Some(max),
        "BITS" => Some(bits.into()),
        _ => None,
    }
}

/// Constants that are the same number, rounded, in both float types.
fn float(name: &str) -> Option<f64> {
    use std::f64::consts as c;
    Some(match name {
        "PI" => c::PI,
        "TAU" => c::TAU,
        "E" => c::E,
        "LN_2" => c::LN_2,
        "LN_10" => c::LN_10,
        "LOG2_E" => c::LOG2_E,
        "LOG2_10" => c::LOG2_10,
        "LOG10_2" => c::LOG10_2,
        "LOG10_E" => c::LOG10_E,
        "SQRT_2" => c::SQRT_2,
        "FRAC_1_SQRT_2" => c::FRAC_1_SQRT_2,
        "FRAC_PI_2" => c::FRAC_PI_2,
        "FRAC_PI_3" => c::FRAC_PI_3,
        "FRAC_PI_4" => c::FRAC_PI_4,
        "FRAC_PI_6" => c::FRAC_PI_6,
        "FRAC_PI_8" => c::FRAC_PI_8,
        "FRAC_1_PI" => c::FRAC_1_PI,
        "FRAC_2_PI" => c::FRAC_2_PI,
        "FRAC_2_SQRT_PI" => c::FRAC_2_SQRT_PI,
        "INFINITY" => f64::INFINITY,
        "NEG_INFINITY" => f64::NEG_INFINITY,
        "NAN" => f64::NAN,
        _ => return None,
    })
}
