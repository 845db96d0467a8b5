extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let all = 0..x.len();
    y[id.x] = all.len() as f32;
}

fn main() {}
