//! The honest evaluation of placement: policies and model against baselines, on what they have not
//! seen.
//!
//! ```text
//! made-up devices (world.rs)  ─→ trials.rs: exploring, being locked in, change
//! recorded runs (--ledger)    ─→ ledgers.rs: steady regret, first calls, predicted times
//!                             ─→ sights.rs: kernels that have not run, and a model of another machine
//! fifteen real devices (--data) ─→ devices.rs: a device that nobody has seen
//! the decision itself         ─→ decision.rs: nanoseconds
//! ```
//!
//! Everything that decides and learns is the library's own; only durations are made up or recorded.

pub(crate) mod decision;
pub(crate) mod devices;
pub(crate) mod ledgers;
mod plot;
mod show;
mod sights;
#[cfg(test)]
mod tests;
mod trials;
mod world;

use std::path::Path;

use crossover::Error;
use crossover::record::Recording;
use serde::Serialize;

use crate::layouts::Layouts;
use crate::sets::Optimisations;

pub(crate) use plot::svg;
pub(crate) use show::tables;

/// A policy that is compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) policy: &'static str,
    pub(crate) looks: Looks,
}

/// Whether some points of a call are run first, to see how fast a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looks {
    /// They are not: of calls that are submitted, or whose grid is a single step.
    None,
    /// They are, on copies of what the call changes, and thrown away: as for kernels that cannot be cut.
    Aside,
    /// They are, and are parts of the work.
    Parts,
}

const fn contender(policy: &'static str) -> Contender {
    Contender { name: policy, policy, looks: Looks::None }
}

/// The policies that are compared, the one that is judged first.
const CONTENDERS: [Contender; 10] = [
    Contender { name: "learned", policy: "learned", looks: Looks::Aside },
    Contender { name: "learned, cut", policy: "learned", looks: Looks::Parts },
    Contender { name: "learned, unseen", policy: "learned", looks: Looks::None },
    contender("always-cpu"),
    contender("always-gpu"),
    contender("threshold"),
    contender("history-1"),
    contender("history"),
    Contender { name: "history-slice", policy: "history-slice", looks: Looks::Parts },
    contender("ewma"),
];

/// How much work to put into it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Programs for each ratio of the trials of exploring.
    pub(crate) explored: u64,
    /// Trials of being locked in.
    pub(crate) lock_ins: u64,
    /// Seeds of everything else that is drawn.
    pub(crate) seeds: u64,
    /// Which of all draws: any number.
    pub(crate) draw: u64,
}

impl Effort {
    /// As the tables are made.
    pub(crate) const FULL: Effort = Effort { explored: 500, lock_ins: 10_000, seeds: 8, draw: 0 };
    /// For a baseline, of which nobody doubts how it does.
    pub(crate) const BASELINE: Effort = Effort { explored: 100, lock_ins: 1000, seeds: 3, draw: 0 };
}

/// The whole answer. Regrets and costs are ratios of times: of 1 for regrets, of 0 for costs, there is
/// none.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Evaluation {
    pub(crate) steady: Steady,
    pub(crate) held_out_family: HeldOut,
    pub(crate) exploration: Vec<Exploration>,
    pub(crate) lock_ins: LockIns,
    pub(crate) drift: Drift,
    pub(crate) prediction: Prediction,
    pub(crate) devices15: Option<Devices>,
    pub(crate) decision_ns: Decision,
    /// Which optimisations the CPU's code gets; nothing where that was not measured.
    pub(crate) optimisations: Option<Optimisations>,
    /// How the CPU's code is laid out; nothing where that was not measured.
    pub(crate) layouts: Option<Layouts>,
    pub(crate) baselines: Vec<Baseline>,
}

/// Time of the chosen sides over that of the better ones, on recorded runs, after the first four calls of
/// each case.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Steady {
    pub(crate) regret_geo: f64,
    pub(crate) regret_total: f64,
    /// The largest of a kernel at a size.
    pub(crate) regret_worst: f64,
}

/// Share of the better side's speed that calls of kernels reach of which the network has seen no relative.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct HeldOut {
    pub(crate) first_call_oracle: f64,
    pub(crate) call4_oracle: f64,
}

/// What exploring costs, where the slower device takes so many times longer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Exploration {
    pub(crate) ratio: f64,
    /// Over a thousand calls, as a share of what always knowing takes.
    pub(crate) cost: f64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct LockIns {
    pub(crate) trials: u64,
    /// Those that never left the slower device.
    pub(crate) locked: u64,
}

/// Calls until a change is followed: the most of all trials.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Drift {
    /// The device in use has become four times slower.
    pub(crate) calls_to_reroute: u64,
    /// The idle device has become twice as fast.
    pub(crate) calls_to_discover: u64,
}

/// How well times are predicted after eight runs.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Prediction {
    pub(crate) median_error: f64,
    pub(crate) coverage90: f64,
}

/// Share of the better device's speed that is reached on a device that nobody has seen.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Devices {
    pub(crate) probes: usize,
    pub(crate) oracle: f64,
}

/// Nanoseconds of a decision: half, and all but one in a thousand, take no longer.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Decision {
    pub(crate) p50: f64,
    pub(crate) p999: f64,
    /// With two looks at the clock, and with the lesson.
    pub(crate) with_record_p50: f64,
    /// The same for calls of a millisecond.
    pub(crate) long_p50: f64,
    pub(crate) long_with_record_p50: f64,
    /// In a runtime, of a call that repeats one before.
    pub(crate) runtime_p50: f64,
}

