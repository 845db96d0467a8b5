//! How the CPU's code of a kernel is laid out: learned, and measured in calls.

use crossover_kernels::ir::Kernel;
use crossover_ml::layout::{Layout, Outline};
use crossover_wasm::Schedule;

/// A schedule as the model of layouts knows it.
///
/// ```
/// use crossover::{ml::layout::Layout, wasm::Schedule};
/// let plain = Layout { vectors: 1, rows: 1, unroll: 1, depth: 0 };
/// assert_eq!(crossover::layout_of(Schedule::PLAIN), plain);
/// ```
pub fn layout_of(schedule: Schedule) -> Layout {
    let Schedule { vectors, rows, unroll, depth, refill: _ } = schedule;
    Layout { vectors, rows, unroll, depth }
}

/// What the model of layouts is told of an optimised kernel beside the features of a call.
///
/// ```
/// use crossover::kernels::{front, library::saxpy::saxpy, passes};
/// let kernel = passes::optimize(&front::kernel(saxpy::DEF, &[], &[])?);
/// let outline = crossover::outline(&kernel);
/// assert_eq!((outline.loads, outline.has_loops), ([2.0, 0.0], false));
/// # Ok::<(), crossover::kernels::error::KernelError>(())
/// ```
pub fn outline(kernel: &Kernel) -> Outline {
    let of = crossover_wasm::Outline::of(kernel);
    Outline {
        instructions: of.instructions as f64,
        in_loops: of.in_loops as f64,
        held: of.held as f64,
        loads: of.loads.map(|loads| loads as f64),
        diverges: of.diverges,
        counts_apart: of.counts_apart,
        is_scattered: of.is_scattered,
        has_loops: of.has_loops,
        has_tiles: of.has_tiles,
    }
}
