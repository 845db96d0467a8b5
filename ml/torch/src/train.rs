//! The training loop with torch's autograd and Adam, on the plan of `crossover_ml::train::Job`.

use crate::loss::loss;
use crate::network::{Mode, TorchNetwork};
use anyhow::{Result, ensure};
use crossover_ml::train::{Batches, Job, Progress, Trainer, member_options};
use crossover_ml::{Dataset, Ensemble, Error, Network, TrainOptions};
use std::ops::ControlFlow;
use std::time::Instant;
use tch::nn::{self, OptimizerConfig};
use tch::{Kind, Tensor};

/// The norm at which the gradient of a batch is cut, as in the plain trainer.
const GRADIENT_NORM_MAX: f64 = 5.0;

const NAME: &str = "torch";

/// libtorch, as a trainer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Torch;

impl Trainer for Torch {
    fn name(&self) -> &str {
        NAME
    }

    fn ensemble(
        &self,
        data: &Dataset,
        options: &TrainOptions,
        members: usize,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> std::result::Result<Ensemble, Error> {
        train_ensemble(data, options, members, progress).map_err(|error| {
            let own = |error: anyhow::Error| Error::Trainer {
                trainer: NAME,
                message: format!("{error:#}"),
            };
            error.downcast::<Error>().unwrap_or_else(own)
        })
    }
}

/// Trains a network on the measured rows of `data`; `progress` is told after every step.
///
/// # Errors
/// As `crossover_ml::train`, and what torch refuses.
pub fn train(
    data: &Dataset,
    options: &TrainOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Network> {
    run(&Job::new(data, options)?, options, 0, progress)
}

/// Trains an ensemble as `crossover_ml::train_ensemble` does.
///
/// # Errors
/// As [`train`].
pub fn train_ensemble(
    data: &Dataset,
    options: &TrainOptions,
    members: usize,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Ensemble> {
    ensure!(members > 0, "an ensemble needs a member");
    let mut networks = Vec::with_capacity(members);
    for member in 0..members {
        let options = member_options(options, member);
        let mut job = Job::new(data, &options)?;
        if members > 1 {
            job.bootstrap();
        }
        networks.push(run(&job, &options, member, progress)?);
    }
    Ok(Ensemble::new(networks))
}

fn run(
    job: &Job<'_>,
    options: &TrainOptions,
    member: usize,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Network> {
    // Dropout is torch's own; weights and rows come from the plain generator.
    tch::manual_seed(i64::from_ne_bytes(options.seed.to_ne_bytes()));
    tch::set_num_threads(1);
    let mut plain = job.initial_network()?;
    let mut network = TorchNetwork::new(&plain, Kind::Float)?;
    let mut adam = nn::Adam::default().build(network.store(), options.learning_rate)?;
    let batches = Batches::new(&plain, job.rows());
    let mut sampler = job.sampler();
    let mut best: Option<(f64, Network)> = None;
    let (epochs, steps) = (options.epochs, job.rows().len().div_ceil(options.batch));
    let width = i64::try_from(plain.encoder().inputs_count())?;
    let shares = options.dropouts();
    for epoch in 0..epochs {
        for step in 0..steps {
            let began = Instant::now();
            let rate = options.rate_at((epoch * steps + step) as f64 / (epochs * steps) as f64);
            let (inputs, targets) = batches.gather(&sampler.draw(options.batch));
            let inputs = Tensor::from_slice(&inputs).view([-1, width]);
            let loss = loss(&network.forward(&inputs, Mode::Training(&shares)), &targets);
            adam.zero_grad();
            loss.f_backward()?;
            adam.clip_grad_norm(GRADIENT_NORM_MAX);
            network.decay(rate * options.weight_decay);
            adam.set_lr(rate);
            adam.step();
            let (loss, elapsed) = (loss.double_value(&[]), began.elapsed());
            if !loss.is_finite() {
                return Err(Error::Diverged { epoch }.into());
            }
            if progress(Progress { member, epoch, epochs, step, steps, loss, elapsed }).is_break() {
                return Err(Error::Stopped.into());
            }
        }
        network.copy_to(&mut plain)?;
        let nll = job.held_out_nll(&plain).unwrap_or(f64::NEG_INFINITY);
        if best.as_ref().is_none_or(|(least, _)| nll < *least || nll == f64::NEG_INFINITY) {
            best = Some((nll, plain.clone()));
        }
    }
    let mut network = best.map_or(plain, |(_, network)| network);
    job.finish(&mut network, NAME);
    Ok(network)
}
