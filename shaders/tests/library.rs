//! The standard kernels, optimised, against their references; and random kernels, as they are and
//! optimised, against the interpreter.

// The macro names the crate that users depend on.
extern crate crossover_kernels as crossover;

mod common;

use std::sync::Arc;

use common::{bits, compile, gpu, gpu_with, has, run_gpu, runs};
use crossover_kernels::error::RunError;
use crossover_kernels::interp::{self, Data};
use crossover_kernels::ir::{Const, Kernel, Type};
use crossover_kernels::library;
use crossover_kernels::passes::optimize;
use crossover_kernels::random::{self, Options, Random};
use crossover_kernels::{Def, Id, front, kernel};
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
        // How bytes come and go is the same for the calls of a program as for one alone.
        let with_programs = options.sharing.is_none();
        let entries = library::ALL.iter().filter(|entry| with_programs || !entry.is_program());
        entries.for_each(|entry| meet_their_references(&gpu, entry));
    }
}

fn meet_their_references(gpu: &Arc<Gpu>, entry: &library::Entry) {
    let kernels: Vec<_> = entry.kernels().iter().map(|def| optimised(def)).collect();
    if !kernels.iter().all(|kernel| runs(gpu, kernel)) {
        return;
    }
    let versions = kernels.iter().map(|kernel| compile(gpu, kernel));
    let versions: Vec<Arc<GpuVersion>> = versions.collect();
    for size in [1, 3, entry.sizes[0].min(SIZE_MAX)] {
        meets_its_reference(&versions, entry, size);
    }
}

/// The largest size of these tests: kernels that do little for an element are large when they are small.
const SIZE_MAX: usize = 1 << 12;

fn optimised(def: &'static Def) -> Arc<Kernel> {
    Arc::new(optimize(&front::kernel(def, &[], &[]).expect("library kernels are valid")))
}

fn meets_its_reference(versions: &[Arc<GpuVersion>], entry: &library::Entry, size: usize) {
    let inputs = (entry.inputs)(size, &mut Random::new(7));
    let mut data: Vec<Data> = inputs.iter().map(library::Input::data).collect();
    let ran = entry.run_on(size, &mut data, |at, args, grid| {
        let grid = grid.unwrap_or_else(|| common::grid(versions[at].kernel(), args));
        run_gpu(&versions[at], args, grid, None).map(|_| ())
    });
    ran.unwrap_or_else(|error| panic!("{} at {size}: {error}", entry.name));
    for expected in (entry.reference)(&inputs) {
        let ty = inputs[expected.param].element();
        let found = bits(&data[expected.param]);
        let found = found.into_iter().map(|bits| Const::new(ty, bits).to_f64());
        if let Some((i, e, f)) = entry.tolerance.judge(&expected.values, found) {
            let schedules: Vec<_> = versions.iter().map(|v| v.shader().schedule).collect();
            panic!("{} at {size}, {schedules:?}, at {i}: {f}, expected {e}", entry.name);
        }
    }
}

/// A driver that cuts long loops gets none: what may be longer is refused with its line, the rest runs.
#[test]
fn loops_are_kept_from_drivers_that_cut_them() {
    let options = GpuOptions { loop_passages_max: Some(65_535), ..GpuOptions::default() };
    let Some(gpu) = gpu_with(&options) else { return };
    let mut refused = Vec::new();
    for def in library::kernels() {
        match GpuExecutor::new(gpu.clone()).prepare(&optimised(def), None) {
            Ok(_) => {}
            Err(RunError::Unsupported { what, .. }) if what.contains("loop") => {
                refused.push(def.name);
            }
            Err(error) => panic!("{}: {error}", def.name),
        }
    }
    refused.sort_unstable();
    // All whose loops end where an argument says.
    let expected = [
        "argmax",
        "attention_mean",
        "attention_scores",
        "attention_shares",
        "blur_columns",
        "blur_rows",
        "gesummv",
        "integral_columns",
        "integral_rows",
        "layer_blame",
        "layer_forward",
        "lower_bound",
        "mandelbrot",
        "mat_t_vec",
        "mat_vec",
        "matmul",
        "nbody",
        "product_plus",
        "product_scaled",
        "quantised_dot",
        "radix_count",
        "radix_scatter",
        "row_moments",
        "scaled_product",
        "spmv",
        "surprise",
        "syrk",
        "t_product_plus",
    ];
    assert_eq!(refused, expected);
    // It is enough to say that there are not too many.
    for (def, runs) in [(few::DEF, true), (many::DEF, false)] {
        let ran = GpuExecutor::new(gpu.clone()).prepare(&optimised(def), None);
        assert_eq!(ran.is_ok(), runs, "{}", def.name);
    }
}

#[kernel]
fn few(id: Id, n: u32, y: &mut [u32]) {
    for k in 0..n.min(50_000) {
        y[id.x] = y[id.x] * 3 + k;
    }
}

#[kernel]
fn many(id: Id, n: u32, y: &mut [u32]) {
    for k in 0..n.min(70_000) {
        y[id.x] = y[id.x] * 3 + k;
    }
}

