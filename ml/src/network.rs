//! The cost network, in plain Rust.
//!
//! ```text
//! inputs ─→ 128 ─→ 64 ─→ 32 ─→ 13 heads        as many layers, as wide, as training is asked for
//!        each arrow but the last: linear, batch norm, ReLU, dropout 0.3 / 0.2 / 0.1
//!
//! heads  0 1    mean of log2(time / roofline), a side
//!        2 3    natural logarithm of its variance, a side
//!        4      correlation of both sides, before tanh
//!        5      logit that the CPU is faster
//!        6…12   log2 of seven optimisation speed-ups
//! ```
//!
//! Weights lie input by input (`[inputs][outputs]`), so that a zero input, which is most of them
//! after ReLU and among the flags, is skipped and the rest is a sum of contiguous rows. For
//! evaluation batch norm is folded into the linear layers: [`Network::predict_with`] allocates nothing.

mod training;

pub(crate) use training::{Dropout, Tape};

use crate::baseline::roofline_log2_seconds;
use crate::dataset::SPEEDUPS;
use crate::encoder::Encoder;
use crate::error::Error;
use crate::features::{COUNT, Features};
use crate::math::add_scaled_rows;
use crate::prediction::{CostModel, Prediction};
use crate::rng::Rng;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::ops::Range;

/// How many outputs the network has.
pub const HEADS: usize = 6 + SPEEDUPS;

/// The default widths of the hidden layers.
pub const HIDDEN: [usize; 3] = [128, 64, 32];

/// A network has at most so many hidden layers.
pub const LAYERS_MAX: usize = 8;

/// A hidden layer is at most so wide.
pub const WIDTH_MAX: usize = 4096;

/// Added to each variance in batch norm.
pub const NORM_EPSILON: f32 = 1e-5;

/// The weight of the newest batch in the running mean and variance.
pub const NORM_MOMENTUM: f32 = 0.1;

/// The correlation head cannot say more than this: a covariance stays invertible.
pub const CORRELATION_MAX: f32 = 0.98;

/// Log-variances (natural) are held between these: 0.03 and 20 log2 seconds of standard deviation.
pub const LOG_VARIANCE: Range<f32> = -7.0..6.0;

/// Where a network came from, kept in its file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The seed of initial weights, batches and dropout.
    pub seed: u64,
    /// [`crate::dataset::Dataset::hash`] of the training rows.
    pub dataset_hash: String,
    /// The trainer: `plain` or `torch`.
    pub trained_by: String,
}

/// A straight line and a spread that map what the network says to what kernels it had not seen did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recalibration {
    /// Factor on the predicted residual, a side.
    pub slope: [f64; 2],
    /// Added to it, in log2 seconds, a side.
    pub offset: [f64; 2],
    /// Factor on the predicted variance, a side.
    pub variance: [f64; 2],
}

impl Default for Recalibration {
    fn default() -> Self {
        Recalibration { slope: [1.0; 2], offset: [0.0; 2], variance: [1.0; 2] }
    }
}

impl Recalibration {
    /// Applies it to a prediction of residuals.
    ///
    /// ```
    /// use crossover_ml::{Prediction, network::Recalibration};
    /// let line = Recalibration { slope: [2.0; 2], offset: [0.0; 2], variance: [4.0; 2] };
    /// let better = line.apply(&Prediction::new([1.0, -1.0], [1.0; 2], 0.5));
    /// assert_eq!(better, Prediction::new([2.0, -2.0], [2.0; 2], 0.5));
    /// ```
    #[must_use]
    pub fn apply(&self, residual: &Prediction) -> Prediction {
        let mean = [0, 1].map(|i| self.slope[i] * residual.mean[i] + self.offset[i]);
        let scale = self.variance.map(f64::sqrt);
        let cov = [0, 1].map(|i| [0, 1].map(|j| residual.cov[i][j] * scale[i] * scale[j]));
        Prediction { mean, cov }
    }

    fn is_valid(&self) -> bool {
        let numbers = self.slope.iter().chain(&self.offset).chain(&self.variance);
        numbers.clone().all(|x| x.is_finite()) && self.variance.iter().all(|&x| x > 0.0)
    }
}

/// Where the parameters of one hidden layer lie in the flat vector.
#[derive(Clone, Debug)]
pub(crate) struct LayerRanges {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
    pub(crate) gamma: Range<usize>,
    pub(crate) beta: Range<usize>,
    /// In the vectors of running means and variances.
    pub(crate) running: Range<usize>,
}

