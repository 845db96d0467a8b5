//! Small linear algebra in double precision: the solution of a system, and ridge regression as the
//! plainest model that reads features.

use serde::{Deserialize, Serialize};

/// The solution of `matrix · x = right` by elimination with pivots; a direction that the system leaves
/// open gets 0.
///
/// ```
/// use crossover_ml::linear::solve;
/// assert_eq!(solve(&[vec![2.0, 0.0], vec![1.0, 4.0]], &[2.0, 9.0]), [1.0, 2.0]);
/// ```
#[must_use]
pub fn solve(matrix: &[Vec<f64>], right: &[f64]) -> Vec<f64> {
    let n = right.len();
    let mut rows: Vec<Vec<f64>> = matrix
        .iter()
        .zip(right)
        .map(|(row, value)| row.iter().copied().chain([*value]).collect())
        .collect();
    for i in 0..n {
        let size = |row: &Vec<f64>| row[i].abs();
        let pivot = (i..n).max_by(|&a, &b| size(&rows[a]).total_cmp(&size(&rows[b])));
        rows.swap(i, pivot.unwrap_or(i));
        let pivot = rows[i].clone();
        if pivot[i].abs() < 1e-12 {
            continue;
        }
        for (_, row) in rows.iter_mut().enumerate().filter(|(at, _)| *at != i) {
            let factor = row[i] / pivot[i];
            row.iter_mut().zip(&pivot).for_each(|(x, p)| *x -= factor * p);
        }
    }
    (0..n).map(|i| if rows[i][i].abs() < 1e-12 { 0.0 } else { rows[i][n] / rows[i][i] }).collect()
}

/// Linear regression whose weights are kept small.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    middle: Vec<f64>,
    scale: Vec<f64>,
    weights: Vec<f64>,
    intercept: f64,
}

impl Regression {
    /// From examples and what they are to give. `penalty` is the price of a squared weight, in squared
    /// errors, of features that are scaled to a standard deviation of 1. `None` without examples, or
    /// where the lists are of different lengths.
    ///
    /// ```
    /// use crossover_ml::linear::Regression;
    /// let line = Regression::fit(&[vec![0.0], vec![1.0], vec![2.0]], &[1.0, 3.0, 5.0], 1e-9);
    /// assert!((line.expect("it fits").predict(&[3.0]) - 7.0).abs() < 1e-6);
    /// assert!(Regression::fit(&[vec![0.0]], &[1.0, 3.0], 1e-9).is_none(), "an example lacks");
    /// ```
    #[must_use]
    pub fn fit(examples: &[Vec<f64>], targets: &[f64], penalty: f64) -> Option<Regression> {
        let width = examples.first()?.len();
        if examples.len() != targets.len() || examples.iter().any(|e| e.len() != width) {
            return None;
        }
        let count = examples.len() as f64;
        let column = |j: usize| examples.iter().map(move |e| e[j]);
        let middle: Vec<f64> = (0..width).map(|j| column(j).sum::<f64>() / count).collect();
        let scale: Vec<f64> = (0..width)
            .map(|j| {
                let squares: f64 = column(j).map(|x| (x - middle[j]).powi(2)).sum();
                if squares > 1e-12 { (squares / count).sqrt() } else { 1.0 }
            })
            .collect();
        let scaled: Vec<Vec<f64>> = examples
            .iter()
            .map(|e| (0..width).map(|j| (e[j] - middle[j]) / scale[j]).collect())
            .collect();
        let intercept = targets.iter().sum::<f64>() / count;
        let gram: Vec<Vec<f64>> = (0..width)
            .map(|a| {
                let with = |b: usize| scaled.iter().map(|e| e[a] * e[b]).sum::<f64>();
                (0..width).map(|b| with(b) + if a == b { penalty } else { 0.0 }).collect()
            })
            .collect();
        let right: Vec<f64> = (0..width)
            .map(|a| scaled.iter().zip(targets).map(|(e, t)| e[a] * (t - intercept)).sum())
            .collect();
        Some(Regression { middle, scale, weights: solve(&gram, &right), intercept })
    }

    /// Whether it is of so many features, and can be computed with.
    ///
    /// ```
    /// use crossover_ml::linear::Regression;
    /// let line = Regression::fit(&[vec![0.0], vec![1.0]], &[1.0, 3.0], 1e-9).expect("it fits");
    /// assert!(line.is_of(1) && !line.is_of(2));
    /// ```
    #[must_use]
    pub fn is_of(&self, width: usize) -> bool {
        let columns = [&self.middle, &self.scale, &self.weights];
        let mut numbers = columns.into_iter().flatten().chain([&self.intercept]);
        columns.iter().all(|column| column.len() == width)
            && numbers.all(|x| x.is_finite())
            && self.scale.iter().all(|&scale| scale > 0.0)
    }

    /// What an example is expected to give.
    ///
    /// ```
    /// use crossover_ml::linear::Regression;
    /// let same = Regression::fit(&[vec![0.0], vec![1.0]], &[4.0, 4.0], 1e-9).expect("it fits");
    /// assert_eq!(same.predict(&[100.0]), 4.0);
    /// ```
    #[must_use]
    pub fn predict(&self, example: &[f64]) -> f64 {
        let terms = example.iter().zip(&self.middle).zip(&self.scale).zip(&self.weights);
        self.intercept + terms.map(|(((x, m), s), w)| (x - m) / s * w).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn systems_are_solved_and_open_directions_are_left_at_zero() {
        let x = solve(&[vec![0.0, 2.0], vec![3.0, 1.0]], &[4.0, 5.0]);
        assert!((x[0] - 1.0).abs() < 1e-12 && (x[1] - 2.0).abs() < 1e-12);
        let x = solve(&[vec![1.0, 1.0], vec![1.0, 1.0]], &[2.0, 2.0]);
        assert!((x[0] + x[1] - 2.0).abs() < 1e-12, "{x:?}");
        assert!(solve(&[], &[]).is_empty());
    }

    #[test]
    fn a_line_with_noise_is_found_and_a_penalty_flattens_it() {
        let mut rng = Rng::new(5);
        let examples: Vec<Vec<f64>> =
            (0..200).map(|_| vec![rng.normal(), 3.0 * rng.normal(), 7.0]).collect();
        let targets: Vec<f64> =
            examples.iter().map(|e| 2.0 + e[0] - 0.5 * e[1] + 0.1 * rng.normal()).collect();
        let fitted = Regression::fit(&examples, &targets, 0.1).expect("examples");
        assert!((fitted.predict(&[1.0, 2.0, 7.0]) - 2.0).abs() < 0.05);
        let flat = Regression::fit(&examples, &targets, 1e9).expect("examples");
        let mean = targets.iter().sum::<f64>() / 200.0;
        assert!((flat.predict(&[1.0, 2.0, 7.0]) - mean).abs() < 1e-3);
        assert!(Regression::fit(&examples, &targets[1..], 0.1).is_none());
        assert!(Regression::fit(&[], &[], 0.1).is_none());
    }
}
