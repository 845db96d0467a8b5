extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

type Real = f64;
struct Pixel(f32);

#[kernel]
fn f(id: Id, p: &[Pixel], q: Pixel, r: Real, y: &mut [f32]) {
    y[id.x] = p[0].0 + q.0 + r as f32;
}

fn main() {}