/// Whether hidden layers can be so many and so wide.
pub(crate) fn is_shape(hidden: &[usize]) -> bool {
    (1..=LAYERS_MAX).contains(&hidden.len())
        && hidden.iter().all(|width| (1..=WIDTH_MAX).contains(width))
}

/// Where everything lies in the flat vectors.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) layers: Vec<LayerRanges>,
    pub(crate) head_weight: Range<usize>,
    pub(crate) head_bias: Range<usize>,
}

impl Layout {
    pub(crate) fn new(inputs: usize, hidden: &[usize]) -> Layout {
        let (mut at, mut running_at, mut inputs) = (0, 0, inputs);
        let mut take = |count: usize| {
            at += count;
            at - count..at
        };
        let layers = hidden.iter().map(|&outputs| {
            let layer = LayerRanges {
                inputs,
                outputs,
                weight: take(inputs * outputs),
                bias: take(outputs),
                gamma: take(outputs),
                beta: take(outputs),
                running: running_at..running_at + outputs,
            };
            inputs = outputs;
            running_at += outputs;
            layer
        });
        let layers = layers.collect();
        Layout { layers, head_weight: take(inputs * HEADS), head_bias: take(HEADS) }
    }

    pub(crate) fn parameters_count(&self) -> usize {
        self.head_bias.end
    }

    /// The inputs of the heads: the outputs of the last hidden layer.
    pub(crate) fn head_inputs(&self) -> usize {
        self.head_weight.len() / HEADS
    }

    pub(crate) fn running_count(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.running.end)
    }
}

/// A linear layer with its batch norm folded in.
#[derive(Clone, Debug, Default)]
struct Folded {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Folded {
    fn run(&self, inputs: &[f32], outputs: &mut [f32]) {
        outputs.copy_from_slice(&self.bias);
        add_scaled_rows(inputs, &self.weight, outputs);
    }
}

/// The numbers of one evaluation, to be used again for the next.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    inputs: Vec<f32>,
    hidden: Vec<Vec<f32>>,
}

/// The cost network.
#[derive(Clone, Debug)]
pub struct Network {
    pub(crate) encoder: Encoder,
    pub(crate) hidden: Vec<usize>,
    pub(crate) layout: Layout,
    pub(crate) parameters: Vec<f32>,
    pub(crate) running_mean: Vec<f32>,
    pub(crate) running_variance: Vec<f32>,
    /// Stands in for a missing roofline time, in log2 seconds.
    pub(crate) fallback: [f64; 2],
    /// What the raw predictions are corrected by.
    pub recalibration: Recalibration,
    /// Where it came from.
    pub provenance: Provenance,
    folded: Vec<Folded>,
}

impl Network {
    /// A network with random weights (uniform, ±√(6 / inputs)) from `seed`.
    /// `fallback` stands in for a missing roofline time, in log2 seconds.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if there are not 1 to [`LAYERS_MAX`] hidden layers, or one is not 1 to
    /// [`WIDTH_MAX`] wide.
    ///
    /// ```
    /// # use crossover_ml::{CostModel, Encoder, Features, InputForm, Network, Scratch};
    /// let encoder = Encoder::fit(&[Features::missing()], InputForm::Plain)?;
    /// let network = Network::new(encoder.clone(), &[8, 4], [-13.0; 2], 1)?;
    /// assert_eq!(network.hidden(), [8, 4]);
    /// assert!(Network::new(encoder, &[], [-13.0; 2], 1).is_err(), "without a hidden layer");
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    pub fn new(
        encoder: Encoder,
        hidden: &[usize],
        fallback: [f64; 2],
        seed: u64,
    ) -> Result<Network, Error> {
        let mut network = Network::zeroed(encoder, hidden, fallback)?;
        network.provenance.seed = seed;
        let Network { layout, parameters, .. } = &mut network;
        let mut rng = Rng::new(seed);
        let mut fill = |range: Range<usize>, inputs: usize, gain: f64| {
            let bound = gain * (6.0 / inputs as f64).sqrt();
            for weight in &mut parameters[range] {
                *weight = ((2.0 * rng.uniform() - 1.0) * bound) as f32;
            }
        };
        for layer in &layout.layers {
            fill(layer.weight.clone(), layer.inputs, 1.0);
        }
        fill(layout.head_weight.clone(), layout.head_inputs(), 0.2);
        for layer in &layout.layers {
            parameters[layer.gamma.clone()].fill(1.0);
        }
        network.fold();
        Ok(network)
    }

