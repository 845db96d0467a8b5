extern crate crossover_kernels as crossover;

use crossover::kernel;

#[kernel]
fn first<const N: usize>(x: &[f32]) -> f32 {
    x[N]
}

fn main() {}
