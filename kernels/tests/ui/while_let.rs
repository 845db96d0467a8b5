extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    while let 3 = id.x {
        y[id.x] = x[id.x];
    }
}

fn main() {}
