extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let v = vec![0.0; 4];
    y[id.x] = v[0] + x[id.x];
}

fn main() {}
