//! Fitting a network to measured rows: small, on one thread, the same for the same seed.
//!
//! A share of the kernels is held out to choose the best epoch and to recalibrate. Of each batch,
//! one half is drawn from the rows and one half uniformly over kernels, so that a kernel with many
//! rows does not drown the rest.

use crate::baseline::joint_moments;
use crate::dataset::{Dataset, Row};
use crate::encoder::{Encoder, InputForm};
use crate::ensemble::Ensemble;
use crate::error::Error;
use crate::loss::{Target, loss};
use crate::network::{
    Dropout, HEADS, HIDDEN, LOG_VARIANCE, Network, Recalibration, Scratch, Tape, is_shape,
    residual_of,
};
use crate::prediction::Prediction;
use crate::rng::Rng;
use crate::weights::NamedTensor;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// The fewest measured rows that are trained on.
pub const ROWS_MIN: usize = 16;

/// The norm at which the gradient of a batch is cut.
const GRADIENT_NORM_MAX: f64 = 5.0;

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// Decides weights, batches, dropout and which kernels are held out.
    pub seed: u64,
    /// How often as many rows are drawn as there are.
    pub epochs: usize,
    /// Rows a step (at least 2).
    pub batch: usize,
    /// Adam's first learning rate; it falls to a twentieth along a cosine.
    pub learning_rate: f64,
    /// Share of a weight that is taken away a step, times the learning rate.
    pub weight_decay: f64,
    /// Widths of the hidden layers, from the inputs to the heads: as many layers as there are widths.
    pub hidden: Vec<usize>,
    /// The form of the inputs; an ensemble gives every second member the other form.
    pub form: InputForm,
    /// Share of the kernels that is held out (0 … 0.9).
    pub held_out: f64,
    /// Share of the first and of the last hidden layer that a step leaves out (0 … 0.9); between them it
    /// goes along a line.
    pub dropout: [f32; 2],
}

impl Default for TrainOptions {
    fn default() -> Self {
        TrainOptions {
            seed: 0,
            epochs: 60,
            batch: 64,
            learning_rate: 2e-3,
            weight_decay: 1e-2,
            hidden: HIDDEN.to_vec(),
            form: InputForm::Plain,
            held_out: 0.2,
            dropout: [0.3, 0.1],
        }
    }
}

impl TrainOptions {
    /// The learning rate when this share of training is done: a cosine down to a twentieth.
    #[must_use]
    pub fn rate_at(&self, done: f64) -> f64 {
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        self.learning_rate * (0.05 + 0.95 * cosine)
    }

    /// The share that a step leaves out of each hidden layer.
    #[must_use]
    pub fn dropouts(&self) -> Vec<f32> {
        let [first, last] = self.dropout;
        let steps = self.hidden.len().saturating_sub(1).max(1) as f32;
        (0..self.hidden.len()).map(|at| first + (last - first) * (at as f32 / steps)).collect()
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] that names the option.
    pub fn validate(&self) -> Result<(), Error> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let name = if self.epochs == 0 {
            "epochs"
        } else if self.batch < 2 {
            "batch"
        } else if !positive(self.learning_rate) {
            "learning_rate"
        } else if !(0.0..1.0).contains(&self.weight_decay) {
            "weight_decay"
        } else if !(0.0..=0.9).contains(&self.held_out) {
            "held_out"
        } else if !is_shape(&self.hidden) {
            "hidden"
        } else if !self.dropout.iter().all(|share| (0.0..=0.9).contains(share)) {
            "dropout"
        } else {
            return Ok(());
        };
        Err(Error::InvalidOption { name })
    }
}

/// Where training is; given after every step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// The member of the ensemble, from 0.
    pub member: usize,
    /// The epoch, from 0.
    pub epoch: usize,
    /// How many epochs there will be.
    pub epochs: usize,
    /// The step of the epoch, from 0.
    pub step: usize,
    /// How many steps an epoch has.
    pub steps: usize,
    /// The loss of the step's batch.
    pub loss: f64,
    /// How long the step took.
    pub elapsed: Duration,
}

/// What training did.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainReport {
    /// Rows trained on.
    pub rows: usize,
    /// Their kernels.
    pub kernels: usize,
    /// Rows held out.
    pub rows_held_out: usize,
    /// Mean loss of each epoch.
    pub losses: Vec<f64>,
    /// Mean negative log-likelihood a held-out row of each epoch; empty without held-out rows.
    pub held_out_nll: Vec<f64>,
    /// The epoch whose weights were kept, from 0.
    pub epoch_best: usize,
    /// Time taken, in seconds.
    pub seconds: f64,
}

