//! Which floats a random kernel computes with, so that a device's result can be told right from
//! wrong.
//!
//! Drivers may fuse, flush, reorder and divide less exactly than IEEE. Where floats may be any, only
//! back ends that keep to IEEE can be held against each other. Two narrower kinds are for all:
//!
//! - [`Floats::Exact`]: multiples of a power of two, so few that all are representable. Nothing ever
//!   rounds, fused or not, so results are equal to the bit (but for the sign of a zero, which devices
//!   may drop), and conditions, indices and conversions may depend on them. Divisors are powers of
//!   two, and there is no square root: WGSL has neither exact.
//! - [`Floats::Rounded`]: any numbers near zero, with a bound on the error of each, against real
//!   arithmetic. Nothing but floats depends on them, and only through continuous operators: what
//!   the bound does not cover is a wrong result.
//!
//! What is known of a value are its [`Bounds`], followed from operand to result. Variables, buffers,
//! parameters and results have those of a [`Floats::slot`]; a value is brought back to them before
//! it is stored ([`Floats::settling`]), or else a loop would outgrow any bound.

use crate::ir::{BinaryOp, CollectiveOp, Const, Kernel, Type, UnaryOp};

use super::Random;

/// Which floats a kernel and its arguments contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floats {
    /// Any bits.
    Any,
    /// Any but subnormal numbers.
    Normal,
    /// Numbers with which every operation is exact.
    Exact,
    /// Numbers with a bound on the error, which steer nothing.
    Rounded,
}

/// What is known of a float.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    /// No value is farther from zero.
    pub(super) magnitude: f64,
    /// Of exact floats, the power of two that all are multiples of; of rounded ones, how far they
    /// may be from what real arithmetic gives.
    pub(super) grain: f64,
}

/// How a value is brought back to the bounds of a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Settling {
    /// It is within.
    None,
    /// To a multiple of the slot's grain, where it is finer; then, where it is larger, by whole
    /// turns of twice the slot's magnitude.
    Wrap {
        /// Whether it may be finer.
        finer: bool,
        /// Whether it may be larger.
        larger: bool,
    },
    /// Times this power of two, plus a constant of half the slot's magnitude at most.
    Scale(f64),
}

/// 2²⁴: so many multiples of a power of two on each side of zero are representable in `f32`.
const EXACT_MULTIPLES: f64 = 16_777_216.0;

const EXACT_SLOT: Bounds = Bounds { magnitude: 32.0, grain: 0.25 };

/// Errors of 2⁻¹⁶, 64 ULP of the smallest number that is scaled to: room for a scaled product of two
/// slots, and far below what a wrong operator or operand does.
const ROUNDED_SLOT: Bounds = Bounds { magnitude: 4.0, grain: 1.0 / 65_536.0 };

/// Beyond these a rounded value is brought back before anything is computed from it.
const ROUNDED_MAX: Bounds = Bounds { magnitude: 256.0, grain: 1.0 / 256.0 };

/// What rounding a number of at most this magnitude once may change: one ULP of `f32`, though WGSL
/// has sums and products rounded correctly; that leaves room for flushed subnormal numbers.
fn ulp(magnitude: f64) -> f64 {
    magnitude * f64::from(f32::EPSILON)
}

impl Floats {
    /// Whether values have bounds.
    pub(super) fn is_bounded(self) -> bool {
        matches!(self, Floats::Exact | Floats::Rounded)
    }

    /// The bounds of what is stored.
    pub(super) fn slot(self) -> Bounds {
        match self {
            Floats::Exact => EXACT_SLOT,
            Floats::Rounded => ROUNDED_SLOT,
            Floats::Any | Floats::Normal => Bounds { magnitude: f64::INFINITY, grain: 0.0 },
        }
    }

    /// Whether a kernel has this operator on floats.
    pub(super) fn unary(self, op: UnaryOp) -> bool {
        let continuous = matches!(op, UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Sqrt);
        match self {
            Floats::Any | Floats::Normal => true,
            Floats::Exact => op != UnaryOp::Sqrt && !op.is_transcendental(),
            Floats::Rounded => continuous,
        }
    }

    /// Whether a kernel has this operator on floats.
    pub(super) fn binary(self, op: BinaryOp) -> bool {
        match self {
            Floats::Any | Floats::Normal => true,
            Floats::Exact => !op.is_transcendental(),
            Floats::Rounded => matches!(
                op,
                BinaryOp::Add
                    | BinaryOp::Sub
                    | BinaryOp::Mul
                    | BinaryOp::Div
                    | BinaryOp::Min
                    | BinaryOp::Max
            ),
        }
    }

    /// Whether integers and conditions are computed from floats.
    pub(super) fn steer(self) -> bool {
        self != Floats::Rounded
    }

    /// The bounds of an operator's result; `None` where they are beyond what is kept.
    pub(super) fn unary_bounds(self, op: UnaryOp, a: Bounds) -> Option<Bounds> {
        let Bounds { magnitude, grain } = a;
        self.kept(match op {
            UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Trunc
            | UnaryOp::RoundEven
            | UnaryOp::Round => Bounds { magnitude: magnitude + 1.0, grain: grain.max(1.0) },
            // Of ¼ at least, where the slope is 1 at most; WGSL's is 1 / inverseSqrt: 2 and 2.5 ULP.
            UnaryOp::Sqrt => {
                let magnitude = magnitude.max(1.0);
                Bounds { magnitude, grain: grain + 6.0 * ulp(magnitude) }
            }
            UnaryOp::Neg
            | UnaryOp::Abs
            | UnaryOp::Not
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
            | UnaryOp::TrailingZeros => a,
        })
    }

