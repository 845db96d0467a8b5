extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    println!("{}", x[id.x]);
    y[id.x] = 1.0;
}

fn main() {}
