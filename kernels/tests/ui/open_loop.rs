extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    for k in 0.. {
        y[id.x] += x[k];
    }
    for k in id.x.. {
        y[k] = 1.0;
    }
}

fn main() {}
