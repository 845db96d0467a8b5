//! Lowering of the transcendental functions to arithmetic, so that every back end has them, as
//! vectors too, with the same bits where its arithmetic is IEEE's.
//!
//! ```text
//! exp x == its steps in `math.rs`      likewise exp2, ln, log2, sin, cos, tan, tanh,
//!                                      asin, acos, atan, atan2, erf, pow
//! ```
//!
//! There are no tables in memory and no branches, but one: sine, cosine and tangent reduce large
//! arguments under an `if`, since that takes a hundred integer instructions nobody else should pay
//! for. A sine and a cosine of one value in one block share the reduction.
//!
//! The bound that back ends are tested against is 2 ULP for every function, type and finite
//! argument; NaN, infinities, zeros and signs are as in Rust's `std`, and for `erf` as in C. Where a
//! device flushes subnormal numbers, it does so here. The worst that was measured, in ULP (2026-11, one
//! x86-64; IEEE arithmetic, not fused). Functions of one `f32` were held against `f64` on all 2³² bit
//! patterns, by `crossover ulp`; `f64` was on 60 to 100 thousand random arguments a function, against
//! mpmath and MPFR, which is a sample and no proof:
//!
//! | function | f32 | f64 | f64 arguments |
//! | --- | --- | --- | --- |
//! | `exp` | 0.96 | 0.92 | ±1, −745 to 709.7 |
//! | `exp2` | 1.08 | 1.11 | ±1, −1074 to 1023 |
//! | `ln` | 0.84 | 0.77 | ½ to 2, 1e−320 to 1e308 |
//! | `log2` | 0.83 | 0.73 | ½ to 2, 1e−307 to 1e308 |
//! | `sin` | 0.87 | 0.85 | ±10, 1e−5 to 1e6, 1e6 to 1e300 |
//! | `cos` | 0.88 | 0.78 | the same |
//! | `tan` | 1.18 | 1.04 | the same |
//! | `tanh` | 0.82 | 0.67 | 1e−10 to 2, ±22 |
//! | `asin` | 0.62 | 0.60 | ±1, 1e−12 to 1, 1 − 1e−16 to ½, 0.45 to 0.55 |
//! | `acos` | 0.64 | 0.60 | the same |
//! | `atan` | 0.69 | 0.59 | ±3, 1e−20 to 1e20, 0.2 to 5, 1e−308 to 1e308 |
//! | `erf` | 1.51 | 1.30 | ±6, 1e−10 to 1, 0.9 to 1.5 |
//! | `pow` | 1.18 | 1.19 | bases 1e−300 to 1e300, ½ to 2, 1 ± 1e−4; results of every size |
//! | `atan2` | 0.75 | 0.60 | ±1, 1e±5, 1e±300, quotients ⅕ to 5 |
//!
//! `pow` and `atan2` of `f32` were measured on 40 million random pairs each. Sine, cosine and tangent
//! of `f64` were also measured on 6000 numbers nearest to multiples of π/2, and a few of the hardest
//! known: no worse. The method `rsqrt`, a square root and a division, is at 1.50 for `f32` (all numbers)
//! and 1.49 for `f64`, subnormal numbers included.
//!
//! Devices differ from IEEE in three ways. With each division off by up to 2 ULP more, and each square
//! root by 4 (a million random `f32`), `ln` is at 0.85, `log2` at 0.89, `asin` at 0.75, `acos` at 0.73,
//! no other above the table. Products and sums are fused, and drivers simplify as if numbers were real:
//! on Mesa 25's llvmpipe (`crossover ulp --device gpu`; `tan`, `tanh`, `erf` and `atan` on all `f32`,
//! the others on every 997th) `exp` is at 1.22, all others are where they are on the CPU.

use std::collections::HashMap;

use super::Pass;
use super::math::{self, Angle};
use super::math_table::table;
use super::num::{Math, Num};
use super::rewrite::{Rewrite, each_function, rewrite};
use super::rule::{Hits, Rule};
use crate::ir::builder::Builder;
use crate::ir::{BinaryOp, Inst, Kernel, UnaryOp, Value};

/// The pass.
pub const PASS: Pass =
    Pass { name: "lower_math", description: "writes transcendental functions as arithmetic", run };

/// Lowers every function.
pub fn run(kernel: &mut Kernel, hits: &mut Hits) {
    each_function(kernel, |function| {
        rewrite(function, &mut Lower { angles: HashMap::new(), hits });
    });
}

/// An operator to lower, with its operands.
#[derive(Clone, Copy)]
enum Task {
    Unary(UnaryOp, Value),
    Binary(BinaryOp, Value, Value),
}

struct Lower<'h> {
    /// Reduced arguments of sine, cosine and tangent in the block at hand.
    angles: HashMap<Value, [Value; 3]>,
    hits: &'h mut Hits,
}

