extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

macro_rules! twice {
    ($e:expr) => {
        2.0 * $e
    };
}

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = twice!(x[id.x]);
}

fn main() {}
