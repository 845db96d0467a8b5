extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn factorial(n: u32) -> u32 {
    if n < 2 { 1 } else { n * factorial(n - 1) }
}

#[kernel]
fn entry(id: Id, x: &mut [u32]) {
    x[id.x] = 1;
    entry(id, x);
}

#[kernel]
fn swapped(x: &[u32], y: &[u32], n: u32) -> u32 {
    if n == 0 { x[0] + y[0] } else { swapped(y, x, n - 1) }
}

#[kernel]
fn calls(id: Id, x: &[u32], y: &[u32], z: &mut [u32]) {
    z[id.x] = swapped(x, y, id.x as u32);
}

fn main() {}
