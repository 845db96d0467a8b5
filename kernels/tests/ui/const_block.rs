extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = x[id.x] + const { 1.0 + 2.0 };
}

fn main() {}
