extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = f32::next_up(x[id.x]) + f32::atanh(x[id.x]);
}

fn main() {}
