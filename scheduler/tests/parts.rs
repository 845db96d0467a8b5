//! Calls in parts: whatever the parts, and whichever back end runs each of them, the result is that of the call.
//!
//! Random kernels and those of the library, cut at random. Kernels for the GPU have no floats that round: what
//! drivers may do to those is not what is tried here.

mod common;

use std::sync::Arc;

use crossover::kernels::analysis::{Uncut, cut};
use crossover::kernels::error::RunError;
use crossover::kernels::exec::{Arg, Call, Executor, Grid, Part, Version, claim_args};
use crossover::kernels::interp::{self, Data};
use crossover::kernels::ir::{Kernel, Type};
use crossover::kernels::library;
use crossover::kernels::random::{self, Floats, Options, Random};
use crossover::kernels::{front, passes};
use crossover::shaders::{Gpu, GpuExecutor, GpuOptions};
use crossover::wasm::WasmExecutor;
use crossover_memory::Slot;

fn to_arg(data: &Data) -> Arg<'static> {
    let slot = |bytes| Arc::new(Slot::zeroed(bytes).expect("memory"));
    match data {
        Data::Scalar(c) => Arg::Scalar(*c),
        Data::Narrow(v) => {
            let slot = slot(v.len() * 4);
            slot.write::<u32>().copy_from_slice(v);
            Arg::Buffer { slot: slot.into(), len: v.len() as u32 }
        }
        Data::Wide(v) => {
            let slot = slot(v.len() * 8);
            slot.write::<u64>().copy_from_slice(v);
            Arg::Buffer { slot: slot.into(), len: v.len() as u32 }
        }
    }
}

fn bits(arg: &Arg) -> Vec<u8> {
    match arg {
        Arg::Buffer { slot, .. } => slot.arc().read::<u8>().to_vec(),
        Arg::Scalar(_) => Vec::new(),
    }
}

/// Who runs parts.
struct Sides(Vec<Arc<dyn Version>>);

impl Sides {
    /// A step at which all of them begin parts.
    fn step(&self, grid: Grid, least: u32) -> u32 {
        let steps = self.0.iter().map(|side| side.parts(grid).expect("they run parts").step);
        steps.fold(least, least_common_multiple)
    }

    /// Runs a call in up to five parts, each on any of them. Gives how many there were.
    fn run(
        &self,
        kernel: &Kernel,
        args: &[Arg],
        grid: Grid,
        step: u32,
        rng: &mut Random,
    ) -> Result<usize, RunError> {
        let all = Part::all(grid);
        let (mut from, mut parts) = (0, 0);
        while from < all.to {
            let steps = 1 + rng.below(all.to as usize / step as usize / 3 + 1) as u32;
            let to = from.saturating_add(steps * step);
            let to = if parts == 4 || to > all.to { all.to } else { to };
            let side = &self.0[rng.below(self.0.len())];
            let (threads, mut claim) = (1 + rng.below(2), claim_args(kernel, args));
            let mut call =
                Call { args, grid, threads, deadline: None, start: None, claim: &mut claim };
            side.run_part(&mut call, Part { from, to })?;
            (from, parts) = (to, parts + 1);
        }
        Ok(parts)
    }
}

fn least_common_multiple(a: u32, b: u32) -> u32 {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x % y);
    }
    a / x.max(1) * b
}

/// Runs a call whole in the interpreter and in parts on `sides`, and compares; the number of parts, or 0 where the
/// call is not cut.
fn compare(
    kernel: &Kernel,
    data: &[Data],
    grid: Grid,
    sides: &Sides,
    rng: &mut Random,
) -> Result<usize, String> {
    let args: Vec<Arg> = data.iter().map(to_arg).collect();
    let Ok(cut) = cut(kernel, &args, grid) else { return Ok(0) };
    let step = sides.step(grid, cut.step);
    let mut expected = data.to_vec();
    interp::run(kernel, &mut expected, grid, None).map_err(|error| error.to_string())?;
    let parts = sides.run(kernel, &args, grid, step, rng).map_err(|error| error.to_string())?;
    for (at, (arg, expected)) in args.iter().zip(&expected).enumerate() {
        if bits(arg) != bits(&to_arg(expected)) {
            return Err(format!("argument {at} differs, in {parts} parts of steps of {step}"));
        }
    }
    Ok(parts)
}

fn gpu() -> Option<GpuExecutor> {
    // Forms without checks are tried from the first call on.
    match Gpu::open(&GpuOptions { proves_at_once: true, ..GpuOptions::default() }) {
        Ok(gpu) => Some(GpuExecutor::new(gpu)),
        Err(error) => {
            common::without_gpu(error);
            None
        }
    }
}

/// What an adapter may refuse.
fn is_a_limit(error: &RunError) -> bool {
    matches!(error, RunError::Unsupported { .. })
}