    /// A network whose weights are all zero, for whoever sets every one of them and then folds: random
    /// weights would take longer to draw than others to read from a file.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub(crate) fn zeroed(
        encoder: Encoder,
        hidden: &[usize],
        fallback: [f64; 2],
    ) -> Result<Network, Error> {
        if !is_shape(hidden) {
            return Err(Error::InvalidOption { name: "hidden" });
        }
        if !encoder.is_valid() {
            return Err(Error::InvalidOption { name: "encoder" });
        }
        let layout = Layout::new(encoder.inputs_count(), hidden);
        let parameters = vec![0.0; layout.parameters_count()];
        let running = layout.running_count();
        Ok(Network {
            encoder,
            hidden: hidden.to_vec(),
            layout,
            parameters,
            running_mean: vec![0.0; running],
            running_variance: vec![1.0; running],
            fallback,
            recalibration: Recalibration::default(),
            provenance: Provenance::default(),
            folded: Vec::new(),
        })
    }

    /// How features become inputs.
    ///
    /// ```
    /// # use crossover_ml::{CostModel, Encoder, Features, InputForm, Network, Scratch};
    /// let encoder = Encoder::fit(&[Features::missing()], InputForm::Plain)?;
    /// let network = Network::new(encoder.clone(), &[8, 4], [-13.0; 2], 1)?;
    /// assert_eq!(network.encoder().inputs_count(), encoder.inputs_count());
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The widths of the hidden layers.
    ///
    /// ```
    /// # use crossover_ml::{CostModel, Encoder, Features, InputForm, Network, Scratch};
    /// let encoder = Encoder::fit(&[Features::missing()], InputForm::Plain)?;
    /// let network = Network::new(encoder.clone(), &[8, 4], [-13.0; 2], 1)?;
    /// assert_eq!(network.hidden().len(), 2);
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn hidden(&self) -> &[usize] {
        &self.hidden
    }

    /// What stands in for a missing roofline time, in log2 seconds.
    ///
    /// ```
    /// # use crossover_ml::{CostModel, Encoder, Features, InputForm, Network, Scratch};
    /// let encoder = Encoder::fit(&[Features::missing()], InputForm::Plain)?;
    /// let network = Network::new(encoder.clone(), &[8, 4], [-13.0; 2], 1)?;
    /// assert_eq!(network.fallback(), [-13.0; 2]);
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn fallback(&self) -> [f64; 2] {
        self.fallback
    }

    /// How many numbers are learned.
    ///
    /// ```
    /// # use crossover_ml::{CostModel, Encoder, Features, InputForm, Network, Scratch};
    /// let encoder = Encoder::fit(&[Features::missing()], InputForm::Plain)?;
    /// let network = Network::new(encoder.clone(), &[8, 4], [-13.0; 2], 1)?;
    /// assert!(network.parameters_count() > 8 * encoder.inputs_count());
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn parameters_count(&self) -> usize {
        self.parameters.len()
    }

    /// Whether every number can be computed with.
    pub(crate) fn is_finite(&self) -> bool {
        let numbers =
            self.parameters.iter().chain(&self.running_mean).chain(&self.running_variance);
        numbers.into_iter().all(|x| x.is_finite())
            && self.running_variance.iter().all(|&x| x >= 0.0)
            && self.recalibration.is_valid()
            && self.fallback.iter().all(|x| x.is_finite())
    }

    /// Folds batch norm into the linear layers. To be called after parameters changed.
    pub(crate) fn fold(&mut self) {
        let hidden = self.layout.layers.iter().map(|layer| {
            let gamma = &self.parameters[layer.gamma.clone()];
            let variance = &self.running_variance[layer.running.clone()];
            let scale = |o: usize| gamma[o] / (variance[o] + NORM_EPSILON).sqrt();
            let weight = &self.parameters[layer.weight.clone()];
            let bias = &self.parameters[layer.bias.clone()];
            let beta = &self.parameters[layer.beta.clone()];
            let mean = &self.running_mean[layer.running.clone()];
            Folded {
                weight: weight
                    .iter()
                    .enumerate()
                    .map(|(i, w)| w * scale(i % layer.outputs))
                    .collect(),
                bias: (0..layer.outputs)
                    .map(|o| (bias[o] - mean[o]) * scale(o) + beta[o])
                    .collect(),
            }
        });
        let heads = Folded {
            weight: self.parameters[self.layout.head_weight.clone()].to_vec(),
            bias: self.parameters[self.layout.head_bias.clone()].to_vec(),
        };
        self.folded = hidden.chain([heads]).collect();
    }

    /// The raw heads for encoded inputs, in evaluation mode. Inputs that lack are zero.
    ///
    /// ```
    /// # use crossover_ml::{CostModel, Encoder, Features, InputForm, Network, Scratch};
    /// let encoder = Encoder::fit(&[Features::missing()], InputForm::Plain)?;
    /// let network = Network::new(encoder.clone(), &[8, 4], [-13.0; 2], 1)?;
    /// let heads = network.forward(&[], &mut Scratch::default());
    /// assert!(heads.iter().all(|head| head.is_finite()), "inputs that lack are zero");
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn forward(&self, inputs: &[f32], scratch: &mut Scratch) -> [f32; HEADS] {
        let mut heads = [0.0; HEADS];
        let mut from = inputs;
        scratch.hidden.resize_with(self.hidden.len(), Vec::new);
        for ((layer, width), out) in self.folded.iter().zip(&self.hidden).zip(&mut scratch.hidden) {
            out.resize(*width, 0.0);
            layer.run(from, out);
            out.iter_mut().for_each(|x| *x = x.max(0.0));
            from = out;
        }
        self.folded[self.hidden.len()].run(from, &mut heads);
        heads
    }

    /// The prediction for a call. Nothing is allocated once `scratch` has been used.
    ///
    /// ```
    /// # use crossover_ml::{CostModel, Encoder, Features, InputForm, Network, Scratch};
    /// let encoder = Encoder::fit(&[Features::missing()], InputForm::Plain)?;
    /// let network = Network::new(encoder.clone(), &[8, 4], [-13.0; 2], 1)?;
    /// let call = Features::missing();
    /// let prediction = network.predict_with(&call, &mut Scratch::default());
    /// assert_eq!(prediction, network.predict(&call));
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn predict_with(&self, features: &Features, scratch: &mut Scratch) -> Prediction {
        self.predict_transformed(features, &features.transformed(), scratch)
    }

    /// As [`Network::predict_with`], for features that were transformed before.
    pub(crate) fn predict_transformed(
        &self,
        features: &Features,
        transformed: &[f32; COUNT],
        scratch: &mut Scratch,
    ) -> Prediction {
        let mut inputs = std::mem::take(&mut scratch.inputs);
        inputs.resize(self.encoder.inputs_count(), 0.0);
        self.encoder.encode(transformed, &mut inputs);
        let residual = residual_of(&self.forward(&inputs, scratch));
        scratch.inputs = inputs;
        let mut prediction = self.recalibration.apply(&residual);
        let base = roofline_log2_seconds(features, self.fallback);
        prediction.mean = [0, 1].map(|i| prediction.mean[i] + base[i]);
        prediction
    }

    /// log2 of the predicted speed-ups of the seven optimisations.
    ///
    /// ```
    /// # use crossover_ml::{CostModel, Encoder, Features, InputForm, Network, Scratch};
    /// let encoder = Encoder::fit(&[Features::missing()], InputForm::Plain)?;
    /// let network = Network::new(encoder.clone(), &[8, 4], [-13.0; 2], 1)?;
    /// let log2 = network.speedups(&Features::missing());
    /// assert!(log2.iter().all(|worth| worth.is_finite()));
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn speedups(&self, features: &Features) -> [f64; SPEEDUPS] {
        let heads = self.forward(&features.encode(&self.encoder), &mut Scratch::default());
        std::array::from_fn(|i| f64::from(heads[6 + i]))
    }
}

