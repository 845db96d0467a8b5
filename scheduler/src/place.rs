//! The decision: what each candidate will cost, and which one runs.
//!
//! Cost = predicted run time + copies of what is not resident + time until the device is free. The
//! network's prediction is made once for each shape of call; the kernel's correction is applied to it
//! at every call.

mod among;
mod left;

use std::hash::Hasher;
use std::sync::Arc;

use crossover_kernels::analysis::{self, Uncut};
use crossover_kernels::exec::{Arg, Grid};
use crossover_ml::Trust;
use crossover_shaders::Gpu;

use crate::aside;
use crate::bus::{InPlace, Ways};
use crate::call::{Bound, BoundArg};
use crate::device::{Device, Seat};
use crate::error::Error;
use crate::experience::Sample;
use crate::featurize::{self, Moment, featurize};
use crate::footprint::{Footprint, footprints};
use crate::gpus::GpuSide;
use crate::learned::{Kept, Known, Learned, Prior, Seen};
use crate::ledger::{Estimate, Estimates, Why};
use crate::route::{Answer, CallKey, Experience, FLEETING_S, Standing, trial};
use crate::runtime::Inner;
use crate::threads::{Choice, Crew, Crews, Machine};
use crate::trust::Opinions;
use crate::version::{GpuCode, Prepared};
use crate::words::Words;

pub(crate) use left::{Left, left, transfer_s};

/// Calls whose one-thread time is predicted below this many times the price of waking the workers stay
/// on the calling thread, until both have been measured.
const INLINE_WAKES: f64 = 2.0;

/// Calls that are predicted to take less are not cut: a part of them is over as soon as it has begun.
const CUT_MIN_S: f64 = 1e-3;

/// Estimates of a call that is over at once are the same if they differ by this share at most, which runs of one call
/// differ by: for less a decision, which costs as much as such a call, is not made anew.
const SAME: f64 = 0.05;

/// What the caller leaves no choice of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    pub(crate) device: Option<Device>,
    /// Which of the GPUs, if it runs on one.
    pub(crate) adapter: Option<usize>,
    /// Whether a GPU with memory of its own works on host memory.
    pub(crate) in_place: Option<bool>,
    pub(crate) threads: Option<usize>,
    /// Whether the call is not to be cut.
    pub(crate) whole: bool,
    /// Whether it runs behind others: then nothing of it is looked at before.
    pub(crate) queued: bool,
}

/// What was decided, and from what. Calls of a shape that nothing has been learned between share one.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    /// The kernel's name, and its version's identity.
    pub(crate) kernel: Arc<str>,
    pub(crate) version: Arc<str>,
    pub(crate) grid: Grid,
    pub(crate) device: Device,
    /// Which of the GPUs it is, or was compared with.
    pub(crate) adapter: usize,
    pub(crate) threads: usize,
    pub(crate) why: Why,
    pub(crate) estimates: Estimates,
    pub(crate) prior: Arc<Prior>,
    /// The layout of the CPU's code, where that is not the default.
    pub(crate) layout: Option<Arc<str>>,
    /// Of the number of threads, where it was not the caller's.
    choice: Option<Choice>,
    /// The threads, where they are a number that is looked at.
    crew: Option<Crew>,
    situation: Situation,
    /// Whether code for a GPU was not ready, or not even asked for.
    pub(crate) lacks_gpu_code: bool,
    /// Whether a part of the call may be run first.
    pub(crate) may_be_cut: bool,
    /// The estimates of both devices, candidates or not.
    both: [Estimate; 2],
}

/// What a decision depends on beside what has been learned of the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Situation {
    asked: Asked,
    presence: Presence,
    /// Seconds of the copies for each device, and of the bus for a GPU that works across it.
    transfer_s: [f64; 2],
    /// What of that is the bus, and the buffers that go that way.
    bus_s: f64,
    in_place: InPlace,
    /// Seconds until each is free.
    wait_s: [f64; 2],
    /// The layout of the CPU's code; 0 is the default.
    layout: u8,
}

