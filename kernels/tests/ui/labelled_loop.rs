extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    'rows: for k in 0..4 {
        for l in 0..4 {
            if k * l > 6 {
                break 'rows;
            }
            y[id.x] += x[id.x];
        }
    }
}

fn main() {}
