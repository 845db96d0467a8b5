//! Calls on buffers that are larger than a binding, which the tests make small: cut into parts, they give what
//! they give as a whole, or say that they cannot be cut.

mod common;

use std::sync::Arc;

use common::{bits, compile, data, gpu_with, grid, has, kernel, over, run_gpu, runs};
use crossover_kernels::error::{Cause, RunError};
use crossover_kernels::interp::{self, Data};
use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{
    Access, AtomicOp, Axis, BinaryOp, Collective, CollectiveKind, CollectiveOp, Const, Extent,
    Inst, Type,
};
use crossover_kernels::library;
use crossover_kernels::passes::optimize;
use crossover_kernels::random::{self, Options, Random};
use crossover_kernels::{Def, front};
use crossover_shaders::{Gpu, GpuOptions, Sharing, legality};

/// Bytes that a binding holds in these tests.
const BINDING: u64 = 4096;

/// The device with small bindings: on host memory, on copies, without immediates, and with calls proved at once.
fn gpus() -> Option<Vec<Arc<Gpu>>> {
    let small = GpuOptions { binding_bytes_max: Some(BINDING), ..GpuOptions::default() };
    let lean = GpuOptions { proves_at_once: true, ..small.clone() };
    // Rows of two workgroups, so that dispatches have some behind their last.
    let copies = GpuOptions {
        sharing: Some(Sharing::Staged),
        without_immediates: true,
        workgroups_per_axis_max: Some(2),
        ..small.clone()
    };
    [small, lean, copies].iter().map(gpu_with).collect()
}

/// Each invocation looks at all of a buffer, or anywhere in it, or at whole rows, of which fewer than a
/// workgroup has invocations are more than fits.
const UNCUT: [&str; 12] = [
    "argmax",
    "embedding",
    "gesummv",
    "lower_bound",
    "matmul",
    "nbody",
    "quantised_dot",
    "resize",
    "sha256",
    "spmv",
    "syrk",
    "transpose",
];

/// The same of programs, one of whose kernels does.
const PROGRAMS_UNCUT: [&str; 18] = [
    "atax",
    "attention",
    "back_propagation",
    "bicg",
    "cross_entropy",
    "fft",
    "floyd_warshall",
    "gaussian",
    "gemver",
    "heat3d",
    "integral",
    "lattice",
    "layer_norm",
    "life",
    "lu",
    "reaction",
    "smith_waterman",
    "two_mm",
];

/// Standard kernels that can be cut meet their references; which cannot is known.
#[test]
fn standard_kernels_meet_their_references_in_parts() {
    let Some(gpus) = gpus() else { return };
    for (at, gpu) in gpus.into_iter().enumerate() {
        let (mut uncut, mut unrun) = (Vec::new(), Vec::new());
        // How bytes come and go is the same for the calls of a program as for one alone.
        let entries = library::ALL.iter().filter(|entry| at == 0 || !entry.is_program());
        for entry in entries {
            let kernel = |def: &&'static Def| {
                let kernel = front::kernel(def, &[], &[]).expect("library kernels are valid");
                Arc::new(optimize(&kernel))
            };
            let kernels: Vec<_> = entry.kernels().iter().map(kernel).collect();
            if !kernels.iter().all(|kernel| runs(&gpu, kernel)) {
                unrun.push(entry.name);
                continue;
            }
            let versions: Vec<_> = kernels.iter().map(|kernel| compile(&gpu, kernel)).collect();
            // Odd, and twice as large as parts can be at least: many elements, or a few rows of many.
            let few = (entry.inputs)(101, &mut Random::new(3));
            let is_flat = few.iter().all(|input| input.len() < 4000);
            let size = if is_flat && versions.len() == 1 { 20_003 } else { 101 };
            let inputs = (entry.inputs)(size, &mut Random::new(3));
            let mut found: Vec<Data> = inputs.iter().map(library::Input::data).collect();
            let ran = entry.run_on(size, &mut found, |at, args, given| {
                let grid = given.unwrap_or_else(|| grid(versions[at].kernel(), args));
                run_gpu(&versions[at], args, grid, None).map(|_| ())
            });
            match ran {
                Err(RunError::Unsupported { what, .. }) => {
                    assert!(what.contains("binding_size is 4096"), "{what}");
                    uncut.push(entry.name);
                    continue;
                }
                ran => ran.unwrap_or_else(|error| panic!("{}: {error}", entry.name)),
            };
            for expected in (entry.reference)(&inputs) {
                let ty = inputs[expected.param].element();
                let found = bits(&found[expected.param]);
                let found = found.into_iter().map(|bits| Const::new(ty, bits).to_f64());
                if let Some((i, e, f)) = entry.tolerance.judge(&expected.values, found) {
                    panic!("{} at {size}, at {i}: {f}, expected {e}", entry.name);
                }
            }
        }
        // Rows above and below a workgroup: whether they fit is up to its height on the adapter.
        uncut.retain(|name| *name != "bilateral");
        uncut.sort_unstable();
        let mut expected = UNCUT.to_vec();
        if at == 0 {
            expected.extend(PROGRAMS_UNCUT);
        }
        expected.retain(|name| !unrun.contains(name));
        expected.sort_unstable();
        assert_eq!(uncut, expected);
    }
}