/// Whether the GPU is a candidate now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Ready,
    NoGpu,
    Refused,
    Compiling,
    Resting,
}

impl Decision {
    /// The predicted run time on the chosen device and that of the copies before, in seconds.
    pub(crate) fn predicted_s(&self) -> f64 {
        let chosen = &self.both[self.device as usize];
        chosen.run_s + chosen.transfer_s
    }

    /// What a device is predicted to take, candidate or not.
    pub(crate) fn estimate(&self, device: Device) -> &Estimate {
        &self.both[device as usize]
    }

    /// What the caller had left no choice of.
    pub(crate) fn asked(&self) -> Asked {
        self.situation.asked
    }

    /// The number of the layout of the CPU's code.
    pub(crate) fn layout(&self) -> u8 {
        self.situation.layout
    }

    /// The buffers that a GPU with memory of its own works on in that of the host.
    pub(crate) fn in_place(&self) -> InPlace {
        self.situation.in_place
    }

    /// Seconds of a run on a device that are due to buffers being on the other side of a bus.
    pub(crate) fn bus_s(&self, device: Device) -> f64 {
        if device == Device::Gpu { self.situation.bus_s } else { 0.0 }
    }

    /// Where the call runs, exactly.
    pub(crate) fn seat(&self) -> Seat {
        match self.device {
            Device::Cpu => Seat::Cpu,
            Device::Gpu => Seat::Gpu(self.adapter),
        }
    }

    /// The predicted run time on a device, if it was a candidate.
    pub(crate) fn run_s(&self, device: Device) -> Option<f64> {
        let is_candidate = self.estimates.of(device).is_some();
        is_candidate.then_some(self.both[device as usize].run_s)
    }

    /// Who runs the call, if it runs on the CPU.
    pub(crate) fn crew(&self, device: Device) -> Option<Seen> {
        let crew = self.crew.filter(|_| device == Device::Cpu)?;
        Some(Seen { crew: Some(crew), is_trial: self.tried_crew().is_some() })
    }

    /// The crew that this tries, where it is not expected to be the best.
    pub(crate) fn tried_crew(&self) -> Option<Crew> {
        let choice = self.choice.filter(|choice| choice.is_trial && self.device == Device::Cpu)?;
        Some(choice.crew)
    }

    /// Whether a run on a device is one as the runtime would make it: the CPU's with the threads that are taken for
    /// the best.
    pub(crate) fn is_usual(&self, device: Device) -> bool {
        let is_chosen = self.situation.asked.threads.is_none();
        device == Device::Gpu || (is_chosen && !self.choice.is_some_and(|choice| choice.is_trial))
    }

    /// Whether it is over too soon to be cut.
    pub(crate) fn is_short(&self) -> bool {
        is_short(&self.both)
    }

    /// Whether this is what would be said of the call now, as far as anybody could tell.
    fn still_says(&self, both: &[Estimate; 2], choice: Option<Choice>) -> bool {
        let is_near = |old: f64, new: f64| (old - new).abs() <= SAME * old;
        let is_like = |old: &Estimate, new: &Estimate| {
            is_near(old.run_s, new.run_s)
                && is_near(old.run_low_s, new.run_low_s)
                && is_near(old.run_high_s, new.run_high_s)
                && old.threads == new.threads
        };
        let choice = choice.filter(|_| self.situation.asked.threads.is_none());
        let is_chosen = match (self.choice, choice) {
            (Some(old), Some(new)) => {
                (old.crew, old.is_trial, old.other) == (new.crew, new.is_trial, new.other)
                    && is_near(old.other_factor, new.other_factor)
            }
            (old, new) => old.is_none() && new.is_none(),
        };
        let is_fleeting = self.predicted_s() < FLEETING_S;
        is_fleeting && is_chosen && self.both.iter().zip(both).all(|(old, new)| is_like(old, new))
    }

    /// Whether this tries a device that is not predicted to be the best.
    pub(crate) fn is_trial(&self) -> bool {
        self.why == Why::Explore
    }
}

