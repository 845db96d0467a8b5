//! What a cost model answers: the time of a call on both sides, as one joint Gaussian.
//!
//! All means and covariances are of the binary logarithm of the *kernel* time in seconds;
//! transfers, compilation and waiting in queues are added by the caller.

use crate::features::{Feature, Features};
use serde::{Deserialize, Serialize};

/// The two places where a call can run. Its number is its index in every `[_; 2]` of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(usize)]
pub enum Side {
    /// SIMD WebAssembly on the CPU cores.
    Cpu = 0,
    /// A compute shader on the GPU.
    Gpu = 1,
}

impl Side {
    /// Both sides, in the order of their index.
    pub const ALL: [Side; 2] = [Side::Cpu, Side::Gpu];

    /// The index of this side in every `[_; 2]` of this crate.
    ///
    /// ```
    /// use crossover_ml::{Prediction, Side};
    /// let prediction = Prediction::new([-10.0, -12.0], [1.0; 2], 0.5);
    /// assert_eq!(prediction.mean[Side::Gpu.index()], -12.0);
    /// ```
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The other side.
    ///
    /// ```
    /// use crossover_ml::Side;
    /// assert_eq!(Side::ALL.map(Side::other), [Side::Gpu, Side::Cpu]);
    /// ```
    #[must_use]
    pub fn other(self) -> Side {
        match self {
            Side::Cpu => Side::Gpu,
            Side::Gpu => Side::Cpu,
        }
    }

    /// The roofline time of this side, in seconds.
    ///
    /// ```
    /// use crossover_ml::{Feature, Side};
    /// assert_eq!(Side::Gpu.roofline(), Feature::GpuTimeS);
    /// ```
    #[must_use]
    pub fn roofline(self) -> Feature {
        match self {
            Side::Cpu => Feature::CpuTimeS,
            Side::Gpu => Feature::GpuTimeS,
        }
    }
}

/// A joint Gaussian over the log2 seconds of kernel time of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The mean a side, in log2 seconds.
    pub mean: [f64; 2],
    /// The covariance, in log2 seconds squared.
    pub cov: [[f64; 2]; 2],
}

impl Prediction {
    /// A prediction of means and standard deviations (both log2 seconds) and their correlation.
    ///
    /// ```
    /// use crossover_ml::Prediction;
    /// let prediction = Prediction::new([-10.0, -12.0], [2.0, 1.0], 0.5);
    /// assert_eq!(prediction.cov, [[4.0, 1.0], [1.0, 1.0]]);
    /// ```
    #[must_use]
    pub fn new(mean: [f64; 2], sd: [f64; 2], correlation: f64) -> Prediction {
        let cross = sd[0] * sd[1] * correlation.clamp(-1.0, 1.0);
        Prediction { mean, cov: [[sd[0] * sd[0], cross], [cross, sd[1] * sd[1]]] }
    }

    /// The median time of a side, in seconds.
    ///
    /// ```
    /// # use crossover_ml::{Prediction, Side};
    /// let prediction = Prediction::new([-2.0, -3.0], [1.0; 2], 0.0);
    /// assert_eq!(Side::ALL.map(|side| prediction.seconds(side)), [0.25, 0.125]);
    /// ```
    #[must_use]
    pub fn seconds(&self, side: Side) -> f64 {
        self.mean[side.index()].exp2()
    }

    /// The standard deviation of a side, in log2 seconds.
    ///
    /// ```
    /// # use crossover_ml::{Prediction, Side};
    /// assert_eq!(Prediction::new([0.0; 2], [2.0, 3.0], 0.9).sd(Side::Gpu), 3.0);
    /// ```
    #[must_use]
    pub fn sd(&self, side: Side) -> f64 {
        self.cov[side.index()][side.index()].max(0.0).sqrt()
    }

