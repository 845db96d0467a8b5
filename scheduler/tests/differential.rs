//! Back end against back end: random kernels and the kernels of the library, in the interpreter, as
//! WebAssembly and on the GPU.
//!
//! Exact kernels are compared bit for bit between interpreter and WebAssembly. Drivers may fuse,
//! flush and reorder within the bounds of their standard: half of the kernels for the GPU have no
//! floats, a quarter floats that never round, and a quarter floats that steer nothing, which are
//! compared within the bound on their error (`random::Floats`).

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use crossover::kernels::error::RunError;
use crossover::kernels::exec::{Arg, Call, Executor, Grid, Version, claim_args};
use crossover::kernels::interp::{self, Data};
use crossover::kernels::ir::{Access, Const, Kernel, Type};
use crossover::kernels::library::{self, Input};
use crossover::kernels::random::{self, Coverage, Floats, Options, Random};
use crossover::kernels::{front, passes};
use crossover::shaders::{Gpu, GpuExecutor, GpuOptions};
use crossover::wasm::WasmExecutor;
use crossover::{Def, Id, kernel};
use crossover_memory::Slot;

/// Random kernels: what every run of the tests generates for WebAssembly alone, and for both back
/// ends. A driver takes far longer to compile than Cranelift: kernels for the GPU are smaller, three
/// tests share them, and each adapter gets kernels of its own.
const WASM_KERNELS: u64 = 2_000;
const GPU_INTEGER_KERNELS: u64 = 1_000;
const GPU_EXACT_KERNELS: u64 = 500;
const GPU_ROUNDED_KERNELS: u64 = 500;

/// The GPU of the tests; a missing one is an error where `CROSSOVER_GPU=require`.
fn gpu() -> Option<Arc<Gpu>> {
    match Gpu::open(&GpuOptions::default()) {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            common::without_gpu(error);
            None
        }
    }
}

/// Runs a version on copies of the data; gives the data after.
fn run(
    version: &dyn Version,
    kernel: &Kernel,
    data: &[Data],
    grid: Grid,
    threads: usize,
) -> Result<Vec<Data>, RunError> {
    let args: Vec<Arg> = data.iter().map(to_arg).collect();
    let mut claim = claim_args(kernel, &args);
    version.run(&mut Call {
        args: &args,
        grid,
        threads,
        deadline: None,
        start: None,
        claim: &mut claim,
    })?;
    drop(claim);
    Ok(args.iter().zip(data).map(|(arg, before)| from_arg(arg, before)).collect())
}

fn to_arg(data: &Data) -> Arg<'static> {
    match data {
        Data::Scalar(c) => Arg::Scalar(*c),
        Data::Narrow(v) => {
            let slot = Arc::new(Slot::zeroed(v.len() * 4).expect("memory"));
            slot.write::<u32>().copy_from_slice(v);
            Arg::Buffer { slot: slot.into(), len: v.len() as u32 }
        }
        Data::Wide(v) => {
            let slot = Arc::new(Slot::zeroed(v.len() * 8).expect("memory"));
            slot.write::<u64>().copy_from_slice(v);
            Arg::Buffer { slot: slot.into(), len: v.len() as u32 }
        }
    }
}

fn from_arg(arg: &Arg, before: &Data) -> Data {
    match (arg, before) {
        (Arg::Buffer { slot, .. }, Data::Narrow(_)) => {
            Data::Narrow(slot.arc().read::<u32>().to_vec())
        }
        (Arg::Buffer { slot, .. }, _) => Data::Wide(slot.arc().read::<u64>().to_vec()),
        (Arg::Scalar(c), _) => Data::Scalar(*c),
    }
}

fn element(kernel: &Kernel, param: usize) -> Type {
    kernel.entry.params[param].kind.ty()
}

fn values(data: &Data, ty: Type) -> Vec<Const> {
    match data {
        Data::Scalar(c) => vec![*c],
        Data::Narrow(v) => v.iter().map(|&b| Const::new(ty, u64::from(b))).collect(),
        Data::Wide(v) => v.iter().map(|&b| Const::new(ty, b)).collect(),
    }
}

