//! How far the model is believed on this machine, of kernels that have not run yet.
//!
//! Three opinions are held of a kernel's time: the model's; the model's with an offset for each side, which is
//! what this machine has shown; and a flat one, the roofline with a wide margin. The first run of every kernel
//! on a side tells which of them had it right: each opinion is weighed by how likely it made these sights, and a
//! prior is the mixture. So a model of another machine is corrected as a whole, or believed no more, after a few
//! kernels, while one that is right keeps its say. Sights may be spikes: likelihoods are Student's, and what is
//! far out moves an offset little.

use crate::prediction::{Prediction, Side};

/// Opinions: the model's, the shifted model's, the flat one.
const OPINIONS: usize = 3;

/// The natural logarithms of the weights before any sight.
const BEFORE: [f64; OPINIONS] = [-0.04, -3.5, -4.6];

/// The share of what sights have told that is still believed a sight later: a machine may change.
const KEPT: f64 = 0.97;

/// No opinion falls further behind the best than this, or it would not be heard again.
const BEHIND_MAX: f64 = 12.0;

/// The variance of an offset before any sight, and by how much it grows a sight.
const OFFSET_VARIANCE: f64 = 2.25;
const OFFSET_GROWTH: f64 = 0.01;

/// The variance of a single run's log2 time.
const NOISE_VARIANCE: f64 = 0.1;

/// How heavy the tails of errors are taken to be: Student's degrees of freedom.
const DEGREES_OF_FREEDOM: f64 = 4.0;

/// An offset that all kernels have in common on a side, in log2 seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Offset {
    mean: f64,
    variance: f64,
}

/// Weighs the opinions by first sights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gate {
    trust: Trust,
}

/// What is believed, at some moment: a kernel keeps the one that it began with, since what is learned of it is relative
/// to its prior.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trust {
    log_weights: [f64; OPINIONS],
    offsets: [Offset; 2],
}

impl Default for Trust {
    /// Before any sight: the model is believed.
    fn default() -> Trust {
        let offset = Offset { mean: 0.0, variance: OFFSET_VARIANCE };
        Trust { log_weights: BEFORE, offsets: [offset; 2] }
    }
}

impl Gate {
    /// What is believed now.
    ///
    /// ```
    /// use crossover_ml::gate::{Gate, Trust};
    /// assert_eq!(Gate::default().trust(), Trust::default(), "nothing has run yet");
    /// ```
    #[must_use]
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// A kernel has run on a side for the first time and taken `log2_seconds`, of which the model and the flat
    /// opinion had said so much. What is not finite is ignored.
    ///
    /// ```
    /// # use crossover_ml::{Prediction, Side, gate::Gate};
    /// let (model, flat) = (Prediction::new([-13.0; 2], [0.5; 2], 0.5), Prediction::vague());
    /// let mut gate = Gate::default();
    /// // Kernel after kernel takes a thousand times what the model says.
    /// (0..8).for_each(|_| gate.sight(&model, &flat, Side::Cpu, -3.0));
    /// let [before, now] = [Gate::default(), gate].map(|gate| gate.trust().weights()[0]);
    /// assert!(now < before);
    /// ```
    pub fn sight(&mut self, model: &Prediction, flat: &Prediction, side: Side, log2_seconds: f64) {
        let i = side.index();
        let opinions = self.trust.opinions(model, flat);
        let errors = opinions.map(|opinion| log2_seconds - opinion.mean[i]);
        let variances = opinions.map(|opinion| opinion.cov[i][i].max(0.0) + NOISE_VARIANCE);
        if !errors.iter().chain(&variances).all(|x| x.is_finite()) {
            return;
        }
        let told = std::array::from_fn(|at| log_density(errors[at], variances[at]));
        self.weigh(told);
        // The second opinion is the model's with the offset that was known.
        let offset = &mut self.trust.offsets[i];
        let squared = errors[1] * errors[1] / variances[1];
        let believed = (DEGREES_OF_FREEDOM + 1.0) / (DEGREES_OF_FREEDOM + squared);
        let gain = offset.variance / variances[1] * believed.min(1.0);
        offset.mean += gain * errors[1];
        offset.variance = offset.variance * (1.0 - gain) + OFFSET_GROWTH;
    }

    fn weigh(&mut self, told: [f64; OPINIONS]) {
        let weights = &mut self.trust.log_weights;
        for ((weight, before), told) in weights.iter_mut().zip(BEFORE).zip(told) {
            *weight = before + KEPT * (*weight - before) + told;
        }
        let best = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        weights.iter_mut().for_each(|weight| *weight = (*weight - best).max(-BEHIND_MAX));
    }
}

impl Trust {
    /// The prior of a kernel of which the model and the flat opinion say so much.
    ///
    /// ```
    /// # use crossover_ml::{Prediction, gate::Trust};
    /// let (model, flat) = (Prediction::new([-10.0; 2], [0.5; 2], 0.5), Prediction::vague());
    /// let [cpu, _] = Trust::default().prior(&model, &flat).mean;
    /// assert!((cpu + 10.0).abs() < 0.5, "at first the model is believed: {cpu}");
    /// ```
    #[must_use]
    pub fn prior(&self, model: &Prediction, flat: &Prediction) -> Prediction {
        let weights = self.weights();
        Prediction::weighted(weights.into_iter().zip(self.opinions(model, flat)))
    }

    /// How much is believed of the model, of the model with this machine's offsets, and of neither; 1 in all.
    ///
    /// ```
    /// # use crossover_ml::gate::Trust;
    /// let weights = Trust::default().weights();
    /// assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12 && weights[0] > 0.9);
    /// ```
    #[must_use]
    pub fn weights(&self) -> [f64; OPINIONS] {
        let weights = self.log_weights.map(f64::exp);
        let sum: f64 = weights.iter().sum();
        weights.map(|weight| weight / sum)
    }

