extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let n = loop {
        if x[id.x] > 1.0 {
            break 2.0 * x[id.x];
        }
    };
    y[id.x] = n;
}

fn main() {}
