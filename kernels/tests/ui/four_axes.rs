extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel(grid = (a, b, c, d))]
fn f(id: Id, a: u32, b: u32, c: u32, d: u32, y: &mut [u32]) {
    y[id.x] = a + b + c + d;
}

fn main() {}