#[test]
fn random_kernels_in_random_parts_give_what_the_call_gives() {
    let wasm = WasmExecutor::new().expect("wasmtime starts");
    let gpu = gpu();
    let types = vec![Type::Bool, Type::I32, Type::U32];
    let options = Options { types, transcendental: false, ..Options::default() };
    let (mut cut, mut parts) = (0, 0);
    for seed in 0..600 {
        let mut rng = Random::new(0x9a27_0000 + seed);
        let is_grouped = seed % 5 == 0;
        let size = 4 + rng.below(16);
        let (source, given) = match is_grouped {
            true => {
                let (kernel, data, grid) = random::group_kernel(&mut rng);
                (kernel, Some((data, grid)))
            }
            false => (random::kernel(&mut rng, &Options { size, ..options.clone() }), None),
        };
        let optimised = Arc::new(passes::optimize(&source));
        let mut sides = Sides(vec![wasm.compile(&optimised).expect("compiles for the CPU")]);
        sides.0.push(interp::Interpreter.compile(&optimised).expect("compiles"));
        if let Some(gpu) = gpu.as_ref().filter(|_| seed % 3 != 0) {
            match gpu.compile(&optimised) {
                Ok(version) => sides.0.push(version),
                Err(error) => assert!(is_a_limit(&error), "{error}"),
            }
        }
        for n in [40, 3000] {
            let (data, grid) = match &given {
                Some(given) => given.clone(),
                None => random::arguments(&mut rng, &source, n, Floats::Any),
            };
            match compare(&optimised, &data, grid, &sides, &mut rng) {
                Ok(count) => (cut, parts) = (cut + usize::from(count > 1), parts + count),
                Err(wrong) => panic!("seed {seed}, n {n}, {grid:?}: {wrong}\n{optimised}"),
            }
        }
    }
    eprintln!("{cut} calls were cut into {parts} parts");
    assert!(cut > 300, "{cut} calls were cut");
}

#[test]
fn kernels_of_the_library_in_parts_give_what_the_call_gives() {
    let wasm = WasmExecutor::new().expect("wasmtime starts");
    let gpu = gpu();
    let (mut refused, mut parts) = (Vec::new(), 0);
    for entry in library::ALL {
        for def in entry.kernels() {
            let source = front::kernel(def, &[], &[]).expect("a library kernel types");
            let optimised = Arc::new(passes::optimize(&source));
            let mut sides = vec![wasm.compile(&optimised).expect("compiles for the CPU")];
            if let Some(Ok(version)) = gpu.as_ref().map(|gpu| gpu.compile(&optimised)) {
                sides.push(version);
            }
            for size in [64, 300] {
                let mut rng = Random::new(size as u64);
                let inputs = (entry.inputs)(size, &mut rng);
                let data: Vec<Data> = inputs.iter().map(library::Input::data).collect();
                // Steps of programs take some of the arguments.
                if data.len() != optimised.entry.arity() {
                    continue;
                }
                match alone(&optimised, &data, &sides, &mut rng) {
                    Ok(count) => parts += count,
                    Err(Uncut::Small) => {}
                    Err(why) => refused.push(format!("{}: {why}", entry.name)),
                }
            }
        }
    }
    refused.dedup();
    eprintln!("{parts} parts; not cut: {}", refused.join("; "));
    assert!(parts > 100, "{parts} parts");
}

/// Runs a call whole and in parts, each time on one side alone: what sides compute of floats may differ. Gives how many
/// parts there were.
fn alone(
    kernel: &Kernel,
    data: &[Data],
    sides: &[Arc<dyn Version>],
    rng: &mut Random,
) -> Result<usize, Uncut> {
    let args = || -> Vec<Arg> { data.iter().map(to_arg).collect() };
    let grid = interp::default_grid(kernel, data);
    let least = cut(kernel, &args(), grid)?.step;
    let mut parts = 0;
    for side in sides {
        let (whole, in_parts) = (args(), args());
        let mut claim = claim_args(kernel, &whole);
        let (threads, deadline) = (1, None);
        let mut call =
            Call { args: &whole, grid, threads, deadline, start: None, claim: &mut claim };
        let ran = side.run(&mut call);
        drop(claim);
        let side = Sides(vec![side.clone()]);
        let ran_in_parts = side.run(kernel, &in_parts, grid, side.step(grid, least), rng);
        let name = &kernel.entry.name;
        assert_eq!(ran.is_ok(), ran_in_parts.is_ok(), "{name}");
        for (a, b) in whole.iter().zip(&in_parts) {
            assert!(bits(a) == bits(b), "{name} over {grid:?}");
        }
        parts += ran_in_parts.unwrap_or(0);
    }
    Ok(parts)
}