    /// The correlation of both sides' errors, from −1 to 1; 0 where one side is certain.
    ///
    /// ```
    /// # use crossover_ml::Prediction;
    /// assert_eq!(Prediction::new([0.0; 2], [2.0, 4.0], 0.5).correlation(), 0.5);
    /// assert_eq!(Prediction::new([0.0; 2], [2.0, 0.0], 0.5).correlation(), 0.0);
    /// ```
    #[must_use]
    pub fn correlation(&self) -> f64 {
        let scale = self.sd(Side::Cpu) * self.sd(Side::Gpu);
        if scale > 0.0 { (self.cov[0][1] / scale).clamp(-1.0, 1.0) } else { 0.0 }
    }

    /// The central interval, in seconds, that holds a side's time with probability `level`
    /// (0.9 for 90 %; clamped to 0 … 1).
    ///
    /// ```
    /// # use crossover_ml::{Prediction, Side};
    /// let (low, high) = Prediction::new([0.0; 2], [1.0; 2], 0.0).interval(Side::Cpu, 0.9);
    /// assert!((low - 0.32).abs() < 0.01 && (high - 3.13).abs() < 0.01);
    /// ```
    #[must_use]
    pub fn interval(&self, side: Side, level: f64) -> (f64, f64) {
        let half = normal_quantile(0.5 + level.clamp(0.0, 1.0) / 2.0) * self.sd(side);
        let half = if half.is_nan() { 0.0 } else { half };
        let mean = self.mean[side.index()];
        ((mean - half).exp2(), (mean + half).exp2())
    }

    /// The mean of log2(CPU time / GPU time).
    ///
    /// ```
    /// # use crossover_ml::Prediction;
    /// let prediction = Prediction::new([-10.0, -12.0], [1.0; 2], 0.0);
    /// assert_eq!(prediction.log2_ratio(), 2.0, "the CPU takes four times as long");
    /// ```
    #[must_use]
    pub fn log2_ratio(&self) -> f64 {
        self.mean[0] - self.mean[1]
    }

    /// The standard deviation of log2(CPU time / GPU time).
    ///
    /// ```
    /// # use crossover_ml::Prediction;
    /// // Two sides that err alike: which one is faster is sure, though neither time is.
    /// let sd = |correlation| Prediction::new([0.0; 2], [3.0; 2], correlation).log2_ratio_sd();
    /// assert_eq!((sd(1.0), sd(0.5)), (0.0, 3.0));
    /// ```
    #[must_use]
    pub fn log2_ratio_sd(&self) -> f64 {
        (self.cov[0][0] + self.cov[1][1] - 2.0 * self.cov[0][1]).max(0.0).sqrt()
    }

    /// The probability that the CPU is faster.
    ///
    /// ```
    /// # use crossover_ml::Prediction;
    /// assert!(Prediction::new([-10.0, -12.0], [1.0; 2], 0.5).p_cpu_faster() < 0.03);
    /// assert!((Prediction::vague().p_cpu_faster() - 0.5).abs() < 1e-6);
    /// ```
    #[must_use]
    pub fn p_cpu_faster(&self) -> f64 {
        let (ratio, sd) = (self.log2_ratio(), self.log2_ratio_sd());
        if sd > 0.0 {
            normal_cdf(-ratio / sd)
        } else if ratio == 0.0 {
            0.5
        } else {
            f64::from(u8::from(ratio < 0.0))
        }
    }

    /// The side of the smaller median; the CPU if they are equal.
    ///
    /// ```
    /// # use crossover_ml::{Prediction, Side};
    /// assert_eq!(Prediction::new([-10.0, -12.0], [1.0; 2], 0.5).faster(), Side::Gpu);
    /// ```
    #[must_use]
    pub fn faster(&self) -> Side {
        if self.mean[0] <= self.mean[1] { Side::Cpu } else { Side::Gpu }
    }

