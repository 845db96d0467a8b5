extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let [a, b] = [x[id.x], 1.0];
    y[id.x] = a + b;
}

fn main() {}
