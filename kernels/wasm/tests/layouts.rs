//! Layouts that may take each other's place leave the same, bit for bit, whatever the kernel: also where floats are
//! summed and multiplied in an order that counts, and rounded once.

mod support;

use std::sync::Arc;

use crossover_kernels::ir::{Kernel, Type};
use crossover_kernels::random::{self, Floats, Options, Random, arguments, failing_kernel, kernel};
use crossover_kernels::{interp, passes};
use crossover_wasm::Schedule;
use support::{Data, Scheduled, run};

fn converted(kernel: &Kernel, data: Vec<interp::Data>) -> Vec<Data> {
    let types = kernel.entry.params.iter().map(|param| param.kind.ty());
    let of = |(data, ty): (interp::Data, Type)| match data {
        interp::Data::Scalar(c) => Data::Scalar(c),
        interp::Data::Narrow(v) => Data::Buffer(ty, v.into_iter().map(u64::from).collect()),
        interp::Data::Wide(v) => Data::Buffer(ty, v),
    };
    data.into_iter().zip(types).map(of).collect()
}

/// Bits, all NaNs the same.
fn canonical(ty: Type, bits: u64) -> u64 {
    let is_nan = crossover_kernels::ir::Const::new(ty, bits).is_nan();
    if is_nan { u64::MAX } else { bits }
}

/// Up to four layouts against the default; gives how many.
fn compare(rng: &mut Random, kernel: &Arc<Kernel>, data: &[Data], grid: [u32; 3]) -> usize {
    let all = Schedule::interchangeable(kernel);
    let types: Vec<Type> = data
        .iter()
        .filter_map(|data| match data {
            Data::Buffer(ty, _) => Some(*ty),
            Data::Scalar(_) => None,
        })
        .collect();
    let left = |schedule: Schedule, threads: usize| {
        let (buffers, outcome) =
            run(&Scheduled(Some(schedule)), kernel, data, Some(grid), threads, None);
        outcome.expect("it ends well");
        let bits = buffers.iter().zip(&types);
        bits.map(|(bits, ty)| bits.iter().map(|b| canonical(*ty, *b)).collect::<Vec<u64>>())
            .collect::<Vec<_>>()
    };
    let mut tried = 0;
    for _ in 0..4.min(all.len() - 1) {
        let layout = all[1 + rng.below(all.len() - 1)];
        tried += 1;
        for threads in [1, 2] {
            let (expected, found) = (left(all[0], threads), left(layout, threads));
            assert_eq!(found, expected, "{layout:?} on {threads}\n{:#?}", kernel.entry);
        }
    }
    tried
}

#[test]
fn random_kernels_with_roundings_and_sums() {
    let mut rng = Random::new(41);
    let (mut tried, mut sums) = (0, 0);
    for at in 0..120 {
        // Of any bits sums are mostly infinite: whether their order shows, numbers that are rounded tell.
        let (floats, types) = match at % 2 {
            0 => (Floats::Any, Type::ALL.to_vec()),
            _ => (Floats::Rounded, vec![Type::F32, Type::F64, Type::I32]),
        };
        let size = [12, 30, 70][at / 2 % 3];
        let options = Options { size, exact: false, floats, types, ..Options::default() };
        let kernel = Arc::new(passes::optimize(&kernel(&mut rng, &options)));
        let result = kernel.entry.params.last().map(|param| param.kind.ty());
        sums += usize::from(kernel.collective.is_some() && result.is_some_and(Type::is_float));
        for n in [1, 6, 130, 1100] {
            let (data, grid) = arguments(&mut rng, &kernel, n, options.floats);
            tried += compare(&mut rng, &kernel, &converted(&kernel, data), grid);
        }
    }
    assert!(tried > 500 && sums > 0, "{tried} comparisons, {sums} kernels that combine floats");
}

#[test]
fn random_stencils_and_groups() {
    let mut rng = Random::new(42);
    let mut tried = 0;
    for at in 0..24 {
        let (kernel, data, grid) = match at % 2 {
            0 => random::stencil_kernel(&mut rng, [Type::F32, Type::U32][at / 2 % 2]),
            _ => random::group_kernel(&mut rng),
        };
        let kernel = Arc::new(passes::optimize(&kernel));
        tried += compare(&mut rng, &kernel, &converted(&kernel, data), grid);
    }
    assert!(tried > 20, "{tried} comparisons");
}

#[test]
fn one_invocation_that_fails_is_named_by_all() {
    let mut rng = Random::new(43);
    for _ in 0..40 {
        let (kernel, data, grid) = failing_kernel(&mut rng);
        let kernel = Arc::new(passes::optimize(&kernel));
        let data = converted(&kernel, data);
        let all = Schedule::interchangeable(&kernel);
        let error = |layout: Schedule| {
            let (_, outcome) = run(&Scheduled(Some(layout)), &kernel, &data, Some(grid), 1, None);
            outcome.expect_err("one fails")
        };
        let expected = error(all[0]);
        let other = all[rng.below(all.len())];
        assert_eq!(error(other), expected, "{other:?}");
    }
}

#[test]
fn a_product_in_tiles_with_panels() {
    let definitions = crossover_kernels::front::source::parse(
        "#[kernel(contract, grid = (n, m))] fn product(id: Id, n: usize, m: usize, k: usize, \
         a: &[f32], b: &[f32], c: &mut [f32]) { let mut sum = 0.0f32; \
         for i in 0..k { sum += a[id.y * k + i] * b[i * n + id.x]; } c[id.y * n + id.x] = sum; }",
        "test",
    );
    let definitions = definitions.expect("a kernel");
    let kernel = crossover_kernels::front::instantiate(&definitions[0], &[], &[]).expect("typed");
    let kernel = Arc::new(passes::optimize(&kernel));
    assert!(Schedule::interchangeable(&kernel).len() > 100);
    let mut rng = Random::new(44);
    for [n, m, k] in [[33, 17, 300], [7, 5, 3], [64, 40, 520]] {
        let mut floats = |len: usize| {
            let bits = (0..len).map(|_| (rng.below(1 << 20) as f32 / 1e5 - 5.0).to_bits());
            Data::Buffer(Type::F32, bits.map(u64::from).collect())
        };
        let data = [
            Data::Scalar((n as u32).into()),
            Data::Scalar((m as u32).into()),
            Data::Scalar((k as u32).into()),
            floats(m * k),
            floats(k * n),
            floats(m * n),
        ];
        for _ in 0..6 {
            compare(&mut rng, &kernel, &data, [n as u32, m as u32, 1]);
        }
    }
}
