extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, a: isize, y: &mut [f32]) {
    y[id.x] = a as f32;
}

fn main() {}