/// The first place where two sets of arguments differ.
fn difference(
    kernel: &Kernel,
    a: &[Data],
    b: &[Data],
    same: impl Fn(usize, Const, Const) -> bool,
) -> Option<String> {
    for (param, (x, y)) in a.iter().zip(b).enumerate() {
        let ty = element(kernel, param);
        let pairs = values(x, ty).into_iter().zip(values(y, ty));
        for (at, (x, y)) in pairs.enumerate() {
            if !same(param, x, y) {
                let name = &kernel.entry.params[param].name;
                return Some(format!("{name}[{at}]: {x:?} and {y:?}"));
            }
        }
    }
    None
}

fn equal(_: usize, a: Const, b: Const) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

#[test]
fn random_kernels_are_equal_in_the_interpreter_and_as_wasm() {
    let wasm = WasmExecutor::new().expect("wasmtime starts");
    let mut coverage = Coverage::default();
    let mut hits: BTreeMap<&str, usize> = BTreeMap::new();
    let options = Options { exact: true, transcendental: false, ..Options::default() };
    for seed in 0..WASM_KERNELS {
        let mut rng = Random::new(0x5eed_0000 + seed);
        let size = 8 + rng.below(60);
        let source = random::kernel(&mut rng, &Options { size, ..options.clone() });
        coverage.add(&source);
        let mut before = source.to_string();
        let optimised = Arc::new(passes::optimize_logged(&source, &mut |pass, kernel, _| {
            let after = kernel.to_string();
            *hits.entry(pass.name).or_default() += usize::from(after != before);
            before = after;
        }));
        let version = wasm.compile(&optimised).expect("every kernel compiles for the CPU");
        for n in [0, 1, 7, 150] {
            let (data, grid) = random::arguments(&mut rng, &source, n, Floats::Any);
            let mut expected = data.clone();
            interp::run(&source, &mut expected, grid, None).expect("no check fails");
            let threads = 1 + rng.below(2);
            let found = run(&*version, &optimised, &data, grid, threads).expect("no check fails");
            if let Some(wrong) = difference(&source, &expected, &found, equal) {
                panic!("seed {seed}, n {n}: {wrong}\n{source}\noptimised:\n{optimised}");
            }
        }
    }
    assert_eq!(coverage.missing(&options), Vec::<String>::new(), "every operator was tried");
    for pass in passes::PIPELINE {
        eprintln!("{}: changed {} of {WASM_KERNELS} kernels", pass.name, hits[pass.name]);
        // Nothing transcendental is in an exact kernel: that pass has tests of its own. Kernels that
        // may round once are compared below, where exact numbers or a tolerance allow it.
        let elsewhere = ["lower_math", "contract"].contains(&pass.name);
        assert!(hits[pass.name] > 0 || elsewhere, "{} was never hit", pass.name);
    }
}

#[test]
fn random_integer_kernels_are_equal_everywhere() {
    kernels_everywhere(GPU_INTEGER_KERNELS, |gpu| {
        let mut types = vec![Type::Bool, Type::I32, Type::U32];
        if gpu.capabilities().int64 {
            types.extend([Type::I64, Type::U64]);
        }
        Options { types, ..Options::default() }
    });
}

#[test]
fn random_exact_floats_are_equal_everywhere() {
    let floats = Floats::Exact;
    kernels_everywhere(GPU_EXACT_KERNELS, |gpu| Options {
        types: float_types(gpu),
        floats,
        ..Options::default()
    });
}

#[test]
fn random_rounded_floats_are_near_everywhere() {
    let floats = Floats::Rounded;
    kernels_everywhere(GPU_ROUNDED_KERNELS, |gpu| Options {
        types: float_types(gpu),
        floats,
        exact: false,
        ..Options::default()
    });
}

fn float_types(gpu: &Gpu) -> Vec<Type> {
    let mut types = vec![Type::Bool, Type::I32, Type::U32, Type::F32];
    if gpu.capabilities().float64 {
        types.push(Type::F64);
    }
    types
}

/// Back ends that a kernel is compared on.
struct Sides {
    wasm: WasmExecutor,
    gpu: GpuExecutor,
}

