extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel(grid = ())]
fn f(id: Id, y: &mut [f32]) {
    y[id.x] = 1.0;
}

fn main() {}
