extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, a: i8, b: u16, x: &[u8], y: &mut [i16]) {
    y[id.x] = x[id.x] as i16 + a as i16 + b as i16;
}

fn main() {}
