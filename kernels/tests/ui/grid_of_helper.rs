extern crate crossover_kernels as crossover;

use crossover::kernel;

#[kernel(grid = n)]
fn f(n: u32) -> u32 {
    n
}

fn main() {}
