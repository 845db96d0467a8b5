//! What a workgroup keeps of the surroundings of its points is what each of them would load.

extern crate crossover_kernels as crossover;

use std::collections::BTreeMap;

use crossover_kernels::interp::{self, Data};
use crossover_kernels::ir::{Block, Kernel, ParamKind, Stmt, Type};
use crossover_kernels::passes::{halo, optimize};
use crossover_kernels::random::{self, Random};
use crossover_kernels::verify::verify;
use crossover_kernels::{Id, front, kernel, library};
use proptest::prelude::*;

const BYTES_MAX: u32 = 1 << 16;

fn strip(block: &mut Block) {
    block.retain(|stmt| !matches!(stmt, Stmt::Check { .. }));
    block.iter_mut().flat_map(Stmt::blocks_mut).for_each(strip);
}

fn plain(kernel: &Kernel) -> Kernel {
    let mut plain = optimize(kernel);
    strip(&mut plain.entry.body);
    plain
}

/// The elements of the windows of a kernel.
fn windows(kernel: &Kernel) -> Vec<u32> {
    let len = |kind| match kind {
        ParamKind::Shared { len, .. } => Some(len),
        ParamKind::Scalar(_) | ParamKind::Buffer { .. } => None,
    };
    kernel.entry.params.iter().filter_map(|param| len(param.kind)).collect()
}

/// Runs a kernel: NaNs have whatever bits the order of operands gives them.
fn outcome(kernel: &Kernel, mut data: Vec<Data>, grid: [u32; 3]) -> Vec<Data> {
    interp::run(kernel, &mut data, grid, None).unwrap_or_else(|error| panic!("{error}\n{kernel}"));
    for (data, param) in data.iter_mut().zip(&kernel.entry.params) {
        match (data, param.kind.ty()) {
            (Data::Narrow(words), Type::F32) => words
                .iter_mut()
                .filter(|bits| f32::from_bits(**bits).is_nan())
                .for_each(|bits| *bits = f32::NAN.to_bits()),
            (Data::Wide(words), Type::F64) => words
                .iter_mut()
                .filter(|bits| f64::from_bits(**bits).is_nan())
                .for_each(|bits| *bits = f64::NAN.to_bits()),
            _ => {}
        }
    }
    data
}

/// Runs the kernel as it is and for groups, and says whether there is such a form.
fn compare(kernel: &Kernel, data: &[Data], grid: [u32; 3], group: [u32; 2]) -> bool {
    let Some(grouped) = halo::run(kernel, group, BYTES_MAX) else { return false };
    verify(&grouped).unwrap_or_else(|error| panic!("{error}\n{grouped}"));
    let before = outcome(kernel, data.to_vec(), grid);
    let extents = grid[..kernel.axes()].iter().map(|&extent| Data::Scalar(extent.into()));
    let after = outcome(&grouped, data.iter().cloned().chain(extents).collect(), grid);
    assert_eq!(before[..], after[..data.len()], "{group:?}\n{kernel}\n{grouped}");
    true
}

fn groups(kernel: &Kernel) -> &'static [[u32; 2]] {
    match kernel.axes() {
        1 => &[[1, 1], [8, 1], [13, 1], [64, 1]],
        _ => &[[1, 1], [4, 4], [8, 2], [5, 3], [16, 8]],
    }
}

/// Every call of every benchmark, where a group looks around: stencils and filters do, others do not.
#[test]
fn windows_are_where_points_look_around() {
    let optimised = |def| optimize(&front::kernel(def, &[], &[]).expect("typed"));
    let mut found = BTreeMap::new();
    for entry in library::ALL {
        let kernels: Vec<Kernel> = entry.kernels().iter().map(|def| optimised(def)).collect();
        for n in [1usize, 5, 19] {
            let inputs = (entry.inputs)(n, &mut Random::new(3));
            let mut data: Vec<Data> = inputs.iter().map(library::Input::data).collect();
            let ran = entry.run_on(n, &mut data, |at, args, grid| {
                let kernel = &kernels[at];
                let grid = grid.unwrap_or_else(|| interp::default_grid(kernel, args));
                let mut plain = kernel.clone();
                strip(&mut plain.entry.body);
                for &group in groups(kernel) {
                    if compare(&plain, args, grid, group) {
                        let grouped = halo::run(&plain, group, BYTES_MAX).expect("as before");
                        found.insert((entry.kernels()[at].name, group), windows(&grouped));
                    }
                }
                interp::run(kernel, args, grid, None)
            });
            ran.expect("no check fails");
        }
    }
    assert_eq!(found[&("conv3x3", [16, 8])], [18 * 10]);
    assert_eq!(found[&("jacobi", [16, 8])], [18 * 10]);
    for name in ["bilateral", "hotspot_step", "springs_step"] {
        assert!(found.contains_key(&(name, [16, 8])), "{name}: {found:?}");
    }
    let others = ["saxpy", "matmul", "nbody", "mandelbrot", "spmv", "black_scholes"];
    assert!(found.keys().all(|(name, _)| !others.contains(name)), "{found:?}");
}

