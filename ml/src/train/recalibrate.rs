//! What a network says of kernels that it was not trained on, held against what they did.

use super::sampler::group_by_kernel;
use crate::dataset::Row;
use crate::network::{HEADS, Network, Recalibration, Scratch, residual_of};
use crate::prediction::Prediction;

pub(super) fn raw_residual(network: &Network, row: &Row, scratch: &mut Scratch) -> Prediction {
    let heads: [f32; HEADS] = network.forward(&row.features.encode(&network.encoder), scratch);
    residual_of(&heads)
}

/// What the network said of a side of a held-out row, and what was measured (log2 residuals).
struct Point {
    weight: f64,
    said: f64,
    variance: f64,
    found: f64,
}

/// The line and spread that fit kernels the network was not trained on. Each kernel counts once.
pub(super) fn recalibrate(network: &Network, rows: &[&Row]) -> Recalibration {
    let mut scratch = Scratch::default();
    let mut points = [Vec::new(), Vec::new()];
    for kernel in group_by_kernel(rows) {
        let weight = 1.0 / kernel.len() as f64;
        for row in kernel.iter().map(|&at| rows[at]) {
            let prediction = raw_residual(network, row, &mut scratch);
            for (side, found) in row.residuals(network.fallback).into_iter().enumerate() {
                let (said, variance) = (prediction.mean[side], prediction.cov[side][side]);
                points[side].extend(found.map(|found| Point { weight, said, variance, found }));
            }
        }
    }
    let mut result = Recalibration::default();
    for (side, points) in points.iter().enumerate().filter(|(_, points)| !points.is_empty()) {
        let (slope, offset, variance) = recalibrate_side(points);
        result.slope[side] = slope;
        result.offset[side] = offset;
        result.variance[side] = variance;
    }
    result
}

/// Slope, offset and variance factor of one side. With few kernels they stay near the identity,
/// as if so many more had agreed with the network.
fn recalibrate_side(points: &[Point]) -> (f64, f64, f64) {
    const PRIOR_KERNELS: f64 = 4.0;
    fn sum(points: &[Point], f: impl Fn(&Point) -> f64) -> f64 {
        points.iter().map(|p| p.weight * f(p)).sum()
    }
    let total = sum(points, |_| 1.0);
    let said = sum(points, |p| p.said) / total;
    let found = sum(points, |p| p.found) / total;
    let spread = sum(points, |p| (p.said - said).powi(2));
    let together = sum(points, |p| (p.said - said) * (p.found - found));
    let slope = ((together + PRIOR_KERNELS) / (spread + PRIOR_KERNELS)).clamp(0.2, 1.5);
    let trust = total / (total + PRIOR_KERNELS);
    let offset = said + trust * (found - said) - slope * said;
    let square = |p: &Point| (p.found - slope * p.said - offset).powi(2) / p.variance.max(1e-9);
    let variance = (sum(points, square) + PRIOR_KERNELS) / (total + PRIOR_KERNELS);
    (slope, offset, variance.clamp(0.25, 16.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::{Encoder, InputForm};
    use crate::features::Features;

    /// Rows whose residual to an absent roofline is `of(kernel)` on the CPU, in log2.
    fn rows(kernels: usize, of: impl Fn(usize) -> f64) -> Vec<Row> {
        let row = |at: usize| {
            let seconds = [Some(of(at / 2).exp2()), None];
            Row::new(format!("k{}", at / 2), "f", 1, Features::missing(), seconds)
        };
        (0..2 * kernels).map(row).collect()
    }

    /// A network that says the same of every call, since it has no weights left: mean 1, variance 1.
    fn says_one() -> Network {
        let encoder = Encoder::fit(&[], InputForm::Plain).unwrap();
        let mut network = Network::new(encoder, &[1, 1, 1], [0.0; 2], 0).unwrap();
        network
            .set_tensors(|name, shape| {
                let mut values = vec![0.0; shape.iter().product()];
                if name == "heads.bias" {
                    values[..2].fill(1.0);
                }
                Ok(values)
            })
            .unwrap();
        network
    }

    #[test]
    fn recalibration_moves_towards_what_unseen_kernels_did() {
        let spread = |kernel: usize| if kernel.is_multiple_of(2) { 2.0 } else { 4.0 };
        let rows = rows(400, spread);
        let found = recalibrate(&says_one(), &rows.iter().collect::<Vec<_>>());
        let corrected = found.slope[0] + found.offset[0];
        assert!((corrected - 3.0).abs() < 0.05, "{found:?}");
        assert!((found.variance[0] - 1.0).abs() < 0.05, "{found:?}");
        let untouched = Recalibration::default();
        assert_eq!(found.slope[1], untouched.slope[1]);
        assert_eq!((found.offset[1], found.variance[1]), (0.0, 1.0));
    }

    #[test]
    fn few_kernels_hardly_recalibrate() {
        let rows = rows(1, |_| 3.0);
        let found = recalibrate(&says_one(), &rows.iter().collect::<Vec<_>>());
        let corrected = found.slope[0] + found.offset[0];
        assert!((1.2..1.6).contains(&corrected), "{found:?}");
        assert_eq!(recalibrate(&says_one(), &[]), Recalibration::default());
    }
}
