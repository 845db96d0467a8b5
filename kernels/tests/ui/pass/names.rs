//! No name of the user's collides with one that `#[kernel]` makes up.
#![deny(warnings)]

extern crate crossover_kernels as crossover;

#[path = "../../common/mod.rs"]
mod common;

use common::Reference;
use crossover::{Atomic, Float, Id, Num, kernel};

#[kernel(reduce = max)]
fn outputs(id: Id, out: &[f32], out_: &[f32]) -> f32 {
    out[id.x] + out_[id.x]
}

#[kernel]
fn generated(this: Id, host: f32, types: &[f32], consts: u32, args: &mut [f32]) {
    args[this.x] = host * types[this.x] + consts as f32;
}

#[kernel]
fn x(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = x[id.x];
}

#[kernel]
fn on(id: Id, y: &mut [f32]) {
    y[id.x] = 1.0;
}

#[kernel]
fn args(id: Id, y: &mut [f32]) {
    y[id.x] = call(2.0);
}

#[kernel]
fn call(v: f32) -> f32 {
    v
}

#[kernel]
fn hosts<H: Num, B: Float, const N: usize>(id: Id, h: H, b: &[B], a: &[H], y: &mut [H]) {
    y[id.x] = if b[id.x] > B::lit(1.0) { h } else { a[N] };
}

#[kernel]
fn r#loop(id: Id, r#type: f32, r#in: &[Atomic<u32>], y: &mut [f32]) {
    r#in[0].fetch_add(1);
    y[id.x] = r#type;
}

#[kernel]
fn many(id: Id, a: f32, b: f32, c: f32, d: f32, e: f32, f: f32, g: f32, y: &mut [f32]) {
    y[id.x] = a + b + c + d + e + f + g;
}

fn main() {
    let v = vec![1.0f32, 2.0];
    let mut y = vec![0.0f32; 2];
    let mut one = vec![0.0f32];
    outputs::on(&Reference).args(&v, &v, &mut one).run().unwrap();
    assert_eq!(one, [4.0]);
    generated::on(&Reference).args(2.0, &v, 3, &mut y).run().unwrap();
    assert_eq!(y, [5.0, 7.0]);
    x::on(&Reference).args(&v, &mut y).run().unwrap();
    on::on(&Reference).args(&mut y).run().unwrap();
    args::on(&Reference).args(&mut y).run().unwrap();
    assert_eq!(y, [2.0, 2.0]);
    hosts::on(&Reference).args::<f32, f32, 1>(9.0, &v, &v, &mut y).run().unwrap();
    assert_eq!(y, [2.0, 9.0]);
    r#loop::on(&Reference).args(4.0, &mut vec![0], &mut y).run().unwrap();
    assert_eq!(y, [4.0, 4.0]);
    many::on(&Reference).args(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, &mut y).run().unwrap();
    assert_eq!(y, [7.0, 7.0]);
}
