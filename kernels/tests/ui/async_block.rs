extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let later = async { 1.0 };
    let _ = later;
    y[id.x] = x[id.x];
}

fn main() {}
