extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

fn pair() -> (f32, f32) {
    (1.0, 2.0)
}

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = pair().0 + x[id.x];
}

fn main() {}
