extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let pair = (x[id.x], 1.0);
    y[id.x] = pair.0;
}

fn main() {}
