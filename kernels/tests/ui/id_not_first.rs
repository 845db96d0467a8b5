extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(x: &[f32], id: Id, y: &mut [f32]) {
    y[id.x] = x[id.x];
}

fn main() {}