/// Bytes that a call would have to move.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moves {
    /// To the GPU, to run there.
    pub(crate) upload: u64,
    /// Results back from the GPU, after running there.
    pub(crate) results: u64,
    /// From the GPU, to run on the CPU.
    pub(crate) fetch: u64,
    /// From the GPU's memory, to run on it in that of the host.
    pub(crate) settled: u64,
    /// Buffers behind these, for the latencies.
    pub(crate) copies: [u32; 3],
}

/// A call that is to be placed.
#[derive(Clone, Copy)]
pub(crate) struct Placing<'c> {
    pub(crate) inner: &'c Arc<Inner>,
    pub(crate) prepared: &'c Prepared,
    pub(crate) args: &'c [Bound<'c>],
    pub(crate) plain: &'c [Arg<'c>],
    pub(crate) grid: Grid,
}

/// Decides where a call runs.
pub(crate) fn decide(call: Placing<'_>, asked: Asked) -> Result<Arc<Decision>, Error> {
    let gpus = call.inner.gpus.len();
    match asked.adapter {
        Some(at) if at >= gpus && gpus > 0 => {
            let why = format!("there is no adapter {at} among the {gpus} of the runtime");
            Err(Error::NoGpu { kernel: call.prepared.name.to_string(), why })
        }
        Some(at) => decide_with(call, at, asked),
        None if gpus < 2 => decide_with(call, 0, asked),
        None => among::decide(call, asked),
    }
}

/// Decides between the CPU and one of the GPUs.
fn decide_with(call: Placing<'_>, at: usize, asked: Asked) -> Result<Arc<Decision>, Error> {
    let Placing { inner, prepared, args, plain, grid } = call;
    let side = inner.gpus.get(at);
    let opened = side.and_then(|side| side.opened());
    let gpu = opened.as_ref().map(|opened| opened.gpu());
    let mut presence = presence(side, prepared, gpu);
    if (asked.device, presence) == (Some(Device::Gpu), Presence::NoGpu) {
        let (kernel, why) = (prepared.name.to_string(), inner.no_gpu().to_string());
        return Err(Error::NoGpu { kernel, why });
    }
    let generation = inner.generation();
    let mut learned = prepared.learned(at);
    if learned.is_new()
        && let Some(experience) = &inner.experience
    {
        recall(inner, at, experience.of(at, &prepared.version), &mut learned);
    }
    let visits = learned.experience.visits.iter().sum();
    let shape = shape(plain, grid);
    let ask = |trust: Option<Trust>, old: Option<&Prior>| {
        let is_compiled = presence == Presence::Ready;
        let trust = trust.unwrap_or_else(|| inner.gates.trust(at, generation));
        let said = |old: &Prior| Opinions::of(&*inner.model(), &old.features, trust).prior();
        let moment = Moment { visits, is_compiled, generation };
        (ask(call, at, gpu, (shape, trust), moment), old.map(said))
    };
    let choose =
        |crews: &Crews, log2_work, answer: &_| choose_threads(inner, crews, log2_work, answer);
    let (known, experience) = learned.expect(shape, generation, ask, choose);
    if presence == Presence::Ready && known.prior.refusal.is_some() {
        presence = Presence::Refused;
    }
    let Passage { transfer_s, bus_s, in_place } =
        passage(side, gpu, args, &known.prior.footprints, asked.in_place);
    let wait_s = [inner.wait_s(Seat::Cpu), side.map_or(0.0, |_| inner.wait_s(Seat::Gpu(at)))];
    let layout = prepared.lays.in_use(known.prior.log2_work);
    // What can be cut is cut the same way wherever it waits.
    let asked = Asked { queued: asked.queued && known.prior.cut.is_err(), ..asked };
    let situation = Situation { asked, presence, transfer_s, bus_s, in_place, wait_s, layout };
    Ok(decide_in(call, at, situation, known, experience))
}

