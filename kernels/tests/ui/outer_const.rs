extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

const SCALE: f32 = 2.0;

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = x[id.x] * SCALE;
}

fn main() {}
