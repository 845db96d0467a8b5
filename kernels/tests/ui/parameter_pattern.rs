extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, (a, b): (f32, f32), y: &mut [f32]) {
    y[id.x] = a + b;
}

fn main() {}