/// Decides in a situation: as before, as far as that would be said again.
fn decide_in(
    call: Placing<'_>,
    at: usize,
    situation: Situation,
    known: &mut Known,
    experience: &Experience,
) -> Arc<Decision> {
    let Placing { inner, prepared, grid, .. } = call;
    let Situation { asked, presence, layout, .. } = situation;
    let kept = known.kept.as_ref().filter(|kept| kept.decision.situation == situation);
    let fresh = kept.filter(|kept| !kept.is_old);
    if let Some(kept) = fresh
        && experience.budget_s() < kept.until_s
    {
        return kept.decision.clone();
    }
    let both = match fresh {
        Some(kept) => kept.decision.both,
        None => estimates(inner, at, &known.answer, &situation, known.choice),
    };
    // A recording is told of what every lesson has changed.
    let is_same = |kept: &&Kept| {
        !kept.is_old || (!asked.whole && kept.decision.still_says(&both, known.choice))
    };
    let kept = kept.filter(is_same).map(|kept| kept.decision.clone());
    let can_be_cut = can_be_cut(call, &known.prior, &situation);
    let may_be_cut = can_be_cut && !is_surely_short(experience, known, &both);
    // Where there is no choice the situation says it all.
    let (device, why, until_s) = match (asked.device, presence) {
        (None, Presence::Ready) => consult(call, experience, known, &both, may_be_cut),
        (Some(device), _) => (device, Why::Forced, f64::INFINITY),
        (None, _) => (Device::Cpu, missing(call, at, &known.prior, presence), f64::INFINITY),
    };
    // What is over soon on the best is not on any other.
    let is_long_trial = why == Why::Explore && trial::is_long(both[device as usize].run_high_s);
    let may_be_cut = may_be_cut || (can_be_cut && is_long_trial);
    if let Some(kept) = kept
        && (device, &why) == (kept.device, &kept.why)
    {
        known.kept = Some(Kept { decision: kept.clone(), until_s, is_old: false });
        return kept;
    }
    let (mut both, mut choice) = (both, known.choice.filter(|_| asked.threads.is_none()));
    // What a trial of the CPU with a bad number of threads takes would say nothing of the CPU.
    let is_twofold = (device, &why) == (Device::Cpu, &Why::Explore);
    let is_twofold = is_twofold && choice.is_some_and(|choice| choice.is_trial);
    if is_twofold {
        choice = choice.map(Choice::untried);
        both = estimates(inner, at, &known.answer, &situation, choice);
    }
    let decision = Decision {
        kernel: prepared.name.clone(),
        version: prepared.version.clone(),
        grid,
        device,
        adapter: at,
        threads: both[0].threads,
        why,
        estimates: candidates(inner, &situation, &both, choice),
        prior: known.prior.clone(),
        layout: prepared.lays.name(layout),
        choice,
        crew: Crew::of(both[0].threads, inner.calibration().cpu.threads),
        lacks_gpu_code: situation.presence == Presence::Compiling,
        may_be_cut,
        situation,
        both,
    };
    let decision = Arc::new(decision);
    let keep = || Kept { decision: decision.clone(), until_s, is_old: false };
    known.kept = (!is_twofold).then(keep);
    decision
}

/// The policy's choice, and the budget for trials until which it would make it again.
fn consult(
    call: Placing<'_>,
    experience: &Experience,
    known: &Known,
    both: &[Estimate; 2],
    can_be_cut: bool,
) -> (Device, Why, f64) {
    let key = CallKey { kernel: call.prepared.key, shape: known.prior.shape };
    let standing = experience.standing(known.prior.log2_work);
    let standing = Standing { can_be_cut, ..standing };
    // A number of threads is tried where the CPU runs the call. Where that is decided, the CPU is as
    // fast as it can be, or a trial of a bad number would send calls to the GPU for good.
    let [cpu, gpu] = *both;
    let cpu = known.answer.estimate(Device::Cpu, cpu.threads, 1.0, cpu.transfer_s, cpu.wait_s);
    let untried = [cpu, gpu];
    let question = standing.question(key, items(call.grid), &untried, &known.answer);
    call.inner.policy.decide(&question)
}

fn is_short([cpu, gpu]: &[Estimate; 2]) -> bool {
    cpu.run_s.min(gpu.run_s) < CUT_MIN_S
}

