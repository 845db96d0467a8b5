extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let n = 340282366920938463463374607431768211455;
    y[id.x] = n as f32 + x[id.x];
}

fn main() {}
