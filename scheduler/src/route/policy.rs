//! What a routing policy is.

use crate::device::Device;
use crate::ledger::{Estimate, Why};

/// What a policy decides from: both devices can run the call.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// CPU, then GPU.
    pub estimates: &'a [Estimate; 2],
    /// Measured calls of this kernel on each device so far.
    pub visits: [u64; 2],
    /// Calls of this kernel since each device last ran it.
    pub unseen: [u64; 2],
    /// Standard deviation of each device's log2 run time, now.
    pub sd: [f64; 2],
    /// Measured over predicted run time of each device's newest run; 1 before the first.
    pub surprise: [f64; 2],
    /// Seconds that trying the other device may cost: a share of what the kernel has taken.
    pub budget_s: f64,
    /// Points of the grid.
    pub items: u64,
}

impl Question<'_> {
    /// The estimate of a device.
    pub fn of(&self, device: Device) -> &Estimate {
        &self.estimates[device as usize]
    }

    /// The device with the smaller predicted total.
    pub fn faster(&self) -> Device {
        if self.of(Device::Gpu).total_s() < self.of(Device::Cpu).total_s() {
            Device::Gpu
        } else {
            Device::Cpu
        }
    }
}

/// How to choose a device when both can run a call.
pub trait Policy: Send + Sync {
    /// The name in configuration files.
    fn name(&self) -> &str;

    /// The choice, and why.
    fn choose(&self, question: &Question<'_>) -> (Device, Why);
}
