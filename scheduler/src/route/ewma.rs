//! The device that was faster of late, and a race now and then: a baseline, in the way of just-in-time
//! compilers that pick between two versions of a function.

use super::notes::Notes;
use super::policy::{Policy, Question, Seen};
use crate::device::Device;
use crate::ledger::Why;

/// How fast a new time replaces the old.
const BLEND: f64 = 0.25;

/// Every such call of a shape is a race: the device that is not the best runs it.
const RACE_EVERY: u64 = 32;

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    calls: u64,
    seconds: [Option<f64>; 2],
}

pub(super) struct Ewma(Notes<Entry>);

impl Ewma {
    pub(super) fn new() -> Ewma {
        Ewma(Notes::new())
    }
}

impl Policy for Ewma {
    fn name(&self) -> &str {
        "ewma"
    }

    fn choose(&self, question: &Question<'_>) -> (Device, Why) {
        let entry = self.0.read(question.call, |entry| *entry);
        let total_s = |device: Device| {
            let estimate = question.of(device);
            Some(entry.seconds[device as usize]? + estimate.transfer_s + estimate.wait_s)
        };
        let [cpu, gpu] = Device::ALL;
        let (Some(cpu_s), Some(gpu_s)) = (total_s(cpu), total_s(gpu)) else {
            let untried = if total_s(cpu).is_none() { cpu } else { gpu };
            return (untried, Why::Explore);
        };
        let best = if gpu_s < cpu_s { gpu } else { cpu };
        if entry.calls % RACE_EVERY == RACE_EVERY - 1 {
            return (best.other(), Why::Explore);
        }
        (best, Why::Faster)
    }

    fn observe(&self, seen: &Seen) {
        self.0.write(seen.call, |entry| {
            entry.calls += 1;
            let old = &mut entry.seconds[seen.device as usize];
            *old = Some(old.map_or(seen.run_s, |old| old + BLEND * (seen.run_s - old)));
        });
    }
}
