//! The transcendental functions as arithmetic: each is written once, over [`Num`], and emits the
//! same steps for `f32` and `f64` with the constants of its [`Table`](super::math_table::Table).
//!
//! - `exp`, `exp2`: x = n·ln 2 + r, then 2ⁿ · eʳ; 2ⁿ in two factors, so that subnormal results
//!   round once.
//! - `tanh`: t / (t + 2) with t = e²ˣ − 1, as a pair of numbers above and below.
//! - `ln`, `log2`: x = 2ᵏ·(1 + f), then the series in s = f / (2 + f) (fdlibm).
//! - `sin`, `cos`, `tan`: x = n·π/2 + r, r as a pair; near zero by subtracting π/2 in parts (Cody
//!   and Waite), far away by multiplying with the digits of 2/π that matter (Payne and Hanek).
//! - `pow`: 2^(y·log₂ x), the logarithm and the product as pairs (fdlibm).
//! - `atan`, `atan2`: the smaller coordinate over the larger, t, turned back by π/4 where it is beyond
//!   tan π/8; then a series in t², and quarters of π are added as a pair.
//! - `asin`, `acos`: a series in x² up to ½; beyond, in (1 − x)/2, whose root is half the angle's sine
//!   (fdlibm).
//! - `erf`: x + x·p(x²) near zero; beyond, 1 − e^p(x), p being the logarithm of what is left to 1.
//!
//! A pair `hi + lo` is kept exact by splitting factors into halves, so a device that fuses a
//! multiplication with an addition, or does not, loses nothing. Divisions and roots that reach a
//! result are corrected by their remainder: a device that divides to 2.5 ULP stays within the bounds.
//! NaNs are told by their bits, since devices may assume that there are none.
//!
//! Drivers also simplify by the rules of real numbers: to Mesa, (a + b) − a is b, and a·b + a·c is
//! a·(b + c), so that the difference which shows what was lost is nothing, and exact products are
//! rounded. Behind an operation on bits they see neither a sum nor a product: there, numbers lose their
//! last bit ([`Num::blunt`]), the upper part of a sum to the lower one.

use super::num::{Math, Num};

/// eˣ.
pub(super) fn exp<'m>(m: &'m Math, x: Num<'m>) -> Num<'m> {
    let [low, high] = m.table.exp_range;
    let (n, r) = reduce_ln2(m, x.max(m.float(low)).min(m.float(high)));
    let y = m.float(1.0) + exp_minus_one(m, r.sum());
    keep_nan(m, x, scale(m, y, n))
}

/// 2ˣ.
pub(super) fn exp2<'m>(m: &'m Math, x: Num<'m>) -> Num<'m> {
    let [low, high] = m.table.exp2_range;
    let clamped = x.max(m.float(low)).min(m.float(high));
    let n = clamped.round_even();
    keep_nan(m, x, scale(m, exp2_near(m, clamped - n), n))
}

/// Hyperbolic tangent.
pub(super) fn tanh<'m>(m: &'m Math, x: Num<'m>) -> Num<'m> {
    let one = m.float(1.0);
    let a = x.abs().min(m.float(m.table.tanh_max));
    let (n, r) = reduce_ln2(m, a + a);
    let power = pow2(m, n.whole_to_int());
    let r = fast_two_sum(r.hi, r.lo);
    let near = fast_two_sum(r.hi, exp_bend(m, r.hi) + (r.lo + r.lo * r.hi));
    let part = Pair { hi: power * near.hi, lo: power * near.lo };
    // t is power − 1 + part. Each step keeps what it loses: the power may be far above 1.
    let around = |unit: Num<'m>| {
        let base = fast_two_sum(power, unit);
        let sum = fast_two_sum(base.hi, part.hi);
        Pair { hi: sum.hi, lo: sum.lo + (base.lo + part.lo) }
    };
    let (above, below) = (around(-one), around(one));
    keep_nan(m, x, quotient(m, above, below).copysign(x))
}

/// The error function.
pub(super) fn erf<'m>(m: &'m Math, x: Num<'m>) -> Num<'m> {
    let [near, far] = m.table.erf_range.map(|c| m.float(c));
    let a = x.abs();
    let small = a.min(near);
    let inner = small + small * polynomial(m, small * small, m.table.erf);
    // Near the smallest numbers the second summand is subnormal, and some devices drop it.
    let slope = m.float(1.0 + m.table.erf[0]);
    let inner = small.lt(m.float(m.table.tiny * 1024.0)).pick(small * slope, inner);
    let large = a.max(near).min(far);
    let log = polynomial(m, large - m.float(1.0), m.table.ln_erfc);
    let (n, r) = reduce_ln2(m, log);
    let rest = (m.float(1.0) + exp_minus_one(m, r.sum())) * pow2(m, n.whole_to_int());
    let size = a.lt(near).pick(inner, m.float(1.0) - rest);
    keep_nan(m, x, size.copysign(x))
}

