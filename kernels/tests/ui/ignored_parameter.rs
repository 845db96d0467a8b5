extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, _: f32, y: &mut [f32]) {
    y[id.x] = 1.0;
}

fn main() {}
