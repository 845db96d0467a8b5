//! Kernels with workgroups on WebAssembly, against the interpreter.

mod support;

use std::sync::Arc;

use crossover_kernels::interp;
use crossover_kernels::ir::{Kernel, Type};
use crossover_kernels::random::{Random, group_kernel};
use support::{Data, check_grid};

/// All buffers of these kernels hold `u32`.
fn converted(data: Vec<interp::Data>) -> Vec<Data> {
    data.into_iter()
        .map(|data| match data {
            interp::Data::Scalar(c) => Data::Scalar(c),
            interp::Data::Narrow(v) => {
                Data::Buffer(Type::U32, v.into_iter().map(u64::from).collect())
            }
            interp::Data::Wide(v) => Data::Buffer(Type::U64, v),
        })
        .collect()
}

#[test]
fn random_groups_are_equal() {
    let mut rng = Random::new(77);
    for _ in 0..150 {
        let (kernel, args, grid) = group_kernel(&mut rng);
        check_grid(&Arc::new(kernel), &converted(args), Some(grid));
    }
}

/// The optimised kernel, too: passes see barriers.
#[test]
fn random_groups_are_equal_after_all_passes() {
    let mut rng = Random::new(78);
    for _ in 0..150 {
        let (kernel, args, grid) = group_kernel(&mut rng);
        let optimized: Kernel = crossover_kernels::passes::optimize(&kernel);
        let mut plain = args.clone();
        let end = interp::run(&kernel, &mut plain, grid, None);
        let mut fast = args.clone();
        assert_eq!(end, interp::run(&optimized, &mut fast, grid, None), "{kernel}\n{optimized}");
        assert_eq!(plain, fast, "{kernel}\n{optimized}");
        check_grid(&Arc::new(optimized), &converted(args), Some(grid));
    }
}