impl Rewrite for Lower<'_> {
    fn value(&mut self, b: &mut Builder, value: Value) -> Option<Value> {
        let task = match b.function().def(value).inst {
            Inst::Unary(op, x) if op.is_transcendental() => Task::Unary(op, x),
            Inst::Binary(op, x, y) if op.is_transcendental() => Task::Binary(op, x, y),
            _ => return None,
        };
        let table = table(b.function().ty(value));
        let math = Math::new(std::mem::replace(b, Builder::new("")), table);
        let result = self.lower(&math, task);
        *b = math.into_builder();
        Some(result)
    }

    fn block_changes(&mut self) {
        self.angles.clear();
    }
}

impl Lower<'_> {
    fn lower(&mut self, m: &Math, task: Task) -> Value {
        let (rule, result) = match task {
            Task::Unary(op, x) => self.lower_unary(m, op, x),
            Task::Binary(BinaryOp::Atan2, y, x) => {
                (Rule::LowerAtan2, math::atan2(m, m.num(y), m.num(x)))
            }
            Task::Binary(_, x, y) => (Rule::LowerPow, math::pow(m, m.num(x), m.num(y))),
        };
        self.hits.hit(rule);
        result.value
    }

    fn lower_unary<'m>(&mut self, m: &'m Math, op: UnaryOp, x: Value) -> (Rule, Num<'m>) {
        let num = m.num(x);
        match op {
            UnaryOp::Exp => (Rule::LowerExp, math::exp(m, num)),
            UnaryOp::Exp2 => (Rule::LowerExp2, math::exp2(m, num)),
            UnaryOp::Ln => (Rule::LowerLn, math::ln(m, num)),
            UnaryOp::Log2 => (Rule::LowerLog2, math::log2(m, num)),
            UnaryOp::Sin => (Rule::LowerSin, math::sin(m, num, self.angle(m, x))),
            UnaryOp::Cos => (Rule::LowerCos, math::cos(m, num, self.angle(m, x))),
            UnaryOp::Tan => (Rule::LowerTan, math::tan(m, num, self.angle(m, x))),
            UnaryOp::Tanh => (Rule::LowerTanh, math::tanh(m, num)),
            UnaryOp::Asin => (Rule::LowerAsin, math::asin(m, num)),
            UnaryOp::Acos => (Rule::LowerAcos, math::acos(m, num)),
            UnaryOp::Atan => (Rule::LowerAtan, math::atan(m, num)),
            UnaryOp::Erf => (Rule::LowerErf, math::erf(m, num)),
            UnaryOp::Neg
            | UnaryOp::Not
            | UnaryOp::Abs
            | UnaryOp::Sqrt
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Trunc
            | UnaryOp::RoundEven
            | UnaryOp::Round
            | UnaryOp::CountOnes
            | UnaryOp::LeadingZeros
            | UnaryOp::TrailingZeros => unreachable!("only transcendental operators are lowered"),
        }
    }

    fn angle<'m>(&mut self, m: &'m Math, x: Value) -> Angle<'m> {
        if let Some(&numbers) = self.angles.get(&x) {
            self.hits.hit(Rule::LowerShared);
            return Angle::from_numbers(numbers.map(|n| m.num(n)));
        }
        let angle = Angle::of(m, m.num(x));
        self.angles.insert(x, angle.numbers().map(|n| n.value));
        angle
    }
}

#[cfg(test)]
mod tests {
    use super::run;
    use crate::eval;
    use crate::interp::Data;
    use crate::ir::builder::Builder;
    use crate::ir::{Access, Axis, BinaryOp, Const, Inst, Kernel, Stmt, Type, UnaryOp, Value};
    use crate::passes::rule::Hits;
    use crate::passes::testing::{count, kernel_of, outcome};
    use crate::verify::verify;

    const OPS: [UnaryOp; 12] = [
        UnaryOp::Exp,
        UnaryOp::Exp2,
        UnaryOp::Ln,
        UnaryOp::Log2,
        UnaryOp::Sin,
        UnaryOp::Cos,
        UnaryOp::Tan,
        UnaryOp::Tanh,
        UnaryOp::Asin,
        UnaryOp::Acos,
        UnaryOp::Atan,
        UnaryOp::Erf,
    ];