/// Random kernels, as far as they can be cut, give every bit of what the interpreter gives.
#[test]
fn random_kernels_agree_with_the_interpreter_in_parts() {
    let Some(gpus) = gpus() else { return };
    let (mut cut, mut all) = (0, 0);
    for (at, gpu) in gpus.into_iter().enumerate() {
        let integers = [Type::I32, Type::U32, Type::I64, Type::U64];
        let types: Vec<Type> = integers.into_iter().filter(|&ty| has(&gpu, ty)).collect();
        let mut rng = Random::new(31 + at as u64);
        let options = Options { size: 20, types, ..Options::default() };
        for _ in 0..30 {
            let plain = Arc::new(random::kernel(&mut rng, &options));
            let optimised = Arc::new(optimize(&plain));
            if legality::check(&optimised, gpu.capabilities()).is_err() {
                continue;
            }
            let version = compile(&gpu, &optimised);
            for n in [1500, 4001] {
                let (data, grid) = random::arguments(&mut rng, &plain, n, random::Floats::Normal);
                let (mut expected, mut found) = (data.clone(), data);
                let outcome = interp::run(&plain, &mut expected, grid, None);
                all += 1;
                match run_gpu(&version, &mut found, grid, None) {
                    Err(RunError::Unsupported { .. }) => continue,
                    ran => assert_eq!(ran.map(|_| ()), outcome, "n {n}"),
                }
                cut += 1;
                common::assert_equal(&version, &found, &expected);
            }
        }
    }
    assert!(3 * cut > all, "{cut} of {all} calls were cut");
}

/// A check that fails in a later part names the invocation of the whole.
#[test]
fn a_failing_check_of_a_part_names_the_whole_grids_point() {
    let Some(gpus) = gpus() else { return };
    let mut b = Builder::new("late");
    let x = b.buffer("x", Type::I32, Access::Read);
    let y = b.buffer("y", Type::I32, Access::ReadWrite);
    let i = b.id(Axis::X);
    let v = b.checked_load(x, i);
    let hundred = b.constant(100i32);
    let q = b.checked_binary(BinaryOp::Div, hundred, v);
    b.checked_store(y, i, q);
    let k = over(b, y);
    for gpu in gpus {
        let version = compile(&gpu, &k);
        let mut values = vec![Const::from(7i32); 5000];
        values[4321] = 0.into();
        let mut args = [data(&values), Data::zeroed(Type::I32, 5000)];
        let error = run_gpu(&version, &mut args, [5000, 1, 1], None).expect_err("by zero");
        let RunError::Failed(failure) = error else { panic!("{error}") };
        assert_eq!((failure.invocation, failure.cause), ([4321, 0, 0], Cause::ZeroDivisor));
        values[4321] = 4.into();
        let mut args = [data(&values), Data::zeroed(Type::I32, 5000)];
        run_gpu(&version, &mut args, [5000, 1, 1], None).expect("nothing fails");
        assert_eq!((bits(&args[1])[4321], bits(&args[1])[4999]), (25, 14));
    }
}