/// Whether a call is certainly over soon, on the better device and on one that it may be tried on for the first time.
fn is_surely_short(experience: &Experience, known: &Known, both: &[Estimate; 2]) -> bool {
    let [cpu, gpu] = both.map(|estimate| estimate.total_s());
    let best = if gpu < cpu { Device::Gpu } else { Device::Cpu };
    let is_tried =
        |device: &Device| *device == best || experience.is_new(*device, known.prior.log2_work);
    let is_sure = |device: Device| {
        trial::is_surely_short(both[device as usize].run_s, known.answer.sd[device as usize])
    };
    is_short(both) && Device::ALL.into_iter().filter(is_tried).all(is_sure)
}

/// Whether a part of a call can be run first: as a part of the work, or on copies.
fn can_be_cut(call: Placing<'_>, prior: &Prior, situation: &Situation) -> bool {
    call.inner.cuts
        && !situation.asked.whole
        && situation.asked.device.is_none()
        && matches!(situation.presence, Presence::Ready | Presence::Compiling)
        && match prior.cut {
            Ok(_) => true,
            Err(Uncut::Small) => false,
            Err(Uncut::Collective | Uncut::Atomics | Uncut::Shared(_)) => {
                !situation.asked.queued && aside::is_possible(call)
            }
        }
}

/// Learns of a kernel from calls in earlier processes, of which the network of today is asked.
fn recall(inner: &Inner, at: usize, samples: &[Sample], learned: &mut Learned) {
    let generation = inner.generation();
    let (model, trust) = (inner.model(), inner.gates.trust(at, generation));
    for sample in samples {
        let said = Opinions::of(&*model, &sample.features, trust);
        learned.recall(&said, sample.log2_work, sample.device, sample.seconds);
        // A network of this process was trained on what is recalled.
        if generation == 0
            && let Some(sight) = learned.sight(&said, sample.device, sample.seconds)
        {
            inner.gates.sight(at, generation, &sight);
        }
    }
    learned.generation = generation;
}

/// The network's answer for a shape of call.
fn ask(
    call: Placing<'_>,
    at: usize,
    gpu: Option<&Arc<Gpu>>,
    (shape, trust): (u64, Trust),
    moment: Moment,
) -> Prior {
    let Placing { inner, prepared, args, plain, grid } = call;
    let compiled = featurize::compiled(prepared, plain);
    let mut footprints = footprints(&prepared.kernel, plain, grid);
    for (footprint, traffic) in footprints.iter_mut().zip(&compiled.traffic) {
        footprint.traffic = traffic * items(grid) as f64;
    }
    let moves = moves(gpu, args, &footprints, InPlace::default());
    let generation = moment.generation;
    let call = featurize(call, at, &compiled, &moves, moment);
    let opinions = Opinions::of(&*inner.model(), &call.features, trust);
    let prediction = opinions.prior();
    let (features, log2_work, work) = (call.features.into(), call.log2_work, call.work);
    let footprints = footprints.into();
    let refusal = gpu.and_then(|gpu| {
        let caps = gpu.capabilities();
        let fits = crossover_shaders::check_call(&prepared.kernel, caps, plain, grid);
        fits.err().map(|error| error.to_string().into())
    });
    let cut = analysis::cut(&prepared.kernel, plain, grid);
    Prior {
        shape,
        prediction,
        opinions,
        features,
        log2_work,
        work,
        generation,
        footprints,
        refusal,
        cut,
    }
}

/// The estimates of those that can run the call, and of the number of threads that was not chosen.
fn candidates(
    inner: &Inner,
    situation: &Situation,
    both: &[Estimate; 2],
    choice: Option<Choice>,
) -> Estimates {
    let gpu = match situation.presence {
        Presence::NoGpu | Presence::Refused => None,
        Presence::Ready | Presence::Compiling | Presence::Resting => Some(both[1]),
    };
    let choice = choice.filter(|_| situation.asked.threads.is_none());
    let all = inner.calibration().cpu.threads;
    let other = choice.map(|choice| not_chosen(both[0], choice, all));
    Estimates::new(both[0]).and(gpu).and(other)
}

