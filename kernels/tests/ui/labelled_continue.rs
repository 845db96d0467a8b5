extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    'rows: while y[id.x] < 9.0 {
        loop {
            y[id.x] += x[id.x];
            continue 'rows;
        }
    }
}

fn main() {}
