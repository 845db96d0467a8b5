extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
fn f(id: Id, x: &[f32], y: &mut [f32]) {
    let a = 3i8;
    let b = x[id.x] as u8;
    let c: isize = 5;
    let d = 'd';
    let e = "text";
    let s: char = d;
    y[id.x] = a as f32 + b as f32 + c as f32 + e.len() as f32 + s as u32 as f32;
}

fn main() {}
