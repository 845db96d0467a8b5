extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let found: Result<f32, ()> = Ok(x[id.x]);
    y[id.x] = found.unwrap();
}

fn main() {}
