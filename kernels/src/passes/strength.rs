//! Strength reduction: cheaper instructions for the same bits. Each rule replaces one slow
//! instruction by one fast one, but for signed division, where four fast ones are still faster.
//!
//! ```text
//! x * 2ᵏ   == x << k                                      integers
//! x * -1   == neg x                                       signed integers and floats
//! x / 2ᵏ   == x >> k                                      unsigned
//! x % 2ᵏ   == x & (2ᵏ − 1)                                unsigned
//! x / 2ᵏ   == (x + ((x >> width−1) & (2ᵏ − 1))) >> k      signed: rounds towards zero
//! x % 2ᵏ   == x − ((x + ((x >> width−1) & (2ᵏ − 1))) & −2ᵏ)
//! ```

use super::Pass;
use super::rewrite::{Rewrite, each_function, rewrite};
use super::rule::{Hits, Rule};
use crate::ir::builder::Builder;
use crate::ir::{BinaryOp, Const, Inst, Kernel, Type, UnaryOp, Value};

/// The pass.
pub const PASS: Pass = Pass {
    name: "strength",
    description: "replaces multiplications and divisions by powers of two",
    run,
};

/// Reduces every function.
pub fn run(kernel: &mut Kernel, hits: &mut Hits) {
    each_function(kernel, |function| rewrite(function, &mut Strength { hits }));
}

struct Strength<'h> {
    hits: &'h mut Hits,
}

impl Rewrite for Strength<'_> {
    fn value(&mut self, b: &mut Builder, value: Value) -> Option<Value> {
        let Inst::Binary(op, x, y) = b.function().def(value).inst else { return None };
        let (rule, value) = match (op, b.function().as_const(x), b.function().as_const(y)) {
            (BinaryOp::Mul, _, Some(c)) => multiply(b, x, c),
            (BinaryOp::Mul, Some(c), None) => multiply(b, y, c),
            (BinaryOp::Div, _, Some(c)) => divide(b, x, c),
            (BinaryOp::Rem, _, Some(c)) => remainder(b, x, c),
            _ => None,
        }?;
        self.hits.hit(rule);
        Some(value)
    }
}

/// k of a constant 2ᵏ with k ≥ 1.
fn power(c: Const) -> Option<u32> {
    let int = c.to_int().filter(|_| c.ty != Type::Bool)?;
    (int > 1 && int & (int - 1) == 0).then(|| int.trailing_zeros())
}

fn multiply(b: &mut Builder, x: Value, c: Const) -> Option<(Rule, Value)> {
    let minus_one = match c.ty {
        Type::F32 => c == Const::from(-1.0f32),
        Type::F64 => c == Const::from(-1.0f64),
        Type::I32 | Type::I64 => c.to_int() == Some(-1),
        Type::Bool | Type::U32 | Type::U64 => false,
    };
    if minus_one {
        return Some((Rule::MulMinusOne, b.unary(UnaryOp::Neg, x)));
    }
    let k = power(c)?;
    Some((Rule::MulPower, shift(b, BinaryOp::Shl, x, k)))
}

fn divide(b: &mut Builder, x: Value, c: Const) -> Option<(Rule, Value)> {
    let k = power(c)?;
    let (rule, x) = if c.ty.is_signed_int() {
        (Rule::DivPowerSigned, biased(b, x, c))
    } else {
        (Rule::DivPower, x)
    };
    Some((rule, shift(b, BinaryOp::Shr, x, k)))
}

fn remainder(b: &mut Builder, x: Value, c: Const) -> Option<(Rule, Value)> {
    power(c)?;
    if c.ty.is_signed_int() {
        let biased = biased(b, x, c);
        let mask = b.constant(Const::new(c.ty, c.bits.wrapping_neg()));
        let multiple = b.binary(BinaryOp::And, biased, mask);
        Some((Rule::RemPowerSigned, b.binary(BinaryOp::Sub, x, multiple)))
    } else {
        let mask = b.constant(Const::new(c.ty, c.bits - 1));
        Some((Rule::RemPower, b.binary(BinaryOp::And, x, mask)))
    }
}

/// `x`, and 2ᵏ − 1 more where it is negative: then a shift rounds towards zero.
fn biased(b: &mut Builder, x: Value, c: Const) -> Value {
    let sign = shift(b, BinaryOp::Shr, x, c.ty.bits() - 1);
    let mask = b.constant(Const::new(c.ty, c.bits - 1));
    let bias = b.binary(BinaryOp::And, sign, mask);
    b.binary(BinaryOp::Add, x, bias)
}

fn shift(b: &mut Builder, op: BinaryOp, x: Value, k: u32) -> Value {
    let ty = b.function().ty(x);
    let k = b.constant(Const::new(ty, u64::from(k)));
    b.binary(op, x, k)
}

#[cfg(test)]
mod tests {
    use super::PASS;
    use crate::interp::Data;
    use crate::ir::builder::Builder;
    use crate::ir::{Access, Axis, BinaryOp, Const, Inst, Type};
    use crate::passes::testing::{kernel_of, unchanged_by};

    /// How many instructions of `op` are left of `x op c`.
    fn left(ty: Type, op: BinaryOp, c: Const) -> usize {
        let mut b = Builder::new("strength");
        let x = b.buffer("x", ty, Access::Read);
        let y = b.buffer("y", ty, Access::ReadWrite);
        let id = b.id(Axis::X);
        let v = b.checked_load(x, id);
        let c = b.constant(c);
        let v = b.binary(op, v, c);
        b.checked_store(y, id, v);
        let kernel = kernel_of(b.finish(), 7);
        // Where these are floats, none is NaN: negating one changes its sign, multiplying need not.
        let largest = if ty.is_float() { 0xff7f_ffff } else { u64::MAX };
        let inputs = [0, 1, 7, 8, largest, largest - 8, 1 << (ty.bits() - 1)];
        let (x, y) = if ty.is_wide() {
            (Data::Wide(inputs.to_vec()), Data::Wide(vec![0; 7]))
        } else {
            (Data::Narrow(inputs.map(|v| v as u32).to_vec()), Data::Narrow(vec![0; 7]))
        };
        let after = unchanged_by(&PASS, &kernel, &[vec![x, y]]);
        let same = |inst: &Inst| matches!(inst, Inst::Binary(o, ..) if *o == op);
        after.entry.values.iter().filter(|v| same(&v.inst)).count()
    }

    #[test]
    fn powers_of_two_shift() {
        for ty in [Type::I32, Type::U32, Type::I64, Type::U64] {
            for op in [BinaryOp::Mul, BinaryOp::Div, BinaryOp::Rem] {
                assert_eq!(left(ty, op, Const::new(ty, 8)), 0);
                assert_eq!(left(ty, op, Const::new(ty, 2)), 0);
                assert_eq!(left(ty, op, Const::new(ty, 6)), 1);
            }
        }
    }

    #[test]
    fn negative_divisors_stay_and_minus_one_negates() {
        assert_eq!(left(Type::I32, BinaryOp::Div, i32::MIN.into()), 1);
        assert_eq!(left(Type::I32, BinaryOp::Mul, (-1i32).into()), 0);
        assert_eq!(left(Type::F32, BinaryOp::Mul, (-1.0f32).into()), 0);
        assert_eq!(left(Type::F32, BinaryOp::Mul, 2.0f32.into()), 1);
    }
}
