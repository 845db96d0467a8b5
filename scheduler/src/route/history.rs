//! Each device some runs first, then the faster for good: a baseline, in the way of StarPU's history
//! models (`src/core/perfmodel/perfmodel_history.c` there).
//!
//! As there, each shape of call has a mean of its own on each device, from all its runs but the first,
//! which is often bogus. A run that is off by more than half is no part of the mean but an error; as
//! many errors as runs, and the history is flushed: the device is tried anew.

use super::notes::Notes;
use super::policy::{Policy, Question, Seen};
use crate::device::Device;
use crate::ledger::Why;

/// Measured over mean time, or its inverse, above which a run is an error.
const DEVIATION_MAX: f64 = 1.5;

/// What is known of a shape of call on one device.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Whether the first run is over.
    is_warm: bool,
    runs: u64,
    errors: u64,
    sum_s: f64,
}

impl Entry {
    fn mean_s(&self) -> f64 {
        self.sum_s / self.runs as f64
    }

    fn add(&mut self, seconds: f64) {
        let factor = seconds / self.mean_s();
        if !self.is_warm {
            self.is_warm = true;
        } else if self.runs > 0 && factor.max(factor.recip()) > DEVIATION_MAX {
            self.errors += 1;
            if self.errors >= self.runs {
                *self = Entry { is_warm: true, ..Entry::default() };
            }
        } else {
            self.sum_s += seconds;
            self.runs += 1;
        }
    }
}

pub(super) struct History {
    name: &'static str,
    /// Runs on each device before its mean is believed.
    runs_min: u64,
    entries: Notes<[Entry; 2]>,
}

impl History {
    pub(super) fn new(name: &'static str, runs_min: u64) -> History {
        History { name, runs_min, entries: Notes::new() }
    }
}

impl Policy for History {
    fn name(&self) -> &str {
        self.name
    }

    fn choose(&self, question: &Question<'_>) -> (Device, Why) {
        let entries = self.entries.read(question.call, |entries| *entries);
        let runs = |device: Device| entries[device as usize].runs;
        let [cpu, gpu] = Device::ALL;
        if runs(cpu).min(runs(gpu)) < self.runs_min {
            let least = if runs(gpu) < runs(cpu) { gpu } else { cpu };
            return (least, Why::Explore);
        }
        let total_s = |device: Device| {
            let estimate = question.of(device);
            entries[device as usize].mean_s() + estimate.transfer_s + estimate.wait_s
        };
        (if total_s(gpu) < total_s(cpu) { gpu } else { cpu }, Why::Faster)
    }

    fn observe(&self, seen: &Seen) {
        self.entries.write(seen.call, |entries| entries[seen.device as usize].add(seen.run_s));
    }
}