/// Random kernels in the interpreter, as WebAssembly and on the GPU.
fn kernels_everywhere(count: u64, options: impl FnOnce(&Gpu) -> Options) {
    let Some(gpu) = gpu() else { return };
    let name: u64 = gpu.info().name.bytes().map(u64::from).sum();
    let options = options(&gpu);
    let refused_max = refused_max(&gpu, count);
    let sides =
        Sides { wasm: WasmExecutor::new().expect("wasmtime starts"), gpu: GpuExecutor::new(gpu) };
    let mut coverage = Coverage::default();
    let mut refused = 0;
    for seed in 0..count {
        let seed = 0x69d0_0000 + (name << 20) + seed;
        let mut rng = Random::new(seed);
        let size = 4 + rng.below(16);
        let mut source = random::kernel(&mut rng, &Options { size, ..options.clone() });
        source.contract = rng.chance(50);
        coverage.add(&source);
        refused += u64::from(!kernel_everywhere(&sides, &source, &mut rng, options.floats, seed));
    }
    eprintln!("{refused} of {count} kernels bind more than this adapter can");
    assert!(refused <= refused_max, "{refused} kernels were refused");
    assert_eq!(coverage.missing(&options), Vec::<String>::new(), "every operator was tried");
}

/// How many of so many kernels an adapter may refuse: a tenth, or most where it gets no long loops.
fn refused_max(gpu: &Gpu, count: u64) -> u64 {
    match gpu.capabilities().loop_passages_max {
        None => count / 10,
        Some(_) => count * 4 / 5,
    }
}

/// Whether a kernel is refused for what adapters differ in: how many buffers they bind, how large their
/// workgroups are, whether they cut long loops in silence (Mesa 22).
fn is_a_limit(error: &RunError) -> bool {
    let limits = ["storage buffers", "a workgroup of", "cuts in silence"];
    matches!(error, RunError::Unsupported { what, .. } if limits.iter().any(|l| what.contains(l)))
}

/// Runs a kernel on both back ends and compares; false where it has more buffers than the adapter
/// can bind.
fn kernel_everywhere(
    sides: &Sides,
    source: &Kernel,
    rng: &mut Random,
    floats: Floats,
    seed: u64,
) -> bool {
    let optimised = Arc::new(passes::optimize(source));
    let gpu = match sides.gpu.compile(&optimised) {
        Ok(version) => version,
        Err(error) if is_a_limit(&error) => return false,
        Err(error) => panic!("seed {seed}: {error}\n{optimised}"),
    };
    let wasm = sides.wasm.compile(&optimised).expect("every kernel compiles for the CPU");
    for n in [1, 150] {
        let (data, grid) = random::arguments(rng, source, n, floats);
        let mut expected = data.clone();
        interp::run(source, &mut expected, grid, None).expect("no check fails");
        let invocations = grid.iter().product();
        let near = |param: usize, a: Const, b: Const| {
            let most = floats.tolerance(source, param, invocations);
            // Not the bits: a device may drop the sign of a zero.
            a == b || (a.ty.is_float() && (a.to_f64() - b.to_f64()).abs() <= most)
        };
        for (who, version) in [("wasm", &wasm), ("gpu", &gpu)] {
            let found = match run(&**version, &optimised, &data, grid, 1) {
                Ok(found) => found,
                Err(error) => panic!("seed {seed}, n {n}, {who}: {error}\n{optimised}"),
            };
            if let Some(wrong) = difference(source, &expected, &found, near) {
                panic!("seed {seed}, n {n}, {who}: {wrong}\n{source}\noptimised:\n{optimised}");
            }
        }
    }
    true
}

