extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = x[id.x].atanh();
}

fn main() {}
