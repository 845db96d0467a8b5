//! What each optimisation is expected to be worth to a kernel, and what compiling it takes: learned from
//! rows that were measured with each of them left out.
//!
//! ```text
//! Features ─→ small networks, their seven heads ─→ log2 of the speed-ups ─┐
//! values of the code, a few features ─→ regressions ─→ seconds of code    ├─→ Forecast ─choose→ Choice
//! values of the code ─→ rates ─→ seconds of the passes                   ─┘
//! ```
//!
//! The networks are of their own, beside the cost network: they are asked once for a kernel, when it is
//! compiled, and know nothing of the GPU. What an optimisation left the same has no place in their training
//! (the speed-up is 1 by definition, which whoever asks knows better than they).
//!
//! What networks say is held against kernels that they were not trained on, head by head: `trust` is the share
//! of their difference from the mean that was found there, `sd` and `typical` what remained. A head that few
//! kernels taught says only how little is known.

use serde::{Deserialize, Serialize};

use crate::dataset::{Compiled, Dataset, OPTIMISATIONS, Row, SPEEDUPS};
use crate::encoder::{Encoder, InputForm};
use crate::error::Error;
use crate::features::{Feature, Features};
use crate::held_out::{Belief, FOLDS, folds};
use crate::linear::Regression;
use crate::network::{Dropout, HEADS, Network};
use crate::optimise::{Effect, Forecast};
use crate::rng::Rng;
use crate::train::{Adam, ROWS_MIN, TrainOptions};
use crate::weights;

/// The version of what a file holds beyond its networks.
pub const VERSION: u32 = 1;

/// The key of a file of this kind.
const KEY: &str = "crossover-speedups";

/// The first of the heads that are used.
const FIRST: usize = HEADS - SPEEDUPS;

/// Kernels that a head needs to say anything.
const KERNELS_MIN: usize = 12;

/// What is expected of an optimisation that nothing is known of, with its standard deviation.
const UNKNOWN: Effect = Effect { log2: 0.05, sd: 0.3, typical: 0.05 };

/// The weight of the order of two optimisations beside the size of each.
const RANK_WEIGHT: f32 = 0.2;

/// The price of a squared weight in the regressions, in squared errors.
const PENALTY: f64 = 2.0;

/// How many numbers the regressions are told.
const SIZES: usize = 7;

/// How to train.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides weights, batches and folds.
    pub seed: u64,
    /// How often as many rows are drawn as there are.
    pub epochs: usize,
    /// Networks.
    pub members: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { seed: 1, epochs: 40, members: 3 }
    }
}

/// What is known of a kernel's code when all optimisations have run.
#[derive(Clone, Copy, Debug)]
pub struct Coded {
    /// Values of its code: as written, and with all optimisations.
    pub values: [f64; 2],
    /// Bytes of its module with all optimisations.
    pub bytes: f64,
    /// Whether its code is another without each of [`OPTIMISATIONS`].
    pub changes: [bool; SPEEDUPS],
}

/// How good a head is on kernels that it was not trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The optimisation.
    pub name: String,
    /// Kernels to which it makes a difference.
    pub kernels: usize,
    /// log2 of the speed-up on average.
    pub mean: f64,
    /// How much of what the networks say beyond the mean is believed.
    pub trust: f64,
    /// Root of the mean squared error, in log2.
    pub sd: f64,
    /// Half of the errors are no larger.
    pub typical: f64,
    /// `sd` of a model that always says the mean.
    pub sd_of_mean: f64,
}

/// What compiling takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Costs {
    /// Seconds of each optimisation itself for a value of the code as written.
    passes_s: [f64; SPEEDUPS],
    /// log2 of the seconds of making code with all.
    code: Regression,
    /// log2 of that time without each over that with it; `None` where too few kernels told.
    without: [Option<Regression>; SPEEDUPS],
    /// Standard deviation of `code` on kernels held out, in log2.
    sd: f64,
}