/// Arc sine.
pub(super) fn asin<'m>(m: &'m Math, x: Num<'m>) -> Num<'m> {
    let [pi_half, pi_half_low] = m.table.pi_half.map(|c| m.float(c));
    let half = HalfAngle::of(m, x.abs());
    let Pair { hi, lo } = half.angle;
    let sum = fast_two_sum(pi_half, -(hi + hi));
    let beyond = sum.hi + (sum.lo + (pi_half_low - (lo + lo)));
    sine_or_nan(m, x, half.halved.pick(beyond, hi + lo).copysign(x))
}

/// Arc cosine.
pub(super) fn acos<'m>(m: &'m Math, x: Num<'m>) -> Num<'m> {
    let (zero, one, two) = (m.float(0.0), m.float(1.0), m.float(2.0));
    let half = HalfAngle::of(m, x.abs());
    let negative = is_negative(m, x);
    // π/2 − asin x, and beyond ½ twice the half angle, or π less that.
    let quarters = half.halved.pick(negative.pick(two, zero), one);
    let factor = half.halved.pick(negative.pick(-two, two), negative.pick(one, -one));
    let [pi_half, pi_half_low] = m.table.pi_half.map(|c| m.float(c));
    let sum = fast_two_sum(quarters * pi_half, factor * half.angle.hi);
    let low = quarters * pi_half_low + factor * half.angle.lo;
    sine_or_nan(m, x, sum.hi + (sum.lo + low))
}

/// Arc tangent.
pub(super) fn atan<'m>(m: &'m Math, x: Num<'m>) -> Num<'m> {
    let one = m.float(1.0);
    let size = x.abs();
    // From 2⁶⁰ on it is π/2, below 2⁻³⁰ the number itself.
    let a = size.min(m.float(2f64.powi(60)));
    let steep = a.gt(one);
    let (larger, smaller) = (steep.pick(a, one), steep.pick(one, a));
    let middle = smaller.gt(larger * m.float(TAN_PI_EIGHTH));
    let rest = atan_near(m, tangent(m, larger, smaller, middle));
    let quarters = middle.pick(one, m.float(0.0));
    let quarters = steep.pick(m.float(2.0) - quarters, quarters);
    let angle = turned(m, quarters, negated_if(steep, rest));
    let angle = size.lt(m.float(2f64.powi(-30))).pick(size, angle);
    keep_nan(m, x, angle.copysign(x))
}

/// The angle of the point (`x`, `y`).
pub(super) fn atan2<'m>(m: &'m Math, y: Num<'m>, x: Num<'m>) -> Num<'m> {
    let (zero, one) = (m.float(0.0), m.float(1.0));
    let (width, height) = (x.abs(), y.abs());
    let steep = height.gt(width);
    let (larger, smaller) = (steep.pick(height, width), steep.pick(width, height));
    let infinity = m.uint(m.table.infinity);
    let alone = larger.bits().eq(infinity) & smaller.bits().ne(infinity);
    let smaller = alone.pick(zero, smaller);
    // Both without their exponents: no quotient overflows, or is subnormal before the end.
    let (k, a) = exponent_and_mantissa(m, larger);
    let (k_smaller, b) = exponent_and_mantissa(m, smaller);
    let b = smaller.eq(zero).pick(zero, b);
    let shift = k_smaller - k;
    let tiny = shift.lt(m.float(TINY_RATIO));
    let b = b * pow2(m, tiny.pick(zero, shift).whole_to_int());
    let middle = b.gt(a * m.float(TAN_PI_EIGHTH)) & !tiny;
    let tangent = tangent(m, a, b, middle);
    let near = atan_near(m, tangent);
    // The arc tangent of a tiny tangent is the same.
    let shift = shift.max(m.float(m.table.exp2_range[0]));
    let hi = tiny.pick(scale(m, tangent.sum(), shift), near.hi);
    let rest = Pair { hi, lo: tiny.pick(zero, near.lo) };
    let left = is_negative(m, x);
    let quarters = middle.pick(one, zero);
    let quarters = steep.pick(m.float(2.0) - quarters, quarters);
    let quarters = left.pick(m.float(4.0) - quarters, quarters);
    let angle = turned(m, quarters, negated_if(steep ^ left, rest));
    let undefined = is_nan(m, x) | is_nan(m, y);
    undefined.pick(m.of_bits(m.table.nan), angle.copysign(y))
}

