//! Each device some runs first, then the faster for good: a baseline, in the way of StarPU's history
//! models.

use super::policy::{Policy, Question};
use crate::device::Device;
use crate::ledger::Why;

/// Runs of a kernel on each device before its history is believed.
const RUNS_MIN: u64 = 10;

pub(super) struct History;

impl Policy for History {
    fn name(&self) -> &str {
        "history"
    }

    fn choose(&self, question: &Question<'_>) -> (Device, Why) {
        let untried = Device::ALL.into_iter().find(|&d| question.visits[d as usize] < RUNS_MIN);
        match untried {
            Some(device) => (device, Why::Explore),
            None => (question.faster(), Why::Faster),
        }
    }
}
