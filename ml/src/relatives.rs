//! A device that nobody has seen, from those like it and a few probes.
//!
//! The log2 times of the same calls on devices of one kind are taken to be draws of one Gaussian: its
//! mean is the devices' mean, its covariance what their times have shown, an offset that all calls of a
//! device share, and what a call has for itself. Measuring a few calls on a new device, the probes,
//! tells its offset and which of the others it resembles, and so what all other calls take.

use crate::linear::solve;

/// Standard deviation of the offset that all calls of a device share, in log2.
const OFFSET_SD: f64 = 1.0;

/// The same of a device's own slope along the sizes of calls, over one standard deviation of those.
const SLOPE_SD: f64 = 0.5;

/// Standard deviation of what a call has for itself on a device, in log2.
const OWN_SD: f64 = 0.5;

/// Devices of one kind, each with the log2 seconds of the same calls in the same order.
#[derive(Clone, Debug)]
pub struct Relatives {
    mean: Vec<f64>,
    /// Each device's deviations from the mean.
    deviations: Vec<Vec<f64>>,
    /// Sizes of the calls, of mean 0 and standard deviation 1.
    sizes: Vec<f64>,
}

/// What is expected of a call on a new device, in log2 seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub sd: f64,
}

impl Relatives {
    /// From the devices' times, and the log2 size of each call. `None` without a device, without a call,
    /// or where the lists are of different lengths.
    #[must_use]
    pub fn new(devices: &[Vec<f64>], log2_sizes: &[f64]) -> Option<Relatives> {
        let (calls, count) = (log2_sizes.len(), devices.len() as f64);
        if devices.is_empty() || calls == 0 || devices.iter().any(|times| times.len() != calls) {
            return None;
        }
        let mean: Vec<f64> =
            (0..calls).map(|k| devices.iter().map(|times| times[k]).sum::<f64>() / count).collect();
        let minus = |times: &Vec<f64>| times.iter().zip(&mean).map(|(t, m)| t - m).collect();
        let deviations = devices.iter().map(minus).collect();
        let middle = log2_sizes.iter().sum::<f64>() / calls as f64;
        let squares: f64 = log2_sizes.iter().map(|x| (x - middle).powi(2)).sum();
        let sd = (squares / calls as f64).sqrt().max(1e-9);
        let sizes = log2_sizes.iter().map(|x| (x - middle) / sd).collect();
        Some(Relatives { mean, deviations, sizes })
    }

    /// The mean over the devices of each call.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    fn covariance(&self, a: usize, b: usize) -> f64 {
        let shown: f64 = self.deviations.iter().map(|d| d[a] * d[b]).sum();
        let freedom = (self.deviations.len() as f64 - 1.0).max(1.0);
        let own = if a == b { OWN_SD * OWN_SD } else { 0.0 };
        let slope = SLOPE_SD * SLOPE_SD * self.sizes[a] * self.sizes[b];
        shown / freedom + OFFSET_SD * OFFSET_SD + slope + own
    }

    /// What all calls take on a device of which the probes are known: the number of a call, and its log2
    /// seconds.
    #[must_use]
    pub fn expect(&self, probes: &[(usize, f64)]) -> Vec<Expected> {
        let among: Vec<Vec<f64>> = probes
            .iter()
            .map(|&(a, _)| probes.iter().map(|&(b, _)| self.covariance(a, b)).collect())
            .collect();
        let surprise: Vec<f64> = probes.iter().map(|&(k, log2_s)| log2_s - self.mean[k]).collect();
        let weights = solve(&among, &surprise);
        (0..self.mean.len())
            .map(|k| {
                let with: Vec<f64> = probes.iter().map(|&(p, _)| self.covariance(k, p)).collect();
                let mean = self.mean[k] + dot(&with, &weights);
                let told = dot(&with, &solve(&among, &with));
                let sd = (self.covariance(k, k) - told).max(0.0).sqrt();
                Expected { mean, sd }
            })
            .collect()
    }

    /// The calls to probe on a new device, one after the other the one of which, together with those
    /// before, most is learned of all others.
    #[must_use]
    pub fn probes(&self, count: usize) -> Vec<usize> {
        let mut chosen: Vec<(usize, f64)> = Vec::new();
        for _ in 0..count.min(self.mean.len()) {
            let left = |k: usize| -> f64 {
                let with: Vec<(usize, f64)> =
                    chosen.iter().copied().chain([(k, self.mean[k])]).collect();
                self.expect(&with).iter().map(|e| e.sd * e.sd).sum()
            };
            let free = (0..self.mean.len()).filter(|k| chosen.iter().all(|(c, _)| c != k));
            if let Some(best) = free.min_by(|&a, &b| left(a).total_cmp(&left(b))) {
                chosen.push((best, self.mean[best]));
            }
        }
        chosen.into_iter().map(|(k, _)| k).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Devices whose times are a common part, an offset, and one of two manners.
    fn device(seed: u64, offset: f64, manner: f64) -> Vec<f64> {
        let mut rng = Rng::new(seed);
        let common = |k: usize| -10.0 + (k as f64 * 0.7).sin() * 3.0;
        (0..40)
            .map(|k| {
                let odd = if k % 2 == 1 { manner } else { -manner };
                common(k) + offset + odd + 0.1 * rng.normal()
            })
            .collect()
    }

    #[test]
    fn three_probes_tell_the_offset_and_the_manner_of_a_device() {
        let known: Vec<Vec<f64>> = (0..8)
            .map(|i| device(i, i as f64 * 0.2, if i % 2 == 0 { 1.5 } else { -1.5 }))
            .collect();
        let sizes: Vec<f64> = (0..40).map(f64::from).collect();
        let relatives = Relatives::new(&known, &sizes).expect("eight devices");
        let new = device(99, 2.5, 1.5);
        let error = |expected: &[Expected]| {
            let squares = expected.iter().zip(&new).map(|(e, t)| (e.mean - t).powi(2));
            (squares.sum::<f64>() / 40.0).sqrt()
        };
        let probes = relatives.probes(3);
        let measured: Vec<(usize, f64)> = probes.iter().map(|&k| (k, new[k])).collect();
        let (before, after) = (error(&relatives.expect(&[])), error(&relatives.expect(&measured)));
        assert!(before > 2.0 && after < 0.5, "{before} {after}");
        let expected = relatives.expect(&measured);
        let inside = expected.iter().zip(&new).filter(|(e, t)| (e.mean - *t).abs() < 2.0 * e.sd);
        let inside = inside.count();
        assert!(inside >= 36, "{inside}");
    }

    #[test]
    fn lists_that_do_not_fit_are_refused() {
        assert!(Relatives::new(&[], &[1.0]).is_none());
        assert!(Relatives::new(&[vec![1.0, 2.0]], &[1.0]).is_none());
        let one = Relatives::new(&[vec![1.0, 2.0]], &[1.0, 1.0]).expect("a single device");
        assert!(one.expect(&[(0, 3.0)]).iter().all(|e| e.mean.is_finite() && e.sd.is_finite()));
        assert_eq!(one.probes(9).len(), 2);
    }
}
