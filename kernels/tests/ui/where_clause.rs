extern crate crossover_kernels as crossover;

use crossover::{Id, Num, kernel};

#[kernel]
fn f<T>(id: Id, x: &[T], y: &mut [T])
where
    T: Num,
{
    y[id.x] = x[id.x];
}

fn main() {}