/// How another policy does in the same trials.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Baseline {
    pub(crate) name: String,
    pub(crate) regret_geo: f64,
    pub(crate) regret_total: f64,
    pub(crate) regret_worst: f64,
    /// From the first call on.
    pub(crate) regret_geo_all: f64,
    /// The largest of all ratios.
    pub(crate) exploration: Option<f64>,
    /// Share of the calls after the twentieth that went to the slower device, not to try it, although
    /// the other is twice as fast.
    pub(crate) wrong: Option<f64>,
    pub(crate) locked: Option<f64>,
    pub(crate) calls_to_reroute: Option<u64>,
    pub(crate) calls_to_discover: Option<u64>,
}

/// Evaluates everything. `said` is told what is under way, and how much of all is over.
pub(crate) fn evaluate(
    recordings: &[Recording],
    data: Option<&Path>,
    [full, baseline]: [Effort; 2],
    said: &mut dyn FnMut(&str, f64),
) -> anyhow::Result<(Evaluation, Details)> {
    let mut details = Details::default();
    said("decisions", 0.0);
    let decision_ns = decision::measure()?;
    let mut rows = Vec::new();
    for (at, contender) in CONTENDERS.iter().enumerate() {
        let is_judged = contender.policy == CONTENDERS[0].policy;
        let effort = if is_judged { full } else { baseline };
        // Those that are judged take as long as all others together.
        let done = if is_judged { 0.02 + 0.2 * at as f64 } else { 0.45 + 0.05 * at as f64 };
        said(contender.name, done);
        rows.push(judge(contender, effort, recordings, &mut details)?);
    }
    rows.push(ledgers::best_constant(recordings));
    said("predictions", 0.92);
    let prediction = ledgers::prediction(recordings, &mut details);
    let held_out_family = ledgers::held_out(recordings)?;
    details.sights = sights::sights(recordings)?;
    said("devices", 0.95);
    let devices15 = data.map(|folder| devices::evaluate(folder, &mut details)).transpose()?;
    let learned = &rows[0];
    let lock_ins = details.lock_ins;
    let evaluation = Evaluation {
        steady: Steady {
            regret_geo: learned.regret_geo,
            regret_total: learned.regret_total,
            regret_worst: learned.regret_worst,
        },
        held_out_family,
        exploration: details
            .exploration
            .iter()
            .map(|e| Exploration { ratio: e.ratio, cost: e.cost })
            .collect(),
        lock_ins: LockIns { trials: lock_ins.trials, locked: lock_ins.locked },
        drift: Drift {
            calls_to_reroute: details.drift.reroute_most,
            calls_to_discover: details.drift.discover_most,
        },
        prediction,
        devices15: devices15.map(|(devices, _)| devices),
        decision_ns,
        optimisations: None,
        layouts: None,
        baselines: rows,
    };
    Ok((evaluation, details))
}

/// What the table says beyond the JSON, of the policy that is judged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Details {
    pub(crate) exploration: Vec<trials::Exploration>,
    /// The same of the same policy where calls can be cut, and where nothing of them is run first.
    pub(crate) exploration_cut: Vec<trials::Exploration>,
    pub(crate) exploration_unseen: Vec<trials::Exploration>,
    pub(crate) lock_ins: trials::LockIns,
    pub(crate) drift: trials::Drift,
    /// What is said of kernels that have not run.
    pub(crate) sights: sights::Sights,
    /// Splits of the fifteen devices: what is unseen, and the share of the oracle's speed by method.
    pub(crate) splits: Vec<devices::Split>,
    /// Mean log2 regret by the number of the call, for each policy: the curve.
    pub(crate) curves: Vec<(String, Vec<f64>)>,
    pub(crate) worst: String,
    /// Cases of the recordings, and those in which the GPU is the faster.
    pub(crate) cases: [usize; 2],
    /// Median error and coverage where real repeats of fifteen devices are predicted.
    pub(crate) real: Option<Prediction>,
}

fn judge(
    contender: &Contender,
    effort: Effort,
    recordings: &[Recording],
    details: &mut Details,
) -> Result<Baseline, Error> {
    let exploration = trials::RATIOS
        .into_iter()
        .map(|ratio| trials::exploration(contender, ratio, effort))
        .collect::<Result<Vec<_>, Error>>()?;
    let lock_ins = trials::lock_ins(contender, effort)?;
    let drift = trials::drift(contender, effort)?;
    let steady = ledgers::steady(contender, recordings)?;
    details.curves.push((contender.name.to_owned(), trials::curve(contender, effort)?));
    let row = Baseline {
        exploration: exploration.iter().map(|e| e.cost).reduce(f64::max),
        wrong: Some(lock_ins.wrong as f64 / lock_ins.calls.max(1) as f64),
        locked: Some(lock_ins.locked as f64 / lock_ins.trials.max(1) as f64),
        calls_to_reroute: Some(drift.reroute_most),
        calls_to_discover: Some(drift.discover_most),
        ..steady.row
    };
    match contender.looks {
        _ if contender.policy != CONTENDERS[0].policy => {}
        Looks::None => details.exploration_unseen = exploration,
        Looks::Parts => details.exploration_cut = exploration,
        Looks::Aside => {
            details.worst = steady.worst;
            details.cases = steady.cases;
            (details.exploration, details.lock_ins, details.drift) = (exploration, lock_ins, drift);
        }
    }
    Ok(row)
}
