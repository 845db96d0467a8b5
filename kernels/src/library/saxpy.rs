//! `y ← a·x + y`: two loads and a store for two operations, the plainest streaming kernel.

use super::entry::{Code, Entry, Expected, Input, Tolerance, uniform};
use crate::{Id, kernel};

/// Adds `a` times `x` to `y`.
#[kernel(contract)]
#[expect(clippy::assign_op_pattern, reason = "the formula as everybody knows it")]
pub fn saxpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    let i = id.x;
    y[i] = a * x[i] + y[i];
}

pub(super) const ENTRY: Entry = Entry {
    name: "saxpy",
    about: "y = a x + y",
    tags: &["stream", "bandwidth"],
    code: Code::Kernel(saxpy::DEF),
    unit: "elements",
    sizes: [1 << 12, 1 << 18, 1 << 24],
    inputs: |n, rng| {
        let a = uniform(rng, 1, -2.0, 2.0)[0];
        let (x, y) = (uniform(rng, n, -1.0, 1.0), uniform(rng, n, -1.0, 1.0));
        vec![Input::Scalar(a.into()), Input::F32(x), Input::F32(y)]
    },
    reference: |args| {
        let a = args[0].scalar();
        let pairs = args[1].f32().iter().zip(args[2].f32());
        let values = pairs.map(|(&x, &y)| a * f64::from(x) + f64::from(y)).collect();
        vec![Expected { param: 2, values }]
    },
    tolerance: Tolerance::of(1e-6, 1e-6),
    operations: |n| 2.0 * n as f64,
};
