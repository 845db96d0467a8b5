extern crate crossover_kernels as crossover;

use crossover::kernel;

#[kernel]
fn f(x: f32) -> Option<f32> {
    let v = Some(x)?;
    Some(v)
}

fn main() {}
