//! What a measured call teaches: the kernel's correction at once, the network in the background.

use std::sync::PoisonError;

use crossover_ml::dataset::Row;

use crate::call::Job;
use crate::device::Device;
use crate::layouts::Turn;
use crate::learned::{Learned, Prior};
use crate::ledger::{Measured, Why};
use crate::place;
use crate::record::{Case, Recorded, Recorder};
use crate::route::{CallKey, Seen, Slice, SliceRun, Told, trial};

/// What of a run may be put down to the bus: the price of that is predicted, not measured.
const BUS_SHARE_MAX: f64 = 0.9;

/// The share of a call from which on its parts are as good as the call.
const SHARE_SHOWN: f64 = 0.75;

/// Learns from a call that has completed.
pub(crate) fn learn(job: &Job<'_>, device: Device, measured: &Measured) {
    let items = place::items(job.grid);
    if items == 0 {
        return;
    }
    job.prepared.runs(device);
    let prior = &job.decision.prior;
    // What the bus has cost depends on where the buffers were, not on the kernel.
    let run_s = measured.run_s - job.decision.bus_s(device).min(BUS_SHARE_MAX * measured.run_s);
    let measured = &Measured { run_s, ..*measured };
    let (predicted_s, crew) = (job.decision.run_s(device), job.seen(device));
    let adapter = job.decision.adapter;
    let mut learned = job.prepared.learned(adapter);
    among_others(job, &mut learned, |learned| {
        learned.observe(prior, device, crew, predicted_s, measured.run_s, measured.total_s);
    });
    let shown_s = learned.show(measured.run_s);
    let shown = shown_s.is_some();
    sight(job, &mut learned, adapter, prior, device, measured.run_s);
    if device == Device::Gpu {
        learned.elsewhere_s = 0.0;
    }
    drop(learned);
    if device == Device::Cpu {
        learn_layouts(job, prior, run_s, shown_s);
    }
    for other in (0..job.inner.gpus.len()).filter(|&other| other != adapter) {
        learn_beside(job, other, device, measured);
    }
    let call = CallKey { kernel: job.prepared.key, shape: prior.shape };
    let (run_s, total_s) = (measured.run_s, measured.total_s);
    job.inner.policy.observe(&Seen { call, share: 1.0, device, run_s, total_s });
    if let Some(recorder) = job.inner.recorder.get() {
        record(job, recorder, call, device, measured);
    }
    if shown {
        show(job, device, measured.run_s.max(1e-9));
    }
}

/// A kernel learns: one that has not run expects what others have met, and all are told what it meets.
fn among_others(job: &Job<'_>, learned: &mut Learned, learn: impl FnOnce(&mut Learned)) {
    let spikes = || job.inner.spikes.lock().unwrap_or_else(PoisonError::into_inner);
    learned.experience.expect_spikes(|| spikes().rates());
    learn(learned);
    let told = learned.experience.take_spikes();
    if told.runs > 0 {
        spikes().add(told);
    }
}

/// Tells the layouts what a call has taken that was part of a race; and what calls have taken, a few at a time.
fn learn_layouts(job: &Job<'_>, prior: &Prior, run_s: f64, shown_s: Option<f64>) {
    let lays = &job.prepared.lays;
    let taken = job.turn.and_then(|turn| lays.observe(turn, prior.log2_work, run_s));
    if let Some((layout, speedup)) = taken {
        tracing::debug!(kernel = &*job.prepared.name, %layout, speedup, "laid out");
    }
    if let Some(shown_s) = shown_s.filter(|_| job.inner.learns_layout(&job.prepared)) {
        lays.spend(prior.log2_work, shown_s, &prior.features);
    }
}

/// Tells the gate of the kernel, once it has run often enough as it would by itself.
fn sight(
    job: &Job<'_>,
    learned: &mut Learned,
    adapter: usize,
    prior: &Prior,
    device: Device,
    run_s: f64,
) {
    if job.decision.is_usual(device)
        && !job.turn.is_some_and(Turn::is_trial)
        && let Some(sight) = learned.sight(&prior.opinions, device, run_s)
    {
        job.inner.gates.sight(adapter, prior.generation, &sight);
    }
}

