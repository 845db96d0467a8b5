//! Reductions and scans of every operator and type, against the interpreter.

mod common;

use std::sync::Arc;

use common::{assert_equal, bits, compile, data, gpu, gpu_with, has, kernel, run_gpu};
use crossover_kernels::error::RunError;
use crossover_kernels::interp::{self, Data};
use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{
    Access, Axis, BinaryOp, Block, Collective, CollectiveKind, CollectiveOp, Const, Extent, Kernel,
    Stmt, Type,
};
use crossover_kernels::passes::optimize;
use crossover_kernels::random::{self, Floats, Options, Random};
use crossover_shaders::{GpuExecutor, GpuOptions, Schedule, legality};

const SIZES: [usize; 8] = [0, 1, 2, 255, 256, 257, 5000, 100_000];

fn contribute(kind: CollectiveKind, op: CollectiveOp, ty: Type) -> Arc<Kernel> {
    let mut b = Builder::new(format!("{kind:?}_{op}_{ty}").to_lowercase());
    let x = b.buffer("x", ty, Access::Read);
    b.buffer("result", ty, Access::ReadWrite);
    let i = b.id(Axis::X);
    let v = b.checked_load(x, i);
    let own = b.local(ty, None);
    b.set(own, v);
    b.function_mut().result = Some(own);
    kernel(b, vec![Extent::Len(x)], Some(Collective { kind, op }))
}

/// Values whose sums and products stay in range and, for floats, are exact: whole numbers, and
/// factors of ±1 and few of 2 and ½, whatever the order.
fn element(op: CollectiveOp, ty: Type, i: usize) -> Const {
    let noise = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 17;
    if !ty.is_float() {
        return Const::new(ty, noise | u64::from(op == CollectiveOp::Mul));
    }
    let v = match op {
        CollectiveOp::Mul => match i % 1000 {
            1 => 2.0,
            2 => 0.5,
            odd => {
                if odd % 2 == 1 {
                    -1.0
                } else {
                    1.0
                }
            }
        },
        CollectiveOp::Min | CollectiveOp::Max if i % 7 == 3 => f64::NAN,
        _ => (noise % 64) as f64 - 20.0,
    };
    if ty == Type::F64 { v.into() } else { (v as f32).into() }
}

fn check(kind: CollectiveKind) {
    let Some(gpu) = gpu() else { return };
    let (mut count, mut once) = (0, 0);
    for &op in CollectiveOp::ALL {
        for ty in Type::ALL.into_iter().filter(|&ty| op.accepts(ty) && has(&gpu, ty)) {
            let kernel = contribute(kind, op, ty);
            count += 1;
            let executor = GpuExecutor::new(gpu.clone());
            let space = Schedule::space(&kernel, gpu.capabilities());
            let usual = space[0];
            let kinds = space.into_iter().filter(|schedule| schedule.workgroup == usual.workgroup);
            let mut kinds: Vec<Schedule> = kinds.collect();
            let is_once = |schedule: &Schedule| schedule.single_pass == Some(true);
            if let Some(once) = kinds.iter().copied().find(is_once) {
                kinds.push(Schedule { subgroups: false, ..once });
            }
            // Every way of a few, two of the others: each is a pipeline or three, which take their time.
            if !matches!((op, ty), (CollectiveOp::Add, Type::U32) | (CollectiveOp::Min, Type::F32))
            {
                let once = kinds.iter().copied().find(is_once);
                kinds = std::iter::once(usual).chain(once).collect();
            }
            once += usize::from(kinds.iter().any(is_once));
            let versions: Vec<_> = kinds
                .into_iter()
                .map(|schedule| executor.prepare(&kernel, Some(schedule)).expect("compiles"))
                .collect();
            for (version, size) in versions.iter().flat_map(|v| SIZES.map(|size| (v, size))) {
                let x: Vec<Const> = (0..size).map(|i| element(op, ty, i)).collect();
                let x = if size == 0 { Data::zeroed(ty, 0) } else { data(&x) };
                let out = if kind == CollectiveKind::Reduce { 1 } else { size };
                let mut expected = [x.clone(), Data::zeroed(ty, out)];
                let mut got = expected.clone();
                let grid = [size as u32, 1, 1];
                interp::run(&kernel, &mut expected, grid, None).expect("it interprets");
                run_gpu(version, &mut got, grid, None).expect("it runs");
                let (got, expected) = (bits(&got[1]), bits(&expected[1]));
                for (i, (&g, &e)) in got.iter().zip(&expected).enumerate() {
                    let (g, e) = (Const::new(ty, g), Const::new(ty, e));
                    let zeros = ty.is_float() && g.to_f64() == 0.0 && e.to_f64() == 0.0;
                    assert!(
                        g == e || (g.is_nan() && e.is_nan()) || zeros,
                        "{kind:?} {op} {ty}, {size} elements, at {i}: {g:?}, expected {e:?}, {:?}",
                        version.shader().schedule
                    );
                }
            }
        }
    }
    eprintln!("{count} kernels at {} sizes, {once} of them also in one pass", SIZES.len());
    // All seven operators on two types, and the least and the most of floats.
    let legal = kind == CollectiveKind::Scan && gpu.capabilities().loop_passages_max.is_none();
    assert_eq!(once, if legal { 16 } else { 0 });
}

