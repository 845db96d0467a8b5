extern crate crossover_kernels as crossover;

use crossover::{Atomic, Id, kernel};

#[kernel]
fn f(id: Id, x: &[u32], y: &mut [Atomic<u32>]) {
    y[0].fetch_add(x[id.x]);
}

fn main() {}
