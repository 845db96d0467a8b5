extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    assert!(x[id.x] > 0.0);
    assert_eq!(x.len(), y.len());
    y[id.x] = 1.0;
}

fn main() {}