/// A filter of constant length, whose loop is too long to be written out.
#[kernel(grid = (y.len()))]
fn filter(id: Id, taps: &[f32], x: &[f32], y: &mut [f32]) {
    let mut sum = 0.0;
    for k in 0..31 {
        sum += taps[k] * x[id.x + k];
    }
    y[id.x] = sum;
}

/// As long as a call says: there is no telling how large a window would be.
#[kernel(grid = (y.len()))]
fn unknown(id: Id, taps: &[f32], x: &[f32], y: &mut [f32]) {
    let mut sum = 0.0;
    for k in 0..taps.len() {
        sum += taps[k] * x[id.x + k];
    }
    y[id.x] = sum;
}

/// The points part at an early return, which is no barrier's trouble.
#[kernel(grid = (y.len()))]
fn returns(id: Id, x: &[u32], y: &mut [u32]) {
    if id.x < 2 || id.x + 2 >= x.len() {
        return;
    }
    y[id.x] = x[id.x - 2] ^ (x[id.x - 1] << 1) ^ (x[id.x + 1] << 2) ^ (x[id.x + 2] << 3);
}

/// Steps of two: neighbours look at every second element, and no chain of additions says how many there are.
#[kernel(grid = (y.len()))]
fn halves(id: Id, x: &[u32], y: &mut [u32]) {
    y[id.x] = x[2 * id.x] + x[2 * id.x + 1] + x[2 * id.x + 2];
}

fn words(n: u32, rng: &mut Random) -> Data {
    Data::Narrow((0..n).map(|_| rng.next_u32() & 0x3fff_ffff).collect())
}

#[test]
fn loops_of_constant_length_and_returns_have_windows() {
    let rng = &mut Random::new(8);
    let of = |def| plain(&front::kernel(def, &[], &[]).expect("typed"));
    let kernel = of(filter::DEF);
    for n in [1, 7, 64, 65, 200] {
        let data = [words(31, rng), words(n + 30, rng), words(n, rng)];
        assert!(compare(&kernel, &data, [n, 1, 1], [64, 1]));
    }
    assert_eq!(windows(&halo::run(&kernel, [64, 1], BYTES_MAX).expect("as before")), [94]);
    assert!(halo::run(&kernel, [64, 1], 94 * 4 - 1).is_none(), "more than the device has");
    let kernel = of(returns::DEF);
    for n in [1, 4, 5, 64, 130] {
        let data = [words(n, rng), words(n, rng)];
        assert!(compare(&kernel, &data, [n, 1, 1], [16, 1]));
    }
    assert!(halo::run(&of(unknown::DEF), [64, 1], BYTES_MAX).is_none());
    assert!(halo::run(&of(halves::DEF), [64, 1], BYTES_MAX).is_none());
}

/// So many stencils of each kind have windows, so that the tests of random ones test something.
#[test]
fn random_stencils_have_windows() {
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..400 {
        let (kernel, data, grid) = random::stencil_kernel(&mut Random::new(seed), Type::U32);
        let group = if kernel.axes() == 1 { [16, 1] } else { [8, 4] };
        let kept = compare(&kernel, &data, grid, group);
        *found.entry(kernel.entry.name.clone()).or_default() += u32::from(kept);
    }
    for (name, count) in &found {
        let expected = if name == "periodic" { 0..=0 } else { 20..=400 };
        assert!(expected.contains(count), "{name}: {found:?}");
    }
    assert_eq!(found.len(), 5);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn what_a_group_keeps_changes_no_result(seed in any::<u64>()) {
        let rng = &mut Random::new(seed);
        let ty = *rng.pick(&[Type::U32, Type::F32]);
        let (kernel, data, grid) = random::stencil_kernel(rng, ty);
        for kernel in [optimize(&kernel), kernel] {
            for &group in groups(&kernel) {
                compare(&kernel, &data, grid, group);
            }
        }
    }

    /// Kernels of any other kind.
    #[test]
    fn any_kernel_may_be_asked(seed in any::<u64>(), size in 5usize..60, n in 1u32..30) {
        let mut rng = Random::new(seed);
        let options = random::Options {
            size, atomics: false, collectives: false, ..random::Options::default()
        };
        let kernel = random::kernel(&mut rng, &options);
        let (data, grid) = random::arguments(&mut rng, &kernel, n, random::Floats::Normal);
        let mut whole = data.clone();
        let optimised = optimize(&kernel);
        prop_assume!(interp::run(&optimised, &mut whole, grid, None).is_ok() && !grid.contains(&0));
        let kernel = plain(&kernel);
        for &group in groups(&kernel) {
            compare(&kernel, &data, grid, group);
        }
    }
}
