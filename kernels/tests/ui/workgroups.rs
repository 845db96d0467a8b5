extern crate crossover_kernels as crossover;

use crossover::{Atomic, Id, kernel};

#[kernel(workgroup = 2000)]
fn too_large(id: Id, y: &mut [f32]) {
    y[id.x] = 0.0;
}

#[kernel(workgroup = n)]
fn not_constant(id: Id, n: usize, y: &mut [f32]) {
    y[id.x] = n as f32;
}

#[kernel(workgroup = (16, 16))]
fn more_axes(id: Id, y: &mut [f32]) {
    y[id.x] = 0.0;
}

#[kernel(reduce = add, workgroup = 64)]
fn collective(id: Id, x: &[f32]) -> f32 {
    x[id.x]
}

#[kernel(workgroup = 64)]
fn helper(x: f32) -> f32 {
    x
}

#[kernel(workgroup = 64)]
fn shares(id: Id, y: &mut [f32]) {
    let plain = id.shared();
    let truths = id.shared::<bool, 64>();
    let counts = id.shared::<Atomic<f32>, 64>();
    y[id.x] = 0.0;
}

fn main() {}
