//! The standard kernels, optimised, against their references; and random kernels, as they are and
//! optimised, against the interpreter.

// The macro names the crate that users depend on.
extern crate crossover_kernels as crossover;

mod common;

use std::sync::Arc;

use common::{bits, compile, gpu, gpu_with, grid, has, run_gpu};
use crossover_kernels::error::RunError;
use crossover_kernels::interp::{self, Data};
use crossover_kernels::ir::{Const, Type};
use crossover_kernels::library;
use crossover_kernels::passes::optimize;
use crossover_kernels::random::{self, Options, Random};
use crossover_kernels::{Id, front, kernel};
use crossover_shaders::{Gpu, GpuExecutor, GpuOptions, GpuVersion, Schedule, Sharing, legality};

/// On the device as it is, and as one that lacks what makes calls cheap.
#[test]
fn library_kernels_meet_their_references() {
    let plain = GpuOptions {
        without_immediates: true,
        without_timestamps: true,
        sharing: Some(Sharing::Staged),
        ..GpuOptions::default()
    };
    let mapped = GpuOptions { sharing: Some(Sharing::Mapped), ..GpuOptions::default() };
    let lean = GpuOptions { proves_at_once: true, ..GpuOptions::default() };
    for options in [GpuOptions::default(), plain, mapped, lean] {
        let Some(gpu) = gpu_with(&options) else { return };
        meet_their_references(&gpu);
    }
}

fn meet_their_references(gpu: &Arc<Gpu>) {
    for entry in library::ALL {
        let kernel = front::kernel(entry.def, &[], &[]).expect("library kernels are valid");
        let kernel = Arc::new(optimize(&kernel));
        let version = compile(gpu, &kernel);
        for size in [1, 3, entry.sizes[0]] {
            let inputs = (entry.inputs)(size, &mut Random::new(7));
            meets_its_reference(&version, entry, &inputs);
        }
    }
}

fn meets_its_reference(version: &GpuVersion, entry: &library::Entry, inputs: &[library::Input]) {
    let kernel = version.kernel();
    let mut data: Vec<Data> = inputs.iter().map(library::Input::data).collect();
    let grid = grid(kernel, &data);
    run_gpu(version, &mut data, grid, None).expect("library kernels do not fail");
    for expected in (entry.reference)(inputs) {
        let ty = kernel.entry.params[expected.param].kind.ty();
        let found = bits(&data[expected.param]);
        let found = found.into_iter().map(|bits| Const::new(ty, bits).to_f64());
        if let Some((i, e, f)) = entry.tolerance.judge(&expected.values, found) {
            let schedule = version.shader().schedule;
            panic!("{} over {grid:?}, {schedule:?}, at {i}: {f}, expected {e}", entry.name);
        }
    }
}

/// A driver that cuts long loops gets none: what may be longer is refused with its line, the rest runs.
#[test]
fn loops_are_kept_from_drivers_that_cut_them() {
    let options = GpuOptions { loop_passages_max: Some(65_535), ..GpuOptions::default() };
    let Some(gpu) = gpu_with(&options) else { return };
    let mut refused = Vec::new();
    for entry in library::ALL {
        let kernel = front::kernel(entry.def, &[], &[]).expect("library kernels are valid");
        let kernel = Arc::new(optimize(&kernel));
        match GpuExecutor::new(gpu.clone()).prepare(&kernel, None) {
            Ok(_) => {}
            Err(RunError::Unsupported { what, .. }) if what.contains("loop") => {
                refused.push(entry.name);
            }
            Err(error) => panic!("{}: {error}", entry.name),
        }
    }
    assert_eq!(refused, ["matmul", "mandelbrot", "nbody", "spmv"]);
}

/// Every schedule of every standard kernel gives the reference's result, at sizes that fill no tile.
#[test]
fn every_schedule_gives_the_same() {
    let options = GpuOptions { proves_at_once: true, ..GpuOptions::default() };
    let Some(gpu) = gpu_with(&options) else { return };
    for entry in library::ALL {
        let kernel = front::kernel(entry.def, &[], &[]).expect("library kernels are valid");
        let kernel = Arc::new(optimize(&kernel));
        let space = Schedule::space(&kernel, gpu.capabilities());
        let inputs = (entry.inputs)(37, &mut Random::new(5));
        // Some of them: each is a pipeline, which takes its time.
        let apart = (space.len() / 16).max(1) | 1;
        for schedule in space.into_iter().step_by(apart) {
            let executor = GpuExecutor::new(gpu.clone());
            let version = executor.prepare(&kernel, Some(schedule)).expect("it compiles");
            meets_its_reference(&version, entry, &inputs);
        }
    }
}

#[kernel]
fn mixes(id: Id, times: u32, table: &[u32], x: &[u32], y: &mut [u32], z: &mut [i32]) {
    let mut sum = y[id.x];
    for turn in 0..times {
        sum = sum * 3 + table[turn as usize] + x[id.x];
        z[id.x] += (sum >> 7) as i32;
    }
    y[id.x] = sum ^ x[id.x];
}

