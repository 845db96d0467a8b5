//! A straight line through all features, with small slopes: the simplest model that learns, and what a
//! network has to beat.

use crate::baseline::{joint_moments, roofline_log2_seconds};
use crate::dataset::Row;
use crate::encoder::{Encoder, InputForm};
use crate::error::Error;
use crate::features::Features;
use crate::linear::solve;
use crate::prediction::{CostModel, Prediction};

/// How much slopes are kept small, in rows.
const PENALTY: f64 = 10.0;

/// A linear model of log2(measured / roofline), with the spread of what it misses.
#[derive(Clone, Debug)]
pub struct Ridge {
    encoder: Encoder,
    /// A slope an input and a constant, a side.
    slopes: [Vec<f64>; 2],
    missed: Prediction,
    fallback: [f64; 2],
}

impl Ridge {
    /// Slopes and spread from measured rows. Its spread is that of rows it has seen: on others it is too sure.
    ///
    /// # Errors
    /// None that rows could cause: as [`Encoder::fit`].
    ///
    /// ```
    /// use crossover_ml::{CostModel, Feature, Features, Ridge, Row};
    /// let row = |n: u32| {
    ///     let mut call = Features::missing();
    ///     call.set(Feature::CpuTimeS, f64::from(n) * 1e-6);
    ///     Row::new("k", "f", 1, call, [Some(f64::from(n) * 2e-6), None])
    /// };
    /// let rows: Vec<Row> = (1..20).map(row).collect();
    /// let [cpu, _] = Ridge::fit(&rows)?.predict(&rows[4].features).mean;
    /// assert!((cpu - 1e-5f64.log2()).abs() < 0.1, "{cpu}: twice the roofline");
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    pub fn fit(rows: &[Row]) -> Result<Ridge, Error> {
        let encoder = Encoder::fit(rows.iter().map(|row| &row.features), InputForm::Plain)?;
        let fallback = joint_moments(rows.iter().map(Row::log2_seconds)).mean;
        let residuals: Vec<[Option<f64>; 2]> =
            rows.iter().map(|row| row.residuals(fallback)).collect();
        let inputs: Vec<Vec<f64>> =
            rows.iter().map(|row| inputs(&encoder, &row.features)).collect();
        let slopes = [0, 1].map(|side| {
            let known = inputs.iter().zip(&residuals);
            slopes(known.filter_map(|(x, y)| Some((x.as_slice(), y[side]?))))
        });
        let missed = inputs
            .iter()
            .zip(&residuals)
            .map(|(x, y)| [0, 1].map(|side| y[side].map(|y| y - line(&slopes[side], x))));
        let missed = joint_moments(missed);
        Ok(Ridge { encoder, slopes, missed, fallback })
    }
}

impl CostModel for Ridge {
    fn predict(&self, features: &Features) -> Prediction {
        let base = roofline_log2_seconds(features, self.fallback);
        let x = inputs(&self.encoder, features);
        let mean = [0, 1].map(|i| base[i] + line(&self.slopes[i], &x) + self.missed.mean[i]);
        Prediction { mean, cov: self.missed.cov }
    }

    fn name(&self) -> &'static str {
        "ridge"
    }
}

/// The inputs of a network, and a one for the constant.
fn inputs(encoder: &Encoder, features: &Features) -> Vec<f64> {
    features.encode(encoder).into_iter().map(f64::from).chain([1.0]).collect()
}

/// Zero where nothing was measured.
fn line(slopes: &[f64], x: &[f64]) -> f64 {
    slopes.iter().zip(x).map(|(slope, x)| slope * x).sum()
}

/// Least squares with a penalty on all slopes: (XᵀX + λI) s = Xᵀy, which the penalty gives a solution whatever
/// the rows are.
fn slopes<'a>(rows: impl Iterator<Item = (&'a [f64], f64)>) -> Vec<f64> {
    let (mut matrix, mut right) = (Vec::<Vec<f64>>::new(), Vec::new());
    for (x, y) in rows {
        if matrix.is_empty() {
            matrix = vec![vec![0.0; x.len()]; x.len()];
            right = vec![0.0; x.len()];
        }
        for (i, xi) in x.iter().enumerate().filter(|(_, xi)| **xi != 0.0) {
            matrix[i].iter_mut().zip(x).for_each(|(m, xj)| *m += xi * xj);
            right[i] += xi * y;
        }
    }
    (0..right.len()).for_each(|i| matrix[i][i] += PENALTY);
    solve(&matrix, &right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Feature;
    use crate::prediction::Side;

    #[test]
    fn a_line_is_found() {
        let row = |i: i32| {
            let mut features = Features::missing();
            features.set(Feature::SizeBucket, f64::from(i % 20));
            features.set(Feature::LoopDepth, f64::from(i % 3));
            let log2 = -12.0 + 0.5 * f64::from(i % 20) - f64::from(i % 3);
            Row::new(format!("k{i}"), "f", 1, features, [Some(log2.exp2()), None])
        };
        let rows: Vec<Row> = (0..2000).map(row).collect();
        let model = Ridge::fit(&rows).unwrap();
        for row in &rows[..60] {
            let error = model.predict(&row.features).mean[0] - row.log2_seconds()[0].unwrap();
            assert!(error.abs() < 0.05, "{error}");
        }
        assert!(model.predict(&Features::missing()).seconds(Side::Gpu).is_finite());
    }

    #[test]
    fn no_rows_are_no_panic() {
        let model = Ridge::fit(&[]).unwrap();
        assert!(model.predict(&Features::missing()).mean.iter().all(|x| x.is_finite()));
    }
}
