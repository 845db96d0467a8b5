//! `Σ x·y`: a reduction over two streams.

use super::entry::{Code, Entry, Expected, Input, Tolerance, poison, uniform};
use crate::{Id, kernel};

/// The dot product.
#[kernel(reduce = add, contract)]
pub fn dot(id: Id, x: &[f32], y: &[f32]) -> f32 {
    x[id.x] * y[id.x]
}

pub(super) const ENTRY: Entry = Entry {
    name: "dot",
    about: "sum of x y",
    tags: &["reduction", "bandwidth"],
    code: Code::Kernel(dot::DEF),
    unit: "elements",
    sizes: [1 << 12, 1 << 18, 1 << 24],
    inputs: |n, rng| {
        let (x, y) = (uniform(rng, n, 0.0, 1.0), uniform(rng, n, 0.0, 1.0));
        vec![Input::F32(x), Input::F32(y), Input::F32(poison(1))]
    },
    reference: |args| {
        let pairs = args[0].f32().iter().zip(args[1].f32());
        let sum = pairs.map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
        vec![Expected { param: 2, values: vec![sum] }]
    },
    // Positive terms in many accumulators: the error grows with the length of one accumulator's run.
    tolerance: Tolerance::of(2e-4, 1e-6),
    operations: |n| 2.0 * n as f64,
};
