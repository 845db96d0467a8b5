extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = x[id.x].mul_add(1.0, std::mem::size_of::<f32>() as f32);
}

fn main() {}
