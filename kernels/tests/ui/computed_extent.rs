extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel(grid = (2 * n, y.len() / 2, 4.5))]
fn f(id: Id, n: u32, y: &mut [u32]) {
    y[id.x] = n;
}

fn main() {}
