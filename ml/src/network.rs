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

use crate::baseline::roofline_log2_seconds;
use crate::dataset::SPEEDUPS;
use crate::encoder::Encoder;
use crate::error::Error;
use crate::features::{COUNT, Features};
use crate::math::{add_scaled_rows, dot};
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
    #[must_use]
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The widths of the hidden layers.
    #[must_use]
    pub fn hidden(&self) -> &[usize] {
        &self.hidden
    }

    /// What stands in for a missing roofline time, in log2 seconds.
    #[must_use]
    pub fn fallback(&self) -> [f64; 2] {
        self.fallback
    }

    /// How many numbers are learned.
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
#[must_use]
pub fn residual_of(heads: &[f32; HEADS]) -> Prediction {
    let sd = [2, 3].map(|i: usize| {
        f64::from(0.5 * heads[i].clamp(LOG_VARIANCE.start, LOG_VARIANCE.end)).exp()
    });
    let correlation = f64::from(CORRELATION_MAX * heads[4].tanh());
    Prediction::new([f64::from(heads[0]), f64::from(heads[1])], sd, correlation)
}

/// What the backward pass needs of the forward pass, for a batch.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    rows: usize,
    /// The inputs of each hidden layer and of the heads: `rows × width`.
    activations: Vec<Vec<f32>>,
    /// Each layer's normalised sums.
    normalised: Vec<Vec<f32>>,
    /// 1 / standard deviation of each layer's outputs.
    inverse_sd: Vec<Vec<f32>>,
    /// What ReLU and dropout let through: 0 or 1 / (1 − share).
    gate: Vec<Vec<f32>>,
    /// `rows × HEADS`.
    pub(crate) heads: Vec<f32>,
}

impl Tape {
    /// Has room for so many hidden layers.
    fn layers(&mut self, count: usize) {
        self.activations.resize_with(count + 1, Vec::new);
        for lists in [&mut self.normalised, &mut self.inverse_sd, &mut self.gate] {
            lists.resize_with(count, Vec::new);
        }
    }

    /// The inputs of the heads.
    fn last(&self) -> &[f32] {
        self.activations.last().map_or(&[], Vec::as_slice)
    }
}

/// Which hidden outputs a training step leaves out.
pub(crate) enum Dropout<'a> {
    /// None: for tests against another implementation.
    Off,
    /// These shares of each layer, drawn from this generator.
    Drawn(&'a mut Rng, &'a [f32]),
}

impl Network {
    /// Runs a batch (`rows × inputs`) in training mode: batch norm uses the batch's own moments,
    /// which are returned a layer as (mean, unbiased variance) for the running ones.
    pub(crate) fn forward_train(
        &self,
        inputs: &[f32],
        mut dropout: Dropout<'_>,
        tape: &mut Tape,
    ) -> Vec<(Vec<f32>, Vec<f32>)> {
        tape.rows = inputs.len() / self.encoder.inputs_count();
        tape.layers(self.hidden.len());
        tape.activations[0].clear();
        tape.activations[0].extend_from_slice(inputs);
        let mut moments = Vec::with_capacity(self.hidden.len());
        for (at, layer) in self.layout.layers.iter().enumerate() {
            let share = match dropout {
                Dropout::Off => 0.0,
                Dropout::Drawn(_, shares) => shares[at],
            };
            let sums = self.linear(&tape.activations[at], layer.inputs, &layer.weight, &layer.bias);
            let (mean, variance) = column_moments(&sums, layer.outputs);
            moments.push(self.normalise(at, sums, &mean, variance, tape));
            let gate = &mut tape.gate[at];
            let mut out = std::mem::take(&mut tape.activations[at + 1]);
            out.clear();
            gate.clear();
            let gamma = &self.parameters[layer.gamma.clone()];
            let beta = &self.parameters[layer.beta.clone()];
            for (i, x) in tape.normalised[at].iter().enumerate() {
                let value = gamma[i % layer.outputs] * x + beta[i % layer.outputs];
                let kept = match &mut dropout {
                    Dropout::Off => true,
                    Dropout::Drawn(rng, _) => rng.uniform() >= f64::from(share),
                };
                let open = if value > 0.0 && kept { 1.0 / (1.0 - share) } else { 0.0 };
                gate.push(open);
                out.push(value * open);
            }
            tape.activations[at + 1] = out;
        }
        let (weight, bias) = (&self.layout.head_weight, &self.layout.head_bias);
        tape.heads = self.linear(tape.last(), self.layout.head_inputs(), weight, bias);
        moments
    }

    fn linear(
        &self,
        from: &[f32],
        inputs: usize,
        weight: &Range<usize>,
        bias: &Range<usize>,
    ) -> Vec<f32> {
        let (weight, bias) = (&self.parameters[weight.clone()], &self.parameters[bias.clone()]);
        let mut sums = Vec::with_capacity(from.len() / inputs * bias.len());
        for row in from.chunks_exact(inputs) {
            let at = sums.len();
            sums.extend_from_slice(bias);
            add_scaled_rows(row, weight, &mut sums[at..]);
        }
        sums
    }

    /// Normalises the sums of layer `at` into the tape; returns its mean and unbiased variance.
    fn normalise(
        &self,
        at: usize,
        mut sums: Vec<f32>,
        mean: &[f32],
        mut variance: Vec<f32>,
        tape: &mut Tape,
    ) -> (Vec<f32>, Vec<f32>) {
        let inverse: Vec<f32> = variance.iter().map(|v| 1.0 / (v + NORM_EPSILON).sqrt()).collect();
        for row in sums.chunks_exact_mut(mean.len()) {
            for ((x, mean), inverse) in row.iter_mut().zip(mean).zip(&inverse) {
                *x = (*x - mean) * inverse;
            }
        }
        tape.normalised[at] = sums;
        tape.inverse_sd[at] = inverse;
        let rows = tape.rows as f32;
        variance.iter_mut().for_each(|v| *v *= rows / (rows - 1.0).max(1.0));
        (mean.to_vec(), variance)
    }

