extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, a: &f32, total: &mut f32, y: &mut [f32]) {
    *total += a;
    y[id.x] = 1.0;
}

fn main() {}