/// Natural logarithm.
pub(super) fn ln<'m>(m: &'m Math, x: Num<'m>) -> Num<'m> {
    let (k, mantissa) = exponent_and_mantissa(m, x);
    let f = mantissa - m.float(1.0);
    let (s, half_square, tail) = log1p_parts(m, f);
    let [high, low] = m.table.ln2;
    let small = s * (half_square + tail) + k * m.float(low);
    let y = k * m.float(high) + (f - (half_square - small));
    log_edges(m, x, y)
}

/// Logarithm to base 2.
pub(super) fn log2<'m>(m: &'m Math, x: Num<'m>) -> Num<'m> {
    let (k, mantissa) = exponent_and_mantissa(m, x);
    let f = mantissa - m.float(1.0);
    let (s, half_square, tail) = log1p_parts(m, f);
    let high = split(m, f - half_square);
    let low = ((f - high) - half_square) + s * (half_square + tail);
    let [inv_high, inv_low] = m.table.inv_ln2;
    let main = high * m.float(inv_high);
    let rest = (low + high) * m.float(inv_low) + low * m.float(inv_high);
    // |main| ≤ ½ < |k|, or k is 0 and nothing is lost.
    let sum = fast_two_sum(k, main);
    log_edges(m, x, sum.hi + (sum.lo + rest))
}

/// `a` to the power `b`.
pub(super) fn pow<'m>(m: &'m Math, x: Num<'m>, y: Num<'m>) -> Num<'m> {
    let one = m.float(1.0);
    let zero = m.float(0.0);
    let infinity = m.of_bits(m.table.infinity);
    let nan = m.of_bits(m.table.nan);
    let a = x.abs();
    let positive = pow_positive(m, a, y);
    // 0 and ∞ to a power: 0 where the power shrinks, ∞ where it grows.
    let edge = a.eq(zero) | a.eq(infinity);
    let shrinks = a.eq(zero) ^ y.lt(zero);
    let size = edge.pick(shrinks.pick(zero, infinity), positive);
    let size = a.eq(one).pick(one, size);
    let half = y * m.float(0.5);
    let whole = y.trunc().eq(y);
    let odd = whole & half.trunc().ne(half);
    let negative = is_negative(m, x);
    let signed = (negative & odd).pick(-size, size);
    let undefined = negative & !whole & !edge;
    let result = undefined.pick(nan, signed);
    let result = (is_nan(m, x) | is_nan(m, y)).pick(nan, result);
    (x.eq(one) | y.eq(zero)).pick(one, result)
}

/// Sine.
pub(super) fn sin<'m>(m: &'m Math, x: Num<'m>, angle: Angle<'m>) -> Num<'m> {
    let (sine, cosine) = (sin_near(m, angle).sum(), cos_near(m, angle).sum());
    let one = m.int(1);
    let value = (angle.quadrant & one).eq(m.int(0)).pick(sine, cosine);
    let value = flip(m, value, angle.quadrant);
    // The sign of the argument last: −0 stays −0.
    let sign = x.bits() & m.uint(1 << (m.table.width - 1));
    finite_or_nan(m, x, (value.bits() ^ sign).float())
}

/// Cosine.
pub(super) fn cos<'m>(m: &'m Math, x: Num<'m>, angle: Angle<'m>) -> Num<'m> {
    let (sine, cosine) = (sin_near(m, angle).sum(), cos_near(m, angle).sum());
    let one = m.int(1);
    let value = (angle.quadrant & one).eq(m.int(0)).pick(cosine, sine);
    finite_or_nan(m, x, flip(m, value, angle.quadrant + one))
}

/// Tangent.
pub(super) fn tan<'m>(m: &'m Math, x: Num<'m>, angle: Angle<'m>) -> Num<'m> {
    let (sine, cosine) = (sin_near(m, angle), cos_near(m, angle));
    let even = (angle.quadrant & m.int(1)).eq(m.int(0));
    let above = Pair { hi: even.pick(sine.hi, -cosine.hi), lo: even.pick(sine.lo, -cosine.lo) };
    let below = Pair { hi: even.pick(cosine.hi, sine.hi), lo: even.pick(cosine.lo, sine.lo) };
    let sign = x.bits() & m.uint(1 << (m.table.width - 1));
    finite_or_nan(m, x, (quotient(m, above, below).bits() ^ sign).float())
}

