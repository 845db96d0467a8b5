extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    for (k, v) in x.iter().enumerate() {
        y[id.x + k] = v + 1.0;
    }
}

fn main() {}