/// Trains a network on the measured rows of `data`.
///
/// # Errors
/// Options out of range, too few rows, divergence, or [`Error::Stopped`] when `progress` breaks.
pub fn train(
    data: &Dataset,
    options: &TrainOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Network, TrainReport), Error> {
    Job::new(data, options)?.run(None, progress)
}

/// Trains on from `network`, whose encoder and shape are kept.
///
/// # Errors
/// As [`train`].
pub fn train_from(
    network: &Network,
    data: &Dataset,
    options: &TrainOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Network, TrainReport), Error> {
    Job::new(data, options)?.run(Some(network), progress)
}

/// Trains an ensemble: each member on kernels drawn with replacement, every second one with
/// inputs of the other form.
///
/// # Errors
/// As [`train`], and [`Error::InvalidOption`] for no members.
pub fn train_ensemble(
    data: &Dataset,
    options: &TrainOptions,
    members: usize,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Ensemble, Vec<TrainReport>), Error> {
    if members == 0 {
        return Err(Error::InvalidOption { name: "members" });
    }
    let mut networks = Vec::with_capacity(members);
    let mut reports = Vec::with_capacity(members);
    for member in 0..members {
        let options = member_options(options, member);
        let mut job = Job::new(data, &options)?;
        job.member = member;
        if members > 1 {
            job.bootstrap();
        }
        let (network, report) = job.run(None, progress)?;
        networks.push(network);
        reports.push(report);
    }
    Ok((Ensemble::new(networks), reports))
}

/// The options of one member of an ensemble.
#[must_use]
pub fn member_options(options: &TrainOptions, member: usize) -> TrainOptions {
    let form = match (member % 2, options.form) {
        (0, form) => form,
        (_, InputForm::Plain) => InputForm::Piecewise(4),
        (_, InputForm::Piecewise(_)) => InputForm::Plain,
    };
    let seed = options.seed.wrapping_add(0x9e37 * member as u64);
    TrainOptions { seed, form, ..options.clone() }
}

/// The plan of one training: which rows are trained on and how they are drawn.
pub struct Job<'a> {
    options: TrainOptions,
    rows: Vec<&'a Row>,
    held_out: Vec<&'a Row>,
    /// The rows of each drawn kernel; a kernel that was drawn twice is here twice.
    kernels: Vec<Vec<usize>>,
    /// How likely each row is drawn, where not alike.
    priorities: Option<Vec<f64>>,
    dataset_hash: String,
    pub(crate) member: usize,
}