    const POINTS: [f64; 38] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.3,
        -0.7,
        // About where a function goes over from one form to another.
        0.4142,
        0.5,
        -0.500001,
        0.99999,
        -1.0001,
        2.4143,
        3.9,
        -5.95,
        2.5,
        -3.25,
        10.0,
        100.5,
        -88.1,
        1e-3,
        1e-30,
        -1e-30,
        1e-40,
        1e30,
        99999.0,
        1e5 + 1.0,
        -3e7,
        1.6e38,
        std::f64::consts::PI,
        std::f64::consts::FRAC_PI_2,
        -151.0,
        127.9,
        129.0,
        709.5,
        -740.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];

    fn constant(ty: Type, v: f64) -> Const {
        if ty == Type::F32 { (v as f32).into() } else { v.into() }
    }

    fn data(ty: Type, values: &[Const]) -> Data {
        if ty.is_wide() {
            Data::Wide(values.iter().map(|c| c.bits).collect())
        } else {
            Data::Narrow(values.iter().map(|c| c.bits as u32).collect())
        }
    }

    /// Distance in units of the last place; equal for NaNs.
    fn ulps(a: Const, b: Const) -> u64 {
        if a.is_nan() && b.is_nan() {
            return 0;
        }
        let sign = if a.ty.is_wide() { 1u64 << 63 } else { 1 << 31 };
        if (a.bits ^ b.bits) & sign != 0 || a.is_nan() != b.is_nan() {
            return u64::MAX;
        }
        a.bits.abs_diff(b.bits)
    }

    /// `r[id] = f(x[id], y[id])`, lowered; the results for all pairs.
    fn results(
        ty: Type,
        x: &[Const],
        y: &[Const],
        f: impl FnOnce(&mut Builder, Value, Value) -> Value,
    ) -> (Kernel, Vec<Const>) {
        let mut b = Builder::new("math");
        let [px, py] = ["x", "y"].map(|name| b.buffer(name, ty, Access::Read));
        let r = b.buffer("r", ty, Access::ReadWrite);
        let id = b.id(Axis::X);
        let (vx, vy) = (b.checked_load(px, id), b.checked_load(py, id));
        let v = f(&mut b, vx, vy);
        b.checked_store(r, id, v);
        let mut kernel = kernel_of(b.finish(), x.len() as u32);
        run(&mut kernel, &mut Hits::ignored());
        kernel.entry.compact();
        verify(&kernel).expect("lowering keeps a kernel valid");
        let args = vec![data(ty, x), data(ty, y), Data::zeroed(ty, x.len())];
        let (end, args) = outcome(&kernel, args);
        assert_eq!(end, Ok(()));
        let bits: Vec<u64> = match &args[2] {
            Data::Narrow(v) => v.iter().map(|&b| u64::from(b)).collect(),
            Data::Wide(v) => v.clone(),
            Data::Scalar(_) => Vec::new(),
        };
        (kernel, bits.into_iter().map(|bits| Const::new(ty, bits)).collect())
    }

    #[test]
    fn functions_of_one_number_are_within_two_ulps() {
        for ty in [Type::F32, Type::F64] {
            let x = POINTS.map(|v| constant(ty, v));
            for op in OPS {
                let (kernel, found) = results(ty, &x, &x, |b, x, _| b.unary(op, x));
                let left = |inst: &Inst| matches!(inst, Inst::Unary(o, _) if o.is_transcendental());
                assert!(!kernel.entry.values.iter().any(|v| left(&v.inst)));
                for (x, found) in x.iter().zip(found) {
                    let expected = eval::unary(op, *x);
                    assert!(ulps(found, expected) <= 2, "{op} {x} = {found}, not {expected}");
                }
            }
        }
    }

    #[test]
    fn powers_are_within_two_ulps() {
        check_pairs(BinaryOp::Pow, &[2.0, 3.0, -2.0, 8388609.5, 16777217.0]);
    }

    /// Quotients that are subnormal, or that neither number's exponent can hold, among them.
    #[test]
    fn angles_of_points_are_within_two_ulps() {
        check_pairs(BinaryOp::Atan2, &[3e-45, 5e-324, -1.2e-38, 2e-308, 3e38, -1.7e308, 1e-8, 3e9]);
    }

    /// All pairs of the points and these further ones.
    fn check_pairs(op: BinaryOp, further: &[f64]) {
        for ty in [Type::F32, Type::F64] {
            let points = [&POINTS, further].concat();
            let pairs = points.iter().flat_map(|x| points.iter().map(move |y| (*x, *y)));
            let pairs = pairs.map(|(x, y)| (constant(ty, x), constant(ty, y)));
            let (x, y): (Vec<Const>, Vec<Const>) = pairs.unzip();
            let (kernel, found) = results(ty, &x, &y, |b, x, y| b.binary(op, x, y));
            let left = |inst: &Inst| matches!(inst, Inst::Binary(o, ..) if o.is_transcendental());
            assert!(!kernel.entry.values.iter().any(|v| left(&v.inst)));
            for ((x, y), found) in x.iter().zip(&y).zip(found) {
                let expected = eval::binary(op, *x, *y).expect("no integer division");
                assert!(ulps(found, expected) <= 2, "{op} {x} {y} = {found}, not {expected}");
            }
        }
    }

    #[test]
    fn a_sine_and_a_cosine_share_their_reduction() {
        let x = [constant(Type::F32, 0.5)];
        let (kernel, _) = results(Type::F32, &x, &x, |b, x, y| {
            let (s, c) = (b.unary(UnaryOp::Sin, x), b.unary(UnaryOp::Cos, x));
            let sum = b.binary(BinaryOp::Add, s, c);
            let other = b.unary(UnaryOp::Sin, y);
            b.binary(BinaryOp::Add, sum, other)
        });
        assert_eq!(count(&kernel, |s| matches!(s, Stmt::If { .. })), 2);
    }
}