/// Shows a call to those who keep calls, and to the trainer.
fn show(job: &Job<'_>, device: Device, run_s: f64) {
    let (prior, items) = (&job.decision.prior, place::items(job.grid));
    if let Some(experience) = &job.inner.experience
        && !job.seen(device).is_some_and(|seen| seen.is_trial)
    {
        let call = (device, items, prior.log2_work, run_s);
        experience.record(job.decision.adapter, &job.prepared.version, call, *prior.features);
    }
    if let Some(learner) = &job.inner.learner
        && !job.turn.is_some_and(Turn::is_trial)
    {
        let mut seconds = [None; 2];
        seconds[device as usize] = Some(run_s);
        let name = job.prepared.name.to_string();
        learner.record(Row::new(name, "calls", items, *prior.features, seconds));
    }
}

/// Learns from a slice that has run before the rest: `told` of the call, with so much doubt at least, and for good what
/// calls of its size take.
pub(crate) fn learn_slice(job: &Job<'_>, told: &mut Told, run: &SliceRun, least_sd: f64) {
    let prior = &job.decision.prior;
    told.slice(&prior.prediction, prior.log2_work, run, least_sd);
    job.prepared.learned(job.decision.adapter).observe_slice(prior, run);
    let Slice { device, share } = run.slice;
    let call = CallKey { kernel: job.prepared.key, shape: prior.shape };
    let (run_s, total_s) = (trial::unstarted_s(run.run_s, share, run.start_s), run.run_s);
    job.inner.policy.observe(&Seen { call, share, device, run_s, total_s });
}

/// Learns from what parts of a call have taken on a device: `share` of it in all.
pub(crate) fn learn_parts(job: &Job<'_>, device: Device, share: f64, run_s: f64, total_s: f64) {
    let prior = &job.decision.prior;
    let bus_s = share * job.decision.bus_s(device);
    let run_s = run_s - bus_s.min(BUS_SHARE_MAX * run_s);
    let mut learned = job.prepared.learned(job.decision.adapter);
    among_others(job, &mut learned, |learned| {
        learned.observe_parts(prior, device, share, run_s, total_s);
    });
    if device == Device::Gpu {
        learned.elsewhere_s = 0.0;
    }
    let shown = learned.show(run_s).is_some();
    let whole_s = (run_s / share).max(1e-9);
    if share >= SHARE_SHOWN {
        sight(job, &mut learned, job.decision.adapter, prior, device, whole_s);
    }
    drop(learned);
    let call = CallKey { kernel: job.prepared.key, shape: prior.shape };
    job.inner.policy.observe(&Seen { call, share: 1.0, device, run_s: whole_s, total_s });
    // What is kept, and what a network is trained on, are calls, or what is as good as one.
    if shown && share >= SHARE_SHOWN {
        show(job, device, whole_s);
    }
}

/// What a call teaches of another GPU than that which it was decided with: how long the CPU takes, or that the
/// other was not needed.
fn learn_beside(job: &Job, other: usize, device: Device, measured: &Measured) {
    let mut learned = job.prepared.learned(other);
    match (device, learned.prior(job.decision.prior.shape)) {
        (Device::Gpu, _) => learned.elsewhere_s += measured.total_s,
        (Device::Cpu, Some(prior)) => {
            let (run_s, total_s) = (measured.run_s, measured.total_s);
            let crew = job.seen(device);
            learned.observe(&prior, device, crew, None, run_s, total_s);
            sight(job, &mut learned, other, &prior, device, run_s);
        }
        (Device::Cpu, None) => {}
    }
}

/// The GPU failed, and the CPU ran the call: its row in the ledger says how.
fn fell_back() -> Why {
    Why::FellBack("see the ledger".into())
}

/// Writes a call down for whoever judges policies later.
fn record(job: &Job<'_>, recorder: &Recorder, call: CallKey, device: Device, measured: &Measured) {
    let decision = &job.decision;
    let prior = &decision.prior;
    let of = |device: Device| decision.estimates.of(device);
    let one = |seconds: f64| Device::ALL.map(|other| (other == device).then_some(seconds));
    let row = Recorded {
        case: 0,
        chosen: device,
        why: if device == decision.device { decision.why.clone() } else { fell_back() },
        transfer_s: Device::ALL.map(|device| of(device).map_or(0.0, |e| e.transfer_s)),
        wait_s: Device::ALL.map(|device| of(device).map_or(0.0, |e| e.wait_s)),
        is_crew_trial: job.seen(device).is_some_and(|seen| seen.is_trial),
        run_s: one(measured.run_s),
        total_s: one(measured.total_s),
    };
    let case = || Case {
        kernel: job.prepared.name.to_string(),
        version: job.prepared.version.to_string(),
        shape: prior.shape,
        items: place::items(job.grid),
        log2_work: prior.log2_work,
        prior: prior.prediction,
        generation: prior.generation,
        features: *prior.features,
    };
    recorder.write(call, prior.generation, case, row);
}