impl<'a> Job<'a> {
    /// Splits the measured rows of `data` as `options` say.
    ///
    /// # Errors
    /// Options out of range, or too few rows.
    pub fn new(data: &'a Dataset, options: &TrainOptions) -> Result<Job<'a>, Error> {
        options.validate()?;
        let measured: Vec<&Row> = data.rows().iter().filter(|row| row.is_measured()).collect();
        if measured.len() < ROWS_MIN {
            return Err(Error::TooFewRows { found: measured.len(), needed: ROWS_MIN });
        }
        let held_names = held_out_kernels(&measured, options);
        let (held_out, rows): (Vec<&Row>, Vec<&Row>) =
            measured.into_iter().partition(|row| held_names.contains(&row.kernel.as_str()));
        if rows.len() < 2 {
            return Err(Error::TooFewRows { found: rows.len(), needed: 2 });
        }
        let kernels = group_by_kernel(&rows);
        Ok(Job {
            options: options.clone(),
            rows,
            held_out,
            kernels,
            priorities: None,
            dataset_hash: data.hash(),
            member: 0,
        })
    }

    /// Draws the kernels anew, with replacement.
    pub fn bootstrap(&mut self) {
        let mut rng = Rng::new(self.options.seed ^ 0xb007);
        let groups = &self.kernels;
        self.kernels = groups.iter().map(|_| groups[rng.below(groups.len())].clone()).collect();
    }

    /// Rows are drawn in proportion to what `priority` says of them (above zero).
    pub fn prioritise(&mut self, priority: impl Fn(&Row) -> f64) {
        let positive = |p: f64| if p.is_finite() { p.max(1e-6) } else { 1e-6 };
        self.priorities = Some(self.rows.iter().map(|row| positive(priority(row))).collect());
    }

    /// The rows that are trained on.
    #[must_use]
    pub fn rows(&self) -> &[&'a Row] {
        &self.rows
    }

    /// A network before the first step: encoder and head biases fitted, weights drawn.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for the number of bins or the widths.
    pub fn initial_network(&self) -> Result<Network, Error> {
        let encoder = Encoder::fit(self.rows.iter().map(|row| &row.features), self.options.form)?;
        let fallback = joint_moments(self.rows.iter().map(|row| row.log2_seconds())).mean;
        let mut network = Network::new(encoder, &self.options.hidden, fallback, self.options.seed)?;
        let residual = joint_moments(self.rows.iter().map(|row| row.residuals(fallback)));
        let bias = network.layout.head_bias.clone();
        let bias = &mut network.parameters[bias];
        for i in 0..2 {
            bias[i] = residual.mean[i] as f32;
            bias[2 + i] =
                (residual.cov[i][i].ln() as f32).clamp(LOG_VARIANCE.start, LOG_VARIANCE.end);
        }
        network.fold();
        Ok(network)
    }

    /// A sampler over the drawn rows.
    #[must_use]
    pub fn sampler(&self) -> Sampler {
        Sampler::new(&self.kernels, self.priorities.as_deref(), self.options.seed)
    }

    /// Fills in what only the held-out rows tell, and where the network came from.
    pub fn finish(&self, network: &mut Network, trained_by: &str) {
        network.recalibration = recalibrate(network, &self.held_out);
        network.provenance.seed = self.options.seed;
        network.provenance.dataset_hash.clone_from(&self.dataset_hash);
        trained_by.clone_into(&mut network.provenance.trained_by);
    }

    /// Mean negative log-likelihood a held-out row, without recalibration; `None` if there are none.
    #[must_use]
    pub fn held_out_nll(&self, network: &Network) -> Option<f64> {
        let mut scratch = Scratch::default();
        let nll = |row: &&Row| {
            raw_residual(network, row, &mut scratch).nll(row.residuals(network.fallback))
        };
        let sum: f64 = self.held_out.iter().map(nll).sum();
        (!self.held_out.is_empty()).then(|| sum / self.held_out.len() as f64)
    }

    pub(crate) fn run(
        self,
        from: Option<&Network>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(Network, TrainReport), Error> {
        let start = Instant::now();
        let options = &self.options;
        let mut network = match from {
            Some(network) => network.clone(),
            None => self.initial_network()?,
        };
        let batches = Batches::new(&network, &self.rows);
        let mut adam = Adam::new(network.parameters_count());
        let mut sampler = self.sampler();
        let mut dropout = Rng::new(options.seed ^ 0xd20b);
        let shares = options.dropouts();
        let mut best = Best::new(&network, from.and_then(|_| self.held_out_nll(&network)));
        let mut report = self.empty_report();
        let steps = self.rows.len().div_ceil(options.batch);
        for epoch in 0..options.epochs {
            let mut sum = 0.0;
            for step in 0..steps {
                let began = Instant::now();
                let done = (epoch * steps + step) as f64 / (options.epochs * steps) as f64;
                let rate = options.rate_at(done);
                let (inputs, targets) = batches.gather(&sampler.draw(options.batch));
                let drawn = Dropout::Drawn(&mut dropout, &shares);
                let rates = [rate, options.weight_decay];
                let by_heads = |heads: &[f32]| loss(heads, &targets);
                let loss = network.step(&inputs, &by_heads, drawn, &mut adam, rates);
                if !loss.is_finite() {
                    return Err(Error::Diverged { epoch });
                }
                sum += loss;
                let elapsed = began.elapsed();
                let (member, epochs) = (self.member, options.epochs);
                let now = Progress { member, epoch, epochs, step, steps, loss, elapsed };
                if progress(now).is_break() {
                    return Err(Error::Stopped);
                }
            }
            network.fold();
            report.losses.push(sum / steps as f64);
            let nll = self.held_out_nll(&network);
            report.held_out_nll.extend(nll);
            best.offer(&network, epoch, nll);
        }
        report.epoch_best = best.epoch;
        let mut network = best.network;
        if !network.is_finite() {
            return Err(Error::Diverged { epoch: options.epochs - 1 });
        }
        self.finish(&mut network, "plain");
        report.seconds = start.elapsed().as_secs_f64();
        Ok((network, report))
    }

    fn empty_report(&self) -> TrainReport {
        TrainReport {
            rows: self.rows.len(),
            kernels: self.kernels.len(),
            rows_held_out: self.held_out.len(),
            losses: Vec::new(),
            held_out_nll: Vec::new(),
            epoch_best: 0,
            seconds: 0.0,
        }
    }
}

/// The weights of the epoch that did best on held-out rows; of the last epoch without such rows.
struct Best {
    network: Network,
    epoch: usize,
    nll: Option<f64>,
}

impl Best {
    fn new(network: &Network, nll: Option<f64>) -> Best {
        Best { network: network.clone(), epoch: 0, nll }
    }

    fn offer(&mut self, network: &Network, epoch: usize, nll: Option<f64>) {
        let better = match (self.nll, nll) {
            (Some(best), Some(nll)) => nll < best,
            (None, _) => true,
            (Some(_), None) => false,
        };
        if better {
            *self = Best { network: network.clone(), epoch, nll };
        }
    }
}

fn held_out_kernels<'a>(rows: &[&'a Row], options: &TrainOptions) -> Vec<&'a str> {
    let mut names: Vec<&str> = rows.iter().map(|row| row.kernel.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() < 3 || options.held_out == 0.0 {
        return Vec::new();
    }
    Rng::new(options.seed ^ 0x0e1d).shuffle(&mut names);
    let count = (names.len() as f64 * options.held_out).round() as usize;
    names.truncate(count.clamp(1, names.len() - 2));
    names
}