#[test]
fn reductions() {
    check(CollectiveKind::Reduce);
}

#[test]
fn scans() {
    check(CollectiveKind::Scan);
}

/// Three levels of partial sums, and more blocks than one axis of a dispatch would take of 256.
#[test]
fn a_large_scan() {
    let Some(gpu) = gpu() else { return };
    let len = 3_000_001u32;
    let kernel = contribute(CollectiveKind::Scan, CollectiveOp::Add, Type::U32);
    let version = compile(&gpu, &kernel);
    let mut args = [Data::Narrow(vec![3; len as usize]), Data::zeroed(Type::U32, len as usize)];
    run_gpu(&version, &mut args, [len, 1, 1], None).expect("it runs");
    let Data::Narrow(got) = &args[1] else { panic!("the buffer is narrow") };
    assert!(got.iter().copied().eq((1..=len).map(|i| i * 3)));
}

/// The same in one pass, again and again: what blocks find of each other differs, what comes of it does not.
#[test]
fn a_large_scan_in_one_pass() {
    let Some(gpu) = gpu() else { return };
    let len = 3_000_001u32;
    let kernel = contribute(CollectiveKind::Scan, CollectiveOp::Add, Type::U32);
    let usual = Schedule::of(&kernel, gpu.capabilities());
    let executor = GpuExecutor::new(gpu.clone());
    for (workgroup, elements) in [(32, 4), (usual.workgroup[0], 32), (256, 4)] {
        let (workgroup, subgroups) = ([workgroup, 1, 1], usual.subgroups && workgroup == 32);
        let schedule =
            Schedule { single_pass: Some(true), workgroup, elements, subgroups, ..usual };
        let version = match executor.prepare(&kernel, Some(schedule)) {
            Ok(version) => version,
            Err(RunError::Unsupported { what, .. }) => return eprintln!("skipped: {what}"),
            Err(error) => panic!("{error}"),
        };
        let x = Data::Narrow((0..len).map(|i| i.wrapping_mul(0x9e37_79b9)).collect());
        for _ in 0..3 {
            let mut args = [x.clone(), Data::zeroed(Type::U32, len as usize)];
            run_gpu(&version, &mut args, [len, 1, 1], None).expect("it runs");
            let [Data::Narrow(x), Data::Narrow(got)] = &args else { panic!("both are narrow") };
            let mut sum = 0u32;
            for (i, (&x, &got)) in x.iter().zip(got).enumerate() {
                sum = sum.wrapping_add(x);
                assert_eq!(got, sum, "element {i}");
            }
        }
    }
}