/// The sum of two numbers that does not fit one.
#[derive(Clone, Copy)]
struct Pair<'m> {
    hi: Num<'m>,
    lo: Num<'m>,
}

impl<'m> Pair<'m> {
    fn sum(self) -> Num<'m> {
        self.hi + self.lo
    }
}

/// tan π/8: an arc tangent beyond is measured from π/4.
const TAN_PI_EIGHTH: f64 = 0.414_213_562_373_095_03;

/// A ratio below two to this power is its own arc tangent.
const TINY_RATIO: f64 = -30.0;

/// The arc sine of a number up to ½, or that of the root of (1 − a)/2: half the angle whose cosine is
/// a greater number a.
struct HalfAngle<'m> {
    /// Whether it is the second.
    halved: Num<'m>,
    angle: Pair<'m>,
}

impl<'m> HalfAngle<'m> {
    /// For an `a` that is not negative.
    fn of(m: &'m Math, a: Num<'m>) -> HalfAngle<'m> {
        let half = m.float(0.5);
        let halved = a.gt(half);
        let z = halved.pick((m.float(1.0) - a) * half, a * a);
        let root = z.sqrt();
        let (high, low) = (split(m, root), root - split(m, root));
        let left = ((z - high * high).blunt() - m.float(2.0) * (high * low)) - low * low;
        // The root is 0, as what is left, or at least 2⁻²⁷.
        let correction = left * half / root.max(m.float(2f64.powi(-30)));
        let hi = halved.pick(root, a);
        let lo = halved.pick(correction, m.float(0.0));
        let bend = hi * (z * polynomial(m, z, m.table.asin));
        HalfAngle { halved, angle: fast_two_sum(hi, lo + bend) }
    }
}

/// The tangent b / a, or where `middle` holds, that of what its angle has more than π/4; 0 ≤ b ≤ a.
fn tangent<'m>(m: &'m Math, a: Num<'m>, b: Num<'m>, middle: Num<'m>) -> Pair<'m> {
    let zero = m.float(0.0);
    let (difference, sum) = (fast_two_sum(-a, b), fast_two_sum(a, b));
    let above = Pair { hi: middle.pick(difference.hi, b), lo: middle.pick(difference.lo, zero) };
    let below = Pair { hi: middle.pick(sum.hi, a), lo: middle.pick(sum.lo, zero) };
    let Pair { hi, lo } = quotient_pair(m, above, below);
    fast_two_sum(hi, lo)
}

/// The arc tangent of a number up to tan π/8.
fn atan_near<'m>(m: &'m Math, Pair { hi, lo }: Pair<'m>) -> Pair<'m> {
    let z = hi * hi;
    // The derivative is about 1 − z.
    fast_two_sum(hi, hi * (z * polynomial(m, z, m.table.atan)) + (lo - lo * z))
}

/// So many quarters of π, 4 at most, and an angle.
fn turned<'m>(m: &'m Math, quarters: Num<'m>, angle: Pair<'m>) -> Num<'m> {
    let [high, low] = m.table.pi_quarter.map(|c| m.float(c));
    let sum = fast_two_sum(quarters * high, angle.hi);
    sum.hi + (sum.lo + (quarters * low + angle.lo))
}

fn negated_if<'m>(condition: Num<'m>, pair: Pair<'m>) -> Pair<'m> {
    Pair { hi: condition.pick(-pair.hi, pair.hi), lo: condition.pick(-pair.lo, pair.lo) }
}

/// `|x|` as a multiple of π/2 and a rest of at most about π/4.
#[derive(Clone, Copy)]
pub(super) struct Angle<'m> {
    /// The multiple; only its last two bits are right.
    quadrant: Num<'m>,
    rest: Pair<'m>,
}

