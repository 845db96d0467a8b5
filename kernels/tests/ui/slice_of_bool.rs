extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[bool], y: &mut [f32]) {
    y[id.x] = if x[id.x] { 1.0 } else { 0.0 };
}

fn main() {}
