//! The report's data: what `report.json` holds. Times are medians in seconds.

use std::path::Path;

use anyhow::{Context, bail};
use crossover::{Device, Reason, Runtime};
use serde::{Deserialize, Serialize};

use crate::baseline::{Baseline, Peak};
use crate::trace::Interval;

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
    /// The multiply-adds that 128-bit registers allow; `None` where they were not measured.
    #[serde(default)]
    pub(crate) peak_128_flops: Option<Peak>,
    /// The whole suite in a few numbers.
    pub(crate) summary: Summary,
    /// A row for every kernel and size.
    pub(crate) rows: Vec<Row>,
    /// Bytes copied between host and GPU in the whole run, by reason.
    #[serde(default)]
    pub(crate) copied: Vec<Copies>,
    /// Who worked when, in a pass after the measurements.
    #[serde(default)]
    pub(crate) timeline: Vec<Interval>,
    /// What each optimisation is worth, where it was asked for.
    #[serde(default)]
    pub(crate) ablation: Vec<Ablation>,
}

/// Calls of a kernel at a size whose predictions are judged: after none, one, three, … measured ones.
pub(crate) const CALLS_SHOWN: [u32; 6] = [1, 2, 4, 8, 16, 32];

/// Copies for a reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Copies {
    /// The reason.
    pub(crate) reason: String,
    /// How many.
    pub(crate) count: u64,
    /// All their bytes.
    pub(crate) bytes: u64,
    /// All their time.
    pub(crate) seconds: f64,
}

impl Copies {
    /// Those of a runtime so far.
    pub(crate) fn of(rt: &Runtime, reason: Reason) -> Copies {
        let copied = rt.copied(reason);
        Copies {
            reason: reason.name().to_owned(),
            count: copied.count,
            bytes: copied.bytes,
            seconds: copied.seconds,
        }
    }
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
    /// The best constant choice, and the geometric mean of its time over the placed time, over the rows that
    /// were measured on both sides.
    #[serde(default)]
    pub(crate) best_constant: Option<(Device, f64)>,
    /// Geometric mean of native time over the placed time.
    pub(crate) speedup_over_native: Option<f64>,
    /// WebAssembly against each baseline that was timed.
    #[serde(default)]
    pub(crate) against: Vec<Against>,
    /// Rows whose results were right on every side that ran.
    pub(crate) verified: usize,
    /// Whether the run was interrupted.
    pub(crate) interrupted: bool,
}

/// WebAssembly, or the GPU side, against a baseline, over all rows where both were timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Against {
    /// The baseline.
    pub(crate) baseline: Baseline,
    /// Geometric mean of the baseline's time over ours: above 1, we are faster.
    pub(crate) speedup_geo: f64,
    /// Rows where we are faster.
    pub(crate) wins: usize,
    /// Rows where it is not.
    pub(crate) losses: usize,
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
    /// The part of it from the call to the end of the kernel, without copies.
    pub(crate) gpu_run_s: Option<f64>,
    /// Why there is none.
    pub(crate) gpu_why: Option<String>,
    /// Plain Rust over rayon, compiled for this machine. Where a report has no `native_default_s`, it
    /// was compiled for the default target.
    pub(crate) native_s: Option<f64>,
    /// Why there is none.
    pub(crate) native_why: Option<String>,
    /// Plain Rust over rayon, compiled for the default target.
    #[serde(default)]
    pub(crate) native_default_s: Option<f64>,
    /// Why there is none.
    #[serde(default)]
    pub(crate) native_default_why: Option<String>,
    /// 128-bit vectors by hand.
    #[serde(default)]
    pub(crate) native_128_s: Option<f64>,
    /// Why there is none.
    #[serde(default)]
    pub(crate) native_128_why: Option<String>,
    /// WGSL by hand through wgpu alone, with buffers that stay on the device: the counterpart of
    /// `gpu_run_s`.
    #[serde(default)]
    pub(crate) raw_wgpu_s: Option<f64>,
    /// Why there is none.
    #[serde(default)]
    pub(crate) raw_wgpu_why: Option<String>,
    /// Least and largest of the repetitions: CPU, GPU, then the baselines, native first.
    pub(crate) spread: Vec<Option<[f64; 2]>>,
    /// The repetitions themselves, to five digits, in the same order.
    #[serde(default)]
    pub(crate) samples: Vec<Vec<f64>>,
    /// How far off the predicted run time was in [`CALLS_SHOWN`], as a share of the measured one: on the CPU,
    /// and on the GPU.
    #[serde(default)]
    pub(crate) errors: Vec<Vec<f64>>,
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
    /// How the calls of a program of several were placed; `None` for a kernel alone.
    #[serde(default)]
    pub(crate) program: Option<Program>,
}

