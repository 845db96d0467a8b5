//! Which optimisations the CPU's code of a kernel is worth: what the passes say of the kernel, what the model
//! of speed-ups expects of it, and the choice between all sets.
//!
//! The GPU's code always has all of them: its driver compiles for longer than any pass runs.

use std::sync::Arc;

use crossover_kernels::ir::{Function, Kernel};
use crossover_kernels::passes::{self, unroll};
use crossover_ml::Features;
use crossover_ml::dataset::{OPTIMISATIONS, SPEEDUPS};
use crossover_ml::optimise::{Choice, Set, choose};
use crossover_ml::speedups::{Coded, Speedups};
use crossover_wasm::{SIMD, Schedule, emit};

use crate::backends::CpuBackend;
use crate::device::Device;
use crate::error::Error;
use crate::place::Decision;
use crate::runtime::Inner;
use crate::version::Prepared;

/// What comes with the library, trained by `crossover train --optimisations` on measured runs of
/// `crossover collect --ablate`.
static SHIPPED: &[u8] = include_bytes!("../models/optimisations.safetensors");

/// The model of speed-ups that comes with the library, as a safetensors file.
///
/// ```
/// use crossover::ml::speedups::Speedups;
/// assert!(Speedups::from_bytes(crossover::shipped_speedups()).is_ok());
/// ```
pub fn shipped_speedups() -> &'static [u8] {
    SHIPPED
}

/// Calls that are expected of a kernel of which nothing is known, and how many times as many as there have been:
/// few at first, since what was left out is made good when there are more.
const CALLS_FIRST: f64 = 4.0;
const CALLS_TO_COME: f64 = 6.0;

/// Calls that are expected after so many.
fn calls_to_come(calls: u64) -> f64 {
    CALLS_FIRST + CALLS_TO_COME * calls as f64
}

/// Chooses optimisations.
#[derive(Debug)]
pub struct Chooser {
    speedups: Speedups,
    budget_s: f64,
}

impl Chooser {
    /// With the shipped model. Optimising a kernel may take so many seconds.
    ///
    /// # Errors
    /// [`Error::File`] where the model is of another version.
    ///
    /// ```
    /// use crossover::Chooser;
    /// assert!(Chooser::new(0.1).is_ok(), "the model that comes with it is of this version");
    /// ```
    pub fn new(budget_s: f64) -> Result<Chooser, Error> {
        let speedups = Speedups::from_bytes(SHIPPED).map_err(|error| Error::File {
            path: "shipped model of optimisations".to_owned(),
            message: error.to_string(),
        })?;
        Ok(Chooser { speedups, budget_s })
    }

    /// The set for a kernel of which so many calls are expected that take so long with all optimisations;
    /// `None` where there is no code for it at all.
    ///
    /// ```
    /// # use crossover::{Chooser, kernels::{front, library::saxpy::saxpy}};
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0])?, rt.alloc(1)?);
    /// let features = saxpy::on(&rt).args(2.0, &x, &mut y).explain()?.features;
    /// let source = front::kernel(saxpy::DEF, &[], &[])?;
    /// let once = Chooser::new(0.1)?.choose(&source, &features, 1e-6, 1.0).expect("it has code");
    /// let [compile_s, run_s] = once.with_all_s;
    /// assert!(once.compile_s + once.run_s <= compile_s + run_s);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn choose(
        &self,
        source: &Kernel,
        features: &Features,
        run_s: f64,
        calls: f64,
    ) -> Option<Choice> {
        let forecast = self.speedups.forecast(features, &coded(source)?, run_s);
        Some(choose(&forecast, calls, self.budget_s))
    }
}

impl Inner {
    /// The optimisations that the CPU's code would get now; `None` where it gets all or has been told.
    pub(crate) fn choice(&self, prepared: &Prepared, decision: &Decision) -> Option<Choice> {
        let chooser = self.chooser.as_ref()?;
        if prepared.schedule.is_some() || !matches!(self.cpu, CpuBackend::Wasm(_)) {
            return None;
        }
        let cpu = decision.estimate(Device::Cpu);
        let [visits, _] = prepared.learned(decision.adapter).experience.visits;
        let calls = calls_to_come(visits);
        chooser.choose(&prepared.source, &decision.prior.features, cpu.run_s, calls)
    }

    /// Code with all optimisations for a kernel of which there were calls enough.
    pub(crate) fn optimise_further(&self, prepared: &Prepared) {
        let kernel = &*prepared.name;
        let _span = tracing::debug_span!("compile", kernel, device = "cpu").entered();
        match self.cpu.compile(&prepared.kernel, prepared.schedule) {
            // It is asked for once.
            Ok(version) => drop(prepared.later.set(version)),
            // What there is goes on running.
            Err(error) => tracing::warn!(kernel, %error, "not optimised further"),
        }
    }
}

/// A kernel with the optimisations of a set, and how its code on the CPU is laid out then.
///
/// ```
/// # use crossover::kernels::{front, library::saxpy::saxpy};
/// use crossover::{ml::optimise::Set, optimized};
/// let source = front::kernel(saxpy::DEF, &[], &[])?;
/// let [all, none] = [Set::ALL, Set::NONE].map(|set| optimized(&source, set).1);
/// assert!(all.vectors > none.vectors, "it runs several invocations at a time");
/// # Ok::<(), crossover::kernels::error::KernelError>(())
/// ```
pub fn optimized(source: &Kernel, set: Set) -> (Arc<Kernel>, Schedule) {
    let enabled = |name: &str| set.enables(name);
    let kernel = passes::optimize_with(source, &enabled);
    let schedule = Schedule::default_with(&kernel, &enabled);
    (Arc::new(kernel), schedule)
}

/// Runs all passes, and says what they did. A pass that changed nothing whenever it ran is as good as one that
/// never did.
fn coded(source: &Kernel) -> Option<Coded> {
    let mut before = source.clone();
    std::iter::once(&mut before.entry).chain(&mut before.helpers).for_each(Function::compact);
    let number = |name: &str| OPTIMISATIONS.iter().position(|known| *known == name);
    let mut changes = [false; SPEEDUPS];
    let kernel = passes::optimize_logged(source, &mut |pass, kernel, _| {
        if let Some(at) = number(pass.name) {
            changes[at] |= before != *kernel;
        }
        before.clone_from(kernel);
    });
    let schedule = Schedule::default_for(&kernel);
    for (name, is_laid_out) in [
        (SIMD, schedule != Schedule { vectors: 0, ..Schedule::PLAIN }),
        (unroll::PASS.name, schedule.unroll > 1),
    ] {
        if let Some(at) = number(name) {
            changes[at] |= is_laid_out;
        }
    }
    let bytes = emit(&kernel, schedule).ok()?.bytes.len() as f64;
    Some(Coded { values: [source, &kernel].map(kernel_values), bytes, changes })
}

/// Values of a kernel's code: what compiling it takes grows with them.
///
/// ```
/// use crossover::kernels::{front, library::{nbody::nbody, saxpy::saxpy}};
/// let small = front::kernel(saxpy::DEF, &[], &[])?;
/// let large = front::kernel(nbody::DEF, &[], &[])?;
/// assert!(crossover::kernel_values(&small) < crossover::kernel_values(&large));
/// # Ok::<(), crossover::kernels::error::KernelError>(())
/// ```
pub fn kernel_values(kernel: &Kernel) -> f64 {
    let of = |function: &Function| function.values.len();
    (of(&kernel.entry) + kernel.helpers.iter().map(of).sum::<usize>()).max(1) as f64
}
