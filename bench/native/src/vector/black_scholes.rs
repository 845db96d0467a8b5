//! Option prices: four at a time, with [`exp`] and [`ln`] of vectors. A price needs the normal
//! distribution at d and at −d, which sum to one: it is computed once.

use rayon::prelude::*;
use wide::f32x4;

use super::math::{exp, ln};
use super::{LANES, load, store};
use crate::TASK;

/// Options that a task prices.
const OPTIONS: usize = TASK / 100 * LANES;

pub(super) fn run(
    rate: f32,
    volatility: f32,
    [s, k, t]: [&[f32]; 3],
    call: &mut [f32],
    put: &mut [f32],
) {
    let outs = call.par_chunks_mut(OPTIONS).zip(put.par_chunks_mut(OPTIONS));
    let columns = (s.par_chunks(OPTIONS), k.par_chunks(OPTIONS), t.par_chunks(OPTIONS));
    outs.zip(columns).for_each(|((call, put), (s, k, t))| {
        let ins = s.chunks(LANES).zip(k.chunks(LANES)).zip(t.chunks(LANES));
        let outs = call.chunks_mut(LANES).zip(put.chunks_mut(LANES));
        for (((s, k), t), (call, put)) in ins.zip(outs) {
            // Lanes beyond the end are zeros; what comes of them is not stored.
            let prices = prices(rate, volatility, [load(s), load(k), load(t)]);
            store(prices[0], call);
            store(prices[1], put);
        }
    });
}

/// Call and put.
fn prices(rate: f32, volatility: f32, [s, k, t]: [f32x4; 3]) -> [f32x4; 2] {
    let drift = f32x4::splat(rate + 0.5 * volatility * volatility);
    let spread = f32x4::splat(volatility) * t.sqrt();
    let d1 = drift.mul_add(t, ln(s / k)) / spread;
    let strike = k * exp(f32x4::splat(-rate) * t);
    let ([in_1, out_1], [in_2, out_2]) = (normal(d1), normal(d1 - spread));
    [s * in_1 - strike * in_2, strike * out_2 - s * out_1]
}

/// The cumulative normal distribution at x and at −x: Abramowitz and Stegun's 26.2.17, as in the
/// kernel.
fn normal(x: f32x4) -> [f32x4; 2] {
    let size = x.abs();
    let k = f32x4::ONE / size.mul_add(f32x4::splat(0.231_641_9), f32x4::ONE);
    let coefficients = [-1.821_255_9, 1.781_477_9, -0.356_563_78, 0.319_381_54];
    let series = coefficients
        .iter()
        .fold(f32x4::splat(1.330_274_5), |sum, &c| sum.mul_add(k, f32x4::splat(c)));
    let bell = f32x4::splat(0.398_942_3) * exp(f32x4::splat(-0.5) * size * size);
    let tail = bell * (series * k);
    let rest = f32x4::ONE - tail;
    let below = x.simd_lt(f32x4::ZERO);
    [below.select(tail, rest), below.select(rest, tail)]
}
