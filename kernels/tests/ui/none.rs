extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let mut found = None;
    if x[id.x] > 0.0 {
        found = Some(x[id.x]);
    }
    y[id.x] = found.unwrap_or(0.0);
}

fn main() {}
