//! The decision: what each candidate will cost, and which one runs.
//!
//! Cost = predicted run time + copies of what is not resident + time until the device is free. The
//! network's prediction is made once for each shape of call; the kernel's correction is applied to it
//! at every call.

use std::hash::Hasher;
use std::sync::Arc;

use crossover_kernels::exec::{Arg, Grid};
use crossover_ml::CostModel;

use crate::call::{Bound, BoundArg};
use crate::device::Device;
use crate::error::Error;
use crate::featurize;
use crate::footprint::{Footprint, footprints};
use crate::learned::{Answer, Prior, Seen};
use crate::ledger::{Estimate, Estimates, Why};
use crate::route::Question;
use crate::runtime::Inner;
use crate::threads::{Choice, Crew, Crews, Machine};
use crate::version::{GpuCode, Prepared};
use crate::words::Words;

/// The share of a kernel's time that trials of the device, or of the number of threads, that is not the
/// best may take.
pub(crate) const TRIAL_SHARE: f64 = 0.03;

/// Calls whose one-thread time is predicted below this many times the price of waking the workers stay
/// on the calling thread, until both have been measured.
const INLINE_WAKES: f64 = 2.0;

/// What was decided, and from what.
#[derive(Clone)]
pub(crate) struct Decision {
    pub(crate) device: Device,
    pub(crate) threads: usize,
    pub(crate) why: Why,
    pub(crate) estimates: Estimates,
    pub(crate) prior: Prior,
    /// Of the number of threads, where it was not the caller's.
    choice: Option<Choice>,
}

impl Decision {
    /// The predicted run time on the chosen device and that of the copies before, in seconds.
    pub(crate) fn predicted_s(&self) -> f64 {
        self.estimates.of(self.device).map_or(0.0, |e| e.run_s + e.transfer_s)
    }

    /// Who runs the call, if it runs on the CPU of so many threads.
    pub(crate) fn crew(&self, device: Device, all: usize) -> Option<Seen> {
        let crew = Crew::of(self.threads, all).filter(|_| device == Device::Cpu)?;
        Some(Seen { crew, is_trial: self.tried_crew().is_some() })
    }

