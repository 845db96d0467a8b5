//! Calls of compiled kernels on plain memory, without a runtime: what is timed is the kernel alone.

use std::sync::Arc;

use crossover::kernels::exec::{Arg, Call, Grid, Version, claim_args, default_grid};
use crossover::kernels::interp::Data;
use crossover::kernels::ir::Kernel;
use crossover::kernels::library::{Input, Passed, Step};
use crossover_memory::Slot;

/// The inputs of a benchmark in memory of their own.
pub(crate) fn slots(inputs: &[Input]) -> anyhow::Result<Vec<Arg<'static>>> {
    let arg = |input: &Input| match input {
        Input::Scalar(c) => Ok(Arg::Scalar(*c)),
        Input::F32(v) => filled(&v.iter().map(|v| v.to_bits()).collect::<Vec<u32>>()),
        Input::U32(v) => filled(v),
        Input::I32(v) => filled(&v.iter().map(|v| v.cast_unsigned()).collect::<Vec<u32>>()),
    };
    inputs.iter().map(arg).collect()
}

/// The arguments of the interpreter, the same way.
pub(crate) fn data_slots(data: &[Data]) -> anyhow::Result<Vec<Arg<'static>>> {
    let arg = |data: &Data| match data {
        Data::Scalar(c) => Ok(Arg::Scalar(*c)),
        Data::Narrow(v) => filled(v),
        Data::Wide(v) => filled(v),
    };
    data.iter().map(arg).collect()
}

fn filled<T: bytemuck::Pod>(elements: &[T]) -> anyhow::Result<Arg<'static>> {
    let slot = Arc::new(Slot::zeroed(size_of_val(elements))?);
    slot.write::<T>().copy_from_slice(elements);
    Ok(Arg::Buffer { slot: slot.into(), len: u32::try_from(elements.len())? })
}

/// The elements of an input's buffer now; nothing of a scalar.
pub(crate) fn content(input: &Input, arg: &Arg) -> Option<Vec<f64>> {
    let Arg::Buffer { slot, .. } = arg else { return None };
    Some(match input {
        Input::F32(_) => slot.arc().read::<f32>().iter().map(|&v| f64::from(v)).collect(),
        Input::U32(_) => slot.arc().read::<u32>().iter().map(|&v| f64::from(v)).collect(),
        Input::I32(_) => slot.arc().read::<i32>().iter().map(|&v| f64::from(v)).collect(),
        Input::Scalar(_) => return None,
    })
}

/// A step's arguments, of all those of its benchmark.
pub(crate) fn chosen<'c>(step: &Step, all: &[Arg<'c>]) -> Vec<Arg<'c>> {
    let of = |passed: &Passed| match *passed {
        Passed::Own(c) => Arg::Scalar(c),
        Passed::Shared(at) => all[at].clone(),
    };
    step.args.iter().map(of).collect()
}

/// Seconds of one run.
pub(crate) fn time(
    kernel: &Kernel,
    version: &dyn Version,
    grid: Option<Grid>,
    args: &[Arg],
    threads: usize,
) -> anyhow::Result<f64> {
    let mut claim = claim_args(kernel, args);
    let grid = grid.unwrap_or_else(|| default_grid(kernel, args));
    let mut call = Call { args, grid, threads, deadline: None, start: None, claim: &mut claim };
    Ok(version.run(&mut call)?.kernel.as_secs_f64())
}
