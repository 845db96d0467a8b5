//! What `explain` says: the terms of a decision, and what would change it.

use std::fmt;
use std::sync::Arc;

use crossover_kernels::ir::Axis;
use crossover_ml::optimise::Choice;
use crossover_ml::{Features, Prediction};
use serde::Serialize;

use crate::device::Device;
use crate::ledger::{Estimate, Why};
use crate::place::Decision;
use crate::runtime::Inner;
use crate::version::Prepared;

/// The decision about a call that was not run.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The kernel and its element types.
    pub kernel: String,
    /// The content hash of the optimised kernel, cut: two calls of one version run the same code.
    pub version: String,
    /// The grid.
    pub grid: [u32; 3],
    /// What each candidate is predicted to cost.
    pub estimates: Vec<Estimate>,
    /// Where it would run.
    pub chosen: Device,
    /// Which of the runtime's adapters, where that is the GPU; else 0.
    pub adapter: usize,
    /// The names of these adapters.
    pub adapters: Vec<String>,
    /// Why there.
    pub why: Why,
    /// Whether it may run in parts, if it is long, in words; nothing where that is no question.
    pub cut: Option<String>,
    /// The buffers that a GPU with memory of its own would work on in that of the host, across the bus.
    pub across: Vec<String>,
    /// Which optimisations the CPU's code has, or would get, where they are chosen and not all later.
    pub optimisations: Option<Choice>,
    /// Measured calls of this kernel so far: CPU, GPU.
    pub visits: [u64; 2],
    /// The model that predicts, and its generation.
    pub model: String,
    /// Generation of the model: how often it has been replaced.
    pub generation: u64,
    /// What the model was told.
    pub features: Features,
    /// What the model says, without what running the kernel has taught.
    pub prior: Prediction,
    /// log2 of the operations of the call.
    pub log2_work: f64,
    /// Stands for everything of the arguments that decides how much work there is.
    pub shape: u64,
}

impl Explanation {
    pub(crate) fn new(inner: &Arc<Inner>, prepared: &Prepared, decision: &Decision) -> Explanation {
        Explanation {
            kernel: prepared.name.to_string(),
            version: prepared.version.to_string(),
            grid: decision.grid,
            estimates: decision.estimates.to_vec(),
            chosen: decision.device,
            adapter: if decision.device == Device::Gpu { decision.adapter } else { 0 },
            adapters: inner.gpus.iter().map(|gpu| gpu.adapter().name).collect(),
            why: decision.why.clone(),
            cut: cut(decision),
            across: across(prepared, decision),
            optimisations: optimisations(inner, prepared, decision),
            visits: prepared.learned(decision.adapter).experience.visits,
            model: inner.model_name(),
            generation: decision.prior.generation,
            features: *decision.prior.features,
            prior: decision.prior.prediction,
            log2_work: decision.prior.log2_work,
            shape: decision.prior.shape,
        }
    }

    /// What a GPU is called: by its number, where there are several.
    fn gpu_name(&self, adapter: usize) -> String {
        if self.adapters.len() < 2 { "gpu".to_owned() } else { format!("gpu {adapter}") }
    }

    /// How many times faster the device that was not chosen would have to be to be chosen; `None`
    /// with one candidate.
    pub fn flip_factor(&self) -> Option<f64> {
        let chosen = self.estimates.iter().find(|e| e.device == self.chosen)?;
        let other = self.estimates.iter().find(|e| e.device != self.chosen)?;
        Some(other.total_s() / chosen.total_s())
    }
}

/// Whether a call that is long enough may be cut.
fn cut(decision: &Decision) -> Option<String> {
    if decision.is_short() || decision.estimates.of(Device::Gpu).is_none() {
        return None;
    }
    match &decision.prior.cut {
        Err(why) => Some(format!("it cannot be cut into parts: {why}")),
        Ok(cut) if decision.may_be_cut => {
            let axis = Axis::ALL[cut.axis].name();
            Some(format!(
                "it may be cut along {axis}: a part tells where the rest runs, where that is not sure"
            ))
        }
        Ok(_) => None,
    }
}

fn optimisations(inner: &Inner, prepared: &Prepared, decision: &Decision) -> Option<Choice> {
    if prepared.later.get().is_some() {
        return None;
    }
    match prepared.cpu.get() {
        Some(_) => prepared.chosen.get().cloned(),
        None => inner.choice(prepared, decision),
    }
}

fn across(prepared: &Prepared, decision: &Decision) -> Vec<String> {
    let params = prepared.kernel.entry.params.iter().enumerate();
    let stays = params.filter(|(at, _)| decision.in_place().contains(*at));
    stays.map(|(_, param)| param.name.clone()).collect()
}

/// Seconds, with the unit that suits them.
pub fn show_seconds(seconds: f64) -> String {
    match seconds {
        s if s <= 0.0 => "0".to_owned(),
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.grid;
        let chosen = match self.chosen {
            Device::Cpu => "cpu".to_owned(),
            Device::Gpu => self.gpu_name(self.adapter),
        };
        writeln!(f, "{} over {x} × {y} × {z}: {chosen} ({})", self.kernel, self.why)?;
        writeln!(
            f,
            "  {:<8} {:>10} {:>23} {:>10} {:>10} {:>10}",
            "", "run", "90 % interval", "transfer", "wait", "total"
        )?;
        for e in &self.estimates {
            let interval =
                format!("{} – {}", show_seconds(e.run_low_s), show_seconds(e.run_high_s));
            let name = match e.device {
                Device::Cpu => format!("cpu × {}", e.threads),
                Device::Gpu => self.gpu_name(e.adapter),
            };
            writeln!(
                f,
                "  {name:<8} {:>10} {interval:>23} {:>10} {:>10} {:>10}",
                show_seconds(e.run_s),
                show_seconds(e.transfer_s),
                show_seconds(e.wait_s),
                show_seconds(e.total_s()),
            )?;
        }
        if let Some(factor) = self.flip_factor() {
            let other = self.chosen.other();
            writeln!(f, "  the {other} would be chosen if it were {factor:.2} times faster")?;
        }
        if let Some(cut) = &self.cut {
            writeln!(f, "  {cut}")?;
        }
        if !self.across.is_empty() {
            let names = self.across.join(", ");
            writeln!(f, "  on the gpu it would reach {names} across the bus, without a copy")?;
        }
        if let Some(choice) = &self.optimisations {
            let Choice { set, confidence, calls, compile_s, run_s, with_all_s, is_limited } =
                choice;
            let [compile_all_s, run_all_s] = with_all_s.map(show_seconds);
            let within = if *is_limited { ", within the budget" } else { "" };
            writeln!(f, "  optimisations of the cpu's code: {set}{within}")?;
            writeln!(
                f,
                "    {calls:.0} calls of {} after {} of compiling are expected, with all {run_all_s} after \
                 {compile_all_s}; confidence {confidence:.2}",
                show_seconds(*run_s),
                show_seconds(*compile_s),
            )?;
        }
        if self.adapters.len() > 1 {
            for (at, name) in self.adapters.iter().enumerate() {
                writeln!(f, "  gpu {at} is {name}")?;
            }
        }
        let [cpu, gpu] = self.visits;
        write!(
            f,
            "  {} (generation {}), after {cpu} calls on the CPU and {gpu} on the GPU",
            self.model, self.generation
        )
    }
}
