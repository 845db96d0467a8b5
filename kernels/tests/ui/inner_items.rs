extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    use std::f32::consts::PI;
    static SCALE: f32 = 2.0;
    fn twice(v: f32) -> f32 {
        2.0 * v
    }
    struct Unused;
    y[id.x] = twice(x[id.x]) * SCALE * PI;
}

fn main() {}
