extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, g: fn(f32) -> f32, y: &mut [f32]) {
    y[id.x] = g(1.0);
}

fn main() {}