    /// The crew that this tries, where it is not expected to be the best.
    pub(crate) fn tried_crew(&self) -> Option<Crew> {
        let choice = self.choice.filter(|choice| choice.is_trial && self.device == Device::Cpu)?;
        Some(choice.crew)
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
    /// Buffers behind these, for the latencies.
    pub(crate) copies: [u32; 3],
}

/// Decides where a call runs.
pub(crate) fn decide(
    inner: &Arc<Inner>,
    prepared: &Prepared,
    args: &[Bound<'_>],
    plain: &[Arg],
    grid: Grid,
    forced: Option<Device>,
    threads: Option<usize>,
) -> Result<Decision, Error> {
    let known = know(inner, prepared, args, plain, grid);
    let choice = known.choice.filter(|_| threads.is_none());
    let all = inner.calibration().cpu.threads;
    let threads = threads.unwrap_or(choice.map_or(1, |choice| choice.crew.threads(all)));
    // Without a GPU nothing is ever moved.
    let moves = match inner.has_gpu() {
        true => moves(inner, args, &known.prior.footprints),
        false => Moves::default(),
    };
    let estimates = estimates(inner, &known.answer, &moves, threads, choice);
    let available = available(inner, prepared).and_then(|()| match &known.prior.refusal {
        Some(why) => Err(Missing::Refused(why.clone())),
        None => Ok(()),
    });
    let (device, why) = match (forced, &available) {
        (Some(Device::Gpu), Err(Missing::NoGpu)) => {
            let (kernel, why) = (prepared.name.to_string(), inner.no_gpu().to_string());
            return Err(Error::NoGpu { kernel, why });
        }
        (Some(device), _) => (device, Why::Forced),
        (None, Err(missing)) => (Device::Cpu, missing.why(inner)),
        (None, Ok(())) => inner.policy.choose(&Question {
            estimates: &estimates,
            visits: known.visits,
            unseen: known.unseen,
            sd: known.answer.sd,
            surprise: known.surprise,
            budget_s: known.spent_s * TRIAL_SHARE,
            items: items(grid),
        }),
    };
    let estimates = match available {
        Err(Missing::NoGpu | Missing::Refused(_)) => Estimates::new(estimates[0]),
        Ok(()) | Err(Missing::Compiling | Missing::Resting) => {
            Estimates::new(estimates[0]).and(Some(estimates[1]))
        }
    };
    let estimates = estimates.and(choice.map(|choice| not_chosen(estimates[0], choice, all)));
    Ok(Decision { device, threads, why, estimates, prior: known.prior, choice })
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

/// What is known of a call before it runs.
struct Known {
    prior: Prior,
    answer: Answer,
    /// Of threads; `None` where there is but one.
    choice: Option<Choice>,
    /// Of the kernel: see [`crate::learned::Learned`]. Trials under way count as visits.
    visits: [u64; 2],
    unseen: [u64; 2],
    surprise: [f64; 2],
    spent_s: f64,
}

fn know(
    inner: &Inner,
    prepared: &Prepared,
    args: &[Bound<'_>],
    plain: &[Arg],
    grid: Grid,
) -> Known {
    let generation = inner.generation();
    let mut learned = prepared.learned();
    let (prior, answer) = learned.expect(shape(plain, grid), generation, || {
        let footprints = footprints(&prepared.kernel, plain, grid);
        let moves = moves(inner, args, &footprints);
        let call = featurize::featurize(&inner.calibration(), prepared, plain, grid, &moves);
        let prediction = inner.model().predict(&call.features);
        let (features, log2_work) = (call.features.into(), call.log2_work);
        let footprints = footprints.into();
        let refusal = inner.gpu().and_then(|gpu| {
            let caps = gpu.capabilities();
            let fits = crossover_shaders::check_call(&prepared.kernel, caps, plain, grid);
            fits.err().map(|error| error.to_string().into())
        });
        Prior { prediction, features, log2_work, generation, footprints, refusal }
    });
    let visits = [0, 1].map(|at| learned.visits[at] + learned.trials[at]);
    let (unseen, surprise, spent_s) = (learned.unseen, learned.surprise, learned.spent_s);
    let choice = choose_threads(inner, &learned.crews, prior.log2_work, &answer);
    Known { prior, answer, choice, visits, unseen, surprise, spent_s }
}

/// Why the GPU is no candidate now.
enum Missing {
    NoGpu,
    Refused(Arc<str>),
    Compiling,
    Resting,
}

impl Missing {
    fn why(&self, inner: &Inner) -> Why {
        match self {
            Missing::NoGpu => Why::Only(inner.no_gpu()),
            Missing::Refused(why) => Why::Only(why.clone()),
            Missing::Compiling => Why::Compiling,
            Missing::Resting => {
                Why::Only("the GPU has failed and rests before the next try".into())
            }
        }
    }
}

fn available(inner: &Arc<Inner>, prepared: &Prepared) -> Result<(), Missing> {
    if !inner.has_gpu() {
        return Err(Missing::NoGpu);
    }
    if inner.gpu_rests() || inner.gpu_is_gone() {
        return Err(Missing::Resting);
    }
    prepared.forget_gpu_unless(inner.gpu().as_ref());
    match &*prepared.gpu_code() {
        GpuCode::Ready(_) => Ok(()),
        GpuCode::Unasked | GpuCode::Compiling => Err(Missing::Compiling),
        GpuCode::Refused(_, why) => Err(Missing::Refused(why.clone())),
    }
}

/// Points of a grid.
pub(crate) fn items(grid: Grid) -> u64 {
    grid.iter().map(|&n| u64::from(n)).fold(1, u64::saturating_mul)
}

/// What would have to be moved.
fn moves(inner: &Inner, args: &[Bound<'_>], footprints: &[Footprint]) -> Moves {
    let mut moves = Moves::default();
    let gpu = inner.gpu();
    for (Bound(arg), footprint) in args.iter().zip(footprints) {
        let BoundArg::Buffer(storage, _) = arg else { continue };
        if gpu.as_ref().is_some_and(|gpu| storage.will_share(gpu)) {
            continue;
        }
        let fetch = storage.slot.pending_bytes() as u64;
        if fetch > 0 {
            moves.fetch += fetch;
            moves.copies[2] += 1;
        }
        let upload = match footprint.is_blank {
            true => 0,
            false => storage.stale_bytes(&footprint.touched) as u64,
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
    let one_s = machine.guess(Crew::ONE, all, answer.run_s[Device::Cpu as usize]);
    let rule = if one_s < INLINE_WAKES * cpu.wake_s { Crew::ONE } else { all };
    (cpu.threads > 1).then(|| crews.choose(log2_work, machine, rule))
}

fn estimates(
    inner: &Inner,
    answer: &Answer,
    moves: &Moves,
    threads: usize,
    choice: Option<Choice>,
) -> [Estimate; 2] {
    // The answer is of the crew that is expected to be the better one.
    let slower = match choice {
        Some(choice) if choice.is_trial => choice.other_factor.recip(),
        Some(_) | None => 1.0,
    };
    let seconds = |link: crate::transfers::Link, bytes: u64, copies: u32| {
        if bytes == 0 {
            return 0.0;
        }
        link.seconds(bytes) + link.latency_s * f64::from(copies.saturating_sub(1))
    };
    let estimate = |device: Device, threads: usize, transfer_s: f64| {
        let factor = if device == Device::Cpu { slower } else { 1.0 };
        let run_s = answer.run_s[device as usize] * factor;
        let (run_low_s, run_high_s) = answer.interval_s[device as usize];
        let (run_low_s, run_high_s) = (run_low_s * factor, run_high_s * factor);
        let wait_s = inner.wait_s(device);
        Estimate { device, threads, run_s, run_low_s, run_high_s, transfer_s, wait_s }
    };
    if !inner.has_gpu() {
        return [estimate(Device::Cpu, threads, 0.0), estimate(Device::Gpu, 1, 0.0)];
    }
    let (up, down) = inner.transfers.links();
    let on_host = inner.gpu_is_host_memory();
    let fetch = seconds(down, moves.fetch, moves.copies[2]);
    let to = seconds(up, moves.upload, moves.copies[0]);
    let back = seconds(down, moves.results, moves.copies[1]);
    let gpu_s = if on_host { 0.0 } else { to + back };
    [estimate(Device::Cpu, threads, fetch), estimate(Device::Gpu, 1, gpu_s)]
}
