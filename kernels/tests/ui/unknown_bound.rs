extern crate crossover_kernels as crossover;

use crossover::{Id, Num, kernel};

#[kernel]
fn f<T: Num + std::fmt::Debug, U: Clone>(id: Id, _u: U, x: &[T], y: &mut [T]) {
    y[id.x] = x[id.x];
}

fn main() {}