/// The estimate of the CPU with the other number of threads that was looked at.
fn not_chosen(chosen: Estimate, choice: Choice, all: usize) -> Estimate {
    let factor = choice.other_factor;
    Estimate {
        threads: choice.other.threads(all),
        run_s: chosen.run_s * factor,
        run_low_s: chosen.run_low_s * factor,
        run_high_s: chosen.run_high_s * factor,
        ..chosen
    }
}

/// Why the GPU is no candidate.
fn missing(call: Placing<'_>, at: usize, prior: &Prior, presence: Presence) -> Why {
    match presence {
        Presence::NoGpu | Presence::Ready => Why::Only(call.inner.no_gpu().clone()),
        Presence::Refused => {
            let of_kernel = || match &*call.prepared.gpu_code(at) {
                GpuCode::Refused(_, why) => Some(why.clone()),
                GpuCode::Ready(_) | GpuCode::Unasked | GpuCode::Compiling => None,
            };
            Why::Only(of_kernel().or_else(|| prior.refusal.clone()).unwrap_or_default())
        }
        Presence::Compiling => Why::Compiling,
        Presence::Resting => Why::Only("the GPU has failed and rests before the next try".into()),
    }
}

fn presence(side: Option<&Arc<GpuSide>>, prepared: &Prepared, gpu: Option<&Arc<Gpu>>) -> Presence {
    let Some(side) = side else { return Presence::NoGpu };
    if side.rests() || gpu.is_some_and(|gpu| gpu.is_lost() && side.is_gone()) {
        return Presence::Resting;
    }
    match &*prepared.gpu_code_on(side.at, gpu) {
        GpuCode::Ready(_) => Presence::Ready,
        GpuCode::Unasked | GpuCode::Compiling => Presence::Compiling,
        GpuCode::Refused(..) => Presence::Refused,
    }
}

/// Points of a grid.
pub(crate) fn items(grid: Grid) -> u64 {
    grid.iter().map(|&n| u64::from(n)).fold(1, u64::saturating_mul)
}