/// What is learned of optimisations.
#[derive(Clone, Debug)]
pub struct Speedups {
    members: Vec<Network>,
    more: More,
}

/// What a file holds beyond its networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct More {
    version: u32,
    optimisations: Vec<String>,
    heads: Vec<Head>,
    costs: Costs,
    /// Of pairs of optimisations of a kernel that differ by 3 % or more, the share that is in the right order, on
    /// kernels held out.
    ranked: f64,
}

impl Speedups {
    /// What is expected of a kernel that takes so long with all optimisations.
    #[must_use]
    pub fn forecast(&self, features: &Features, coded: &Coded, run_s: f64) -> Forecast {
        let costs = &self.more.costs;
        let sizes = sizes(features, coded.values, coded.bytes);
        let said: Vec<[f64; SPEEDUPS]> =
            self.members.iter().map(|member| member.speedups(features)).collect();
        let effect = |at: usize| match coded.changes[at] {
            false => Effect::NONE,
            true => self.effect(at, &said),
        };
        let code = |at: usize| match &costs.without[at] {
            Some(regression) if coded.changes[at] => regression.predict(&sizes),
            _ => 0.0,
        };
        Forecast {
            run_s,
            run: std::array::from_fn(effect),
            code_s: costs.code.predict(&sizes).exp2(),
            code: std::array::from_fn(code),
            // That it changes nothing is known from having run it.
            passes_s: std::array::from_fn(|at| match coded.changes[at] {
                true => costs.passes_s[at] * coded.values[0],
                false => 0.0,
            }),
        }
    }

    fn effect(&self, at: usize, said: &[[f64; SPEEDUPS]]) -> Effect {
        let head = &self.more.heads[at];
        if head.kernels < KERNELS_MIN {
            return UNKNOWN;
        }
        let count = said.len().max(1) as f64;
        let mean = said.iter().map(|s| s[at]).sum::<f64>() / count;
        let apart = said.iter().map(|s| (s[at] - mean).powi(2)).sum::<f64>() / count;
        Effect {
            log2: head.mean + head.trust * (mean - head.mean),
            sd: (head.sd.powi(2) + head.trust.powi(2) * apart).sqrt(),
            typical: head.typical,
        }
    }

    /// How good each head is on kernels that it was not trained on.
    #[must_use]
    pub fn heads(&self) -> &[Head] {
        &self.more.heads
    }

    /// Of pairs of optimisations of a kernel held out that differ by 3 % or more, the share in the right order.
    #[must_use]
    pub fn ranked(&self) -> f64 {
        self.more.ranked
    }

    /// Standard deviation of the predicted time of making code on kernels held out, in log2.
    #[must_use]
    pub fn code_sd(&self) -> f64 {
        self.more.costs.sd
    }

    /// The file of it.
    ///
    /// # Errors
    /// [`Error::Weights`] if the format cannot hold it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let more = serde_json::to_value(&self.more)
            .map_err(|error| weights::unreadable(&error.to_string()))?;
        weights::pack(KEY, &self.members, Vec::new(), Some(more))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// One that is damaged, of another kind, version or feature table, or of other optimisations.
    pub fn from_bytes(bytes: &[u8]) -> Result<Speedups, Error> {
        let (members, more) = weights::unpack(KEY, bytes)?;
        let more = more.ok_or_else(|| weights::unreadable("only networks"))?;
        let version = more.get("version").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(VERSION)) {
            return Err(weights::unreadable(&format!(
                "speed-ups of a version that is not {VERSION}"
            )));
        }
        let more: More = serde_json::from_value(more)
            .map_err(|error| weights::unreadable(&error.to_string()))?;
        if more.optimisations != OPTIMISATIONS {
            return Err(weights::unreadable("speed-ups of other optimisations"));
        }
        if members.is_empty() || !more.is_valid() {
            return Err(weights::unreadable("numbers that are missing or not finite"));
        }
        Ok(Speedups { members, more })
    }
}