/// Kernels of every shape, without their stores: those forbid it.
#[test]
fn random_scans_in_one_pass() {
    let Some(gpu) = gpu() else { return };
    let integers = [Type::I32, Type::U32, Type::I64, Type::U64];
    let types = integers.into_iter().filter(|&ty| has(&gpu, ty)).collect();
    let options = Options { atomics: false, types, ..Options::default() };
    let mut rng = Random::new(31);
    let mut tried = 0;
    while tried < 8 && gpu.capabilities().loop_passages_max.is_none() {
        let mut kernel = random::kernel(&mut rng, &options);
        strip_stores(&mut kernel.entry.body);
        let kernel = optimize(&kernel);
        if legality::check(&kernel, gpu.capabilities()).is_err() {
            continue;
        }
        let space = Schedule::space(&kernel, gpu.capabilities());
        // Many elements stand in a loop, which compiles faster than a few that are written out.
        let fits =
            |s: &&Schedule| s.single_pass == Some(true) && s.workgroup[0] == 32 && s.elements > 4;
        let Some(schedule) = space.iter().find(fits) else { continue };
        let kernel = Arc::new(kernel);
        let executor = GpuExecutor::new(gpu.clone());
        let version = executor.prepare(&kernel, Some(*schedule)).expect("it compiles");
        for n in [1, 1024, 1025, 5000] {
            let (data, grid) = random::arguments(&mut rng, &kernel, n, Floats::Normal);
            let (mut expected, mut got) = (data.clone(), data);
            interp::run(&kernel, &mut expected, grid, None).expect("it interprets");
            run_gpu(&version, &mut got, grid, None).expect("it runs");
            assert_equal(&version, &got, &expected);
        }
        tried += 1;
    }
}

fn strip_stores(block: &mut Block) {
    block.retain(|stmt| !matches!(stmt, Stmt::Store(..)));
    block.iter_mut().flat_map(Stmt::blocks_mut).for_each(strip_stores);
}

/// Inexact sums differ from those from left to right, but never from run to run.
#[test]
fn sums_of_floats_are_deterministic() {
    let Some(gpu) = gpu() else { return };
    let kernel = contribute(CollectiveKind::Reduce, CollectiveOp::Add, Type::F32);
    let version = compile(&gpu, &kernel);
    let x: Vec<Const> = (0..70_001).map(|i| (0.1f32 + i as f32 * 1e-3).into()).collect();
    let mut first = None;
    for _ in 0..5 {
        let mut args = [data(&x), Data::zeroed(Type::F32, 1)];
        run_gpu(&version, &mut args, [70_001, 1, 1], None).expect("it runs");
        let sum = bits(&args[1])[0];
        assert_eq!(*first.get_or_insert(sum), sum);
    }
    let exact: f64 = x.iter().map(|c| c.to_f64()).sum();
    let got = f64::from(f32::from_bits(first.expect("five runs") as u32));
    assert!((got - exact).abs() <= exact * 1e-5, "{got} for {exact}");
}

/// An invocation that fails or returns early still reaches the barriers.
#[test]
fn failures_and_early_returns_in_a_collective() {
    let Some(gpu) = gpu() else { return };
    let (reduce, scan) = (CollectiveKind::Reduce, CollectiveKind::Scan);
    for (kind, single_pass) in [(reduce, None), (scan, Some(false)), (scan, Some(true))] {
        if single_pass == Some(true) && gpu.capabilities().loop_passages_max.is_some() {
            continue;
        }
        let mut b = Builder::new("early");
        let x = b.buffer("x", Type::U32, Access::Read);
        b.buffer("result", Type::U32, Access::ReadWrite);
        let i = b.id(Axis::X);
        let own = b.local(Type::U32, None);
        let v = b.checked_load(x, i);
        let three = b.constant(3u32);
        b.set(own, three);
        let small = b.binary(BinaryOp::Lt, v, three);
        b.if_else(small, |b| b.stmt(Stmt::Return), |_| {});
        b.set(own, v);
        b.function_mut().result = Some(own);
        let n = 1000u32;
        let op = CollectiveOp::Add;
        let kernel = kernel(b, vec![Extent::Len(x)], Some(Collective { kind, op }));
        let schedule = Schedule { single_pass, ..Schedule::of(&kernel, gpu.capabilities()) };
        let executor = GpuExecutor::new(gpu.clone());
        let version = executor.prepare(&kernel, Some(schedule)).expect("it compiles");
        let x: Vec<Const> = (0..n).map(|i| (i % 11).into()).collect();
        let out = if kind == CollectiveKind::Reduce { 1 } else { n as usize };
        let mut expected = [data(&x), Data::zeroed(Type::U32, out)];
        let mut got = expected.clone();
        interp::run(&kernel, &mut expected, [n, 1, 1], None).expect("it interprets");
        run_gpu(&version, &mut got, [n, 1, 1], None).expect("it runs");
        assert_eq!(got, expected);

        let out = if kind == CollectiveKind::Reduce { 1 } else { n as usize + 1 };
        let mut args = [data(&x), Data::zeroed(Type::U32, out)];
        let error = run_gpu(&version, &mut args, [n + 1, 1, 1], None).expect_err("x is too short");
        let RunError::Failed(failure) = error else { panic!("{error}") };
        assert_eq!(failure.invocation, [n, 0, 0]);
    }
}

