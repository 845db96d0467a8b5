extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

fn twice(v: f32) -> f32 {
    2.0 * v
}

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = twice(x[id.x]);
}

fn main() {}
