//! A part of the first call of each shape on both devices, then the faster: a baseline that needs no
//! model at all.
//!
//! A device of which no whole call of this shape has run is priced by a slice. The mean of its whole
//! calls, newer ones weighing more, replaces that.

use super::notes::Notes;
use super::policy::{Policy, Question, Seen, Slice};
use crate::device::Device;
use crate::ledger::Why;

/// The share of a call that is run on each device first.
const SHARE: f64 = 0.05;

/// How fast a new time replaces the old.
const BLEND: f64 = 0.25;

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Of whole calls.
    run_s: Option<f64>,
    /// As a slice says.
    guess_s: Option<f64>,
}

pub(super) struct Sliced(Notes<[Entry; 2]>);

impl Sliced {
    pub(super) fn new() -> Sliced {
        Sliced(Notes::new())
    }
}

impl Policy for Sliced {
    fn name(&self) -> &str {
        "history-slice"
    }

    fn choose(&self, question: &Question<'_>) -> (Device, Why) {
        let entries = self.0.read(question.call, |entries| *entries);
        let total_s = |device: Device| {
            let (entry, estimate) = (entries[device as usize], question.of(device));
            Some(entry.run_s.or(entry.guess_s)? + estimate.transfer_s + estimate.wait_s)
        };
        match (total_s(Device::Cpu), total_s(Device::Gpu)) {
            (None, _) => (Device::Cpu, Why::Explore),
            (_, None) => (Device::Gpu, Why::Explore),
            (Some(cpu_s), Some(gpu_s)) if gpu_s < cpu_s => (Device::Gpu, Why::Faster),
            (Some(_), Some(_)) => (Device::Cpu, Why::Faster),
        }
    }

    fn slice(&self, question: &Question<'_>) -> Option<Slice> {
        let entries = self.0.read(question.call, |entries| *entries);
        let is_new = |device: &Device| {
            let entry = entries[*device as usize];
            entry.run_s.is_none() && entry.guess_s.is_none()
        };
        Some(Slice { device: Device::ALL.into_iter().find(is_new)?, share: SHARE })
    }

    fn observe(&self, seen: &Seen) {
        self.0.write(seen.call, |entries| {
            let entry = &mut entries[seen.device as usize];
            if seen.share < 1.0 {
                entry.guess_s = Some(seen.run_s / seen.share);
            } else {
                let old_s = entry.run_s.unwrap_or(seen.run_s);
                entry.run_s = Some(old_s + BLEND * (seen.run_s - old_s));
            }
        });
    }
}
