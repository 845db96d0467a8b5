//! What layouts of a random kernel take, at some sizes: what the choice of layouts is trained on. Kernels of the
//! suites are never among them.

use std::sync::Arc;
use std::time::Duration;

use crossover::kernels::passes::optimize;
use crossover::kernels::random::Random;
use crossover::ml::dataset::Row;
use crossover::ml::layout::{LaidOut, Layouts};
use crossover::{Runtime, layout_of, outline};
use crossover_wasm::{Schedule, WasmExecutor};

use super::Layings;
use crate::families::Specimen;
use crate::specimen::{self, Rejected};
use crate::turns;

/// Sizes of a kernel.
const SIZES: usize = 2;

/// The largest size has this share of the points that a kernel is measured with on both sides: the code is
/// judged, not the memory.
const SHARE: f64 = 0.05;

/// Layouts beside the default.
const LAYOUTS: usize = 10;

/// Turns at a size, and time for them.
const TURNS: [usize; 2] = [15, 101];
const BUDGET: Duration = Duration::from_millis(300);

/// Measures a kernel. One that may be laid out in one way alone gives no rows.
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
    let source = match specimen.build() {
        Ok(kernel) => kernel,
        Err(error) => return Ok(Err(Rejected::Invalid(error))),
    };
    let kernel = Arc::new(optimize(&source));
    let schedules = drawn(Schedule::interchangeable(&kernel), rng);
    let mut layings = match Layings::new(executor, &kernel, schedules, 1) {
        Ok(layings) if layings.distinct.len() > 1 => layings,
        Ok(_) => return Ok(Ok(Vec::new())),
        Err(error) => return Ok(Err(Rejected::Unmeasured(error.into()))),
    };
    let all = layings.distinct.iter().map(|laid| &laid.coded);
    if let Err(rejected) = turns::check(all, &source, specimen, rng)? {
        return Ok(Err(rejected));
    }
    let handle = rt.adopt(source.clone(), name);
    let most = specimen::points_max(&source, specimen, rng) * SHARE;
    let mut rows = Vec::new();
    for at in 0..SIZES {
        let n = specimen::points([at, SIZES], most, rng);
        let call = turns::drawn(rt, &handle, &source, specimen, n, rng)?;
        turns::time(layings.coded(), &call.args, Some(call.grid), TURNS, BUDGET)?;
        let (default, others) = (&layings.distinct[0], &layings.distinct[1..]);
        let default_s = default.coded.least_s().max(1e-9);
        let mut row = call.row([family, name], Some(default_s));
        let others = others.iter().map(|laid| LaidOut {
            layout: layout_of(laid.schedule),
            speedup: default_s / laid.coded.least_s().max(1e-9),
            code_s: laid.coded.code_s,
        });
        row.layouts = Some(Layouts {
            outline: outline(&kernel),
            default: layout_of(default.schedule),
            code_s: default.coded.code_s,
            others: others.collect(),
        });
        rows.push(row);
    }
    Ok(Ok(rows))
}

/// The default, and some of the others.
fn drawn(mut all: Vec<Schedule>, rng: &mut Random) -> Vec<Schedule> {
    while all.len() > 1 + LAYOUTS {
        all.remove(1 + rng.below(all.len() - 1));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families;

    #[test]
    fn a_random_kernel_gives_rows_that_say_what_layouts_take() {
        let rt = Runtime::builder().with(|s| s.gpu = crossover::GpuUse::Off).build();
        let (rt, executor) = (rt.expect("the CPU"), WasmExecutor::new().expect("an engine"));
        // A map, and a loop.
        for number in [0, 4] {
            let (family, specimen) = families::ablated(2, number);
            let mut rng = families::rng(2, number, 1);
            let rows = measure(&rt, &executor, [family, "k"], &specimen, &mut rng);
            let rows = rows.expect("memory").unwrap_or_else(|rejected| panic!("{rejected}"));
            assert_eq!(rows.len(), SIZES);
            for row in rows {
                assert!(row.validate().is_ok());
                let Layouts { default, others, .. } = row.layouts.expect("they were measured");
                assert!((1..=LAYOUTS).contains(&others.len()));
                assert!(others.iter().all(|other| other.layout != default));
            }
        }
    }
}
