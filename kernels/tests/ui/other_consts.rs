extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

mod mine {
    pub mod consts {
        pub const PI: f32 = 3.0;
    }
}

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = x[id.x] * mine::consts::PI;
}

fn main() {}