/// Four elements as one vector, in one pass or several: every bit is what single elements give, of sums of floats
/// as well, which show their order.
#[test]
fn vectors_give_what_single_elements_give() {
    let options = GpuOptions { proves_at_once: true, ..GpuOptions::default() };
    let Some(gpu) = gpu_with(&options) else { return };
    let caps = gpu.capabilities();
    let mut rng = Random::new(77);
    for kind in [CollectiveKind::Reduce, CollectiveKind::Scan] {
        for (op, ty) in [
            (CollectiveOp::Add, Type::F32),
            (CollectiveOp::Max, Type::F32),
            (CollectiveOp::Add, Type::U32),
            (CollectiveOp::Min, Type::I32),
        ] {
            let kernel = contribute(kind, op, ty);
            let usual = Schedule::of(&kernel, caps);
            let forms = crossover_shaders::shaders(&kernel, caps, &usual).expect("emits");
            let vectors = forms.iter().filter(|(_, shader)| shader.schedule.vectors);
            let once = usize::from(forms.iter().any(|(_, s)| s.schedule.single_pass == Some(true)));
            assert_eq!(vectors.count(), 1 + once, "{kind:?} {op} {ty}");
            let executor = GpuExecutor::new(gpu.clone());
            let prepare = |schedule| executor.prepare(&kernel, Some(schedule)).expect("compiles");
            let plain = prepare(Schedule { quads: false, ..usual });
            let vectors = prepare(usual);
            for n in [4u32, 1020, 1024, 1025, 4096, 5000, 100_000] {
                let values = (0..n).map(|_| match ty {
                    Type::F32 => (1.0 + rng.next_u32() as f32 / 3e9).to_bits(),
                    _ => rng.next_u32(),
                });
                let x = Data::Narrow(values.collect());
                let out = if kind == CollectiveKind::Reduce { 1 } else { n as usize };
                let data = [x, Data::zeroed(ty, out)];
                let mut expected = data.clone();
                run_gpu(&plain, &mut expected, [n, 1, 1], None).expect("it runs");
                // Forms take turns until each is known.
                for _ in 0..6 {
                    let mut found = data.clone();
                    run_gpu(&vectors, &mut found, [n, 1, 1], None).expect("it runs");
                    assert_eq!(found, expected, "{kind:?} {op} {ty}, {n} elements");
                }
            }
        }
    }
}

/// Few workgroups take many points each, and each of those a loop: together more passages than some drivers make.
#[test]
fn long_loops_of_reductions_are_not_cut() {
    let Some(gpu) = gpu() else { return };
    let mut b = Builder::new("turns");
    b.buffer("result", Type::U32, Access::ReadWrite);
    let i = b.id(Axis::X);
    let own = b.local(Type::U32, None);
    let (zero, end, three) = (b.constant(0u32), b.constant(1000u32), b.constant(3u32));
    b.for_range(zero, end, 1, |b, k| {
        let before = b.get(own);
        let product = b.binary(BinaryOp::Mul, before, three);
        let mixed = b.binary(BinaryOp::Xor, product, k);
        let next = b.binary(BinaryOp::Add, mixed, i);
        b.set(own, next);
    });
    b.function_mut().result = Some(own);
    let sum = Collective { kind: CollectiveKind::Reduce, op: CollectiveOp::Add };
    let kernel = kernel(b, vec![Extent::Given], Some(sum));
    let n = 120_000u32;
    let point = |i: u32| (0..1000u32).fold(0u32, |v, k| (v.wrapping_mul(3) ^ k).wrapping_add(i));
    let expected = (0..n).map(point).fold(0, u32::wrapping_add);
    let mut args = [Data::zeroed(Type::U32, 1)];
    run_gpu(&compile(&gpu, &kernel), &mut args, [n, 1, 1], None).expect("it runs");
    assert_eq!(bits(&args[0]), [u64::from(expected)]);
}