/// Kernels with workgroups, shared arrays and barriers in the interpreter, as WebAssembly and on the
/// GPU.
#[test]
fn random_workgroups_are_equal_everywhere() {
    let wasm = WasmExecutor::new().expect("wasmtime starts");
    let gpu = gpu().map(GpuExecutor::new);
    let mut refused = 0;
    for seed in 0..250 {
        let mut rng = Random::new(0x6e0b_0000 + seed);
        let (source, data, grid) = random::group_kernel(&mut rng);
        let mut expected = data.clone();
        interp::run(&source, &mut expected, grid, None).expect("no check fails");
        let optimised = Arc::new(passes::optimize(&source));
        let mut versions = vec![("wasm", wasm.compile(&optimised).expect("compiles"))];
        if let Some(gpu) = &gpu {
            match gpu.compile(&optimised) {
                Ok(version) => versions.push(("gpu", version)),
                Err(error) if is_a_limit(&error) => refused += 1,
                Err(error) => panic!("seed {seed}: {error}\n{optimised}"),
            }
        }
        for (who, version) in versions {
            let found = run(&*version, &optimised, &data, grid, 2);
            let found = found.unwrap_or_else(|error| panic!("seed {seed}, {who}: {error}"));
            if let Some(wrong) = difference(&source, &expected, &found, equal) {
                panic!("seed {seed}, {who}: {wrong}\n{source}\noptimised:\n{optimised}");
            }
        }
    }
    let refused_max = gpu.map_or(0, |gpu| refused_max(gpu.gpu(), 250));
    assert!(refused <= refused_max, "{refused} kernels were refused");
}

#[test]
fn random_failures_are_told_alike() {
    let wasm = WasmExecutor::new().expect("wasmtime starts");
    let gpu = gpu().map(GpuExecutor::new);
    for seed in 0..200 {
        let mut rng = Random::new(0xfa11_0000 + seed);
        let (source, data, grid) = random::failing_kernel(&mut rng);
        let expected = interp::run(&source, &mut data.clone(), grid, None);
        let expected = expected.expect_err("the kernel fails by construction");
        let optimised = Arc::new(passes::optimize(&source));
        let version = wasm.compile(&optimised).expect("compiles");
        let found = run(&*version, &optimised, &data, grid, 1).expect_err("fails as well");
        assert_eq!(found, expected, "seed {seed}\n{source}");
        if let Some(gpu) = &gpu
            && let Ok(version) = gpu.compile(&optimised)
        {
            // Invocations run at once: any that fails may be the one that is named.
            let found = run(&*version, &optimised, &data, grid, 1);
            assert!(found.is_err(), "seed {seed}: the GPU did not fail\n{source}");
        }
    }
}

/// Counts the passages of two loops, and tells where they ended.
#[kernel]
fn ranges(
    id: Id,
    least: &[u32],
    most: &[u32],
    stop: &[u32],
    passages: &mut [u32],
    last: &mut [u32],
) {
    let i = id.x;
    let mut count = 0u32;
    let mut end = 0u32;
    for k in least[i]..=most[i] {
        end = k;
        if k == stop[i] {
            break;
        }
        count += 1;
    }
    passages[i] = count;
    last[i] = end;
}

#[test]
fn ranges_of_all_numbers_run_everywhere() {
    let source = front::kernel(ranges::DEF, &[], &[]).expect("types");
    let optimised = Arc::new(passes::optimize(&source));
    let outcome = |version: &dyn Version, rows: &[[u32; 3]]| {
        let column = |at: usize| Data::Narrow(rows.iter().map(|row| row[at]).collect());
        let empty = Data::zeroed(Type::U32, rows.len());
        let data = vec![column(0), column(1), column(2), empty.clone(), empty];
        let found = run(version, &optimised, &data, [rows.len() as u32, 1, 1], 1);
        found.expect("no check fails")[3..].to_vec()
    };
    let early = [[0, u32::MAX, 9], [0, 4, 9], [1, u32::MAX, 1], [5, 4, 0], [0, 0, 7]];
    let expected = [vec![9, 5, 0, 0, 1], vec![9, 4, 1, 0, 0]].map(Data::Narrow);
    if let Some(gpu) = gpu().map(GpuExecutor::new) {
        match gpu.compile(&optimised) {
            Ok(version) => assert_eq!(outcome(&*version, &early), expected),
            Err(error) => assert!(is_a_limit(&error), "{error}"),
        }
    }
    let wasm = WasmExecutor::new().expect("wasmtime starts");
    let version = wasm.compile(&optimised).expect("compiles for the CPU");
    assert_eq!(outcome(&*version, &early), expected);
    // Each of the 2³² numbers: seconds. One is the last, which no `end` lies behind.
    let whole = outcome(&*version, &[[0, u32::MAX, u32::MAX]]);
    assert_eq!(whole, [vec![u32::MAX], vec![u32::MAX]].map(Data::Narrow));
}

