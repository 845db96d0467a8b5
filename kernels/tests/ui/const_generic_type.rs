extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f<const N: u32, const B: bool>(id: Id, x: &[u32], y: &mut [u32]) {
    y[id.x] = x[id.x] + N;
}

fn main() {}
