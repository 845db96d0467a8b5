//! The two sides a call can run on.

use crossover_ml::Side;
use serde::{Deserialize, Serialize};

/// Where a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The CPU cores, as SIMD WebAssembly.
    Cpu,
    /// The GPU, as a compute shader.
    Gpu,
}

impl Device {
    /// Both.
    pub const ALL: [Device; 2] = [Device::Cpu, Device::Gpu];

    /// `cpu` or `gpu`.
    ///
    /// ```
    /// assert_eq!(crossover::Device::ALL.map(|device| device.name()), ["cpu", "gpu"]);
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Gpu => "gpu",
        }
    }

    /// The other one.
    ///
    /// ```
    /// use crossover::Device;
    /// assert_eq!(Device::Cpu.other(), Device::Gpu);
    /// ```
    pub fn other(self) -> Device {
        match self {
            Device::Cpu => Device::Gpu,
            Device::Gpu => Device::Cpu,
        }
    }

    pub(crate) fn side(self) -> Side {
        match self {
            Device::Cpu => Side::Cpu,
            Device::Gpu => Side::Gpu,
        }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a call runs, exactly: the CPU, or which of the runtime's GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Seat {
    Cpu,
    Gpu(usize),
}