impl More {
    fn is_valid(&self) -> bool {
        let finite = |head: &Head| {
            let all = [head.mean, head.trust, head.sd, head.typical];
            all.iter().all(|x| x.is_finite()) && head.sd >= 0.0 && head.typical >= 0.0
        };
        let costs = &self.costs;
        self.heads.len() == SPEEDUPS
            && self.heads.iter().all(finite)
            && costs.passes_s.iter().all(|s| s.is_finite() && *s >= 0.0)
            && costs.code.is_of(SIZES)
            && costs.without.iter().flatten().all(|regression| regression.is_of(SIZES))
    }
}

/// What the regressions are told.
fn sizes(features: &Features, values: [f64; 2], bytes: f64) -> Vec<f64> {
    let of = |feature| features.get(feature).unwrap_or(0.0);
    vec![
        bytes.max(1.0).log2(),
        values[0].max(1.0).log2(),
        values[1].max(1.0).log2(),
        (1.0 + of(Feature::LoopsCount)).log2(),
        of(Feature::DivergentFraction),
        of(Feature::GatherFraction),
        of(Feature::ReductionOrScan),
    ]
}

/// log2 of what each optimisation was measured to be worth; NaN where it made no difference.
fn targets(row: &Row) -> [f32; SPEEDUPS] {
    let changes = |at: usize| match &row.compiled {
        Some(compiled) => compiled.code_without_s[at].is_some(),
        None => row.speedups[at] != Some(1.0),
    };
    std::array::from_fn(|at| match row.speedups[at] {
        Some(speedup) if changes(at) => speedup.log2() as f32,
        _ => f32::NAN,
    })
}

/// Trains on the rows that say what optimisations are worth.
///
/// # Errors
/// [`Error::TooFewRows`], or [`Error::Diverged`].
pub fn train(data: &Dataset, options: &Options) -> Result<Speedups, Error> {
    let says = |row: &&Row| row.compiled.is_some() && targets(row).iter().any(|x| !x.is_nan());
    let rows: Vec<&Row> = data.rows().iter().filter(says).collect();
    if rows.len() < ROWS_MIN {
        return Err(Error::TooFewRows { found: rows.len(), needed: ROWS_MIN });
    }
    let folds = folds(rows.iter().map(|row| row.kernel.as_str()), options.seed);
    let held_out = held_out(&rows, &folds, options)?;
    let heads: Vec<Head> = (0..SPEEDUPS).map(|at| judge(at, &rows, &held_out)).collect();
    let ranked = ranked(&rows, &held_out);
    let costs = costs(&rows, &folds)?;
    let seeds = (0..options.members.max(1) as u64).map(|member| options.seed + member);
    let mut members =
        seeds.map(|seed| network(&rows, options, seed)).collect::<Result<Vec<_>, _>>()?;
    for member in &mut members {
        member.provenance.dataset_hash = data.hash();
        "plain".clone_into(&mut member.provenance.trained_by);
    }
    let optimisations = OPTIMISATIONS.map(ToOwned::to_owned).to_vec();
    Ok(Speedups { members, more: More { version: VERSION, optimisations, heads, costs, ranked } })
}

/// What networks say of each row that were not trained on its kernel.
fn held_out(
    rows: &[&Row],
    folds: &[usize],
    options: &Options,
) -> Result<Vec<[f64; SPEEDUPS]>, Error> {
    let mut said = vec![[0.0; SPEEDUPS]; rows.len()];
    for fold in 0..FOLDS {
        let kept = rows.iter().zip(folds).filter(|(_, of)| **of != fold);
        let kept: Vec<&Row> = kept.map(|(row, _)| *row).collect();
        if kept.len() < 2 {
            continue;
        }
        let network = network(&kept, options, options.seed ^ (fold as u64 + 1))?;
        for (at, row) in rows.iter().enumerate().filter(|(at, _)| folds[*at] == fold) {
            said[at] = network.speedups(&row.features);
        }
    }
    Ok(said)
}

