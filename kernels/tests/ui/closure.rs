extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let half = |v: f32| v * 0.5;
    y[id.x] = half(x[id.x]);
}

fn main() {}
