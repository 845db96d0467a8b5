extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(_id: Id, a: f32) {
    let _ = a;
}

fn main() {}
