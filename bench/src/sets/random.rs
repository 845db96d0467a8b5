//! What each optimisation is worth to a random kernel, at some sizes: what the choice of optimisations is
//! trained on. Kernels of the suites are never among them.

use std::time::Duration;

use crossover::Runtime;
use crossover::kernels::random::Random;
use crossover::ml::dataset::{Row, SPEEDUPS};
use crossover::ml::optimise::Set;
use crossover_wasm::WasmExecutor;

use super::{Variants, ablated, compiled};
use crate::families::Specimen;
use crate::specimen::{self, Rejected};
use crate::turns;

/// Sizes of a kernel.
const SIZES: usize = 3;

/// The largest size has this share of the points that a kernel is measured with on both sides: the code is
/// judged, not the memory.
const SHARE: f64 = 0.05;

/// Turns at a size, and time for them.
const TURNS: [usize; 2] = [7, 21];
const BUDGET: Duration = Duration::from_millis(150);

/// Measures a kernel.
///
/// # Errors
/// No memory for the arguments. A kernel that cannot be measured is no error.
pub(crate) fn measure(
    rt: &Runtime,
    executor: &WasmExecutor,
    [family, name]: [&str; 2],
    specimen: &Specimen,
    rng: &mut Random,
) -> anyhow::Result<Result<Vec<Row>, Rejected>> {
    let kernel = match specimen.build() {
        Ok(kernel) => kernel,
        Err(error) => return Ok(Err(Rejected::Invalid(error))),
    };
    let mut variants = match Variants::new(executor, &kernel, ablated()) {
        Ok(variants) => variants,
        Err(error) => return Ok(Err(Rejected::Unmeasured(error.into()))),
    };
    let all = variants.distinct.iter().map(|variant| &variant.coded);
    if let Err(rejected) = turns::check(all, &kernel, specimen, rng)? {
        return Ok(Err(rejected));
    }
    let compiled = compiled(&kernel, &variants);
    let handle = rt.adopt(kernel.clone(), name);
    let most = specimen::points_max(&kernel, specimen, rng) * SHARE;
    let mut rows = Vec::new();
    for at in 0..SIZES {
        let n = specimen::points([at, SIZES], most, rng);
        let call = turns::drawn(rt, &handle, &kernel, specimen, n, rng)?;
        variants.time(&call.args, Some(call.grid), TURNS, BUDGET)?;
        let seconds = |set: Set| variants.of(set).map(|variant| variant.coded.least_s().max(1e-9));
        let all = seconds(Set::ALL);
        let mut row = call.row([family, name], all);
        let speedup = |at: usize| {
            let set = Set::ALL.flipped(at);
            if variants.is_as_all(set) { Some(1.0) } else { Some(seconds(set)? / all?) }
        };
        let speedups: [Option<f64>; SPEEDUPS] = std::array::from_fn(speedup);
        (row.speedups, row.compiled) = (speedups, compiled.clone());
        rows.push(row);
    }
    Ok(Ok(rows))
}
