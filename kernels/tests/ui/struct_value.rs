extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

struct Pair {
    a: f32,
}

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let v = Pair { a: 1.0 };
    y[id.x] = v.a + x[id.x];
}

fn main() {}
