extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let mut a = 1.0;
    let mut b = 2.0;
    [a, b] = [b, a];
    (a, b) = (b, a);
    y[id.x] = x[id.x] + a + b;
}

fn main() {}
