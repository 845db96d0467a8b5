extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let copy = x.to_vec();
    y[id.x] = copy[0];
}

fn main() {}
