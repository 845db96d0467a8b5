extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, v: Vec<f32>, b: Box<[f32]>, o: Option<f32>, y: &mut [f32]) {
    y[id.x] = v[0] + b[0] + o.unwrap_or(0.0);
}

fn main() {}
