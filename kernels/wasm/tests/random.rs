//! Random kernels against the interpreter: whatever combination nobody thought of.

mod support;

use std::sync::Arc;

use crossover_kernels::interp;
use crossover_kernels::ir::{Kernel, Type};
use crossover_kernels::random::{Floats, Options, Random, arguments, kernel};
use support::{Data, check_grid};

fn converted(kernel: &Kernel, data: Vec<interp::Data>) -> Vec<Data> {
    let types = kernel.entry.params.iter().map(|param| param.kind.ty());
    let of = |(data, ty): (interp::Data, Type)| match data {
        interp::Data::Scalar(c) => Data::Scalar(c),
        interp::Data::Narrow(v) => Data::Buffer(ty, v.into_iter().map(u64::from).collect()),
        interp::Data::Wide(v) => Data::Buffer(ty, v),
    };
    data.into_iter().zip(types).map(of).collect()
}

fn try_many(seed: u64, count: usize, size: usize) {
    let mut rng = Random::new(seed);
    let options = Options { size, ..Options::default() };
    let mut tried = 0;
    while tried < count {
        let kernel = Arc::new(kernel(&mut rng, &options));
        // Calls are inlined by a pass, which is not what is tested here.
        if !kernel.helpers.is_empty() {
            continue;
        }
        tried += 1;
        for n in [0, 1, 5, 70, 1500] {
            let (data, grid) = arguments(&mut rng, &kernel, n, Floats::Any);
            check_grid(&kernel, &converted(&kernel, data), Some(grid));
        }
    }
}

#[test]
fn small_kernels() {
    try_many(1, 80, 20);
}

#[test]
fn medium_kernels() {
    try_many(2, 40, 60);
}

#[test]
fn large_kernels() {
    try_many(3, 10, 200);
}
