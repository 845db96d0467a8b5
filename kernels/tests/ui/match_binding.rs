extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = match id.x {
        0 => x[0],
        n => n as f32,
    };
}

fn main() {}