impl<'m> Angle<'m> {
    /// Reduces `|x|`: what sine, cosine and tangent of the same value share.
    pub(super) fn of(m: &'m Math, x: Num<'m>) -> Angle<'m> {
        let a = x.abs();
        let near = angle_near(m, a);
        let far = a.gt(m.float(m.table.trig_near));
        let [quadrant, hi, lo] =
            m.replace_if(far, [near.quadrant, near.rest.hi, near.rest.lo], || {
                let far = angle_far(m, a);
                [far.quadrant, far.rest.hi, far.rest.lo]
            });
        Angle { quadrant, rest: Pair { hi, lo } }
    }

    /// The three numbers behind it, to keep and to build it from again.
    pub(super) fn numbers(self) -> [Num<'m>; 3] {
        [self.quadrant, self.rest.hi, self.rest.lo]
    }

    /// From [`Angle::numbers`].
    pub(super) fn from_numbers([quadrant, hi, lo]: [Num<'m>; 3]) -> Angle<'m> {
        Angle { quadrant, rest: Pair { hi, lo } }
    }
}

/// Cody and Waite: every product is exact but the last; the first differences are as well.
fn angle_near<'m>(m: &'m Math, a: Num<'m>) -> Angle<'m> {
    let n = (a * m.float(m.table.two_over_pi)).round_even();
    let (exact, rounded) = m.table.pi_half_parts.split_at(m.table.pi_half_exact);
    let mut hi = a;
    for &part in exact {
        hi = hi - n * m.float(part);
    }
    let mut lo = m.float(0.0);
    let (last, middle) = rounded.split_last().expect("π/2 has a last part");
    for &part in middle {
        // Where the product is the larger one, the difference is exact, and its error 0.
        let product = n * m.float(part);
        let next = (hi - product).blunt();
        lo = lo + ((hi - next) - product);
        hi = next;
    }
    lo = lo - n * m.float(*last);
    Angle { quadrant: n.whole_to_int(), rest: fast_two_sum(hi, lo) }
}

/// Payne and Hanek: the product of the mantissa with the digits of 2/π that decide the quadrant and
/// what follows, three limbs of them. The two limbs kept hold 2 bits of quadrant, then a fraction.
fn angle_far<'m>(m: &'m Math, a: Num<'m>) -> Angle<'m> {
    let (width, mantissa) = (m.table.width, m.table.mantissa);
    let top = m.uint(1 << (width - 1));
    let bits = a.bits();
    let significand = (bits << m.uint(u64::from(width - 1 - mantissa))) | top;
    // With a = significand · 2^(e − width), digits before bit e − 2 count whole turns only.
    let start = (bits >> m.uint(u64::from(mantissa))) - m.uint((m.table.bias + 1) as u64);
    let [high, middle, low] = digits(m, start);
    let high_product = significand * high;
    let sum = significand * middle;
    let (bottom, carry) = add_carry(m, sum, mul_high(m, significand, low));
    let upper = high_product + mul_high(m, significand, middle) + carry;

    let two = m.uint(2);
    let quadrant = upper >> m.uint(u64::from(width - 2));
    let upper = (upper << two) | (bottom >> m.uint(u64::from(width - 2)));
    let bottom = bottom << two;
    // Beyond a half, count up and go back.
    let back = upper.ge(top);
    let quadrant = back.pick(quadrant + m.uint(1), quadrant);
    let borrow = bottom.eq(m.uint(0)).pick(m.uint(1), m.uint(0));
    let upper = back.pick(!upper + borrow, upper);
    let bottom = back.pick(!bottom + m.uint(1), bottom);

    // Multiples of π/2 are never so close that a whole limb of zeros leads (Kahan).
    let zeros = upper.leading_zeros();
    let last = m.uint(u64::from(width - 1));
    let leading = (upper << zeros) | ((bottom >> m.uint(1)) >> (last - zeros));
    let rest = fraction_to_angle(m, leading, zeros);
    let signed = |v: Num<'m>| back.pick(-v, v);
    Angle { quadrant: quadrant.signed(), rest: Pair { hi: signed(rest.hi), lo: signed(rest.lo) } }
}

/// Three limbs of the digits of 2/π, with a limb of zeros before, from bit `start` on.
fn digits<'m>(m: &'m Math, start: Num<'m>) -> [Num<'m>; 3] {
    let width = m.table.width;
    let limb = start >> m.uint(u64::from(width.ilog2()));
    let shift = start & m.uint(u64::from(width - 1));
    let mut limbs: Vec<Num<'m>> =
        m.table.two_over_pi_digits.iter().map(|&digits| m.uint(digits)).collect();
    // Each bit of the limb's number moves the row down, or not; four limbs are needed at the end.
    let mut step = 1usize << (limbs.len() - 4).ilog2();
    while step >= 1 {
        let moves = (limb & m.uint(step as u64)).ne(m.uint(0));
        let needed = step + 3;
        limbs = (0..needed)
            .map(|at| match limbs.get(at + step) {
                Some(&moved) => moves.pick(moved, limbs[at]),
                None => limbs[at],
            })
            .collect();
        step /= 2;
    }
    let rest = m.uint(u64::from(width - 1)) - shift;
    let window = |at: usize| (limbs[at] << shift) | ((limbs[at + 1] >> m.uint(1)) >> rest);
    [window(0), window(1), window(2)]
}

