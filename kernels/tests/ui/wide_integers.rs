extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, a: i128, x: &[u128], y: &mut [f32]) {
    y[id.x] = (a + x[id.x] as i128) as f32;
}

fn main() {}
