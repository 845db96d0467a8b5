extern crate crossover_kernels as crossover;

use crossover::kernel;

#[kernel]
fn f(x: f32) -> Option<f32> {
    Some(x)
}

#[kernel]
fn g(x: f32) -> [f32; 2] {
    [x, x]
}

fn main() {}
