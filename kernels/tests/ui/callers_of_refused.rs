extern crate crossover_kernels as crossover;

use crossover::{Id, Num, kernel};

#[path = "../common/mod.rs"]
mod common;

#[kernel]
fn twice(v: f32) -> f32 {
    println!("{v}");
    2.0 * v
}

#[kernel]
fn f(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] = x.iter().sum::<f32>() * a;
}

#[kernel]
fn generic<T: Num, const N: usize>(id: Id, a: T, x: &[T], y: &mut [T]) {
    'outer: for k in 0..N {
        y[id.x] = x[k] * a;
        break 'outer;
    }
}

#[kernel]
fn calls_a_refused_helper(id: Id, y: &mut [f32]) {
    y[id.x] = twice(1.0);
}

pub fn caller() {
    let x = vec![1.0; 8];
    let mut y = vec![0.0; 8];
    f::on(&common::Reference).args(2.0, &x, &mut y).run().unwrap();
    generic::on(&common::Reference).args::<_, 4>(2.0, &x, &mut y).run().unwrap();
    calls_a_refused_helper::on(&common::Reference).args(&mut y).run().unwrap();
    f(Id::at(0), 2.0, &x, &mut y);
    println!("{:?}", f::DEF);
}

fn main() {}