/// `leading · 2^(−width − zeros)` of a quarter turn, as an angle.
fn fraction_to_angle<'m>(m: &'m Math, leading: Num<'m>, zeros: Num<'m>) -> Pair<'m> {
    let width = m.table.width;
    let spare = width - 1 - m.table.mantissa;
    let high = (leading >> m.uint(u64::from(spare))).to_float() * m.float(2f64.powi(spare as i32));
    let low = (leading & m.uint((1 << spare) - 1)).to_float();
    let [pi_high, pi_low] = m.table.pi_half.map(|c| m.float(c));
    let product = exact_product(m, high, pi_high);
    let tail = product.lo + (high * pi_low + low * pi_high);
    let unit = pow2(m, m.int(-i64::from(width)) - zeros.signed());
    let sum = fast_two_sum(product.hi, tail);
    Pair { hi: sum.hi * unit, lo: sum.lo * unit }
}

/// The upper half of a product, from four products of halves: no device has it otherwise.
fn mul_high<'m>(m: &'m Math, a: Num<'m>, b: Num<'m>) -> Num<'m> {
    let half = m.table.width / 2;
    let (shift, mask) = (m.uint(u64::from(half)), m.uint((1 << half) - 1));
    let (a_low, a_high, b_low, b_high) = (a & mask, a >> shift, b & mask, b >> shift);
    let (cross, other) = (a_low * b_high, a_high * b_low);
    let middle = ((a_low * b_low) >> shift) + (cross & mask) + (other & mask);
    a_high * b_high + (cross >> shift) + (other >> shift) + (middle >> shift)
}

/// A sum and what is carried out of it, 0 or 1.
fn add_carry<'m>(m: &'m Math, a: Num<'m>, b: Num<'m>) -> (Num<'m>, Num<'m>) {
    let sum = a + b;
    (sum, sum.lt(a).pick(m.uint(1), m.uint(0)))
}

/// The sine of the rest.
fn sin_near<'m>(m: &'m Math, angle: Angle<'m>) -> Pair<'m> {
    let Pair { hi, lo } = angle.rest;
    let square = hi * hi;
    let bend = hi * (square * polynomial(m, square, m.table.sin)) + lo;
    // d/dr sin r ≈ 1 − r²/2.
    let bend = bend - lo * (square * m.float(0.5));
    fast_two_sum(hi, bend)
}

/// The cosine of the rest.
fn cos_near<'m>(m: &'m Math, angle: Angle<'m>) -> Pair<'m> {
    let Pair { hi, lo } = angle.rest;
    let one = m.float(1.0);
    let square = hi * hi;
    let half = square * m.float(0.5);
    let near = (one - half).blunt();
    let lost = (one - near) - half;
    let bend = (square * square) * polynomial(m, square, m.table.cos) - hi * lo;
    fast_two_sum(near, lost + bend)
}

/// Negates where the second bit of the quadrant is set.
fn flip<'m>(m: &'m Math, value: Num<'m>, quadrant: Num<'m>) -> Num<'m> {
    let sign = (quadrant & m.int(2)).bits() << m.uint(u64::from(m.table.width - 2));
    (value.bits() ^ sign).float()
}

/// x = n·ln 2 + r; the parts of r may be of any size.
fn reduce_ln2<'m>(m: &'m Math, x: Num<'m>) -> (Num<'m>, Pair<'m>) {
    let n = (x * m.float(m.table.log2_e)).round_even();
    let [high, low] = m.table.ln2.map(|c| m.float(c));
    (n, Pair { hi: x - n * high, lo: -(n * low).blunt() })
}

/// eʳ − 1 for |r| ≤ ½ ln 2.
fn exp_minus_one<'m>(m: &'m Math, r: Num<'m>) -> Num<'m> {
    r + exp_bend(m, r)
}

/// eʳ − 1 − r for |r| ≤ ½ ln 2.
fn exp_bend<'m>(m: &'m Math, r: Num<'m>) -> Num<'m> {
    (r * r) * polynomial(m, r, m.table.exp)
}

/// 2ʳ for |r| ≤ ½.
fn exp2_near<'m>(m: &'m Math, r: Num<'m>) -> Num<'m> {
    m.float(1.0) + r * polynomial(m, r, m.table.exp2)
}