fn group_by_kernel(rows: &[&Row]) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        groups.entry(&row.kernel).or_default().push(at);
    }
    groups.into_values().collect()
}

/// Draws the rows of batches.
#[derive(Clone, Debug)]
pub struct Sampler {
    kernels: Vec<Vec<usize>>,
    order: Vec<usize>,
    at: usize,
    /// Running sums of the priorities along `order`; empty if all are alike.
    sums: Vec<f64>,
    rng: Rng,
}

impl Sampler {
    fn new(kernels: &[Vec<usize>], priorities: Option<&[f64]>, seed: u64) -> Sampler {
        let order: Vec<usize> = kernels.iter().flatten().copied().collect();
        let mut sum = 0.0;
        let mut add = |row: &usize| {
            sum += priorities.map_or(1.0, |p| p[*row]);
            sum
        };
        let sums =
            if priorities.is_some() { order.iter().map(&mut add).collect() } else { Vec::new() };
        Sampler {
            kernels: kernels.to_vec(),
            at: order.len(),
            order,
            sums,
            rng: Rng::new(seed ^ 0x5a3b),
        }
    }

    /// The numbers of `count` rows.
    pub fn draw(&mut self, count: usize) -> Vec<usize> {
        let by_row = count / 2;
        let mut rows: Vec<usize> = (0..by_row).map(|_| self.draw_row()).collect();
        rows.extend((by_row..count).map(|_| self.draw_kernel()));
        rows
    }

    fn draw_row(&mut self) -> usize {
        if let Some(total) = self.sums.last() {
            let wanted = self.rng.uniform() * total;
            let at = self.sums.partition_point(|&sum| sum <= wanted);
            return self.order[at.min(self.order.len() - 1)];
        }
        if self.at >= self.order.len() {
            self.rng.shuffle(&mut self.order);
            self.at = 0;
        }
        self.at += 1;
        self.order[self.at - 1]
    }

    fn draw_kernel(&mut self) -> usize {
        let rows = &self.kernels[self.rng.below(self.kernels.len())];
        rows[self.rng.below(rows.len())]
    }
}

/// All rows as inputs and targets.
pub struct Batches {
    inputs: Vec<f32>,
    width: usize,
    targets: Vec<Target>,
}

impl Batches {
    /// Encodes `rows` for `network`.
    #[must_use]
    pub fn new(network: &Network, rows: &[&Row]) -> Batches {
        let width = network.encoder.inputs_count();
        let inputs = rows.iter().flat_map(|row| row.features.encode(&network.encoder)).collect();
        let targets = rows.iter().map(|row| Target::of(row, network.fallback)).collect();
        Batches { inputs, width, targets }
    }

