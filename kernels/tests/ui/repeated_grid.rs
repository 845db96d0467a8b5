extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel(grid = n, grid = n)]
fn f(id: Id, n: u32, y: &mut [u32]) {
    y[id.x] = n;
}

fn main() {}
