extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let step = x.len() / 2;
    for k in (0..4).step_by(step) {
        y[id.x] += x[k];
    }
    for k in (0..4).step_by(0) {
        y[id.x] += x[k];
    }
}

fn main() {}
