extern crate crossover_kernels as crossover;

use crossover::{Atomic, Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &[Atomic<i64>]) {
    let _ = y.len() + x.len() + id.x;
}

fn main() {}
