//! The decision among several GPUs. Each is weighed against the CPU as if it were the only one. The one with
//! the smallest predicted total is the GPU of the call; another is tried in its place where it may be the
//! faster, or where what calls have taken elsewhere since it last ran one pays for looking at it again.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Asked, Decision, Placing, Presence, decide_with};
use crate::device::Device;
use crate::error::Error;
use crate::gpus::ADAPTERS_MAX;
use crate::ledger::{Estimate, Why};
use crate::route::TRIAL_SHARE;

/// How many times slower than the best a GPU that has never run the kernel may be expected to be, to be tried.
const FIRST_FACTOR: f64 = 2.0;

pub(super) fn decide(call: Placing<'_>, asked: Asked) -> Result<Arc<Decision>, Error> {
    let with = |at| decide_with(call, at, asked);
    let each: Result<SmallVec<[_; ADAPTERS_MAX]>, Error> =
        (0..call.inner.gpus.len()).map(with).collect();
    let each = each?;
    let best = best(&each);
    let tried = tried(call, &each, best);
    let mut decision = Decision::clone(&each[tried.unwrap_or(best)]);
    if tried.is_some() {
        (decision.device, decision.why) = (Device::Gpu, Why::Explore);
    }
    for other in each.iter().filter(|other| other.adapter != decision.adapter) {
        decision.lacks_gpu_code |= other.lacks_gpu_code;
        decision.estimates = decision.estimates.and(other.estimates.of(Device::Gpu).copied());
    }
    Ok(Arc::new(decision))
}

/// The decision about the GPU that serves the call best.
fn best(each: &[Arc<Decision>]) -> usize {
    let rank = |decision: &Decision| match decision.situation.presence {
        Presence::Ready => 0,
        // The caller waits for the code of a device that it has asked for.
        Presence::Compiling if decision.situation.asked.device.is_some() => 0,
        Presence::Compiling => 1,
        Presence::Resting => 2,
        Presence::Refused => 3,
        Presence::NoGpu => 4,
    };
    let order = |a: &Decision, b: &Decision| {
        rank(a).cmp(&rank(b)).then(gpu(a).total_s().total_cmp(&gpu(b).total_s()))
    };
    (0..each.len()).min_by(|&a, &b| order(&each[a], &each[b])).unwrap_or(0)
}

/// A GPU other than the best that is worth a try.
fn tried(call: Placing<'_>, each: &[Arc<Decision>], best: usize) -> Option<usize> {
    let decision = &each[best];
    if decision.device == Device::Cpu {
        // Beside the CPU each is judged alone.
        let is_tried =
            |at: &usize| (each[*at].device, &each[*at].why) == (Device::Gpu, &Why::Explore);
        return (0..each.len()).find(is_tried);
    }
    if decision.why != Why::Faster {
        return None;
    }
    let best_s = gpu(decision).total_s();
    (0..each.len()).find(|&at| {
        let other = &each[at];
        if at == best || other.situation.presence != Presence::Ready {
            return false;
        }
        let (estimate, learned) = (gpu(other), call.prepared.learned(at));
        let low_s = estimate.total_s() - estimate.run_s + estimate.run_low_s;
        let is_new = learned.experience.is_untried(Device::Gpu);
        let is_promising = low_s < best_s && estimate.total_s() < FIRST_FACTOR * best_s;
        let price_s = estimate.total_s() - best_s;
        (is_new && is_promising) || price_s <= learned.elsewhere_s * TRIAL_SHARE
    })
}

fn gpu(decision: &Decision) -> &Estimate {
    &decision.both[Device::Gpu as usize]
}
