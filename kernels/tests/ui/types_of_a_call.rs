extern crate crossover_kernels as crossover;

use crossover::{Id, Num, kernel};

#[kernel]
fn twice<T: Num>(v: T) -> T {
    v + v
}

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = twice::<f32>(x[id.x]);
}

fn main() {}