/// What would have to be moved, with the buffers in `across` where the host has them.
fn moves(
    gpu: Option<&Arc<Gpu>>,
    args: &[Bound<'_>],
    footprints: &[Footprint],
    across: InPlace,
) -> Moves {
    let mut moves = Moves::default();
    let same_memory = gpu.filter(|gpu| !gpu.info().own_memory);
    for (at, (Bound(arg), footprint)) in args.iter().zip(footprints).enumerate() {
        let BoundArg::Buffer(storage, _) = arg else { continue };
        if same_memory.is_some_and(|gpu| storage.will_share(gpu)) {
            continue;
        }
        let fetch = storage.slot.pending_bytes() as u64;
        if fetch > 0 {
            moves.fetch += fetch;
            moves.copies[2] += 1;
        }
        if across.contains(at) {
            moves.settled += fetch;
            continue;
        }
        let upload = match footprint.is_blank {
            true => 0,
            false => storage.stale_bytes(gpu, &footprint.touched) as u64,
        };
        if upload > 0 {
            moves.upload += upload;
            moves.copies[0] += 1;
        }
        if footprint.is_written {
            moves.results += footprint.touched.len() as u64;
            moves.copies[1] += 1;
        }
    }
    moves
}

/// A hash of everything the prediction depends on.
fn shape(plain: &[Arg], grid: Grid) -> u64 {
    let mut hash = Words::default();
    for extent in grid {
        hash.write_u64(u64::from(extent));
    }
    for arg in plain {
        match arg {
            // Floats do not decide how much work there is.
            Arg::Scalar(c) if c.ty.is_float() => hash.write_u64(1),
            Arg::Scalar(c) => hash.write_u64(c.bits),
            Arg::Buffer { len, .. } => hash.write_u64(u64::from(*len)),
        }
    }
    hash.finish()
}

fn choose_threads(inner: &Inner, crews: &Crews, log2_work: f64, answer: &Answer) -> Option<Choice> {
    let cpu = inner.calibration().cpu;
    let machine = Machine { threads: cpu.threads, wake_s: cpu.wake_s };
    let all = Crew::all(cpu.threads);
    let run_s = answer.run_s[Device::Cpu as usize];
    let one_s = machine.guess(Crew::ONE, all, run_s);
    let rule = if one_s < INLINE_WAKES * cpu.wake_s { Crew::ONE } else { all };
    (cpu.threads > 1).then(|| crews.choose(log2_work, machine, (rule, run_s)))
}

/// How a call gets at its buffers.
#[derive(Default)]
struct Passage {
    transfer_s: [f64; 2],
    bus_s: f64,
    in_place: InPlace,
}

/// What a GPU with memory of its own works on in that of the host, and how much that slows it.
fn across(
    ways: &Ways,
    gpu: &Arc<Gpu>,
    args: &[Bound<'_>],
    footprints: &[Footprint],
    asked: Option<bool>,
) -> (InPlace, f64) {
    let (mut across, mut bus_s) = Default::default();
    for (at, (Bound(arg), footprint)) in args.iter().zip(footprints).enumerate() {
        let BoundArg::Buffer(storage, _) = arg else { continue };
        let is_better = || ways.is_bus_better(footprint, &storage.state(gpu, &footprint.touched));
        if storage.will_share(gpu) && asked.unwrap_or_else(is_better) {
            InPlace::insert(&mut across, at);
            bus_s += ways.bus_s(footprint);
        }
    }
    (across, bus_s)
}

fn passage(
    side: Option<&Arc<GpuSide>>,
    gpu: Option<&Arc<Gpu>>,
    args: &[Bound<'_>],
    footprints: &[Footprint],
    asked: Option<bool>,
) -> Passage {
    // Without a GPU, or with what works on host memory in its place, nothing is ever moved.
    let (Some(side), Some(opened)) = (side, gpu) else { return Passage::default() };
    let (in_place, bus_s) = match opened.info().own_memory {
        true => across(&side.ways(), opened, args, footprints, asked),
        false => Default::default(),
    };
    let moves = moves(gpu, args, footprints, in_place);
    if moves.copies == [0; 3] && bus_s == 0.0 {
        return Passage { in_place, ..Passage::default() };
    }
    let (up, down) = side.transfers.links();
    let seconds = |link: crate::transfers::Link, bytes: u64, copies: u32| match bytes {
        0 => 0.0,
        _ => link.seconds(bytes) + link.latency_s * f64::from(copies.saturating_sub(1)),
    };
    let fetch_s = seconds(down, moves.fetch, moves.copies[2]);
    let to_s = seconds(up, moves.upload, moves.copies[0]);
    let back_s = seconds(down, moves.results, moves.copies[1]);
    let settle_s = down.seconds(moves.settled);
    Passage { transfer_s: [fetch_s, to_s + back_s + settle_s + bus_s], bus_s, in_place }
}

/// How many times longer than the answer the CPU takes: that is of the crew that is expected to be the
/// better one.
fn cpu_factor(choice: Option<Choice>) -> f64 {
    match choice {
        Some(choice) if choice.is_trial => choice.other_factor.recip(),
        Some(_) | None => 1.0,
    }
}

fn estimates(
    inner: &Inner,
    adapter: usize,
    answer: &Answer,
    situation: &Situation,
    choice: Option<Choice>,
) -> [Estimate; 2] {
    let choice = choice.filter(|_| situation.asked.threads.is_none());
    let all = inner.calibration().cpu.threads;
    let chosen = choice.map_or(1, |choice| choice.crew.threads(all));
    let threads = [situation.asked.threads.unwrap_or(chosen), 1];
    [(Device::Cpu, cpu_factor(choice)), (Device::Gpu, 1.0)].map(|(device, factor)| {
        let at = device as usize;
        let (transfer_s, wait_s) = (situation.transfer_s[at], situation.wait_s[at]);
        let estimate = answer.estimate(device, threads[at], factor, transfer_s, wait_s);
        Estimate { adapter: if device == Device::Gpu { adapter } else { 0 }, ..estimate }
    })
}
