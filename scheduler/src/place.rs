//! The decision: what each candidate will cost, and which one runs.
//!
//! Cost = predicted run time + copies of what is not resident + time until the device is free. The
//! network's prediction is made once for each shape of call; the kernel's correction is applied to it
//! at every call.

use std::sync::Arc;

use crossover_kernels::exec::{Arg, Grid};
use crossover_kernels::ir::Access;
use crossover_ml::{CostModel, Prediction, Side};

use crate::buffer::Residency;
use crate::call::BoundArg;
use crate::device::Device;
use crate::error::Error;
use crate::featurize;
use crate::ledger::{Estimate, Why};
use crate::route::Question;
use crate::runtime::Inner;
use crate::version::{GpuCode, Prepared, Prior, overwrites};

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
    pub(crate) estimates: Vec<Estimate>,
    pub(crate) prior: Prior,
}

impl Decision {
    /// The predicted run time on the chosen device, in seconds.
    pub(crate) fn predicted_s(&self) -> f64 {
        let chosen = self.estimates.iter().find(|e| e.device == self.device);
        chosen.map_or(0.0, |e| e.run_s + e.transfer_s)
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
    let moves = moves(prepared, args, plain, grid);
    let prior = prior(inner, prepared, plain, grid, &moves);
    let (posterior, visits, unseen, surprise, spent_s) = {
        let learned = prepared.learned();
        let posterior = learned.correction.posterior(&prior.prediction, prior.log2_work);
        let known = |at: usize| learned.visits[at] + learned.trials[at];
        (posterior, [known(0), known(1)], learned.unseen, learned.surprise, learned.spent_s)
    };
    let threads = threads.unwrap_or_else(|| choose_threads(inner, &posterior));
    let estimates = estimates(inner, &posterior, &moves, threads);
    let available = available(inner, prepared);
    let (device, why) = match (forced, &available) {
        (Some(Device::Gpu), Err(Missing::NoGpu)) => {
            let kernel = prepared.name.clone();
            return Err(Error::NoGpu { kernel, why: inner.no_gpu() });
        }
        (Some(device), _) => (device, Why::Forced),
        (None, Err(missing)) => (Device::Cpu, missing.why(inner)),
        (None, Ok(())) => inner.policy.choose(&Question {
            estimates: &estimates,
            visits,
            unseen,
            sd: [posterior.sd(Side::Cpu), posterior.sd(Side::Gpu)],
            surprise,
            budget_s: spent_s * TRIAL_SHARE,
            items: items(grid),
        }),
    };
    let estimates = match available {
        Err(Missing::NoGpu | Missing::Refused(_)) => vec![estimates[0]],
        Ok(()) | Err(Missing::Compiling | Missing::Resting) => estimates.to_vec(),
    };
    Ok(Decision { device, threads, why, estimates, prior })
}

/// Why the GPU is no candidate now.
enum Missing {
    NoGpu,
    Refused(String),
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
    match prepared.gpu_code() {
        GpuCode::Ready(_) => Ok(()),
        GpuCode::Unasked | GpuCode::Compiling => Err(Missing::Compiling),
        GpuCode::Refused(error) => Err(Missing::Refused(error.to_string())),
    }
}

/// Points of a grid.
pub(crate) fn items(grid: Grid) -> u64 {
    grid.iter().map(|&n| u64::from(n)).fold(1, u64::saturating_mul)
}

fn moves(prepared: &Prepared, args: &[BoundArg], plain: &[Arg], grid: Grid) -> Moves {
    let kernel = &prepared.kernel;
    let mut moves = Moves::default();
    for (param, _, access) in kernel.entry.buffers() {
        let Some(BoundArg::Buffer(storage, _)) = args.get(param.index()) else { continue };
        let bytes = storage.slot.bytes() as u64;
        match storage.residency() {
            Residency::Host if !overwrites(kernel, param, plain, grid) => {
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

/// The network's prediction for this shape of call, from memory where it has been made.
fn prior(inner: &Inner, prepared: &Prepared, plain: &[Arg], grid: Grid, moves: &Moves) -> Prior {
    let shape = shape(plain, grid);
    let generation = inner.generation();
    let mut learned = prepared.learned();
    let known = learned.priors.get(&shape);
    if let Some(prior) = known
        && prior.generation == generation
    {
        return prior.clone();
    }
    let old = known.cloned();
    let call = featurize::featurize(&inner.calibration(), prepared, plain, grid, moves);
    let prediction = inner.model().predict(&call.features);
    let features = Arc::new(call.features);
    let log2_work = call.log2_work;
    let prior = Prior { prediction, features, log2_work, generation };
    if learned.generation != generation {
        if let Some(old) = old {
            learned.correction.rebase(&old.prediction, &prior.prediction);
        }
        learned.generation = generation;
    }
    learned.remember(shape, prior.clone());
    prior
}

/// A hash of everything the prediction depends on.
fn shape(plain: &[Arg], grid: Grid) -> u64 {
    // FNV-1a over words: a handful of numbers, hashed at every call.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix =
        |word: u64| hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
    for extent in grid {
        mix(u64::from(extent));
    }
    for arg in plain {
        match arg {
            // Floats do not decide how much work there is.
            Arg::Scalar(c) if c.ty.is_float() => mix(1),
            Arg::Scalar(c) => mix(c.bits),
            Arg::Buffer { len, .. } => mix(u64::from(*len)),
        }
    }
    hash
}

fn choose_threads(inner: &Inner, posterior: &Prediction) -> usize {
    let calibration = inner.calibration();
    let threads = calibration.cpu.threads;
    let all_s = posterior.seconds(Side::Cpu);
    let one_s = (all_s - calibration.cpu.wake_s).max(0.0) * threads as f64;
    if one_s < INLINE_WAKES * calibration.cpu.wake_s { 1 } else { threads }
}

fn estimates(
    inner: &Inner,
    posterior: &Prediction,
    moves: &Moves,
    threads: usize,
) -> [Estimate; 2] {
    let (up, down) = inner.transfers.links();
    let seconds = |link: crate::transfers::Link, bytes: u64, copies: u32| {
        if bytes == 0 {
            return 0.0;
        }
        link.seconds(bytes) + link.latency_s * f64::from(copies.saturating_sub(1))
    };
    let estimate = |device: Device, threads: usize, transfer_s: f64| {
        let side = device.side();
        let (run_low_s, run_high_s) = posterior.interval(side, 0.9);
        let run_s = posterior.seconds(side);
        let wait_s = inner.wait_s(device);
        Estimate { device, threads, run_s, run_low_s, run_high_s, transfer_s, wait_s }
    };
    let on_host = inner.gpu_is_host_memory();
    let fetch = seconds(down, moves.fetch, moves.copies[2]);
    let to = seconds(up, moves.upload, moves.copies[0]);
    let back = seconds(down, moves.results, moves.copies[1]);
    let gpu_s = if on_host { 0.0 } else { to + back };
    [estimate(Device::Cpu, threads, fetch), estimate(Device::Gpu, 1, gpu_s)]
}
