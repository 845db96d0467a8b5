extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    #[cfg(debug_assertions)]
    let half = 0.5;
    #[cfg(not(debug_assertions))]
    let half = 0.25;
    y[id.x] = half * x[id.x];
}

fn main() {}
