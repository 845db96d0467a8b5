extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f<'a>(id: Id, x: &'a [f32], y: &mut [f32]) {
    y[id.x] = x[id.x];
}

fn main() {}