/// Vectors of four elements where the grid is whole vectors, single points elsewhere, in buffers that are longer
/// than the grid or not: what is stored is loaded again, and beside the grid nothing changes.
#[test]
fn vectors_give_what_single_points_give() {
    let options = GpuOptions { proves_at_once: true, ..GpuOptions::default() };
    let Some(gpu) = gpu_with(&options) else { return };
    let kernel = Arc::new(optimize(&front::kernel(mixes::DEF, &[], &[]).expect("typed")));
    let schedule = Schedule::of(&kernel, gpu.capabilities());
    let forms = crossover_shaders::shaders(&kernel, gpu.capabilities(), &schedule).expect("emits");
    let vectors: Vec<_> = forms.iter().filter(|(_, shader)| shader.schedule.vectors).collect();
    let [(_, shader)] = vectors[..] else { panic!("one form with vectors") };
    assert_eq!(shader.wgsl.matches("array<vec4<u32>>").count(), 2, "{}", shader.wgsl);
    assert_eq!(shader.wgsl.matches("array<vec4<i32>>").count(), 1, "{}", shader.wgsl);
    let mut rng = Random::new(99);
    for schedule in [schedule, Schedule { quads: false, ..schedule }] {
        let version = GpuExecutor::new(gpu.clone()).prepare(&kernel, Some(schedule));
        let version = version.expect("it compiles");
        for n in [4u32, 5, 64, 1023, 1024, 4096] {
            for longer in [0, 1, 3] {
                let mut words =
                    |count: u32| Data::Narrow((0..count).map(|_| rng.next_u64() as u32).collect());
                let (x, y, z) = (words(n + longer), words(n + longer), words(n + longer));
                let data = vec![Data::Scalar(Const::from(5u32)), words(5), x, y, z];
                let mut expected = data.clone();
                interp::run(&kernel, &mut expected, [n, 1, 1], None).expect("it runs");
                // Forms take turns until each is known.
                for _ in 0..4 {
                    let mut found = data.clone();
                    run_gpu(&version, &mut found, [n, 1, 1], None).expect("it runs");
                    assert_eq!(found, expected, "{n} points, {longer} more elements, {schedule:?}");
                }
            }
        }
    }
}

/// Integers only: sums and products of floats may be fused, and subnormal ones be flushed.
#[test]
fn random_kernels_agree_with_the_interpreter() {
    for proves_at_once in [false, true] {
        let options = GpuOptions { proves_at_once, ..GpuOptions::default() };
        let Some(gpu) = gpu_with(&options) else { return };
        agree_with_the_interpreter(&gpu);
    }
}

fn agree_with_the_interpreter(gpu: &Arc<Gpu>) {
    let integers = [Type::I32, Type::U32, Type::I64, Type::U64];
    let types: Vec<Type> = integers.into_iter().filter(|&ty| has(gpu, ty)).collect();
    for (seed, count, size) in [(11, 20, 20), (12, 12, 60), (13, 3, 200)] {
        let mut rng = Random::new(seed);
        let options = Options { size, types: types.clone(), ..Options::default() };
        for _ in 0..count {
            let plain = Arc::new(random::kernel(&mut rng, &options));
            let optimised = Arc::new(optimize(&plain));
            if legality::check(&optimised, gpu.capabilities()).is_err() {
                // More buffers than this adapter binds at once.
                continue;
            }
            let mut kernels = vec![optimised];
            kernels.extend(plain.helpers.is_empty().then(|| plain.clone()));
            let versions: Vec<_> = kernels.iter().map(|kernel| compile(gpu, kernel)).collect();
            for n in [0, 1, 5, 70, 1500] {
                let (data, grid) = random::arguments(&mut rng, &plain, n, random::Floats::Normal);
                let mut expected = data.clone();
                let outcome = interp::run(&plain, &mut expected, grid, None);
                for version in &versions {
                    let mut found = data.clone();
                    let ran = run_gpu(version, &mut found, grid, None);
                    match (&outcome, ran) {
                        (Ok(()), Ok(_)) => {
                            let wgsl = &version.shader().wgsl;
                            assert_eq!(found, expected, "seed {seed}, n {n}\n{wgsl}");
                        }
                        (outcome, ran) => panic!("seed {seed}: {ran:?}, expected {outcome:?}"),
                    }
                }
            }
        }
    }
}

/// One invocation fails: the error is the interpreter's, to the letter.
#[test]
fn random_failures_agree_with_the_interpreter() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Random::new(21);
    for _ in 0..20 {
        let (kernel, data, grid) = random::failing_kernel(&mut rng);
        let kernel = Arc::new(kernel);
        let mut expected = data.clone();
        let outcome = interp::run(&kernel, &mut expected, grid, None);
        let optimised = Arc::new(optimize(&kernel));
        let ran = run_gpu(&compile(&gpu, &optimised), &mut data.clone(), grid, None);
        assert_eq!(ran.map(|_| ()), outcome);
    }
}
