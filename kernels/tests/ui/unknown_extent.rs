extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel(grid = (w, z.len(), a))]
fn f(id: Id, a: f32, y: &mut [f32]) {
    y[id.x] = a;
}

#[kernel(grid = (n, y))]
fn g(id: Id, mut n: u32, y: &mut [u32]) {
    n += 1;
    y[id.x] = n;
}

fn main() {}
