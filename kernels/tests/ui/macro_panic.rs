extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = if x[id.x] > 0.0 { 1.0 } else { panic!("negative") };
}

fn main() {}
