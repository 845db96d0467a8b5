//! Numbers that are known with a joint Gaussian, and what measurements of sums of them teach: the state
//! of a Kalman filter.

use serde::{Deserialize, Serialize};

/// What a measurement sees: the places of some states, and how much of each.
pub(crate) type View = [(usize, f64)];

/// States with their means and their covariance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gaussian {
    mean: Vec<f64>,
    /// Row by row.
    cov: Vec<f64>,
}

impl Gaussian {
    /// So many states, all zero and known.
    pub(crate) fn zeros(states: usize) -> Gaussian {
        Gaussian { mean: vec![0.0; states], cov: vec![0.0; states * states] }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.mean.is_empty()
    }

    /// Sets the covariance of two states.
    pub(crate) fn relate(&mut self, i: usize, j: usize, covariance: f64) {
        let states = self.mean.len();
        self.cov[i * states + j] = covariance;
        self.cov[j * states + i] = covariance;
    }

    /// Two further states: each what is seen of those before, and something of its own, of which the covariance is
    /// given.
    pub(crate) fn extend(&mut self, seen: [&View; 2], own: [[f64; 2]; 2]) {
        let (old, new) = (self.mean.len(), self.mean.len() + 2);
        let mut cov = vec![0.0; new * new];
        if old > 0 {
            for (to, from) in cov.chunks_exact_mut(new).zip(self.cov.chunks_exact(old)) {
                to[..old].copy_from_slice(from);
            }
        }
        for i in 0..2 {
            for at in 0..old {
                let together = self.covariance(&[(at, 1.0)], seen[i]);
                cov[at * new + old + i] = together;
                cov[(old + i) * new + at] = together;
            }
            for j in 0..2 {
                cov[(old + i) * new + old + j] = self.covariance(seen[i], seen[j]) + own[i][j];
            }
        }
        let mean = seen.map(|seen| self.value(seen));
        self.mean.extend(mean);
        self.cov = cov;
    }

    /// The mean of what is seen.
    pub(crate) fn value(&self, seen: &View) -> f64 {
        seen.iter().map(|&(at, factor)| self.mean[at] * factor).sum()
    }

    /// The covariance of what is seen.
    pub(crate) fn covariance(&self, a: &View, b: &View) -> f64 {
        let states = self.mean.len();
        let row = |(at, factor): (usize, f64)| {
            let sum: f64 = b.iter().map(|&(other, f)| self.cov[at * states + other] * f).sum();
            factor * sum
        };
        a.iter().map(|&entry| row(entry)).sum()
    }

    /// Takes in a measurement that was so far from its mean, where so much variance was expected of it,
    /// noise and all. Where the noise is subtracted instead of added, the measurement is taken back.
    pub(crate) fn update(&mut self, seen: &View, innovation: f64, variance: f64) {
        let states = self.mean.len();
        let with_seen = |at: usize| -> f64 {
            seen.iter().map(|&(other, factor)| self.cov[at * states + other] * factor).sum()
        };
        let cross: Vec<f64> = (0..states).map(with_seen).collect();
        for (i, a) in cross.iter().enumerate() {
            self.mean[i] += a / variance * innovation;
            for (j, b) in cross.iter().enumerate() {
                self.cov[i * states + j] -= a * b / variance;
            }
            let diagonal = &mut self.cov[i * states + i];
            *diagonal = diagonal.max(0.0);
        }
    }

    /// Moves a state.
    pub(crate) fn shift(&mut self, at: usize, by: f64) {
        if let Some(mean) = self.mean.get_mut(at) {
            *mean += by;
        }
    }

    /// A state may have changed, with this variance.
    pub(crate) fn open(&mut self, at: usize, variance: f64) {
        let states = self.mean.len();
        self.cov[at * states + at] += variance;
    }

    /// All is less known than was believed: every variance is so many times as large.
    pub(crate) fn widen(&mut self, factor: f64) {
        self.cov.iter_mut().for_each(|x| *x *= factor);
    }

    /// Whether it is of so many states, and can be computed with.
    pub(crate) fn is_of(&self, states: usize) -> bool {
        let mut numbers = self.mean.iter().chain(&self.cov);
        self.mean.len() == states
            && self.cov.len() == states * states
            && numbers.all(|x| x.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::Gaussian;

    #[test]
    fn a_measurement_of_a_sum_moves_what_goes_with_it() {
        let mut state = Gaussian::zeros(2);
        for (i, j, covariance) in [(0, 0, 4.0), (1, 1, 1.0), (0, 1, 1.0)] {
            state.relate(i, j, covariance);
        }
        state.extend([&[], &[]], [[9.0, 0.0], [0.0, 1.0]]);
        let (all, last) = ([(0, 1.0), (1, 1.0), (2, 1.0)], [(2, 1.0)]);
        // 4 + 1 + 9, and twice the 1 between the first two.
        assert_eq!(state.covariance(&all, &all), 16.0);
        state.update(&all, 16.0, 16.0);
        assert_eq!([(0, 1.0), (1, 1.0), (2, 1.0)].map(|one| state.value(&[one])), [5.0, 2.0, 9.0]);
        assert_eq!((state.value(&all), state.covariance(&all, &all)), (16.0, 0.0));
        assert!((state.covariance(&last, &last) - (9.0 - 81.0 / 16.0)).abs() < 1e-12);
        assert!(state.is_of(4) && !state.is_of(3));
        state.open(2, f64::NAN);
        assert!(!state.is_of(3));
    }
}
