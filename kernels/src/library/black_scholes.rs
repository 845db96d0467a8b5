//! Black–Scholes prices of European options: transcendental functions over five streams. The normal
//! distribution is Abramowitz and Stegun's 26.2.17 (absolute error below 7.5e-8).

use super::entry::{Code, Entry, Expected, Input, Tolerance, poison, uniform};
use crate::{Id, kernel};

/// The cumulative normal distribution.
#[kernel]
pub fn normal(x: f32) -> f32 {
    let size = x.abs();
    let k = 1.0 / (1.0 + 0.2316419 * size);
    let series =
        k * (0.31938153 + k * (-0.35656378 + k * (1.7814779 + k * (-1.8212559 + k * 1.3302744))));
    let tail = 0.3989423 * (-0.5 * size * size).exp() * series;
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// Call and put prices of options with spot `s`, strike `k` and time to expiry `t` in years.
#[kernel(contract)]
#[expect(clippy::too_many_arguments, reason = "a structure of arrays")]
pub fn black_scholes(
    id: Id,
    rate: f32,
    volatility: f32,
    s: &[f32],
    k: &[f32],
    t: &[f32],
    call: &mut [f32],
    put: &mut [f32],
) {
    let i = id.x;
    let spread = volatility * t[i].sqrt();
    let d1 = ((s[i] / k[i]).ln() + (rate + 0.5 * volatility * volatility) * t[i]) / spread;
    let d2 = d1 - spread;
    let strike = k[i] * (-rate * t[i]).exp();
    call[i] = s[i] * normal(d1) - strike * normal(d2);
    put[i] = strike * normal(-d2) - s[i] * normal(-d1);
}

/// The normal distribution, by the kernel's own series in `f64`: the reference tests the kernel's
/// arithmetic, not its approximation.
fn normal_f64(x: f64) -> f64 {
    let size = x.abs();
    let k = 1.0 / (1.0 + 0.231_641_9 * size);
    let series = k
        * (0.319_381_53
            + k * (-0.356_563_782
                + k * (1.781_477_937 + k * (-1.821_255_978 + k * 1.330_274_429))));
    let tail = 0.398_942_280_4 * (-0.5 * size * size).exp() * series;
    if x < 0.0 { tail } else { 1.0 - tail }
}

pub(super) const ENTRY: Entry = Entry {
    name: "black_scholes",
    about: "prices of European options",
    tags: &["map", "transcendental"],
    code: Code::Kernel(black_scholes::DEF),
    unit: "options",
    sizes: [1 << 12, 1 << 17, 1 << 22],
    inputs: |n, rng| {
        let columns = [(5.0, 30.0), (1.0, 100.0), (0.25, 10.0)];
        let mut args = vec![Input::Scalar(0.02f32.into()), Input::Scalar(0.3f32.into())];
        args.extend(columns.map(|(low, high)| Input::F32(uniform(rng, n, low, high))));
        args.extend([Input::F32(poison(n)), Input::F32(poison(n))]);
        args
    },
    reference: |args| {
        let (rate, volatility) = (args[0].scalar(), args[1].scalar());
        let n = args[2].f32().len();
        let prices = (0..n).map(|i| {
            let (s, k, t) = (args[2].value(i), args[3].value(i), args[4].value(i));
            let spread = volatility * t.sqrt();
            let d1 = ((s / k).ln() + (rate + 0.5 * volatility * volatility) * t) / spread;
            let (d2, strike) = (d1 - spread, k * (-rate * t).exp());
            let call = s * normal_f64(d1) - strike * normal_f64(d2);
            (call, strike * normal_f64(-d2) - s * normal_f64(-d1))
        });
        let (call, put) = prices.unzip();
        vec![Expected { param: 5, values: call }, Expected { param: 6, values: put }]
    },
    // Prices are differences of numbers up to 100.
    tolerance: Tolerance::of(1e-4, 1e-4),
    operations: |n| 100.0 * n as f64,
};
