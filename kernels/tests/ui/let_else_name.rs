extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let n @ 0..4 = id.x else { return };
    y[n] = x[n];
}

fn main() {}
