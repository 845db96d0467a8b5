//! The layouts that the CPU's code of a kernel may have, those whose results are the same: each distinct code
//! compiled once, and timed in turns with the others. How says [`crate::turns`].

mod proof;
mod random;
mod whole;

use std::collections::HashMap;
use std::sync::Arc;

use crossover::kernels::error::RunError;
use crossover::kernels::ir::Kernel;
use crossover_wasm::{Schedule, WasmExecutor};

use crate::turns::{self, Coded};

pub(crate) use proof::{Layouts, measure as prove, tables};
pub(crate) use random::measure as measure_random;

/// A layout, and its code.
pub(crate) struct Laid {
    /// The first that gives it.
    pub(crate) schedule: Schedule,
    pub(crate) coded: Coded,
}

/// The distinct code of some layouts.
pub(crate) struct Layings {
    pub(crate) distinct: Vec<Laid>,
    /// Which of them each layout becomes.
    of: HashMap<Schedule, usize>,
}

impl Layings {
    /// Compiles a kernel with each of the layouts, so often.
    pub(crate) fn new(
        executor: &WasmExecutor,
        kernel: &Arc<Kernel>,
        schedules: impl IntoIterator<Item = Schedule>,
        compilations: usize,
    ) -> Result<Layings, RunError> {
        let (mut distinct, mut of, mut known) = (Vec::new(), HashMap::new(), HashMap::new());
        for schedule in schedules {
            let module = turns::module(kernel, schedule)?;
            let bytes = module.len();
            let at = *known.entry(module).or_insert(distinct.len());
            if at == distinct.len() {
                let coded = Coded::new(executor, kernel, schedule, bytes, compilations)?;
                distinct.push(Laid { schedule, coded });
            }
            of.insert(schedule, at);
        }
        Ok(Layings { distinct, of })
    }

    /// The code of a layout that was asked for.
    pub(crate) fn of(&self, schedule: Schedule) -> Option<&Laid> {
        self.of.get(&schedule).map(|&at| &self.distinct[at])
    }

    /// All code, to be timed.
    pub(crate) fn coded(&mut self) -> Vec<&mut Coded> {
        self.distinct.iter_mut().map(|laid| &mut laid.coded).collect()
    }
}
