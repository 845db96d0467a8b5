//! A crate that allows itself nothing: kernels add no warnings, public or private, called as plain
//! Rust, only placed, or only named.
#![deny(warnings, missing_docs, missing_debug_implementations, unreachable_pub, unused, dead_code)]
#![deny(rust_2018_idioms, rust_2024_compatibility, single_use_lifetimes, unused_qualifications)]
#![forbid(unsafe_code)]

extern crate crossover_kernels as crossover;

use crossover::{Host, Id, Num, kernel};

/// Public, and not called here.
#[kernel]
pub fn public(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = x[id.x];
}

/// Public and generic, with every kind of documentation.
///
/// # Panics
/// Never.
#[kernel(reduce = add, grid = (n, N))]
#[must_use]
pub fn sized<T: Num, const N: usize>(id: Id, n: usize, x: &[T]) -> T {
    x[id.y * n + id.x]
}

#[kernel]
fn only_placed(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] = a * x[id.x];
}

#[kernel(scan = add)]
fn only_placed_generic<T: Num>(id: Id, x: &[T]) -> T {
    x[id.x]
}

#[kernel]
fn only_named(id: Id, y: &mut [f32]) {
    y[id.x] = 1.0;
}

#[kernel]
fn only_called(id: Id, y: &mut [f32]) {
    y[id.x] = 1.0;
}

/// Places kernels on any host.
pub fn place<H: Host>(host: &H, x: &H::Buffer<f32>, y: &mut H::Buffer<f32>) {
    let _ = only_placed::on(host).args(2.0, x, y);
    let _ = only_placed_generic::on(host).args(x, y);
}

fn main() {
    println!("{}", only_named::DEF.name);
    only_called(Id::at(0), &mut [0.0]);
}
