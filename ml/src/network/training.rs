//! What training needs of the network beyond its answer: a pass over a batch with the batch's own moments, and the
//! gradient.

use super::{NORM_EPSILON, NORM_MOMENTUM, Network};
use crate::math::{add_scaled_rows, dot};
use crate::rng::Rng;
use std::ops::Range;

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
