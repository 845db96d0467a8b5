//! Every rewrite of the passes is made, and the kernel does the same before and after: random kernels
//! and those of the file tests, run in the interpreter as they are and optimised.

use std::fs;
use std::path::Path;

use crossover_kernels::exec::Grid;
use crossover_kernels::interp::{self, Data};
use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::text::parse;
use crossover_kernels::ir::{
    Access, Axis, BinaryOp, Const, Extent, Kernel, ParamKind, Type, UnaryOp,
};
use crossover_kernels::passes::rule::{Hits, Rule};
use crossover_kernels::passes::{PIPELINE, checks, optimize_counted};
use crossover_kernels::random::{self, Floats, Options, Random};

const RANDOM_KERNELS: u64 = 1_000;

/// What the lowering of a transcendental function may differ from it by.
const ULPS: u64 = 2;

#[test]
fn every_rewrite_is_made_and_changes_no_result() {
    let mut hits = Hits::counted();
    for seed in 0..RANDOM_KERNELS {
        let mut rng = Random::new(0x4e17_0000 + seed);
        let size = 8 + rng.below(80);
        let kernel = random::kernel(&mut rng, &Options { size, ..Options::default() });
        let (data, grid) = random::arguments(&mut rng, &kernel, 20, Floats::Any);
        compare(&kernel, &data, grid, &mut hits, 0);
    }
    for kernel in file_tests() {
        for seed in 0..40 {
            compare_each_pass(&kernel, seed, &mut hits);
        }
    }
    for ty in [Type::F32, Type::F64] {
        let kernel = transcendental(ty);
        let (data, grid) = random::arguments(&mut Random::new(2), &kernel, 200, Floats::Any);
        compare(&kernel, &data, grid, &mut hits, ULPS);
    }
    for rule in Rule::ALL {
        eprintln!("{:>8}  {}", hits.count(*rule), rule.text());
    }
    let never: Vec<&Rule> = Rule::ALL.iter().filter(|rule| hits.count(**rule) == 0).collect();
    assert!(never.is_empty(), "never made: {never:?}");
}

fn file_tests() -> Vec<Kernel> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests");
    let files = fs::read_dir(folder).expect("the folder of the file tests");
    let kernels = files.map(|entry| {
        let path = entry.expect("a file test").path();
        let text = fs::read_to_string(&path).expect("a file test is a readable file");
        parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    });
    kernels.collect()
}

/// Compares after all passes, and after each alone: what one proves, an earlier one may have removed.
fn compare_each_pass(kernel: &Kernel, seed: u64, hits: &mut Hits) {
    let mut rng = Random::new(seed);
    // Few invocations, or one of them would fail a check in every run.
    let (mut data, grid) = random::arguments(&mut rng, kernel, 1 + seed as u32 % 8, Floats::Any);
    make_small(kernel, &mut data);
    // The grid stays the kernel's own, whose checks may go.
    for (extent, size) in kernel.grid.iter().zip(grid) {
        if let Extent::Scalar(param) = extent {
            data[param.index()] = Data::Scalar(size.into());
        }
    }
    compare(kernel, &data, grid, hits, ULPS);
    for pass in PIPELINE {
        compare_after(kernel, &data, grid, ULPS, |kernel| (pass.run)(kernel, hits));
    }
    compare_after(kernel, &data, grid, ULPS, |kernel| {
        checks::run_with_grid(kernel, true, hits);
    });
}

/// Runs the kernel as it is and optimised; floats may differ by so many units of the last place.
fn compare(kernel: &Kernel, data: &[Data], grid: Grid, hits: &mut Hits, ulps: u64) {
    compare_after(kernel, data, grid, ulps, |kernel| *kernel = optimize_counted(kernel, hits));
}

/// Runs the kernel as it is and changed.
fn compare_after(
    kernel: &Kernel,
    data: &[Data],
    grid: Grid,
    ulps: u64,
    change: impl FnOnce(&mut Kernel),
) {
    let mut optimised = kernel.clone();
    change(&mut optimised);
    let outcome = |kernel: &Kernel| {
        let mut data = data.to_vec();
        let end = interp::run(kernel, &mut data, grid, None);
        (end.map_err(|error| error.to_string()), data)
    };
    let ((end, before), (optimised_end, after)) = (outcome(kernel), outcome(&optimised));
    assert_eq!(end, optimised_end, "{kernel}\noptimised:\n{optimised}");
    for (at, param) in kernel.entry.params.iter().enumerate() {
        let ParamKind::Buffer { element, .. } = param.kind else { continue };
        for (a, b) in elements(&before[at], element).zip(elements(&after[at], element)) {
            let same = near(a, b, ulps);
            assert!(same, "{}: {a:?} and {b:?}\n{kernel}\noptimised:\n{optimised}", param.name);
        }
    }
}

/// Takes integers modulo 8: loops of file tests run as often as their arguments say.
fn make_small(kernel: &Kernel, data: &mut [Data]) {
    for (data, param) in data.iter_mut().zip(&kernel.entry.params) {
        let ty = param.kind.ty();
        match data {
            _ if !ty.is_int() => {}
            Data::Scalar(c) => *c = Const::new(ty, c.bits % 8),
            Data::Narrow(v) => v.iter_mut().for_each(|bits| *bits %= 8),
            Data::Wide(v) => v.iter_mut().for_each(|bits| *bits %= 8),
        }
    }
}

fn elements(data: &Data, ty: Type) -> impl Iterator<Item = Const> {
    let bits: Vec<u64> = match data {
        Data::Scalar(c) => vec![c.bits],
        Data::Narrow(v) => v.iter().map(|&bits| bits.into()).collect(),
        Data::Wide(v) => v.clone(),
    };
    bits.into_iter().map(move |bits| Const::new(ty, bits))
}

fn near(a: Const, b: Const, ulps: u64) -> bool {
    let most = if a.ty.is_float() { ulps } else { 0 };
    (a.is_nan() && b.is_nan()) || a.bits.abs_diff(b.bits) <= most
}

/// `yₖ[id] = fₖ(x[id])` for every transcendental function, and of two numbers `fₖ(x[id], ⌊x[id]⌋)`.
fn transcendental(ty: Type) -> Kernel {
    let mut b = Builder::new("transcendental");
    let x = b.buffer("x", ty, Access::Read);
    let id = b.id(Axis::X);
    let v = b.checked_load(x, id);
    let functions: Vec<UnaryOp> =
        UnaryOp::ALL.iter().copied().filter(|op| op.is_transcendental()).collect();
    let mut results: Vec<_> = functions.into_iter().map(|op| b.unary(op, v)).collect();
    let w = b.unary(UnaryOp::Floor, v);
    let pairs = BinaryOp::ALL.iter().copied().filter(|op| op.is_transcendental());
    results.extend(pairs.map(|op| b.binary(op, v, w)));
    for (at, result) in results.into_iter().enumerate() {
        let y = b.buffer(format!("y{at}"), ty, Access::ReadWrite);
        b.checked_store(y, id, result);
    }
    let grid = vec![Extent::Len(x)];
    Kernel {
        entry: b.finish(),
        helpers: Vec::new(),
        grid,
        collective: None,
        workgroup: None,
        contract: false,
        files: Vec::new(),
    }
}
