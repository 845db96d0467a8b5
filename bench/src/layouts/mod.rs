//! The layouts that the CPU's code of a kernel may have, those whose results are the same: each distinct code
//! compiled once, and timed in turns with the others. How says [`crate::turns`].

mod random;

use crossover::kernels::error::RunError;
use crossover::kernels::ir::Kernel;
use crossover_wasm::{Schedule, WasmExecutor};
use std::collections::HashSet;
use std::sync::Arc;

use crate::turns::{self, Coded};

pub(crate) use random::measure as measure_random;

/// A layout, and its code.
pub(crate) struct Laid {
    pub(crate) schedule: Schedule,
    pub(crate) coded: Coded,
}

/// Those of the schedules whose code differs from that of all before.
pub(crate) fn distinct(
    kernel: &Kernel,
    schedules: impl IntoIterator<Item = Schedule>,
) -> Result<Vec<(Schedule, usize)>, RunError> {
    let (mut known, mut distinct) = (HashSet::new(), Vec::new());
    for schedule in schedules {
        let module = turns::module(kernel, schedule)?;
        let bytes = module.len();
        if known.insert(module) {
            distinct.push((schedule, bytes));
        }
    }
    Ok(distinct)
}

/// Compiles a kernel with each of the layouts.
pub(crate) fn compiled(
    executor: &WasmExecutor,
    kernel: &Arc<Kernel>,
    distinct: &[(Schedule, usize)],
    compilations: usize,
) -> Result<Vec<Laid>, RunError> {
    let laid = |&(schedule, bytes): &(Schedule, usize)| {
        let coded = Coded::new(executor, kernel, schedule, bytes, compilations)?;
        Ok(Laid { schedule, coded })
    };
    distinct.iter().map(laid).collect()
}