/// How far the networks are to be believed of an optimisation.
fn judge(at: usize, rows: &[&Row], said: &[[f64; SPEEDUPS]]) -> Head {
    let pairs = rows.iter().zip(said).filter_map(|(row, said)| {
        let found = f64::from(targets(row)[at]);
        (!found.is_nan()).then_some((row.kernel.as_str(), [said[at], found]))
    });
    let Belief { kernels, mean, trust, sd, typical, sd_of_mean } = Belief::of(pairs);
    Head { name: OPTIMISATIONS[at].to_owned(), kernels, mean, trust, sd, typical, sd_of_mean }
}

/// Of pairs that differ by 3 % or more, the share in the right order.
fn ranked(rows: &[&Row], said: &[[f64; SPEEDUPS]]) -> f64 {
    let (mut right, mut all) = (0.0, 0.0);
    for (row, said) in rows.iter().zip(said) {
        let found = targets(row);
        for (i, j) in pairs() {
            let apart = f64::from(found[i] - found[j]);
            if apart.abs() >= 1.03f64.log2() {
                all += 1.0;
                right += f64::from(u8::from((said[i] - said[j]) * apart > 0.0));
            }
        }
    }
    right / f64::max(all, 1.0)
}

fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..SPEEDUPS).flat_map(|i| (i + 1..SPEEDUPS).map(move |j| (i, j)))
}

/// A network of the seven heads; the others stay as they were drawn, and nobody asks them.
fn network(rows: &[&Row], options: &Options, seed: u64) -> Result<Network, Error> {
    let encoder = Encoder::fit(rows.iter().map(|row| &row.features), InputForm::Plain)?;
    let mut network = Network::new(encoder, &[48, 32, 16], [0.0; 2], seed)?;
    let inputs: Vec<Vec<f32>> =
        rows.iter().map(|row| row.features.encode(&network.encoder)).collect();
    let wanted: Vec<[f32; SPEEDUPS]> = rows.iter().map(|row| targets(row)).collect();
    let plan = TrainOptions { epochs: options.epochs, seed, ..TrainOptions::default() };
    let (mut adam, mut rng) = (Adam::new(network.parameters_count()), Rng::new(seed ^ 0x5eed));
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let steps = rows.len().div_ceil(plan.batch);
    for epoch in 0..plan.epochs {
        rng.shuffle(&mut order);
        for (step, batch) in order.chunks(plan.batch).enumerate().filter(|(_, b)| b.len() > 1) {
            let done = (epoch * steps + step) as f64 / (plan.epochs * steps) as f64;
            let from: Vec<f32> = batch.iter().flat_map(|&at| &inputs[at]).copied().collect();
            let by_heads = |heads: &[f32]| loss(heads, batch.iter().map(|&at| &wanted[at]));
            let dropout = Dropout::Drawn(&mut rng, &[0.1, 0.1, 0.0]);
            let rates = [plan.rate_at(done), plan.weight_decay];
            if !network.step(&from, &by_heads, dropout, &mut adam, rates).is_finite() {
                return Err(Error::Diverged { epoch });
            }
        }
    }
    network.fold();
    if !network.is_finite() {
        return Err(Error::Diverged { epoch: plan.epochs });
    }
    network.provenance.seed = seed;
    Ok(network)
}