impl CostModel for Network {
    fn predict(&self, features: &Features) -> Prediction {
        with_scratch(|scratch| self.predict_with(features, scratch))
    }

    fn name(&self) -> &'static str {
        "network"
    }
}

/// Runs `f` with this thread's scratch.
pub(crate) fn with_scratch<T>(f: impl FnOnce(&mut Scratch) -> T) -> T {
    thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => f(&mut scratch),
        Err(_) => f(&mut Scratch::default()),
    })
}

/// What the raw heads say of the residuals of both sides, in log2.
///
/// ```
/// use crossover_ml::{Side, network::{HEADS, residual_of}};
/// let mut heads = [0.0; HEADS];
/// heads[0] = 2.0;
/// let residual = residual_of(&heads);
/// assert_eq!((residual.mean, residual.sd(Side::Cpu)), ([2.0, 0.0], 1.0));
/// ```
#[must_use]
pub fn residual_of(heads: &[f32; HEADS]) -> Prediction {
    let sd = [2, 3].map(|i: usize| {
        f64::from(0.5 * heads[i].clamp(LOG_VARIANCE.start, LOG_VARIANCE.end)).exp()
    });
    let correlation = f64::from(CORRELATION_MAX * heads[4].tanh());
    Prediction::new([f64::from(heads[0]), f64::from(heads[1])], sd, correlation)
}