fn library_data(inputs: &[Input]) -> Vec<Data> {
    inputs.iter().map(Input::data).collect()
}

/// Holds results against the entry's `f64` reference.
fn judge(entry: &library::Entry, inputs: &[Input], found: &[Data], who: &str, size: usize) {
    for expected in (entry.reference)(inputs) {
        let ty = inputs[expected.param].element();
        let got = values(&found[expected.param], ty).into_iter().map(Const::to_f64);
        if let Some((at, want, got)) = entry.tolerance.judge(&expected.values, got) {
            panic!("{} at {size} in {who}: [{at}] is {got}, not {want}", entry.name);
        }
    }
}

/// A kernel of the library and who runs it.
struct Everywhere {
    source: Kernel,
    optimised: Arc<Kernel>,
    sides: Vec<(&'static str, Arc<dyn Version>)>,
}

#[test]
fn library_kernels_meet_their_references_everywhere() {
    let wasm = WasmExecutor::new().expect("wasmtime starts");
    let gpu = gpu().map(GpuExecutor::new);
    for entry in library::ALL {
        let everywhere = |def: &&'static Def| {
            let source = front::kernel(def, &[], &[]).expect("a library kernel types");
            let optimised = Arc::new(passes::optimize(&source));
            let mut sides: Vec<(&str, Arc<dyn Version>)> =
                vec![("wasm", wasm.compile(&optimised).expect("compiles for the CPU"))];
            if let Some(gpu) = &gpu {
                match gpu.compile(&optimised) {
                    Ok(version) => sides.push(("gpu", version)),
                    Err(error) => assert!(is_a_limit(&error), "{error}"),
                }
            }
            Everywhere { source, optimised, sides }
        };
        let kernels: Vec<Everywhere> = entry.kernels().iter().map(everywhere).collect();
        for size in [0, 1, 2, 3, 5, 33, 64, 100] {
            meets_its_reference(entry, &kernels, size);
        }
    }
}

fn meets_its_reference(entry: &library::Entry, kernels: &[Everywhere], size: usize) {
    let mut rng = Random::new(size as u64);
    let inputs = (entry.inputs)(size, &mut rng);
    let data = library_data(&inputs);
    let mut interpreted = data.clone();
    let ran = entry.run_on(size, &mut interpreted, |at, args, grid| {
        let kernel = &kernels[at];
        let grid = grid.unwrap_or_else(|| interp::default_grid(&kernel.source, args));
        interp::run(&kernel.source, args, grid, None)
    });
    ran.expect("no check fails");
    judge(entry, &inputs, &interpreted, "the interpreter", size);
    // A side that refuses one kernel of a program runs none of it.
    let sides = kernels.iter().map(|kernel| kernel.sides.len()).min().unwrap_or(0);
    for side in 0..sides {
        let who = kernels[0].sides[side].0;
        for threads in [1, 2] {
            let mut found = data.clone();
            let ran = entry.run_on(size, &mut found, |at, args, grid| {
                let Everywhere { optimised, sides, .. } = &kernels[at];
                let grid = grid.unwrap_or_else(|| interp::default_grid(optimised, args));
                let after = run(&*sides[side].1, optimised, args, grid, threads)?;
                unwritten_stays(optimised, args, &after);
                args.clone_from_slice(&after);
                Ok::<(), RunError>(())
            });
            ran.unwrap_or_else(|e| panic!("{} at {size} in {who}: {e}", entry.name));
            judge(entry, &inputs, &found, who, size);
        }
    }
}

fn unwritten_stays(kernel: &Kernel, before: &[Data], after: &[Data]) {
    for (param, _, access) in kernel.entry.buffers() {
        if access == Access::Read {
            assert_eq!(before[param.index()], after[param.index()], "inputs stay as they were");
        }
    }
}
