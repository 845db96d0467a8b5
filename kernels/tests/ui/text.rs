extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, c: char, s: String, t: &str, y: &mut [u32]) {
    y[id.x] = c as u32 + s.len() as u32 + t.len() as u32;
}

fn main() {}
