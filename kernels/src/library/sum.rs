//! `Σ x`: the plainest reduction, one load for one operation.

use super::entry::{Code, Entry, Expected, Input, Tolerance, poison, uniform};
use crate::{Id, kernel};

/// The sum of all elements.
#[kernel(reduce = add)]
pub fn sum(id: Id, x: &[f32]) -> f32 {
    x[id.x]
}

pub(super) const ENTRY: Entry = Entry {
    name: "sum",
    about: "sum of x",
    tags: &["reduction", "bandwidth"],
    code: Code::Kernel(sum::DEF),
    unit: "elements",
    sizes: [1 << 12, 1 << 18, 1 << 24],
    inputs: |n, rng| vec![Input::F32(uniform(rng, n, 0.0, 1.0)), Input::F32(poison(1))],
    reference: |args| {
        let sum = args[0].f32().iter().map(|&x| f64::from(x)).sum();
        vec![Expected { param: 1, values: vec![sum] }]
    },
    tolerance: Tolerance::of(2e-4, 1e-6),
    operations: |n| n as f64,
};
