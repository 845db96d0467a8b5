//! The cost models without a network: what every learned one is measured against.

use crate::dataset::Row;
use crate::features::Features;
use crate::prediction::{CostModel, Prediction, Side};

/// Says the same of every call: the mean and spread of the measured ones.
#[derive(Clone, Debug)]
pub struct Constant(Prediction);

impl Constant {
    /// A model that always answers `prediction`.
    ///
    /// ```
    /// use crossover_ml::{Constant, CostModel, Features, Prediction};
    /// let model = Constant::new(Prediction::vague());
    /// assert_eq!(model.predict(&Features::missing()), Prediction::vague());
    /// ```
    #[must_use]
    pub fn new(prediction: Prediction) -> Constant {
        Constant(prediction)
    }

    /// The mean and covariance of the measured log2 seconds.
    ///
    /// ```
    /// use crossover_ml::{Constant, CostModel, Features, Row};
    /// let row = |n: u32| Row::new("k", "f", 1, Features::missing(), [Some(f64::from(n)), None]);
    /// let model = Constant::fit(&[row(1), row(4), row(2)]);
    /// let [cpu, _] = model.predict(&Features::missing()).mean;
    /// assert_eq!(cpu, 1.0, "two seconds, whatever the call");
    /// ```
    #[must_use]
    pub fn fit<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Constant {
        Constant(joint_moments(rows.into_iter().map(Row::log2_seconds)))
    }
}

impl CostModel for Constant {
    fn predict(&self, _features: &Features) -> Prediction {
        self.0
    }

    fn name(&self) -> &'static str {
        "constant"
    }
}

/// The roofline time of each side, times a factor a side, with the spread of what it misses.
#[derive(Clone, Debug)]
pub struct Roofline {
    /// Mean and covariance of log2(measured / roofline).
    residual: Prediction,
    /// Stands in where a call has no roofline time, in log2 seconds.
    fallback: [f64; 2],
}

impl Roofline {
    /// Before anything was measured: kernels take four times their roofline, give or take a factor of 4.
    ///
    /// ```
    /// use crossover_ml::{CostModel, Feature, Features, Roofline};
    /// let mut call = Features::missing();
    /// call.set(Feature::CpuTimeS, 0.25);
    /// assert_eq!(Roofline::new().predict(&call).mean[0], 0.0, "four times the roofline");
    /// ```
    #[must_use]
    pub fn new() -> Roofline {
        Roofline {
            residual: Prediction::new([2.0; 2], [2.0; 2], 0.8),
            fallback: Prediction::vague().mean,
        }
    }

    /// Factor and spread from measured rows.
    ///
    /// ```
    /// use crossover_ml::{CostModel, Feature, Features, Roofline, Row};
    /// let mut call = Features::missing();
    /// call.set(Feature::CpuTimeS, 0.25);
    /// let rows = [0.5, 0.5].map(|seconds| Row::new("k", "f", 1, call, [Some(seconds), None]));
    /// assert_eq!(Roofline::fit(&rows).predict(&call).mean[0], -1.0, "twice the roofline");
    /// ```
    #[must_use]
    pub fn fit(rows: &[Row]) -> Roofline {
        let fallback = joint_moments(rows.iter().map(Row::log2_seconds)).mean;
        let residuals = rows.iter().map(|row| row.residuals(fallback));
        Roofline { residual: joint_moments(residuals), fallback }
    }
}

impl Default for Roofline {
    fn default() -> Self {
        Roofline::new()
    }
}

impl CostModel for Roofline {
    fn predict(&self, features: &Features) -> Prediction {
        let base = roofline_log2_seconds(features, self.fallback);
        let mean = [0, 1].map(|i| base[i] + self.residual.mean[i]);
        Prediction { mean, cov: self.residual.cov }
    }

    fn name(&self) -> &'static str {
        "roofline"
    }
}

/// The roofline time a side in log2 seconds, or `fallback` where the caller did not set it.
///
/// ```
/// use crossover_ml::{Feature, Features, baseline::roofline_log2_seconds};
/// let mut call = Features::missing();
/// call.set(Feature::CpuTimeS, 0.25);
/// assert_eq!(roofline_log2_seconds(&call, [-9.0; 2]), [-2.0, -9.0]);
/// ```
#[must_use]
pub fn roofline_log2_seconds(features: &Features, fallback: [f64; 2]) -> [f64; 2] {
    Side::ALL.map(|side| match features.get(side.roofline()) {
        Some(seconds) if seconds > 0.0 => seconds.log2(),
        _ => fallback[side.index()],
    })
}

/// The Gaussian of pairs of which either half may be missing. A side that was measured fewer than
/// twice gets what [`Prediction::vague`] says.
#[must_use]
pub(crate) fn joint_moments(pairs: impl Iterator<Item = [Option<f64>; 2]>) -> Prediction {
    let pairs: Vec<[Option<f64>; 2]> = pairs.collect();
    let vague = Prediction::vague();
    let (mut mean, mut sd) = (vague.mean, [0, 1].map(|i| vague.cov[i][i].sqrt()));
    for side in 0..2 {
        let values: Vec<f64> = pairs.iter().filter_map(|pair| pair[side]).collect();
        if values.len() >= 2 {
            let count = values.len() as f64;
            mean[side] = values.iter().sum::<f64>() / count;
            let squares = values.iter().map(|x| (x - mean[side]).powi(2)).sum::<f64>();
            sd[side] = (squares / (count - 1.0)).sqrt().max(0.05);
        }
    }
    let products: Vec<f64> =
        pairs.iter().filter_map(|pair| Some((pair[0]? - mean[0]) * (pair[1]? - mean[1]))).collect();
    let correlation = if products.len() >= 3 {
        products.iter().sum::<f64>() / (products.len() as f64 * sd[0] * sd[1])
    } else {
        0.0
    };
    Prediction::new(mean, sd, correlation.clamp(-0.95, 0.95))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Feature;

    #[test]
    fn a_fitted_roofline_removes_a_constant_factor() {
        let row = |i: i32| {
            let mut features = Features::missing();
            features.set(Feature::CpuTimeS, f64::from(i) * 1e-3);
            features.set(Feature::GpuTimeS, f64::from(i) * 1e-4);
            let seconds = [Some(f64::from(i) * 8e-3), Some(f64::from(i) * 2e-4)];
            Row::new("k", "f", i as u64, features, seconds)
        };
        let rows: Vec<Row> = (1..20).map(row).collect();
        let model = Roofline::fit(&rows);
        let prediction = model.predict(&rows[6].features);
        assert!((prediction.seconds(Side::Cpu) / 56e-3 - 1.0).abs() < 1e-4);
        assert!((prediction.seconds(Side::Gpu) / 14e-4 - 1.0).abs() < 1e-4);
        let unknown = model.predict(&Features::missing());
        assert!(unknown.mean.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn nothing_measured_is_vague() {
        assert_eq!(Constant::fit(&[]).predict(&Features::missing()).mean, Prediction::vague().mean);
    }
}