    /// The bounds of an operator's result; `None` where they are beyond what is kept. A divisor is 2
    /// or 4 among exact floats, and ½ at least among rounded ones.
    pub(super) fn binary_bounds(self, op: BinaryOp, a: Bounds, b: Bounds) -> Option<Bounds> {
        let grain = match self {
            Floats::Exact => exact_grain(op, a.grain, b.grain),
            Floats::Rounded => rounded_grain(op, a, b),
            Floats::Any | Floats::Normal => 0.0,
        };
        let magnitude = binary_magnitude(op, a.magnitude, b.magnitude);
        self.kept(Bounds { magnitude, grain })
    }

    /// The bounds of `a * b + c`, which a device may round once or twice.
    pub(super) fn fma_bounds(self, [a, b, c]: [Bounds; 3]) -> Option<Bounds> {
        let product = self.binary_bounds(BinaryOp::Mul, a, b)?;
        self.binary_bounds(BinaryOp::Add, product, c)
    }

    /// The bounds of a float that was one of another type: converting it rounds once.
    pub(super) fn cast_bounds(self, a: Bounds) -> Option<Bounds> {
        let rounding = if self == Floats::Rounded { ulp(a.magnitude) } else { 0.0 };
        self.kept(Bounds { grain: a.grain + rounding, ..a })
    }

    fn kept(self, bounds: Bounds) -> Option<Bounds> {
        let Bounds { magnitude, grain } = bounds;
        let fits = match self {
            Floats::Any | Floats::Normal => true,
            Floats::Exact => magnitude <= grain * EXACT_MULTIPLES,
            Floats::Rounded => magnitude <= ROUNDED_MAX.magnitude && grain <= ROUNDED_MAX.grain,
        };
        fits.then_some(bounds)
    }

    /// What brings a value of these bounds to those of a slot.
    pub(super) fn settling(self, bounds: Bounds) -> Settling {
        let slot = self.slot();
        match self {
            Floats::Any | Floats::Normal => Settling::None,
            Floats::Exact => {
                let finer = bounds.grain < slot.grain;
                let larger = bounds.magnitude > slot.magnitude;
                if finer || larger { Settling::Wrap { finer, larger } } else { Settling::None }
            }
            Floats::Rounded => {
                if bounds.magnitude <= slot.magnitude && bounds.grain <= slot.grain {
                    return Settling::None;
                }
                let half = slot.magnitude / 2.0;
                let room = slot.grain - ulp(slot.magnitude);
                let fits =
                    |scale: f64| bounds.magnitude * scale <= half && bounds.grain * scale <= room;
                let mut scale = 0.5;
                while !fits(scale) {
                    scale /= 2.0;
                }
                Settling::Scale(scale)
            }
        }
    }

    /// How far an element of the parameter may be from what another device has left there, after so
    /// many invocations: twice the error of each, and of a sum that of every addend and addition.
    pub fn tolerance(self, kernel: &Kernel, param: usize, invocations: u32) -> f64 {
        if self != Floats::Rounded {
            return 0.0;
        }
        let summed = kernel.collective.filter(|_| param + 1 == kernel.entry.params.len());
        let Bounds { magnitude, grain } = self.slot();
        if summed.is_some_and(|collective| collective.op == CollectiveOp::Add) {
            let count = f64::from(invocations);
            2.0 * count * (grain + ulp(count * magnitude))
        } else {
            2.0 * grain
        }
    }
}

/// No result is farther from zero.
fn binary_magnitude(op: BinaryOp, x: f64, y: f64) -> f64 {
    match op {
        BinaryOp::Add | BinaryOp::Sub => x + y,
        BinaryOp::Mul => x * y,
        // By ½ at least.
        BinaryOp::Div => 2.0 * x,
        BinaryOp::Min | BinaryOp::Max => x.max(y),
        BinaryOp::Copysign
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
        | BinaryOp::Atan2 => x,
    }
}

/// What every result is a multiple of.
fn exact_grain(op: BinaryOp, d: f64, e: f64) -> f64 {
    match op {
        BinaryOp::Mul => d * e,
        // By 4 at most.
        BinaryOp::Div => d / 4.0,
        BinaryOp::Copysign => d,
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Min
        | BinaryOp::Max
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
        | BinaryOp::Atan2 => d.min(e),
    }
}

/// The error of the result: what the operands' errors become, and rounding.
fn rounded_grain(op: BinaryOp, a: Bounds, b: Bounds) -> f64 {
    let (x, y, d, e) = (a.magnitude, b.magnitude, a.grain, b.grain);
    match op {
        BinaryOp::Add | BinaryOp::Sub => d + e + ulp(x + y),
        BinaryOp::Mul => x * e + y * d + d * e + ulp(x * y),
        // The slopes are 1/|b| and |a|/b², |b| is ½ at least; WGSL divides to 2.5 ULP. The factor of
        // the second slope covers that the erring divisor is a little nearer to zero.
        BinaryOp::Div => 2.0 * d + 5.0 * x * e + 3.0 * ulp(2.0 * x),
        BinaryOp::Min
        | BinaryOp::Max
        | BinaryOp::Copysign
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
        | BinaryOp::Atan2 => d.max(e),
    }
}

/// A float within the bounds of a slot.
pub(super) fn slot_constant(rng: &mut Random, ty: Type, floats: Floats) -> Const {
    let Bounds { magnitude, grain } = floats.slot();
    let v = if floats == Floats::Exact {
        let multiples = (magnitude / grain) as usize;
        (rng.below(2 * multiples + 1) as f64 - multiples as f64) * grain
    } else {
        // As an `f32` in both types: a conversion changes nothing.
        f64::from((f64::from(rng.next_u32() as i32) / 2_147_483_648.0 * magnitude) as f32)
    };
    if ty == Type::F64 { v.into() } else { (v as f32).into() }
}
