extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[[f32; 4]], y: &mut [f32]) {
    y[id.x] = x[0][1];
}

fn main() {}
