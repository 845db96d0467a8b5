extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let n;
    if x[id.x] > 0.0 {
        n = 1.0;
    } else {
        n = 2.0;
    }
    y[id.x] = n;
}

fn main() {}
