extern crate crossover_kernels as crossover;

use crossover::{Id, Num, kernel};

#[kernel]
fn f(id: Id, _a: impl Num, y: &mut [f32]) {
    y[id.x] = 1.0;
}

fn main() {}
