//! How far an `f32` is from the number that it stands for.

/// The bound on every function, in units of the last place.
pub(super) const BOUND: f64 = 2.0;

/// What a result is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// A number so many units of the last place of the right one away.
    Off(f64),
    /// Right where subnormal numbers are taken for zero.
    Flushed,
    /// Another kind of value: a NaN, an infinity, a sign that should not be or is missing.
    Mismatch,
}

/// What `f32` would have in place of infinity.
const BEYOND: f64 = 340_282_366_920_938_463_463_374_607_431_768_211_456.0;

/// Judges `found` for the function of `x`; a device that `flushes` may take subnormal numbers for
/// zero, on the way in and on the way out.
pub(super) fn judge(x: f32, found: f32, reference: fn(f64) -> f64, flushes: bool) -> Verdict {
    let right = reference(f64::from(x));
    let verdict = compare(found, right);
    let fine = |verdict| matches!(verdict, Verdict::Off(ulps) if ulps <= BOUND);
    if fine(verdict) || !flushes {
        return verdict;
    }
    let result_flushed = found == 0.0 && right.abs() < f64::from(f32::MIN_POSITIVE);
    let of_zero = || compare(found, reference(0f64.copysign(f64::from(x))));
    let argument_flushed = x.is_subnormal() && fine(of_zero());
    if result_flushed || argument_flushed { Verdict::Flushed } else { verdict }
}

fn compare(found: f32, right: f64) -> Verdict {
    if found.is_nan() || right.is_nan() {
        let both = found.is_nan() && right.is_nan();
        return if both { Verdict::Off(0.0) } else { Verdict::Mismatch };
    }
    if found.is_sign_negative() != right.is_sign_negative() {
        return Verdict::Mismatch;
    }
    if right.is_infinite() {
        return if found.is_infinite() { Verdict::Off(0.0) } else { Verdict::Mismatch };
    }
    // What rounds to infinity is as far from it as from the number that would come next.
    let right = right.abs().min(BEYOND);
    let found = f64::from(found.abs()).min(BEYOND);
    Verdict::Off((found - right).abs() * ulps_in_one(right))
}

/// 1 over the unit of the last place that `f32` has around this number.
fn ulps_in_one(v: f64) -> f64 {
    let exponent = ((v.to_bits() >> 52) as i64 - 1023).clamp(-126, 127);
    f64::from_bits(((1023 + 23 - exponent) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::{Verdict, judge};

    fn off(found: f32, right: fn(f64) -> f64) -> Verdict {
        judge(1.0, found, right, false)
    }

    #[test]
    fn distances_are_in_units_of_the_right_number() {
        assert_eq!(off(1.0, |_| 1.0), Verdict::Off(0.0));
        assert_eq!(off(1.0 + f32::EPSILON, |_| 1.0), Verdict::Off(1.0));
        assert_eq!(off(-3.0, |_| -3.0 - f64::from(f32::EPSILON)), Verdict::Off(0.5));
        // Below the normal numbers the unit stays.
        assert_eq!(off(0.0, |_| f64::from(f32::from_bits(3))), Verdict::Off(3.0));
        assert_eq!(off(f32::from_bits(5), |_| f64::from(f32::from_bits(3))), Verdict::Off(2.0));
    }

    #[test]
    fn overflow_is_judged_as_a_number() {
        assert_eq!(off(f32::INFINITY, |_| 1e300), Verdict::Off(0.0));
        assert_eq!(off(f32::INFINITY, |_| f64::from(f32::MAX)), Verdict::Off(1.0));
        assert_eq!(off(f32::MAX, |_| 1e300), Verdict::Off(1.0));
        assert_eq!(off(f32::MAX, |_| f64::INFINITY), Verdict::Mismatch);
    }

    #[test]
    fn kinds_of_values_are_not_mixed_up() {
        assert_eq!(off(f32::NAN, |_| f64::NAN), Verdict::Off(0.0));
        assert_eq!(off(f32::NAN, |_| 0.0), Verdict::Mismatch);
        assert_eq!(off(0.0, |_| f64::NAN), Verdict::Mismatch);
        assert_eq!(off(0.0, |_| -0.0), Verdict::Mismatch);
        assert_eq!(off(-0.0, |_| -1e-300), Verdict::Off(1e-300 * 2f64.powi(149)));
        assert_eq!(off(f32::NEG_INFINITY, |_| f64::INFINITY), Verdict::Mismatch);
    }

    #[test]
    fn only_a_device_that_flushes_may() {
        let tiny = f32::from_bits(100);
        let same = |v: f64| v;
        assert_eq!(judge(tiny, 0.0, same, true), Verdict::Flushed);
        assert_eq!(judge(tiny, 0.0, same, false), Verdict::Off(100.0));
        let inverse = |v: f64| 1.0 / v;
        assert_eq!(judge(-f32::MIN_POSITIVE / 2.0, f32::NEG_INFINITY, inverse, true), {
            Verdict::Flushed
        });
        assert_eq!(judge(1.0, 0.0, same, true), Verdict::Off(8_388_608.0));
    }
}
