//! Fitting a network to measured rows: small, on one thread, the same for the same seed.
//!
//! A share of the kernels is held out to choose the best epoch and to recalibrate. Of each batch,
//! one half is drawn from the rows and one half uniformly over kernels, so that a kernel with many
//! rows does not drown the rest.

mod options;
mod recalibrate;
mod sampler;
mod trainer;

pub use options::TrainOptions;
pub use sampler::{Batches, Sampler};
pub use trainer::{Plain, Trainer};

use crate::baseline::joint_moments;
use crate::dataset::{Dataset, Row};
use crate::encoder::{Encoder, InputForm};
use crate::ensemble::Ensemble;
use crate::error::Error;
use crate::loss::{Target, loss};
use crate::network::{Dropout, LOG_VARIANCE, Network, Scratch, Tape};
use crate::rng::Rng;
use crate::weights::NamedTensor;
use recalibrate::{raw_residual, recalibrate};
use sampler::group_by_kernel;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// The fewest measured rows that are trained on.
pub const ROWS_MIN: usize = 16;

/// The norm at which the gradient of a batch is cut.
const GRADIENT_NORM_MAX: f64 = 5.0;

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
///
/// ```
/// # use std::ops::ControlFlow;
/// # use crossover_ml::train::{Progress, TrainOptions, train, train_ensemble, train_from};
/// # use crossover_ml::{CostModel, Dataset, Error, Feature, Features, Row};
/// # let row = |n: u32| {
/// #     let mut call = Features::missing();
/// #     call.set(Feature::CpuTimeS, f64::from(n) * 1e-6);
/// #     let (kernel, seconds) = (format!("k{}", n % 8), [Some(f64::from(n) * 3e-6), None]);
/// #     Row::new(kernel, "f", u64::from(n), call, seconds)
/// # };
/// # let data = Dataset::from_rows((1..65).map(row).collect())?;
/// # let small = TrainOptions { hidden: vec![8, 8], batch: 16, ..TrainOptions::default() };
/// let options = TrainOptions { epochs: 2, ..small };
/// let mut steps = 0;
/// let (network, report) = train(&data, &options, &mut |_| {
///     steps += 1;
///     ControlFlow::Continue(())
/// })?;
/// assert!(steps > 0 && report.losses.len() == 2);
/// assert!(network.predict(&data.rows()[0].features).mean[0].is_finite());
/// # Ok::<(), crossover_ml::Error>(())
/// ```
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
///
/// ```
/// # use std::ops::ControlFlow;
/// # use crossover_ml::train::{Progress, TrainOptions, train, train_ensemble, train_from};
/// # use crossover_ml::{CostModel, Dataset, Error, Feature, Features, Row};
/// # let row = |n: u32| {
/// #     let mut call = Features::missing();
/// #     call.set(Feature::CpuTimeS, f64::from(n) * 1e-6);
/// #     let (kernel, seconds) = (format!("k{}", n % 8), [Some(f64::from(n) * 3e-6), None]);
/// #     Row::new(kernel, "f", u64::from(n), call, seconds)
/// # };
/// # let data = Dataset::from_rows((1..65).map(row).collect())?;
/// # let small = TrainOptions { hidden: vec![8, 8], batch: 16, ..TrainOptions::default() };
/// let options = TrainOptions { epochs: 2, ..small };
/// # let (network, _) = train(&data, &options, &mut |_| ControlFlow::Continue(()))?;
/// let stopped = train_from(&network, &data, &options, &mut |_| ControlFlow::Break(()));
/// assert!(matches!(stopped, Err(Error::Stopped)));
/// let (further, _) = train_from(&network, &data, &options, &mut |_| ControlFlow::Continue(()))?;
/// assert_eq!(further.hidden(), network.hidden(), "the shape is kept");
/// # Ok::<(), crossover_ml::Error>(())
/// ```
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
///
/// ```
/// # use std::ops::ControlFlow;
/// # use crossover_ml::train::{Progress, TrainOptions, train, train_ensemble, train_from};
/// # use crossover_ml::{CostModel, Dataset, Error, Feature, Features, Row};
/// # let row = |n: u32| {
/// #     let mut call = Features::missing();
/// #     call.set(Feature::CpuTimeS, f64::from(n) * 1e-6);
/// #     let (kernel, seconds) = (format!("k{}", n % 8), [Some(f64::from(n) * 3e-6), None]);
/// #     Row::new(kernel, "f", u64::from(n), call, seconds)
/// # };
/// # let data = Dataset::from_rows((1..65).map(row).collect())?;
/// # let small = TrainOptions { hidden: vec![8, 8], batch: 16, ..TrainOptions::default() };
/// let options = TrainOptions { epochs: 2, ..small };
/// let go_on = &mut |_: Progress| ControlFlow::Continue(());
/// let (ensemble, reports) = train_ensemble(&data, &options, 2, go_on)?;
/// assert_eq!((ensemble.members().len(), reports.len()), (2, 2));
/// # Ok::<(), crossover_ml::Error>(())
/// ```
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
///
/// ```
/// use crossover_ml::{InputForm, TrainOptions, train::member_options};
/// let options = TrainOptions { form: InputForm::Plain, ..TrainOptions::default() };
/// let forms = [0, 1, 2].map(|member| member_options(&options, member).form);
/// assert_eq!(forms, [InputForm::Plain, InputForm::Piecewise(4), InputForm::Plain]);
/// ```
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