/// A program of several calls, each of which is placed on its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Program {
    /// Its kernels.
    pub(crate) kernels: Vec<String>,
    /// Calls of a run.
    pub(crate) calls: usize,
    /// Those that were placed on the GPU.
    pub(crate) on_gpu: usize,
    /// Time of a run whose calls go where they are placed.
    pub(crate) placed_s: Option<f64>,
}

impl Program {
    /// The sides of its calls, in a few letters.
    pub(crate) fn shown(&self) -> String {
        match self.calls - self.on_gpu.min(self.calls) {
            0 => Device::Gpu.name().to_owned(),
            n if n == self.calls => Device::Cpu.name().to_owned(),
            _ => format!("{}/{} gpu", self.on_gpu, self.calls),
        }
    }
}

impl Report {
    /// Reads a report.json.
    ///
    /// # Errors
    /// The file cannot be read, is no report, or is one of another version.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Report> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| shown.to_string())?;
        let value: serde_json::Value =
            serde_json::from_str(&text).with_context(|| format!("{shown} is no report.json"))?;
        match value.get("schema").and_then(serde_json::Value::as_u64) {
            Some(schema) if schema == u64::from(SCHEMA) => {}
            Some(schema) => bail!(
                "{shown} is a report of layout {schema}; this version reads layout {SCHEMA}: measure \
                 again, or read it with the version that wrote it"
            ),
            None => bail!("{shown} is no report.json: it names no layout (`schema`)"),
        }
        serde_json::from_value(value).with_context(|| format!("{shown} is no whole report"))
    }

    /// The baselines that were timed.
    pub(crate) fn baselines(&self) -> Vec<Baseline> {
        self.summary.against.iter().map(|against| against.baseline).collect()
    }
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

impl Row {
    /// The time where it was placed: of a program, call by call.
    pub(crate) fn placed_s(&self) -> Option<f64> {
        let apart = self.program.as_ref().and_then(|program| program.placed_s);
        apart.or_else(|| self.seconds(self.chosen))
    }

    /// Whether it was placed as the oracle places, or no slower.
    pub(crate) fn is_optimal(&self) -> bool {
        let is_mixed = self.program.as_ref().is_some_and(|p| p.on_gpu % p.calls.max(1) != 0);
        match is_mixed {
            true => self.regret.is_some_and(|regret| regret <= 1.0),
            false => self.oracle == Some(self.chosen),
        }
    }

    /// The time of a baseline.
    pub(crate) fn baseline(&self, baseline: Baseline) -> Option<f64> {
        match baseline {
            Baseline::Native => self.native_s,
            Baseline::NativeDefault => self.native_default_s,
            Baseline::Native128 => self.native_128_s,
            Baseline::RawWgpu => self.raw_wgpu_s,
        }
    }

    /// Why a baseline has no time.
    pub(crate) fn baseline_why(&self, baseline: Baseline) -> Option<&str> {
        match baseline {
            Baseline::Native => self.native_why.as_deref(),
            Baseline::NativeDefault => self.native_default_why.as_deref(),
            Baseline::Native128 => self.native_128_why.as_deref(),
            Baseline::RawWgpu => self.raw_wgpu_why.as_deref(),
        }
    }

    /// Takes down the time of a baseline, or why there is none.
    pub(crate) fn set_baseline(&mut self, of: Baseline, time: Option<f64>, why: Option<String>) {
        let (time_of, why_of) = match of {
            Baseline::Native => (&mut self.native_s, &mut self.native_why),
            Baseline::NativeDefault => (&mut self.native_default_s, &mut self.native_default_why),
            Baseline::Native128 => (&mut self.native_128_s, &mut self.native_128_why),
            Baseline::RawWgpu => (&mut self.raw_wgpu_s, &mut self.raw_wgpu_why),
        };
        (*time_of, *why_of) = (time, why);
    }

    /// The baseline's time over that of the side that it is held against: above 1, that side is faster.
    pub(crate) fn speedup(&self, over: Baseline) -> Option<f64> {
        let ours = match over.device() {
            Device::Cpu => self.wasm_s?,
            Device::Gpu => self.gpu_run_s?,
        };
        Some(self.baseline(over)? / ours)
    }
}

/// A kernel without one of its optimisations.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ablation {
    /// The kernel.
    pub(crate) kernel: String,
    /// `small`, `medium` or `large`.
    pub(crate) size: String,
    /// The size itself.
    pub(crate) n: u64,
    /// Where it ran.
    pub(crate) device: Device,
    /// The optimisation, as the list of passes names it.
    pub(crate) optimisation: String,
    /// Whether the kernel is another without it. Where it is not, nothing was timed.
    pub(crate) changes: bool,
    /// Kernel time with all optimisations.
    pub(crate) with_s: Option<f64>,
    /// Kernel time with all but this one.
    pub(crate) without_s: Option<f64>,
    /// The time without over the time with it: above 1, it helps.
    pub(crate) effect: Option<f64>,
    /// Why there is none.
    pub(crate) why: Option<String>,
    /// Repetitions of each.
    pub(crate) repetitions: usize,
}

