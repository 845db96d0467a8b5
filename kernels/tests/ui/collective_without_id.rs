extern crate crossover_kernels as crossover;

use crossover::kernel;

#[kernel(scan = max)]
fn f(x: f32) -> f32 {
    x
}

fn main() {}