    /// The inputs (`rows × inputs`) and targets of these rows.
    #[must_use]
    pub fn gather(&self, rows: &[usize]) -> (Vec<f32>, Vec<Target>) {
        let input = |&row: &usize| &self.inputs[row * self.width..(row + 1) * self.width];
        let inputs = rows.iter().flat_map(input).copied().collect();
        (inputs, rows.iter().map(|&row| self.targets[row]).collect())
    }
}

/// A loss and its gradient by every parameter, named as in a weight file.
#[derive(Clone, Debug)]
pub struct LossAndGradient {
    /// The mean loss of the batch.
    pub loss: f64,
    /// The gradient.
    pub gradient: Vec<NamedTensor>,
    /// The heads of each row, `rows × HEADS`.
    pub heads: Vec<f32>,
}

impl Network {
    /// Loss and gradient of a batch (`rows × inputs`, at least two rows) in training mode without
    /// dropout: what another implementation is compared with.
    #[must_use]
    pub fn loss_and_gradient(&self, inputs: &[f32], targets: &[Target]) -> LossAndGradient {
        let mut tape = Tape::default();
        self.forward_train(inputs, Dropout::Off, &mut tape);
        let (loss, by_heads) = loss(&tape.heads, targets);
        let gradient = self.name_parameters(&self.backward(&tape, &by_heads));
        LossAndGradient { loss, gradient, heads: tape.heads }
    }

    /// One step of training, by the loss of the heads and its gradient; returns the loss before it. Rates are
    /// Adam's and the decay of weights.
    pub(crate) fn step(
        &mut self,
        inputs: &[f32],
        loss: &ByHeads<'_>,
        dropout: Dropout<'_>,
        adam: &mut Adam,
        [rate, decay]: [f64; 2],
    ) -> f64 {
        let mut tape = Tape::default();
        let moments = self.forward_train(inputs, dropout, &mut tape);
        let (loss, by_heads) = loss(&tape.heads);
        let mut gradient = self.backward(&tape, &by_heads);
        let norm = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        if norm > GRADIENT_NORM_MAX {
            let scale = (GRADIENT_NORM_MAX / norm) as f32;
            gradient.iter_mut().for_each(|g| *g *= scale);
        }
        self.update_running(&moments);
        for layer in &self.layout.layers {
            let kept = (1.0 - rate * decay) as f32;
            self.parameters[layer.weight.clone()].iter_mut().for_each(|w| *w *= kept);
        }
        adam.step(&mut self.parameters, &gradient, rate);
        loss
    }
}

/// The loss of a batch by its heads, and the gradient by them.
pub(crate) type ByHeads<'l> = dyn Fn(&[f32]) -> (f64, Vec<f32>) + 'l;

/// Adam with its usual constants (0.9, 0.999, 10⁻⁸).
pub(crate) struct Adam {
    mean: Vec<f32>,
    square: Vec<f32>,
    steps: i32,
}

impl Adam {
    pub(crate) fn new(parameters: usize) -> Adam {
        Adam { mean: vec![0.0; parameters], square: vec![0.0; parameters], steps: 0 }
    }

    fn step(&mut self, parameters: &mut [f32], gradient: &[f32], rate: f64) {
        self.steps += 1;
        let unbias = (1.0 - 0.999f64.powi(self.steps)).sqrt();
        let rate = (rate * unbias / (1.0 - 0.9f64.powi(self.steps))) as f32;
        let epsilon = (1e-8 * unbias) as f32;
        let moments = self.mean.iter_mut().zip(&mut self.square);
        for ((parameter, g), (mean, square)) in parameters.iter_mut().zip(gradient).zip(moments) {
            *mean += 0.1 * (g - *mean);
            *square += 0.001 * (g * g - *square);
            *parameter -= rate * *mean / (square.sqrt() + epsilon);
        }
    }
}

fn raw_residual(network: &Network, row: &Row, scratch: &mut Scratch) -> Prediction {
    let heads: [f32; HEADS] = network.forward(&row.features.encode(&network.encoder), scratch);
    residual_of(&heads)
}

/// What the network said of a side of a held-out row, and what was measured (log2 residuals).
struct Point {
    weight: f64,
    said: f64,
    variance: f64,
    found: f64,
}

