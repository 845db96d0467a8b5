extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel(reduce = add, scan = add)]
fn f(id: Id, x: &[f32]) -> f32 {
    x[id.x]
}

fn main() {}
