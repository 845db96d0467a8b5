extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = match x[id.x] > 0.0 {
        true => 1.0,
        _ => 2.0,
    };
}

fn main() {}
