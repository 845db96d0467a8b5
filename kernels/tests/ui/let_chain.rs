extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    if id.x > 2
        && let 3 = x.len()
    {
        y[id.x] = x[id.x];
    }
}

fn main() {}