/// Three axes, and rows that are read from above and below: windows overlap.
#[test]
fn windows_of_neighbouring_parts_overlap() {
    let Some(gpus) = gpus() else { return };
    let mut b = Builder::new("above");
    let x = b.buffer("x", Type::U32, Access::Read);
    let y = b.buffer("y", Type::U32, Access::ReadWrite);
    let [i, j, k] = [Axis::X, Axis::Y, Axis::Z].map(|axis| b.id(axis));
    let (width, height) = (b.constant(13u32), b.constant(11u32));
    let plane = b.binary(BinaryOp::Mul, k, height);
    let row = b.binary(BinaryOp::Add, plane, j);
    let start = b.binary(BinaryOp::Mul, row, width);
    let own = b.binary(BinaryOp::Add, start, i);
    let one = b.constant(1u32);
    let up = b.binary(BinaryOp::Max, k, one);
    let up = b.binary(BinaryOp::Sub, up, one);
    let plane = b.binary(BinaryOp::Mul, up, height);
    let row = b.binary(BinaryOp::Add, plane, j);
    let start = b.binary(BinaryOp::Mul, row, width);
    let above = b.binary(BinaryOp::Add, start, i);
    let (v, w) = (b.checked_load(x, own), b.checked_load(x, above));
    let sum = b.binary(BinaryOp::Add, v, w);
    b.checked_store(y, own, sum);
    let kernel = kernel(b, vec![Extent::Given, Extent::Given, Extent::Given], None);
    let len = 13 * 11 * 50;
    let values: Vec<u32> = (0..len).map(|i| i * 7).collect();
    for gpu in gpus {
        common::assert_same(
            &gpu,
            &kernel,
            &[Data::Narrow(values.clone()), Data::Narrow(vec![9; len as usize])],
            [13, 11, 50],
        );
    }
}

/// Workgroups that only fill a row of a part's dispatch do nothing of the next part: each point is counted once.
#[test]
fn scans_in_parts_visit_each_point_once() {
    for proves_at_once in [false, true] {
        let options = GpuOptions {
            binding_bytes_max: Some(BINDING),
            workgroups_per_axis_max: Some(2),
            proves_at_once,
            ..GpuOptions::default()
        };
        let Some(gpu) = gpu_with(&options) else { return };
        let mut b = Builder::new("counted");
        let x = b.buffer("x", Type::U32, Access::Read);
        let visits = b.buffer("visits", Type::U32, Access::Atomic);
        b.buffer("result", Type::U32, Access::ReadWrite);
        let i = b.id(Axis::X);
        let v = b.checked_load(x, i);
        let (zero, one) = (b.constant(0u32), b.constant(1u32));
        b.check_bounds(visits, zero);
        b.value(Type::U32, Inst::Atomic(AtomicOp::Add, visits, zero, one));
        let own = b.local(Type::U32, None);
        b.set(own, v);
        b.function_mut().result = Some(own);
        let sum = Collective { kind: CollectiveKind::Scan, op: CollectiveOp::Add };
        let kernel = kernel(b, vec![Extent::Len(x)], Some(sum));
        for n in [1025u32, 4096, 20_003] {
            let x = Data::Narrow((0..n).map(|i| i % 5).collect());
            let data = [x, Data::zeroed(Type::U32, 1), Data::zeroed(Type::U32, n as usize)];
            common::assert_same(&gpu, &kernel, &data, [n, 1, 1]);
        }
    }
}
