//! Always the same device: a baseline.

use super::policy::{Policy, Question};
use crate::device::Device;
use crate::ledger::Why;

pub(super) struct Always(pub(super) Device);

impl Policy for Always {
    fn name(&self) -> &str {
        match self.0 {
            Device::Cpu => "always-cpu",
            Device::Gpu => "always-gpu",
        }
    }

    fn takes_notes(&self) -> bool {
        false
    }

    fn choose(&self, _: &Question<'_>) -> (Device, Why) {
        (self.0, Why::Policy(self.name().into()))
    }
}
