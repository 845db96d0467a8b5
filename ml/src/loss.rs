//! What training makes small.
//!
//! For a row with residuals r (log2 of measured over roofline) and predicted mean μ, standard
//! deviations s and correlation ρ, with z = (r − μ) / s:
//!
//! ```text
//! both sides   [ ½ (ln s₀² + ln s₁² + ln(1 − ρ²)) + (z₀² − 2ρ z₀ z₁ + z₁²) / 2(1 − ρ²) ] · (s₀ s₁)^β
//! one side     [ ½ ln s² + ½ z² ] · s^2β                     the factor's own gradient is left out: β-NLL
//! sign         0.3 · w · (ln(1 + eˡ) − y l)       y = CPU faster, w = |log2 ratio| up to 4: its cost
//! speed-ups    0.1 · Huber(log2 speed-up)         only those that were measured
//! ```
//!
//! The sum over rows is divided by their number.

use crate::dataset::{Row, SPEEDUPS};
use crate::network::{CORRELATION_MAX, HEADS, LOG_VARIANCE};

/// The exponent of β-NLL: between plain likelihood (0) and least squares (1).
pub const BETA: f32 = 0.5;

/// The weight of the sign loss.
pub const SIGN_WEIGHT: f32 = 0.3;

/// The weight of the speed-up loss.
pub const SPEEDUP_WEIGHT: f32 = 0.1;

/// The largest cost of a wrong sign, in log2.
pub const SIGN_COST_MAX: f32 = 4.0;

/// What the heads of a row should say; NaN where nothing was measured.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// log2(measured / roofline), a side.
    pub residual: [f32; 2],
    /// log2(CPU time / GPU time), known if both were measured.
    pub log2_ratio: f32,
    /// log2 of the speed-ups.
    pub speedups: [f32; SPEEDUPS],
}

impl Target {
    /// The target of a measured row. `fallback` as in [`Row::residuals`].
    #[must_use]
    pub fn of(row: &Row, fallback: [f64; 2]) -> Target {
        let or_nan = |x: Option<f64>| x.map_or(f32::NAN, |x| x as f32);
        let seconds = row.log2_seconds();
        let log2_ratio = seconds[0].zip(seconds[1]).map(|(cpu, gpu)| cpu - gpu);
        Target {
            residual: row.residuals(fallback).map(or_nan),
            log2_ratio: or_nan(log2_ratio),
            speedups: row.speedups.map(|x| or_nan(x.map(f64::log2))),
        }
    }
}

/// The mean loss of a batch, and its gradient by the heads (`rows × HEADS`).
#[must_use]
pub fn loss(heads: &[f32], targets: &[Target]) -> (f64, Vec<f32>) {
    let mut gradient = vec![0.0; heads.len()];
    let mut sum = 0.0;
    let rows = heads.chunks_exact(HEADS).zip(gradient.chunks_exact_mut(HEADS));
    for ((heads, gradient), target) in rows.zip(targets) {
        sum += f64::from(likelihood(heads, target.residual, gradient));
        sum += f64::from(sign(heads[5], target.log2_ratio, &mut gradient[5]));
        for (i, &wanted) in target.speedups.iter().enumerate() {
            sum += f64::from(speedup(heads[6 + i], wanted, &mut gradient[6 + i]));
        }
    }
    let scale = 1.0 / targets.len().max(1) as f32;
    gradient.iter_mut().for_each(|g| *g *= scale);
    (sum * f64::from(scale), gradient)
}

fn likelihood(heads: &[f32], residual: [f32; 2], gradient: &mut [f32]) -> f32 {
    match residual.map(f32::is_nan) {
        [true, true] => 0.0,
        [false, true] => likelihood_side(0, heads, residual, gradient),
        [true, false] => likelihood_side(1, heads, residual, gradient),
        [false, false] => likelihood_joint(heads, residual, gradient),
    }
}

fn likelihood_side(side: usize, heads: &[f32], residual: [f32; 2], gradient: &mut [f32]) -> f32 {
    let (log_variance, slope) = log_variance(heads[2 + side]);
    let factor = (BETA * log_variance).exp();
    let sd = (0.5 * log_variance).exp();
    let z = (residual[side] - heads[side]) / sd;
    gradient[side] += -factor * z / sd;
    gradient[2 + side] += factor * 0.5 * (1.0 - z * z) * slope;
    factor * 0.5 * (log_variance + z * z)
}

fn likelihood_joint(heads: &[f32], residual: [f32; 2], gradient: &mut [f32]) -> f32 {
    let [(v0, slope0), (v1, slope1)] = [log_variance(heads[2]), log_variance(heads[3])];
    let factor = (BETA * 0.5 * (v0 + v1)).exp();
    let (s0, s1) = ((0.5 * v0).exp(), (0.5 * v1).exp());
    let (z0, z1) = ((residual[0] - heads[0]) / s0, (residual[1] - heads[1]) / s1);
    let tanh = heads[4].tanh();
    let rho = CORRELATION_MAX * tanh;
    let rest = 1.0 - rho * rho;
    let squares = z0 * z0 - 2.0 * rho * z0 * z1 + z1 * z1;
    let (by_z0, by_z1) = ((z0 - rho * z1) / rest, (z1 - rho * z0) / rest);
    gradient[0] += -factor * by_z0 / s0;
    gradient[1] += -factor * by_z1 / s1;
    gradient[2] += factor * 0.5 * (1.0 - z0 * by_z0) * slope0;
    gradient[3] += factor * 0.5 * (1.0 - z1 * by_z1) * slope1;
    let by_rho = -rho / rest - z0 * z1 / rest + rho * squares / (rest * rest);
    gradient[4] += factor * by_rho * CORRELATION_MAX * (1.0 - tanh * tanh);
    factor * (0.5 * (v0 + v1 + rest.ln()) + squares / (2.0 * rest))
}

/// The log-variance held in its range, and 1 inside of it or 0 where it was held.
fn log_variance(head: f32) -> (f32, f32) {
    let held = head.clamp(LOG_VARIANCE.start, LOG_VARIANCE.end);
    (held, f32::from(u8::from(held == head)))
}

fn sign(logit: f32, log2_ratio: f32, gradient: &mut f32) -> f32 {
    if log2_ratio.is_nan() {
        return 0.0;
    }
    let weight = SIGN_WEIGHT * log2_ratio.abs().min(SIGN_COST_MAX);
    let cpu_faster = f32::from(u8::from(log2_ratio < 0.0));
    *gradient += weight * (1.0 / (1.0 + (-logit).exp()) - cpu_faster);
    weight * (logit.max(0.0) + (-logit.abs()).exp().ln_1p() - cpu_faster * logit)
}

fn speedup(head: f32, wanted: f32, gradient: &mut f32) -> f32 {
    if wanted.is_nan() {
        return 0.0;
    }
    let error = head - wanted;
    *gradient += SPEEDUP_WEIGHT * error.clamp(-1.0, 1.0);
    let size = error.abs();
    SPEEDUP_WEIGHT * if size <= 1.0 { 0.5 * size * size } else { size - 0.5 }
}