    /// Minus the natural logarithm of the density of what was measured (log2 seconds a side).
    /// Nothing measured costs nothing.
    ///
    /// ```
    /// # use crossover_ml::Prediction;
    /// let prediction = Prediction::new([-10.0; 2], [1.0; 2], 0.0);
    /// let nll = |log2_s| prediction.nll([Some(log2_s), None]);
    /// assert!(nll(-10.0) < nll(-8.0), "what was expected surprises less");
    /// assert_eq!(prediction.nll([None, None]), 0.0);
    /// ```
    #[must_use]
    pub fn nll(&self, log2_seconds: [Option<f64>; 2]) -> f64 {
        let tau = std::f64::consts::TAU.ln();
        match log2_seconds {
            [Some(cpu), Some(gpu)] => {
                let [[a, b], [_, d]] = self.cov;
                let determinant = (a * d - b * b).max(1e-12);
                let (u, v) = (cpu - self.mean[0], gpu - self.mean[1]);
                let squared = (d * u * u - 2.0 * b * u * v + a * v * v) / determinant;
                tau + 0.5 * (determinant.ln() + squared)
            }
            [Some(cpu), None] => self.nll_side(Side::Cpu, cpu, tau),
            [None, Some(gpu)] => self.nll_side(Side::Gpu, gpu, tau),
            [None, None] => 0.0,
        }
    }

    fn nll_side(&self, side: Side, log2_seconds: f64, tau: f64) -> f64 {
        let variance = self.cov[side.index()][side.index()].max(1e-12);
        let residual = log2_seconds - self.mean[side.index()];
        0.5 * (tau + variance.ln() + residual * residual / variance)
    }

    /// One Gaussian with the mean and the covariance of the equal mixture of `parts`.
    /// Their disagreement becomes variance. An empty mixture knows nothing: see [`Prediction::vague`].
    ///
    /// ```
    /// # use crossover_ml::{Prediction, Side};
    /// let parts = [-9.0, -11.0].map(|mean| Prediction::new([mean; 2], [0.0; 2], 0.0));
    /// let mixture = Prediction::mixture(parts);
    /// assert_eq!((mixture.mean[0], mixture.sd(Side::Cpu)), (-10.0, 1.0));
    /// ```
    #[must_use]
    pub fn mixture(parts: impl IntoIterator<Item = Prediction>) -> Prediction {
        Prediction::weighted(parts.into_iter().map(|part| (1.0, part)))
    }

    /// As [`Prediction::mixture`], of parts with such weights; they need not be 1 in all.
    ///
    /// ```
    /// # use crossover_ml::Prediction;
    /// let part = |mean: f64| Prediction::new([mean; 2], [0.0; 2], 0.0);
    /// assert_eq!(Prediction::weighted([(3.0, part(-8.0)), (1.0, part(-12.0))]).mean[0], -9.0);
    ///
    /// ```
    #[must_use]
    pub fn weighted(parts: impl IntoIterator<Item = (f64, Prediction)>) -> Prediction {
        let (mut count, mut sum) = (0.0, Prediction { mean: [0.0; 2], cov: [[0.0; 2]; 2] });
        for (weight, part) in parts {
            count += weight;
            for i in 0..2 {
                sum.mean[i] += weight * part.mean[i];
                for j in 0..2 {
                    sum.cov[i][j] += weight * (part.cov[i][j] + part.mean[i] * part.mean[j]);
                }
            }
        }
        if count == 0.0 {
            return Prediction::vague();
        }
        let mean = sum.mean.map(|m| m / count);
        let mut cov = [[0.0; 2]; 2];
        for i in 0..2 {
            for j in 0..2 {
                cov[i][j] = sum.cov[i][j] / count - mean[i] * mean[j];
            }
        }
        Prediction { mean, cov }
    }

    /// What is believed of a call of which nothing is known: about 0.1 ms, give or take a
    /// factor of 32, alike on both sides.
    ///
    /// ```
    /// # use crossover_ml::{Prediction, Side};
    /// let seconds = Prediction::vague().seconds(Side::Cpu);
    /// assert!((0.5e-4..2e-4).contains(&seconds), "{seconds}");
    /// ```
    #[must_use]
    pub fn vague() -> Prediction {
        Prediction::new([-13.3; 2], [5.0; 2], 0.8)
    }
}

/// Anything that prices a call from its features.
pub trait CostModel: Send + Sync {
    /// The kernel time of a call with these features.
    fn predict(&self, features: &Features) -> Prediction;