/// Every schedule of every standard kernel gives the reference's result, at sizes that fill no tile.
#[test]
fn every_schedule_gives_the_same() {
    let options = GpuOptions { proves_at_once: true, ..GpuOptions::default() };
    let Some(gpu) = gpu_with(&options) else { return };
    // What has a schedule of each kind in its space; of the others a few will do.
    let thorough = ["saxpy", "matmul", "jacobi", "nbody", "group_sum", "fft", "attention"];
    for entry in library::ALL {
        let kernels: Vec<_> = entry.kernels().iter().map(|def| optimised(def)).collect();
        if !kernels.iter().all(|kernel| runs(&gpu, kernel)) {
            continue;
        }
        let prepare = |kernel: &Arc<Kernel>, schedule| {
            let executor = GpuExecutor::new(gpu.clone());
            executor.prepare(kernel, schedule).expect("it compiles")
        };
        let mut versions: Vec<_> = kernels.iter().map(|kernel| prepare(kernel, None)).collect();
        for (at, kernel) in kernels.iter().enumerate() {
            let space = Schedule::space(kernel, gpu.capabilities());
            // Some of them: each is a pipeline, which takes its time.
            let some = if thorough.contains(&entry.name) { 16 } else { 2 };
            let apart = (space.len() / some).max(1) | 1;
            for schedule in space.into_iter().step_by(apart) {
                versions[at] = prepare(kernel, Some(schedule));
                meets_its_reference(&versions, entry, 37);
            }
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
    let kernel = optimised(mixes::DEF);
    if !runs(&gpu, &kernel) {
        return;
    }
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

#[kernel(grid = (w, h))]
fn weaves(id: Id, w: usize, h: usize, pitch: usize, table: &[u32], y: &mut [u32], z: &mut [i32]) {
    let mut sum = 7;
    for k in 0..h {
        sum = sum * 3 + table[k * pitch + id.x] * (id.y + k) as u32;
    }
    y[id.y * w + id.x] = sum;
    z[id.y * pitch + id.x + 8] = (sum >> 3) as i32;
}

/// Vectors of rows: where widths are multiples of four, and single points where one of them is not.
#[test]
fn vectors_of_rows_give_what_single_points_give() {
    let options = GpuOptions { proves_at_once: true, ..GpuOptions::default() };
    let Some(gpu) = gpu_with(&options) else { return };
    let kernel = optimised(weaves::DEF);
    if !runs(&gpu, &kernel) {
        return;
    }
    let usual = Schedule::of(&kernel, gpu.capabilities());
    let forms = crossover_shaders::shaders(&kernel, gpu.capabilities(), &usual).expect("emits");
    let vectors: Vec<_> = forms.iter().filter(|(_, shader)| shader.schedule.vectors).collect();
    let [(_, shader)] = vectors[..] else { panic!("one form with vectors") };
    assert_eq!(shader.wgsl.matches("array<vec4<").count(), 3, "{}", shader.wgsl);
    let mut rng = Random::new(98);
    for schedule in [usual, Schedule { quads: false, ..usual }] {
        let version = GpuExecutor::new(gpu.clone()).prepare(&kernel, Some(schedule));
        let version = version.expect("it compiles");
        for (w, h, pitch) in
            [(4, 1, 4), (4, 3, 8), (64, 7, 64), (128, 33, 132), (64, 9, 67), (30, 50, 32)]
        {
            let mut words =
                |count: u32| Data::Narrow((0..count).map(|_| rng.next_u64() as u32).collect());
            let (table, out) = (words(h * pitch + w), words(h * pitch + w + 8));
            let y = words(w * h);
            let scalars = [w, h, pitch].map(|n| Data::Scalar(Const::from(n)));
            let data: Vec<Data> = scalars.into_iter().chain([table, y, out]).collect();
            let mut expected = data.clone();
            interp::run(&kernel, &mut expected, [w, h, 1], None).expect("it runs");
            for _ in 0..5 {
                let mut found = data.clone();
                run_gpu(&version, &mut found, [w, h, 1], None).expect("it runs");
                assert_eq!(found, expected, "{w} × {h}, {pitch}, {schedule:?}");
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

/// What loops begin with makes no difference, whether drivers know it or not.
#[test]
fn starts_of_loops_may_be_hidden() {
    let options = GpuOptions { proves_at_once: true, ..GpuOptions::default() };
    let Some(gpu) = gpu_with(&options) else { return };
    let kernel = optimised(library::mandelbrot::mandelbrot::DEF);
    if !runs(&gpu, &kernel) {
        return;
    }
    let entry = library::find("mandelbrot").expect("a standard kernel");
    for hides_starts in [false, true] {
        let schedule = Schedule { hides_starts, ..Schedule::of(&kernel, gpu.capabilities()) };
        let version = GpuExecutor::new(gpu.clone()).prepare(&kernel, Some(schedule));
        let version = version.expect("it compiles");
        let hidden = version.shader().wgsl.matches("^ zero").count();
        assert_eq!(hidden, if hides_starts { 2 } else { 0 }, "{}", version.shader().wgsl);
        for size in [1, 37, 64] {
            meets_its_reference(std::slice::from_ref(&version), entry, size);
        }
    }
}
