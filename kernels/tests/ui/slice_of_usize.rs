extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[usize], y: &mut [f32]) {
    y[id.x] = x[id.x] as f32;
}

fn main() {}