    /// A short name for reports.
    fn name(&self) -> &str;
}

/// The probability that a standard normal variable is below `z`. The error is below 1.2 · 10⁻⁷.
///
/// ```
/// use crossover_ml::prediction::normal_cdf;
/// assert!((normal_cdf(1.959_964) - 0.975).abs() < 1e-6);
/// ```
#[must_use]
pub fn normal_cdf(z: f64) -> f64 {
    // Chebyshev fit of erfc from Numerical Recipes, section 6.2.
    const FIT: [f64; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ];
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    let poly = FIT.iter().fold(0.0, |sum, c| sum * t + c);
    let tail = 0.5 * t * (-x * x + poly).exp();
    if z > 0.0 { 1.0 - tail } else { tail }
}

/// The `z` below which a standard normal variable is with probability `p`: infinite at 0 and 1.
///
/// ```
/// use crossover_ml::prediction::normal_quantile;
/// assert!((normal_quantile(0.975) - 1.959_964).abs() < 1e-4);
/// assert_eq!(normal_quantile(1.0), f64::INFINITY);
/// ```
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    if p.is_nan() || p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if p >= 1.0 {
        return f64::INFINITY;
    }
    // Abramowitz and Stegun 26.2.23, then two Newton steps on the distribution above.
    let tail = p.min(1.0 - p);
    let t = (-2.0 * tail.ln()).sqrt();
    let mut z = t
        - (2.515_517 + t * (0.802_853 + t * 0.010_328))
            / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)));
    for _ in 0..2 {
        let density = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
        if density > 1e-12 {
            z += (normal_cdf(-z) - tail) / density;
        }
    }
    if p < 0.5 { -z } else { z }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_matches_its_tables() {
        for (z, p) in [(0.0, 0.5), (1.0, 0.841_344_7), (-1.959_964, 0.025), (2.575_829, 0.995)] {
            assert!((normal_cdf(z) - p).abs() < 1e-6, "cdf({z})");
            assert!((normal_quantile(p) - z).abs() < 1e-4, "quantile({p}) {}", normal_quantile(p));
        }
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(normal_quantile(1.0), f64::INFINITY);
    }

    #[test]
    fn intervals_and_odds_follow_the_covariance() {
        let prediction = Prediction::new([-10.0, -12.0], [1.0, 1.0], 0.5);
        let (low, high) = prediction.interval(Side::Cpu, 0.9);
        assert!((low.log2() + 11.645).abs() < 1e-3 && (high.log2() + 8.355).abs() < 1e-3);
        assert!((prediction.p_cpu_faster() - normal_cdf(-2.0)).abs() < 1e-12);
        assert_eq!(prediction.faster(), Side::Gpu);
        let certain = Prediction::new([-10.0, -10.0], [0.0; 2], 0.0);
        assert_eq!(certain.p_cpu_faster(), 0.5);
        assert_eq!(certain.interval(Side::Cpu, 1.0).0, certain.seconds(Side::Cpu));
    }

    #[test]
    fn a_mixture_turns_disagreement_into_variance() {
        let parts = [-1.0, 1.0].map(|m| Prediction::new([m, m], [1.0; 2], 0.0));
        let mixture = Prediction::mixture(parts);
        assert_eq!(mixture.mean, [0.0; 2]);
        assert_eq!(mixture.cov, [[2.0, 1.0], [1.0, 2.0]]);
        assert_eq!(Prediction::mixture([]), Prediction::vague());
    }

    #[test]
    fn the_joint_density_of_independent_sides_is_the_product() {
        let prediction = Prediction::new([1.0, 2.0], [0.5, 2.0], 0.0);
        let joint = prediction.nll([Some(1.4), Some(0.0)]);
        let apart = prediction.nll([Some(1.4), None]) + prediction.nll([None, Some(0.0)]);
        assert!((joint - apart).abs() < 1e-12);
        assert_eq!(prediction.nll([None, None]), 0.0);
    }
}
