extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    for v in x {
        y[id.x] += v;
    }
    for v in x.iter() {
        y[id.x] += v;
    }
}

fn main() {}