/// The line and spread that fit kernels the network was not trained on. Each kernel counts once.
fn recalibrate(network: &Network, rows: &[&Row]) -> Recalibration {
    let mut scratch = Scratch::default();
    let mut points = [Vec::new(), Vec::new()];
    for kernel in group_by_kernel(rows) {
        let weight = 1.0 / kernel.len() as f64;
        for row in kernel.iter().map(|&at| rows[at]) {
            let prediction = raw_residual(network, row, &mut scratch);
            for (side, found) in row.residuals(network.fallback).into_iter().enumerate() {
                let (said, variance) = (prediction.mean[side], prediction.cov[side][side]);
                points[side].extend(found.map(|found| Point { weight, said, variance, found }));
            }
        }
    }
    let mut result = Recalibration::default();
    for (side, points) in points.iter().enumerate().filter(|(_, points)| !points.is_empty()) {
        let (slope, offset, variance) = recalibrate_side(points);
        result.slope[side] = slope;
        result.offset[side] = offset;
        result.variance[side] = variance;
    }
    result
}

/// Slope, offset and variance factor of one side. With few kernels they stay near the identity,
/// as if so many more had agreed with the network.
fn recalibrate_side(points: &[Point]) -> (f64, f64, f64) {
    const PRIOR_KERNELS: f64 = 4.0;
    fn sum(points: &[Point], f: impl Fn(&Point) -> f64) -> f64 {
        points.iter().map(|p| p.weight * f(p)).sum()
    }
    let total = sum(points, |_| 1.0);
    let said = sum(points, |p| p.said) / total;
    let found = sum(points, |p| p.found) / total;
    let spread = sum(points, |p| (p.said - said).powi(2));
    let together = sum(points, |p| (p.said - said) * (p.found - found));
    let slope = ((together + PRIOR_KERNELS) / (spread + PRIOR_KERNELS)).clamp(0.2, 1.5);
    let trust = total / (total + PRIOR_KERNELS);
    let offset = said + trust * (found - said) - slope * said;
    let square = |p: &Point| (p.found - slope * p.said - offset).powi(2) / p.variance.max(1e-9);
    let variance = (sum(points, square) + PRIOR_KERNELS) / (total + PRIOR_KERNELS);
    (slope, offset, variance.clamp(0.25, 16.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Features;

    /// Rows whose residual to an absent roofline is `of(kernel)` on the CPU, in log2.
    fn rows(kernels: usize, of: impl Fn(usize) -> f64) -> Vec<Row> {
        let row = |at: usize| {
            let seconds = [Some(of(at / 2).exp2()), None];
            Row::new(format!("k{}", at / 2), "f", 1, Features::missing(), seconds)
        };
        (0..2 * kernels).map(row).collect()
    }

    /// A network that says the same of every call, since it has no weights left: mean 1, variance 1.
    fn says_one() -> Network {
        let encoder = Encoder::fit(&[], InputForm::Plain).unwrap();
        let mut network = Network::new(encoder, &[1, 1, 1], [0.0; 2], 0).unwrap();
        network
            .set_tensors(|name, shape| {
                let mut values = vec![0.0; shape.iter().product()];
                if name == "heads.bias" {
                    values[..2].fill(1.0);
                }
                Ok(values)
            })
            .unwrap();
        network
    }

    #[test]
    fn recalibration_moves_towards_what_unseen_kernels_did() {
        let spread = |kernel: usize| if kernel.is_multiple_of(2) { 2.0 } else { 4.0 };
        let rows = rows(400, spread);
        let found = recalibrate(&says_one(), &rows.iter().collect::<Vec<_>>());
        let corrected = found.slope[0] + found.offset[0];
        assert!((corrected - 3.0).abs() < 0.05, "{found:?}");
        assert!((found.variance[0] - 1.0).abs() < 0.05, "{found:?}");
        let untouched = Recalibration::default();
        assert_eq!(found.slope[1], untouched.slope[1]);
        assert_eq!((found.offset[1], found.variance[1]), (0.0, 1.0));
    }

    #[test]
    fn few_kernels_hardly_recalibrate() {
        let rows = rows(1, |_| 3.0);
        let found = recalibrate(&says_one(), &rows.iter().collect::<Vec<_>>());
        let corrected = found.slope[0] + found.offset[0];
        assert!((1.2..1.6).contains(&corrected), "{found:?}");
        assert_eq!(recalibrate(&says_one(), &[]), Recalibration::default());
    }
}
