//! Reductions and scans of every operator and type.

mod support;

use std::sync::Arc;

use crossover_kernels::exec::Executor;
use crossover_kernels::interp::Interpreter;
use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{
    Access, Axis, BinaryOp, Collective, CollectiveKind, CollectiveOp, Const, Extent, Kernel, Param,
    Stmt, Type,
};
use crossover_kernels::verify::verify;
use support::{Data, LENGTHS, WASM, buffer, check, run, special, values, zeros};

/// Contributes the loaded value, but nothing from every seventh invocation.
fn collective(kind: CollectiveKind, op: CollectiveOp, ty: Type, effect: bool) -> Arc<Kernel> {
    let mut b = Builder::new("collective");
    let input = b.buffer("input", ty, Access::Read);
    let trace = b.buffer("trace", Type::U32, Access::ReadWrite);
    b.buffer("result", ty, Access::ReadWrite);
    let i = b.id(Axis::X);
    let result = b.local(ty, None);
    let v = b.checked_load(input, i);
    if effect {
        let (old, one) = (b.checked_load(trace, i), b.constant(1u32));
        let new = b.binary(BinaryOp::Add, old, one);
        b.checked_store(trace, i, new);
    }
    let identity = b.constant(op.identity(ty));
    b.set(result, identity);
    let (seven, zero) = (b.constant(7u32), b.constant(0u32));
    let rest = b.checked_binary(BinaryOp::Rem, i, seven);
    let skipped = b.binary(BinaryOp::Eq, rest, zero);
    b.if_else(skipped, |b| b.stmt(Stmt::Return), |_| {});
    b.set(result, v);
    let mut entry = b.finish();
    entry.result = Some(result);
    let kernel = Kernel {
        entry,
        helpers: Vec::new(),
        grid: vec![Extent::Len(Param(0))],
        collective: Some(Collective { kind, op }),
        workgroup: None,
        contract: false,
        files: Vec::new(),
    };
    verify(&kernel).expect("a valid collective");
    Arc::new(kernel)
}

/// Numbers whose sums and products are exact, so that the order does not matter; for `min` and
/// `max`, which do not round, NaN and infinities too.
fn contributions(op: CollectiveOp, ty: Type, len: usize) -> Vec<Const> {
    let chooses = matches!(op, CollectiveOp::Min | CollectiveOp::Max);
    if !ty.is_float() {
        return values(ty, len, 6);
    }
    if chooses {
        // Which of two zeros is chosen depends on the order.
        let positive = special(ty).into_iter().filter(|c| c.bits != 0 && c.to_f64() != 0.0);
        let all: Vec<Const> = positive.collect();
        return (0..len).map(|i| all[i * 31 % all.len()]).collect();
    }
    let small = |i: usize| match op {
        CollectiveOp::Mul => [1.0, -1.0, 1.0, 2.0, 0.5][i % 5],
        _ => (i % 9) as f64 - 4.0,
    };
    (0..len)
        .map(|i| if ty.is_wide() { small(i).into() } else { Const::from(small(i) as f32) })
        .collect()
}

fn try_all(kind: CollectiveKind) {
    for &op in CollectiveOp::ALL {
        for ty in Type::STORABLE.into_iter().filter(|&ty| op.accepts(ty)) {
            for effect in [false, true] {
                let kernel = collective(kind, op, ty, effect);
                for len in LENGTHS.into_iter().chain([70_001]) {
                    let results = if kind == CollectiveKind::Scan { len } else { 1 };
                    let data = [
                        buffer(ty, contributions(op, ty, len)),
                        zeros(Type::U32, len),
                        zeros(ty, results),
                    ];
                    check(&kernel, &data);
                }
            }
        }
    }
}

#[test]
fn reductions() {
    try_all(CollectiveKind::Reduce);
}

#[test]
fn scans() {
    try_all(CollectiveKind::Scan);
}

/// Rounded sums depend on the order: it is the same at every run, and near the interpreter's.
#[test]
fn rounded_sums_are_the_same_at_every_run() {
    for kind in [CollectiveKind::Reduce, CollectiveKind::Scan] {
        let kernel = collective(kind, CollectiveOp::Add, Type::F32, false);
        let len = 300_000;
        let input = (0..len).map(|i| Const::from(((i * 37) % 1000) as f32 * 0.1));
        let results = if kind == CollectiveKind::Scan { len } else { 1 };
        let data = [buffer(Type::F32, input), zeros(Type::U32, len), zeros(Type::F32, results)];
        let of = |executor: &dyn Executor, threads| {
            let (buffers, outcome) = run(executor, &kernel, &data, None, threads, None);
            outcome.expect("it runs");
            buffers[2].clone()
        };
        let expected = of(&Interpreter, 1);
        for threads in 1..=4 {
            let first = of(&*WASM, threads);
            for _ in 0..5 {
                assert_eq!(of(&*WASM, threads), first);
            }
            for (&e, &f) in expected.iter().zip(&first) {
                let (e, f) = (f32::from_bits(e as u32), f32::from_bits(f as u32));
                assert!((e - f).abs() <= 1e-3 * e.abs(), "{e} expected, {f} found");
            }
        }
    }
}

#[test]
fn an_empty_grid_gives_the_identity() {
    let kernel = collective(CollectiveKind::Reduce, CollectiveOp::Mul, Type::I32, false);
    let data: [Data; 3] = [zeros(Type::I32, 0), zeros(Type::U32, 0), zeros(Type::I32, 1)];
    let (buffers, outcome) = run(&*WASM, &kernel, &data, None, 2, None);
    outcome.expect("it runs");
    assert_eq!(buffers[2], [1]);
}
