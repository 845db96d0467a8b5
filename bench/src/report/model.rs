//! The report's data: what `report.json` holds. Times are medians in seconds.

use crossover::Device;
use serde::{Deserialize, Serialize};

/// The layout's version.
pub(crate) const SCHEMA: u32 = 1;

/// A whole report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: u32,
    /// The command that made it.
    pub(crate) command: String,
    /// The version of this program.
    pub(crate) version: String,
    /// When, as seconds since 1970.
    pub(crate) unix_time: u64,
    /// The suite.
    pub(crate) suite: String,
    /// The CPU side.
    pub(crate) machine: Machine,
    /// The GPU; `None` where there is none.
    pub(crate) adapter: Option<crossover::Adapter>,
    /// Why there is no GPU.
    pub(crate) no_adapter: Option<String>,
    /// The model that predicted, at the end.
    pub(crate) model: String,
    /// The whole suite in a few numbers.
    pub(crate) summary: Summary,
    /// A row for every kernel and size.
    pub(crate) rows: Vec<Row>,
}

/// The CPU side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The processor's name.
    pub(crate) cpu: String,
    /// Hardware threads used.
    pub(crate) threads: usize,
    /// SIMD features that matter.
    pub(crate) simd: Vec<String>,
    /// Operating system and architecture.
    pub(crate) system: String,
}

/// The whole suite in a few numbers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Rows measured on both sides.
    pub(crate) compared: usize,
    /// Geometric mean of time over the oracle's, of the placements after learning.
    pub(crate) regret_geo: Option<f64>,
    /// The same of the placements before the first run.
    pub(crate) regret_first_geo: Option<f64>,
    /// Share of the rows placed as the oracle places them, after learning.
    pub(crate) optimal_share: Option<f64>,
    /// The same before the first run.
    pub(crate) optimal_first_share: Option<f64>,
    /// Geometric mean of always-CPU time over the placed time.
    pub(crate) speedup_over_cpu: Option<f64>,
    /// Geometric mean of always-GPU time over the placed time.
    pub(crate) speedup_over_gpu: Option<f64>,
    /// Geometric mean of native time over the placed time.
    pub(crate) speedup_over_native: Option<f64>,
    /// Rows whose results were right on every side that ran.
    pub(crate) verified: usize,
    /// Whether the run was interrupted.
    pub(crate) interrupted: bool,
}

/// A kernel at a size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The kernel.
    pub(crate) kernel: String,
    /// What it computes.
    pub(crate) about: String,
    /// `small`, `medium` or `large`.
    pub(crate) size: String,
    /// The size itself.
    pub(crate) n: u64,
    /// What `n` counts.
    pub(crate) unit: String,
    /// Operations of the call.
    pub(crate) operations: f64,
    /// Time on the CPU, from the call to the result on the host.
    pub(crate) wasm_s: Option<f64>,
    /// Why there is none.
    pub(crate) wasm_why: Option<String>,
    /// Time on the GPU, inputs copied there and results back.
    pub(crate) gpu_s: Option<f64>,
    /// The part of it that is the kernel.
    pub(crate) gpu_run_s: Option<f64>,
    /// Why there is none.
    pub(crate) gpu_why: Option<String>,
    /// Plain Rust over rayon.
    pub(crate) native_s: Option<f64>,
    /// Why there is none.
    pub(crate) native_why: Option<String>,
    /// Least and largest of the repetitions: CPU, GPU, native.
    pub(crate) spread: [Option<[f64; 2]>; 3],
    /// Predicted before the first run at this size.
    pub(crate) predicted_wasm_s: Option<f64>,
    /// 90 % interval of the prediction.
    pub(crate) predicted_wasm_interval: Option<[f64; 2]>,
    /// Predicted before the first run at this size, copies included.
    pub(crate) predicted_gpu_s: Option<f64>,
    /// 90 % interval of the prediction.
    pub(crate) predicted_gpu_interval: Option<[f64; 2]>,
    /// Where the first call was placed.
    pub(crate) chosen_first: Device,
    /// Where calls were placed after a few.
    pub(crate) chosen: Device,
    /// Why there.
    pub(crate) why: String,
    /// Which side is faster; `None` where one did not run.
    pub(crate) oracle: Option<Device>,
    /// Time of the chosen side over the oracle's.
    pub(crate) regret: Option<f64>,
    /// The same of the first placement.
    pub(crate) regret_first: Option<f64>,
    /// Whether every side that ran gave the reference's result.
    pub(crate) verified: bool,
    /// What was wrong, where it is not.
    pub(crate) wrong: Option<String>,
    /// Bytes copied between host and GPU by one call on the GPU.
    pub(crate) bytes_copied: u64,
    /// Repetitions on each side.
    pub(crate) repetitions: usize,
}

impl Row {
    /// The time on a device.
    pub(crate) fn seconds(&self, device: Device) -> Option<f64> {
        match device {
            Device::Cpu => self.wasm_s,
            Device::Gpu => self.gpu_s,
        }
    }
}

/// The geometric mean; `None` of nothing.
pub(crate) fn geometric_mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let logs: Vec<f64> = values.map(f64::ln).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

impl Summary {
    /// The numbers of these rows.
    pub(crate) fn of(rows: &[Row], interrupted: bool) -> Summary {
        let compared: Vec<&Row> = rows.iter().filter(|r| r.oracle.is_some()).collect();
        let share = |right: &dyn Fn(&Row) -> bool| {
            let count = compared.iter().filter(|r| right(r)).count();
            (!compared.is_empty()).then(|| count as f64 / compared.len() as f64)
        };
        let over = |time: &dyn Fn(&Row) -> Option<f64>| {
            geometric_mean(rows.iter().filter_map(|r| Some(time(r)? / r.seconds(r.chosen)?)))
        };
        Summary {
            compared: compared.len(),
            regret_geo: geometric_mean(compared.iter().filter_map(|r| r.regret)),
            regret_first_geo: geometric_mean(compared.iter().filter_map(|r| r.regret_first)),
            optimal_share: share(&|r| r.oracle == Some(r.chosen)),
            optimal_first_share: share(&|r| r.oracle == Some(r.chosen_first)),
            speedup_over_cpu: over(&|r| r.wasm_s.filter(|_| r.gpu_s.is_some())),
            speedup_over_gpu: over(&|r| r.gpu_s),
            speedup_over_native: over(&|r| r.native_s),
            verified: rows.iter().filter(|r| r.verified).count(),
            interrupted,
        }
    }
}
