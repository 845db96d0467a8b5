//! The decision: what each candidate will cost, and which one runs.
//!
//! Cost = predicted run time + copies of what is not resident + time until the device is free. The
//! network's prediction is made once for each shape of call; the kernel's correction is applied to it
//! at every call.

use std::hash::Hasher;
use std::sync::Arc;

use crossover_kernels::exec::{Arg, Grid};
use crossover_kernels::ir::Access;
use crossover_ml::CostModel;

use crate::buffer::Residency;
use crate::call::BoundArg;
use crate::device::Device;
use crate::error::Error;
use crate::featurize;
use crate::learned::{Answer, Prior};
use crate::ledger::{Estimate, Estimates, Why};
use crate::route::Question;
use crate::runtime::Inner;
use crate::version::{GpuCode, Prepared, overwrites};
use crate::words::Words;

/// The share of a kernel's time that trials of the device that is not the best may take.
const TRIAL_SHARE: f64 = 0.03;

/// Calls whose one-thread time is below this many times the price of waking the workers stay on the
/// calling thread.
const INLINE_WAKES: f64 = 2.0;

/// What was decided, and from what.
#[derive(Clone)]
pub(crate) struct Decision {
    pub(crate) device: Device,
    pub(crate) threads: usize,
    pub(crate) why: Why,
    pub(crate) estimates: Estimates,
    pub(crate) prior: Prior,
}

impl Decision {
    /// The predicted run time on the chosen device and that of the copies before, in seconds.
    pub(crate) fn predicted_s(&self) -> f64 {
        self.estimates.of(self.device).map_or(0.0, |e| e.run_s + e.transfer_s)
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
    prepared: &Arc<Prepared>,
    args: &[BoundArg],
    plain: &[Arg],
    grid: Grid,
    forced: Option<Device>,
    threads: Option<usize>,
) -> Result<Decision, Error> {
    let known = know(inner, prepared, args, plain, grid);
    let threads = threads.unwrap_or_else(|| choose_threads(inner, &known.answer));
    // Without a GPU nothing is ever moved.
    let moves = match inner.has_gpu() {
        true => moves(prepared, args, known.prior.blank),
        false => Moves::default(),
    };
    let estimates = estimates(inner, &known.answer, &moves, threads);
    let available = available(inner, prepared);
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
        Err(Missing::NoGpu | Missing::Refused(_)) => Estimates::of_cpu(estimates[0]),
        Ok(()) | Err(Missing::Compiling | Missing::Resting) => Estimates::of_both(estimates),
    };
    Ok(Decision { device, threads, why, estimates, prior: known.prior })
}

/// What is known of a call before it runs.
struct Known {
    prior: Prior,
    answer: Answer,
    /// Of the kernel: see [`crate::learned::Learned`]. Trials under way count as visits.
    visits: [u64; 2],
    unseen: [u64; 2],
    surprise: [f64; 2],
    spent_s: f64,
}

fn know(inner: &Inner, prepared: &Prepared, args: &[BoundArg], plain: &[Arg], grid: Grid) -> Known {
    let generation = inner.generation();
    let mut learned = prepared.learned();
    let (prior, answer) = learned.expect(shape(plain, grid), generation, || {
        let blank = blank(prepared, plain, grid);
        let moves = moves(prepared, args, blank);
        let call = featurize::featurize(&inner.calibration(), prepared, plain, grid, &moves);
        let prediction = inner.model().predict(&call.features);
        Prior::new(prediction, call.features, call.log2_work, generation, blank)
    });
    let visits = [0, 1].map(|at| learned.visits[at] + learned.trials[at]);
    let (unseen, surprise, spent_s) = (learned.unseen, learned.surprise, learned.spent_s);
    Known { prior, answer, visits, unseen, surprise, spent_s }
}

/// The buffers, by number of their parameter, that the call overwrites.
fn blank(prepared: &Prepared, plain: &[Arg], grid: Grid) -> u64 {
    let kernel = &prepared.kernel;
    let buffers = kernel.entry.buffers().filter(|(param, ..)| param.index() < 64);
    buffers
        .filter(|(param, ..)| overwrites(kernel, *param, plain, grid))
        .fold(0, |blank, (param, ..)| blank | 1 << param.index())
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

fn available(inner: &Inner, prepared: &Prepared) -> Result<(), Missing> {
    if !inner.has_gpu() {
        return Err(Missing::NoGpu);
    }
    if inner.gpu_rests() {
        return Err(Missing::Resting);
    }
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

/// What would have to be moved; `blank` buffers need no upload.
fn moves(prepared: &Prepared, args: &[BoundArg], blank: u64) -> Moves {
    let kernel = &prepared.kernel;
    let mut moves = Moves::default();
    for (param, _, access) in kernel.entry.buffers() {
        let Some(BoundArg::Buffer(storage, _)) = args.get(param.index()) else { continue };
        let bytes = storage.slot.bytes() as u64;
        match storage.residency() {
            Residency::Host if blank.checked_shr(param.0).unwrap_or(0) & 1 == 0 => {
                moves.upload += bytes;
                moves.copies[0] += 1;
            }
            Residency::Gpu => {
                moves.fetch += bytes;
                moves.copies[2] += 1;
            }
            Residency::Host | Residency::Both => {}
        }
        if access != Access::Read {
            moves.results += bytes;
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

fn choose_threads(inner: &Inner, answer: &Answer) -> usize {
    let calibration = inner.calibration();
    let threads = calibration.cpu.threads;
    let all_s = answer.run_s[Device::Cpu as usize];
    let one_s = (all_s - calibration.cpu.wake_s).max(0.0) * threads as f64;
    if one_s < INLINE_WAKES * calibration.cpu.wake_s { 1 } else { threads }
}

fn estimates(inner: &Inner, answer: &Answer, moves: &Moves, threads: usize) -> [Estimate; 2] {
    let seconds = |link: crate::transfers::Link, bytes: u64, copies: u32| {
        if bytes == 0 {
            return 0.0;
        }
        link.seconds(bytes) + link.latency_s * f64::from(copies.saturating_sub(1))
    };
    let estimate = |device: Device, threads: usize, transfer_s: f64| {
        let run_s = answer.run_s[device as usize];
        let (run_low_s, run_high_s) = answer.interval_s[device as usize];
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