/// y · 2ⁿ for an n that two exponents hold.
fn scale<'m>(m: &'m Math, y: Num<'m>, n: Num<'m>) -> Num<'m> {
    let n = n.whole_to_int();
    let half = n >> m.int(1);
    (y * pow2(m, half)) * pow2(m, n - half)
}

/// 2ⁿ for an n that the exponent holds.
fn pow2<'m>(m: &'m Math, n: Num<'m>) -> Num<'m> {
    ((n + m.int(m.table.bias)) << m.int(i64::from(m.table.mantissa))).float()
}

/// x = 2ᵏ·c with c from √½ to √2.
fn exponent_and_mantissa<'m>(m: &'m Math, x: Num<'m>) -> (Num<'m>, Num<'m>) {
    let subnormal = x.lt(m.float(m.table.tiny));
    let lifted = subnormal.pick(x * m.float(m.table.lift), x);
    let bits = lifted.bits().signed();
    let shift = m.int(i64::from(m.table.mantissa));
    let k = (bits - m.int(m.table.sqrt_half as i64)) >> shift;
    let mantissa = (bits - (k << shift)).float();
    let lift = subnormal.pick(m.int(m.table.lift_exponent), m.int(0));
    ((k - lift).to_float(), mantissa)
}

/// ln(1+f) = f − (f²/2 − s·(f²/2 + tail)), as (s, f²/2, tail).
fn log1p_parts<'m>(m: &'m Math, f: Num<'m>) -> (Num<'m>, Num<'m>, Num<'m>) {
    let s = f / (m.float(2.0) + f);
    let z = s * s;
    (s, m.float(0.5) * f * f, z * polynomial(m, z, m.table.ln))
}

/// The logarithm where it is no ordinary number: of 0, negative numbers, infinity and NaN.
fn log_edges<'m>(m: &'m Math, x: Num<'m>, y: Num<'m>) -> Num<'m> {
    let zero = m.float(0.0);
    let infinity = m.table.infinity;
    let y = x.eq(zero).pick(m.of_bits(infinity | 1 << (m.table.width - 1)), y);
    let y = x.bits().eq(m.uint(infinity)).pick(x, y);
    // Above the bits of infinity are the NaNs, then every number with a sign; −0 is a zero.
    let undefined = x.bits().gt(m.uint(infinity)) & !x.eq(zero);
    undefined.pick(m.of_bits(m.table.nan), y)
}

/// `a` to the power `y` for a finite, positive `a` and any `y` but NaN.
fn pow_positive<'m>(m: &'m Math, a: Num<'m>, y: Num<'m>) -> Num<'m> {
    let log = log2_pair(m, a);
    let y_high = split(m, y);
    let main = y_high * log.hi;
    let rest = (y - y_high) * log.hi + y * log.lo;
    let [low, high] = m.table.exp2_range.map(|c| m.float(c));
    // Far out the parts may be infinite, and their sum no number: the estimate decides there.
    let estimate = y * log.hi;
    let (below, above) = (estimate.lt(low), estimate.gt(high));
    let clamped = below | above;
    let main = below.pick(low, above.pick(high, main));
    let rest = clamped.pick(m.float(0.0), rest);
    let n = (main + rest).round_even();
    scale(m, exp2_near(m, (main - n) + rest), n)
}