/// The mean loss of a batch and its gradient by the heads: Huber's of each optimisation that made a
/// difference, and for each pair of them, where d is what was found between them,
/// `0.2 · |d| · ln(1 + e^(−(difference said) · sign d))`.
fn loss<'a>(heads: &[f32], wanted: impl Iterator<Item = &'a [f32; SPEEDUPS]>) -> (f64, Vec<f32>) {
    let mut gradient = vec![0.0; heads.len()];
    let rows = heads.chunks_exact(HEADS).zip(gradient.chunks_exact_mut(HEADS));
    let (mut sum, mut count) = (0.0f32, 0.0f32);
    for ((heads, gradient), wanted) in rows.zip(wanted) {
        let (heads, gradient) = (&heads[FIRST..], &mut gradient[FIRST..]);
        count += 1.0;
        for (at, wanted) in wanted.iter().enumerate().filter(|(_, wanted)| !wanted.is_nan()) {
            let error = heads[at] - wanted;
            let size = error.abs();
            sum += if size <= 1.0 { 0.5 * size * size } else { size - 0.5 };
            gradient[at] += error.clamp(-1.0, 1.0);
        }
        for (i, j) in pairs() {
            let apart = wanted[i] - wanted[j];
            if apart.is_nan() || apart == 0.0 {
                continue;
            }
            let (weight, sign) = (RANK_WEIGHT * apart.abs().min(4.0), apart.signum());
            let margin = sign * (heads[i] - heads[j]);
            sum += weight * ((-margin).max(0.0) + (-margin.abs()).exp().ln_1p());
            let slope = -weight * sign / (1.0 + margin.exp());
            gradient[i] += slope;
            gradient[j] -= slope;
        }
    }
    let scale = 1.0 / count.max(1.0);
    gradient.iter_mut().for_each(|g| *g *= scale);
    (f64::from(sum * scale), gradient)
}

/// What compiling takes: a kernel counts once.
fn costs(rows: &[&Row], folds: &[usize]) -> Result<Costs, Error> {
    let mut seen = std::collections::BTreeSet::new();
    let firsts = rows.iter().zip(folds).filter(|(row, _)| seen.insert(row.kernel.as_str()));
    let firsts: Vec<(&Compiled, Vec<f64>, usize)> = firsts
        .filter_map(|(row, &fold)| {
            let compiled = row.compiled.as_ref()?;
            Some((compiled, sizes(&row.features, compiled.values, compiled.bytes), fold))
        })
        .collect();
    let fit = |pairs: Vec<(Vec<f64>, f64)>| {
        let (examples, targets): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        Regression::fit(&examples, &targets, PENALTY)
    };
    let code = |wanted: &dyn Fn(usize) -> bool| {
        let chosen = firsts.iter().filter(|(.., fold)| wanted(*fold));
        fit(chosen.map(|(c, sizes, _)| (sizes.clone(), c.code_s.log2())).collect())
    };
    let none = || Error::TooFewRows { found: firsts.len(), needed: ROWS_MIN };
    let mut squares = 0.0;
    for fold in 0..FOLDS {
        let others = code(&|of| of != fold).ok_or_else(none)?;
        let own = firsts.iter().filter(|(.., of)| *of == fold);
        squares += own.map(|(c, s, _)| (others.predict(s) - c.code_s.log2()).powi(2)).sum::<f64>();
    }
    let without = |at: usize| {
        let pair = |(compiled, sizes, _): &(&Compiled, Vec<f64>, usize)| {
            let without = compiled.code_without_s[at]?;
            Some((sizes.clone(), (without / compiled.code_s).log2()))
        };
        let pairs: Vec<_> = firsts.iter().filter_map(pair).collect();
        if pairs.len() < KERNELS_MIN { None } else { fit(pairs) }
    };
    let values: f64 = firsts.iter().map(|(compiled, ..)| compiled.values[0]).sum();
    let passes = |at: usize| firsts.iter().map(|(c, ..)| c.passes_s[at]).sum::<f64>() / values;
    Ok(Costs {
        passes_s: std::array::from_fn(passes),
        code: code(&|_| true).ok_or_else(none)?,
        without: std::array::from_fn(without),
        sd: (squares / firsts.len().max(1) as f64).sqrt(),
    })
}

#[cfg(test)]
mod tests;
