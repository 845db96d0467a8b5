extern crate crossover_kernels as crossover;

use crossover::kernel;

#[kernel]
struct S;

#[kernel]
impl S {}

fn main() {}