    /// By how much this machine's times differ from the model's on a side, as log2.
    ///
    /// ```
    /// # use crossover_ml::{Prediction, Side, gate::{Gate, Trust}};
    /// assert_eq!(Trust::default().offset(Side::Cpu), 0.0);
    /// let (model, flat) = (Prediction::new([-13.0; 2], [0.5; 2], 0.5), Prediction::vague());
    /// let mut gate = Gate::default();
    /// gate.sight(&model, &flat, Side::Cpu, -12.0);
    /// assert!(gate.trust().offset(Side::Cpu) > 0.0, "it took twice what the model says");
    ///
    /// ```
    #[must_use]
    pub fn offset(&self, side: Side) -> f64 {
        self.offsets[side.index()].mean
    }

    fn opinions(&self, model: &Prediction, flat: &Prediction) -> [Prediction; OPINIONS] {
        let mut shifted = *model;
        for (i, offset) in self.offsets.iter().enumerate() {
            shifted.mean[i] += offset.mean;
            shifted.cov[i][i] += offset.variance;
        }
        [*model, shifted, *flat]
    }
}

/// The natural logarithm of Student's density of an error, but for what all have in common.
fn log_density(error: f64, variance: f64) -> f64 {
    let freedom = DEGREES_OF_FREEDOM;
    let tail = (1.0 + error * error / (variance * freedom)).ln();
    -0.5 * variance.ln() - 0.5 * (freedom + 1.0) * tail
}

#[cfg(test)]
mod tests {
    use super::Gate;
    use crate::prediction::{Prediction, Side};
    use crate::rng::Rng;

    const MODEL_SD: f64 = 0.8;

    /// A kernel's true log2 times, and what a model that knows them but for its errors says.
    fn kernel(rng: &mut Rng) -> ([f64; 2], Prediction) {
        let truth = [0, 1].map(|_| -14.0 + 4.0 * rng.normal());
        let said = truth.map(|x| x + MODEL_SD * rng.normal());
        (truth, Prediction::new(said, [MODEL_SD; 2], 0.0))
    }

    fn flat() -> Prediction {
        Prediction::new([-14.0; 2], [4.0; 2], 0.8)
    }

    /// The gate after so many kernels, whose times are as the model says, but for these changes.
    fn after(seed: u64, kernels: usize, change: impl Fn(&mut Rng, [f64; 2]) -> [f64; 2]) -> Gate {
        let (mut gate, mut rng) = (Gate::default(), Rng::new(seed));
        for _ in 0..kernels {
            let (truth, model) = kernel(&mut rng);
            let took = change(&mut rng, truth);
            for side in Side::ALL {
                gate.sight(&model, &flat(), side, took[side.index()]);
            }
        }
        gate
    }

    #[test]
    fn a_model_that_is_right_keeps_its_say_whatever_the_spikes() {
        let spiked = |rng: &mut Rng, truth: [f64; 2]| {
            truth.map(|x| if rng.below(5) < 2 { x + 5f64.log2() } else { x })
        };
        for seed in 0..200 {
            let gate = after(seed, 40, |_, truth| truth);
            let [model, shifted, flat] = gate.trust().weights();
            assert!(flat < 0.01 && (model + shifted) > 0.99, "seed {seed}: {model} {shifted}");
            let offsets = Side::ALL.map(|side| gate.trust().offset(side));
            assert!(offsets.iter().all(|x| x.abs() < 0.8), "seed {seed}: {offsets:?}");
            let flat = after(seed, 40, spiked).trust().weights()[2];
            assert!(flat < 0.05, "seed {seed}, spikes: {flat}");
        }
    }

    #[test]
    fn a_machine_on_which_one_side_is_eight_times_faster_is_known_after_eight_kernels() {
        for seed in 0..200 {
            let gate = after(seed, 8, |_, [cpu, gpu]| [cpu, gpu - 3.0]);
            let said = Prediction::new([-10.0, -10.0], [MODEL_SD; 2], 0.0);
            let prior = gate.trust().prior(&said, &flat());
            assert!((prior.mean[1] + 13.0).abs() < 1.3, "seed {seed}: {prior:?}");
            assert!((prior.mean[0] + 10.0).abs() < 1.3, "seed {seed}: {prior:?}");
        }
    }

    #[test]
    fn a_model_that_knows_nothing_of_the_machine_is_not_believed() {
        let mut flat_weights = 0.0;
        for seed in 0..200 {
            let foreign = |rng: &mut Rng, _: [f64; 2]| [0, 1].map(|_| -14.0 + 4.0 * rng.normal());
            flat_weights += after(seed, 12, foreign).trust().weights()[2] / 200.0;
        }
        assert!(flat_weights > 0.95, "{flat_weights}");
    }

    #[test]
    fn numbers_that_are_none_teach_nothing() {
        let (mut gate, said) = (Gate::default(), Prediction::new([0.0; 2], [1.0; 2], 0.0));
        gate.sight(&said, &flat(), Side::Cpu, f64::NAN);
        gate.sight(&Prediction::new([f64::NAN; 2], [1.0; 2], 0.0), &flat(), Side::Cpu, 1.0);
        gate.sight(&said, &Prediction::new([0.0; 2], [f64::INFINITY; 2], 0.0), Side::Gpu, 1.0);
        assert_eq!(gate, Gate::default());
        let prior = gate.trust().prior(&said, &flat());
        // A hundredth of the flat opinion, far away.
        assert!((prior.mean[0] - said.mean[0]).abs() < 0.2 && prior.sd(Side::Cpu) < 2.0);
    }
}