    /// Moves the running moments towards those of a batch.
    pub(crate) fn update_running(&mut self, moments: &[(Vec<f32>, Vec<f32>)]) {
        for (layer, (mean, variance)) in self.layout.layers.iter().zip(moments) {
            let blend = |running: &mut [f32], batch: &[f32]| {
                for (r, b) in running.iter_mut().zip(batch) {
                    *r += NORM_MOMENTUM * (b - *r);
                }
            };
            blend(&mut self.running_mean[layer.running.clone()], mean);
            blend(&mut self.running_variance[layer.running.clone()], variance);
        }
    }

    /// The gradient of the loss by every parameter, from its gradient by the heads (`rows × HEADS`).
    pub(crate) fn backward(&self, tape: &Tape, by_heads: &[f32]) -> Vec<f32> {
        let mut gradient = vec![0.0; self.parameters.len()];
        let (weight, bias) = (&self.layout.head_weight, &self.layout.head_bias);
        let width = self.layout.head_inputs();
        linear_gradient(tape.last(), width, by_heads, &mut gradient, weight, bias);
        let mut by_out = self.by_inputs(by_heads, width, weight);
        for at in (0..self.hidden.len()).rev() {
            let layer = &self.layout.layers[at];
            let by_sums = self.norm_gradient(at, tape, by_out, &mut gradient);
            let (weight, bias) = (&layer.weight, &layer.bias);
            let from = &tape.activations[at];
            linear_gradient(from, layer.inputs, &by_sums, &mut gradient, weight, bias);
            by_out =
                if at == 0 { Vec::new() } else { self.by_inputs(&by_sums, layer.inputs, weight) };
        }
        gradient
    }

    /// The gradient by the inputs of a linear layer, from that by its outputs.
    fn by_inputs(&self, by_outputs: &[f32], inputs: usize, weight: &Range<usize>) -> Vec<f32> {
        let weight = &self.parameters[weight.clone()];
        let outputs = weight.len() / inputs;
        let rows = by_outputs.chunks_exact(outputs);
        rows.flat_map(|row| weight.chunks_exact(outputs).map(|w| dot(w, row))).collect()
    }

    /// Back through dropout, ReLU and batch norm of layer `at`. With x̂ the normalised sums and
    /// g = γ·∂L/∂y, the gradient by a sum is (g − mean(g) − x̂·mean(g·x̂)) / sd, means over the batch.
    fn norm_gradient(
        &self,
        at: usize,
        tape: &Tape,
        by_out: Vec<f32>,
        gradient: &mut [f32],
    ) -> Vec<f32> {
        let layer = &self.layout.layers[at];
        let (width, rows) = (layer.outputs, tape.rows as f32);
        let mut by_y = by_out;
        by_y.iter_mut().zip(&tape.gate[at]).for_each(|(g, gate)| *g *= gate);
        let (mut by_gamma, mut by_beta) = (vec![0.0; width], vec![0.0; width]);
        for (g, x) in by_y.chunks_exact(width).zip(tape.normalised[at].chunks_exact(width)) {
            for o in 0..width {
                by_gamma[o] += g[o] * x[o];
                by_beta[o] += g[o];
            }
        }
        let gamma = &self.parameters[layer.gamma.clone()];
        for (g, x) in by_y.chunks_exact_mut(width).zip(tape.normalised[at].chunks_exact(width)) {
            for o in 0..width {
                let centred = g[o] - by_beta[o] / rows - x[o] * by_gamma[o] / rows;
                g[o] = centred * gamma[o] * tape.inverse_sd[at][o];
            }
        }
        gradient[layer.gamma.clone()].copy_from_slice(&by_gamma);
        gradient[layer.beta.clone()].copy_from_slice(&by_beta);
        by_y
    }
}

/// Mean and biased variance of each column.
fn column_moments(values: &[f32], width: usize) -> (Vec<f32>, Vec<f32>) {
    let rows = (values.len() / width).max(1) as f32;
    let (mut mean, mut variance) = (vec![0.0; width], vec![0.0; width]);
    for row in values.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(m, x)| *m += x);
    }
    mean.iter_mut().for_each(|m| *m /= rows);
    for row in values.chunks_exact(width) {
        for ((v, x), m) in variance.iter_mut().zip(row).zip(&mean) {
            *v += (x - m) * (x - m);
        }
    }
    variance.iter_mut().for_each(|v| *v /= rows);
    (mean, variance)
}

/// Adds the gradient by weight and bias of a linear layer.
fn linear_gradient(
    from: &[f32],
    inputs: usize,
    by_outputs: &[f32],
    gradient: &mut [f32],
    weight: &Range<usize>,
    bias: &Range<usize>,
) {
    let outputs = bias.len();
    for (row, by) in from.chunks_exact(inputs).zip(by_outputs.chunks_exact(outputs)) {
        let by_weight = gradient[weight.clone()].chunks_exact_mut(outputs);
        for (&x, by_weight) in row.iter().zip(by_weight) {
            if x != 0.0 {
                by_weight.iter_mut().zip(by).for_each(|(w, g)| *w += x * g);
            }
        }
        gradient[bias.clone()].iter_mut().zip(by).for_each(|(b, g)| *b += g);
    }
}
