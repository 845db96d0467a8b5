extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    for k in (0..4).rev() {
        y[id.x] += x[k];
    }
}

fn main() {}
