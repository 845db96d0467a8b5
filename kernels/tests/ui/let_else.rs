extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let 0 = id.x else { return };
    y[0] = x[0];
}

fn main() {}