impl Ablation {
    /// The lines of a table: the same kernel, size and device, an element for each optimisation.
    pub(crate) fn lines(effects: &[Ablation]) -> Vec<&[Ablation]> {
        let of = |effect: &Ablation| (effect.kernel.clone(), effect.n, effect.device);
        effects.chunk_by(|a, b| of(a) == of(b)).collect()
    }

    /// The effect as tables show it: `=` where the kernel is the same.
    pub(crate) fn shown(&self) -> String {
        match self.effect {
            Some(ratio) => format!("{ratio:.2}"),
            None if self.changes => "–".to_owned(),
            None => "=".to_owned(),
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
            geometric_mean(rows.iter().filter_map(|r| Some(time(r)? / r.placed_s()?)))
        };
        let always_cpu = over(&|r| r.wasm_s.filter(|_| r.gpu_s.is_some()));
        let always_gpu = over(&|r| r.gpu_s.filter(|_| r.wasm_s.is_some()));
        let constants = [(Device::Cpu, always_cpu), (Device::Gpu, always_gpu)];
        let constants = constants.into_iter().filter_map(|(device, ratio)| Some((device, ratio?)));
        Summary {
            compared: compared.len(),
            regret_geo: geometric_mean(compared.iter().filter_map(|r| r.regret)),
            regret_first_geo: geometric_mean(compared.iter().filter_map(|r| r.regret_first)),
            optimal_share: share(&Row::is_optimal),
            optimal_first_share: share(&|r| r.oracle == Some(r.chosen_first)),
            speedup_over_cpu: always_cpu,
            best_constant: constants.min_by(|a, b| a.1.total_cmp(&b.1)),
            speedup_over_gpu: over(&|r| r.gpu_s),
            speedup_over_native: over(&|r| r.native_s),
            against: Baseline::ALL.into_iter().filter_map(|b| Against::of(rows, b)).collect(),
            verified: rows.iter().filter(|r| r.verified).count(),
            interrupted,
        }
    }
}

impl Against {
    /// The numbers of these rows; `None` where the baseline was timed in none.
    fn of(rows: &[Row], baseline: Baseline) -> Option<Against> {
        let ratios: Vec<f64> = rows.iter().filter_map(|row| row.speedup(baseline)).collect();
        let speedup_geo = geometric_mean(ratios.iter().copied())?;
        let wins = ratios.iter().filter(|ratio| **ratio > 1.0).count();
        Some(Against { baseline, speedup_geo, wins, losses: ratios.len() - wins })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::plot::tests::row;

    #[test]
    fn wins_and_losses_are_counted_for_each_baseline() {
        let mut rows = [row(1, Some(1.0), None), row(2, Some(1.0), None), row(3, None, None)];
        for (row, native) in rows.iter_mut().zip([4.0, 0.25, 1.0]) {
            row.set_baseline(Baseline::Native, Some(native), None);
            row.set_baseline(Baseline::Native128, None, Some("no body".to_owned()));
        }
        let against = Summary::of(&rows, false).against;
        let native = against.iter().find(|a| a.baseline == Baseline::Native).expect("timed");
        assert_eq!((native.speedup_geo, native.wins, native.losses), (1.0, 1, 1));
        assert!(against.iter().all(|a| a.baseline != Baseline::Native128));
    }

    #[test]
    fn a_program_is_judged_by_its_placed_run() {
        let mut row = row(1, Some(4.0), Some(2.0));
        row.chosen = Device::Gpu;
        assert_eq!((row.placed_s(), row.is_optimal()), (Some(2.0), true));
        let of =
            |calls, on_gpu| Program { kernels: Vec::new(), calls, on_gpu, placed_s: Some(1.0) };
        let shown = [of(3, 0), of(3, 3), of(3, 1)].map(|program| program.shown());
        assert_eq!(shown, ["cpu", "gpu", "1/3 gpu"]);
        // Better than either side, or worse than the better.
        row.program = Some(of(3, 1));
        (row.chosen, row.regret) = (Device::Cpu, Some(0.5));
        assert_eq!((row.placed_s(), row.is_optimal()), (Some(1.0), true));
        row.regret = Some(1.5);
        assert!(!row.is_optimal());
    }

    #[test]
    fn reports_from_before_there_were_several_baselines_are_read() {
        let text = include_str!("../../results/core-llvmpipe.json");
        let mut value: serde_json::Value = serde_json::from_str(text).expect("json");
        for row in value["rows"].as_array_mut().expect("rows") {
            let row = row.as_object_mut().expect("a row");
            let is_new = |name: &str| name.starts_with("native_") || name.starts_with("raw_");
            row.retain(|name, _| !is_new(name) || name == "native_s" || name == "native_why");
        }
        let report: Report = serde_json::from_value(value).expect("a report");
        assert!(report.rows.iter().all(|row| row.baseline(Baseline::Native128).is_none()));
    }
}
