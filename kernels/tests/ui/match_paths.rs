extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    const LAST: usize = 7;
    y[id.x] = match id.x {
        LAST => x[0],
        0 | usize::MAX => 2.0,
        _ => 1.0,
    };
}

fn main() {}
