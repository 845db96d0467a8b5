extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f<T: Copy>(id: Id, x: &[T], y: &mut [T]) {
    y[id.x] = x[id.x];
}

fn main() {}
