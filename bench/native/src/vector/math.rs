//! `exp` and `ln` of vectors, after Cephes (S. Moshier, `expf.c` and `logf.c`): polynomials on a
//! reduced argument, errors of a few units in the last place.

use wide::{f32x4, i32x4};

/// ln 2 in two parts: the first has few digits, so that its products with whole numbers are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// Bits of √½: where the binade that `ln` reduces to begins.
const ROOT_HALF_BITS: i32 = 0x3f35_04f3;

/// Bits of 1: the exponent's bias.
const ONE_BITS: i32 = 0x3f80_0000;

/// Coefficients from the highest power down.
fn polynomial<const N: usize>(x: f32x4, coefficients: &[f32; N]) -> f32x4 {
    let (first, rest) = coefficients.split_first().expect("a polynomial has a coefficient");
    rest.iter().fold(f32x4::splat(*first), |sum, &c| sum.mul_add(x, f32x4::splat(c)))
}

/// `e^x` for x in −87 … 88, where the result is neither infinite nor subnormal; beyond, that of the
/// bound.
pub(super) fn exp(x: f32x4) -> f32x4 {
    let x = x.fast_max(f32x4::splat(-87.0)).fast_min(f32x4::splat(88.0));
    let power = (x * f32x4::splat(std::f32::consts::LOG2_E)).round_ties_even();
    let x = power.mul_neg_add(f32x4::splat(LN_2[0]), x);
    let x = power.mul_neg_add(f32x4::splat(LN_2[1]), x);
    let sum = polynomial(
        x,
        &[1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5],
    );
    let sum = sum.mul_add(x * x, x) + f32x4::ONE;
    let scale: i32x4 = (power.fast_round_int() << 23) + i32x4::splat(ONE_BITS);
    sum * bytemuck::cast::<i32x4, f32x4>(scale)
}

/// The natural logarithm of positive normal numbers.
pub(super) fn ln(x: f32x4) -> f32x4 {
    let bits: i32x4 = bytemuck::cast(x);
    let power: i32x4 = (bits - i32x4::splat(ROOT_HALF_BITS)) >> 23;
    let x = bytemuck::cast::<i32x4, f32x4>(bits - (power << 23)) - f32x4::ONE;
    let power = f32x4::from_i32x4(power);
    let square = x * x;
    let sum = polynomial(
        x,
        &[
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_8e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ],
    );
    let sum = sum * x * square;
    let sum = power.mul_add(f32x4::splat(LN_2[1]), sum);
    let sum = square.mul_neg_add(f32x4::splat(0.5), sum) + x;
    power.mul_add(f32x4::splat(LN_2[0]), sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error relative to the result.
    fn error(f: fn(f32x4) -> f32x4, exact: fn(f64) -> f64, low: f64, high: f64) -> f64 {
        let points = 100_000;
        let at = |i: i32| (low + (high - low) * f64::from(i) / f64::from(points)) as f32;
        let error = |i: i32| {
            let (found, exact) = (f(f32x4::splat(at(i))).to_array()[3], exact(f64::from(at(i))));
            (f64::from(found) - exact).abs() / exact.abs()
        };
        (0..=points).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn errors_are_small() {
        assert!(error(exp, f64::exp, -87.0, 88.0) < 2e-7);
        assert!(error(ln, f64::ln, 1.001, 1e6) < 4e-7);
        assert!(error(ln, f64::ln, 1e-30, 0.999) < 4e-7);
        assert_eq!(ln(f32x4::ONE).to_array(), [0.0; 4]);
        assert_eq!(exp(f32x4::ZERO).to_array(), [1.0; 4]);
    }
}