/// log₂ a as a pair, the upper part short enough for exact products (fdlibm's `e_pow`).
fn log2_pair<'m>(m: &'m Math, a: Num<'m>) -> Pair<'m> {
    let (one, zero) = (m.float(1.0), m.float(0.0));
    // From √¾ to √1.5 the mantissa is near 1; the others are near 1.5, once the small are doubled.
    let (k, mantissa) = exponent_and_mantissa(m, a);
    let from_one = mantissa.ge(m.float(0.75f64.sqrt()));
    let far = mantissa.gt(m.float(1.5f64.sqrt()));
    let mantissa = from_one.pick(mantissa, mantissa + mantissa);
    let k = from_one.pick(k, k - one);
    let three_halves = !from_one | far;
    let base = three_halves.pick(m.float(1.5), one);
    // s = (x − base) / (x + base), corrected by its remainder.
    let above = mantissa - base;
    let inverse = one / (mantissa + base);
    let s = above * inverse;
    let s_high = split(m, s);
    let below_high = split(m, mantissa + base);
    let below_low = mantissa - (below_high - base);
    let s_low = inverse * ((above - s_high * below_high).blunt() - s_high * below_low);
    // ³⁄₂ ln((1+s)/(1−s)) = s·(3 + s² + r).
    let z = s * s;
    let r = (z * z) * polynomial(m, z, m.table.ln_pow) + s_low * (s_high + s);
    let z = s_high * s_high;
    let three = m.float(3.0);
    let factor_high = split(m, three + z + r);
    let factor_low = r - ((factor_high - three) - z);
    let main = s_high * factor_high;
    let rest = s_low * factor_high + factor_low * s;
    let high = split(m, main + rest);
    let low = rest - (high - main);
    let [cp_high, cp_low, cp] = m.table.cp.map(|c| m.float(c));
    let [base_high, base_low] = m.table.log2_three_halves;
    let base_high = three_halves.pick(m.float(base_high), zero);
    let base_low = three_halves.pick(m.float(base_low), zero);
    let main = cp_high * high;
    let rest = cp_low * high + low * cp + base_low;
    let hi = split(m, ((main + rest) + base_high) + k);
    let lo = rest - (((hi - k) - base_high) - main);
    Pair { hi, lo }
}

/// a / b with an error little above half an ULP.
fn quotient<'m>(m: &'m Math, a: Pair<'m>, b: Pair<'m>) -> Num<'m> {
    quotient_pair(m, a, b).sum()
}

/// a / b, and what that is wrong by.
fn quotient_pair<'m>(m: &'m Math, a: Pair<'m>, b: Pair<'m>) -> Pair<'m> {
    let inverse = m.float(1.0) / b.hi;
    let q = a.hi * inverse;
    let (q_high, b_high) = (split(m, q), split(m, b.hi));
    let (q_low, b_low) = (q - q_high, b.hi - b_high);
    let left = (a.hi - q_high * b_high).blunt() - q_high * b_low - q_low * b_high - q_low * b_low;
    Pair { hi: q, lo: (left + (a.lo - q * b.lo)) * inverse.blunt() }
}

/// a + b, where |a| ≥ |b| or the sum is exact; the lower part is what is left of it, to far below
/// the last place of the upper.
fn fast_two_sum<'m>(a: Num<'m>, b: Num<'m>) -> Pair<'m> {
    let hi = (a + b).blunt();
    Pair { hi, lo: b - (hi - a) }
}

/// a · b with its error.
fn exact_product<'m>(m: &'m Math, a: Num<'m>, b: Num<'m>) -> Pair<'m> {
    let (a_high, b_high) = (split(m, a), split(m, b));
    let (a_low, b_low) = (a - a_high, b - b_high);
    let hi = a * b;
    let first = (a_high * b_high - hi).blunt();
    let lo = (first + a_high * b_low + a_low * b_high) + a_low * b_low;
    Pair { hi, lo }
}

/// The upper half of the significant bits.
fn split<'m>(m: &'m Math, x: Num<'m>) -> Num<'m> {
    (x.bits() & m.uint(m.table.split)).float()
}

/// c₀ + x·(c₁ + x·(…)).
fn polynomial<'m>(m: &'m Math, x: Num<'m>, coefficients: &[f64]) -> Num<'m> {
    let (last, others) = coefficients.split_last().expect("a polynomial has coefficients");
    others.iter().rev().fold(m.float(*last), |sum, &c| sum * x + m.float(c))
}

/// Whether the sign is set, that of a zero or a NaN as well.
fn is_negative<'m>(m: &'m Math, x: Num<'m>) -> Num<'m> {
    x.bits().ge(m.uint(1 << (m.table.width - 1)))
}

fn is_nan<'m>(m: &'m Math, x: Num<'m>) -> Num<'m> {
    x.abs().bits().gt(m.uint(m.table.infinity))
}

fn keep_nan<'m>(m: &'m Math, x: Num<'m>, y: Num<'m>) -> Num<'m> {
    is_nan(m, x).pick(x, y)
}

fn finite_or_nan<'m>(m: &'m Math, x: Num<'m>, y: Num<'m>) -> Num<'m> {
    let finite = x.abs().bits().lt(m.uint(m.table.infinity));
    finite.pick(y, m.of_bits(m.table.nan))
}

/// NaN for what is no sine of any angle.
fn sine_or_nan<'m>(m: &'m Math, x: Num<'m>, y: Num<'m>) -> Num<'m> {
    let undefined = x.abs().bits().gt(m.float(1.0).bits());
    undefined.pick(m.of_bits(m.table.nan), y)
}
