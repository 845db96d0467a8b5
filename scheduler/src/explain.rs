//! What `explain` says: the terms of a decision, and what would change it.

mod show;

use std::sync::Arc;

use crossover_kernels::ir::Axis;
use crossover_ml::optimise::Choice;
use crossover_ml::{Features, Prediction};
use crossover_wasm::Schedule;
use serde::Serialize;

use crate::device::Device;
use crate::layouts::{Laid, layout_of};
use crate::ledger::{Estimate, Why};
use crate::place::Decision;
use crate::runtime::Inner;
use crate::terms::{Flip, Past, Terms};
use crate::version::{GpuCode, Prepared};

pub use show::show_seconds;

/// The decision about a call that was not run. As text it is two tables and what would change it; with a width, as
/// `{:40}`, the tables become paragraphs where they do not fit into so many columns.
///
/// ```
/// # use crossover::kernels::library::saxpy::saxpy;
/// # let rt = crossover::Runtime::new()?;
/// # let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.alloc(2)?);
/// let explained = saxpy::on(&rt).args(2.0, &x, &mut y).explain()?;
/// let [compute_s, memory_s] = [explained.terms[0].compute_s, explained.terms[0].memory_s];
/// assert!(compute_s < memory_s, "two operations for three floats");
/// assert!(explained.to_string().contains("90 % interval"));
/// assert!(!format!("{explained:40}").contains("90 % interval"));
/// # Ok::<(), crossover::Error>(())
/// ```
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
    /// What the time of each is made of, in the same order.
    pub terms: Vec<Terms>,
    /// What would make the other device the faster one; `None` where it is, or there is none.
    pub flip: Option<Flip>,
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
    /// How the CPU's code is laid out for such calls, and what is known of other layouts; `None` where that is not
    /// learned.
    pub layouts: Option<Laid>,
    /// Measured calls of this kernel so far: CPU, GPU.
    pub visits: [u64; 2],
    /// The model that predicts, and its generation.
    pub model: String,
    /// Generation of the model: how often it has been replaced.
    pub generation: u64,
    /// What the model was told.
    pub features: Features,
    /// What is expected of the kernel without what running it has taught: what the model says, as far as it is
    /// believed.
    pub prior: Prediction,
    /// How far that is, 1 in all: the model, the model with what this machine has shown, neither.
    pub trust: [f64; 3],
    /// log2 of the operations of the call.
    pub log2_work: f64,
    /// Stands for everything of the arguments that decides how much work there is.
    pub shape: u64,
}

impl Explanation {
    pub(crate) fn new(inner: &Arc<Inner>, prepared: &Prepared, decision: &Decision) -> Explanation {
        let terms = terms(inner, prepared, decision);
        Explanation {
            flip: flip(decision, &terms),
            terms,
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
            layouts: layouts(inner, prepared, decision),
            visits: prepared.learned(decision.adapter).experience.visits,
            model: inner.model_name(),
            generation: decision.prior.generation,
            features: *decision.prior.features,
            prior: decision.prior.prediction,
            trust: decision.prior.opinions.trust.weights(),
            log2_work: decision.prior.log2_work,
            shape: decision.prior.shape,
        }
    }
}

/// What each candidate's time is made of.
fn terms(inner: &Inner, prepared: &Prepared, decision: &Decision) -> Vec<Terms> {
    let term = |estimate: &Estimate| {
        let machine = inner.calibration_with(match estimate.device {
            Device::Cpu => decision.adapter,
            Device::Gpu => estimate.adapter,
        });
        Terms {
            is_compiled: match estimate.device {
                Device::Cpu => prepared.cpu.get().is_some(),
                Device::Gpu => matches!(&*prepared.gpu_code(estimate.adapter), GpuCode::Ready(_)),
            },
            past: Past::of(inner.ledger.runs_s(decision, estimate)),
            ..Terms::new(&decision.prior.work, estimate, &machine)
        }
    };
    decision.estimates.iter().map(term).collect()
}

/// What keeps the other device out.
fn flip(decision: &Decision, terms: &[Terms]) -> Option<Flip> {
    let chosen = decision.estimates.of(decision.device)?;
    let other = decision.device.other();
    let start_s = terms.iter().find(|terms| terms.device == other)?.start_s;
    Flip::of(chosen, decision.estimates.of(other)?, start_s)
}

/// Whether a call that is long enough may be cut.
fn cut(decision: &Decision) -> Option<String> {
    if decision.is_short() || decision.estimates.of(Device::Gpu).is_none() {
        return None;
    }
    match &decision.prior.cut {
        Err(why) if decision.may_be_cut => Some(format!(
            "it cannot be cut into parts: {why}; where it is not sure which device is the faster, some points are run \
             on copies first"
        )),
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

fn layouts(inner: &Inner, prepared: &Prepared, decision: &Decision) -> Option<Laid> {
    let default = layout_of(Schedule::default_for(&prepared.kernel));
    let laid = || prepared.lays.laid(decision.prior.log2_work, default);
    inner.learns_layout(prepared).then(laid)
}

fn across(prepared: &Prepared, decision: &Decision) -> Vec<String> {
    let params = prepared.kernel.entry.params.iter().enumerate();
    let stays = params.filter(|(at, _)| decision.in_place().contains(*at));
    stays.map(|(_, param)| param.name.clone()).collect()
}
