//! The GPU from a fixed size on: what people write by hand. A baseline.

use super::policy::{Policy, Question};
use crate::device::Device;
use crate::ledger::Why;

/// Points of the grid from which the GPU is chosen.
const ITEMS_MIN: u64 = 1 << 16;

pub(super) struct Threshold;

impl Policy for Threshold {
    fn name(&self) -> &str {
        "threshold"
    }

    fn takes_notes(&self) -> bool {
        false
    }

    fn choose(&self, question: &Question<'_>) -> (Device, Why) {
        let device = if question.items >= ITEMS_MIN { Device::Gpu } else { Device::Cpu };
        (device, Why::Policy(self.name().into()))
    }
}
