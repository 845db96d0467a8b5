//! GELU: a smooth step, by the hyperbolic tangent.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, poison, uniform};
use crate::{Id, kernel};

/// Each element times about the share of a normal distribution below it.
#[kernel(grid = (x.len()), contract)]
pub fn gelu(id: Id, x: &[f32], y: &mut [f32]) {
    let v = x[id.x];
    let inner = 0.7978846 * (v + 0.044715 * v * v * v);
    y[id.x] = 0.5 * v * (1.0 + inner.tanh());
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "gelu",
    about: "GELU of each element, by tanh",
    tags: &["map", "transcendental"],
    code: Code::Kernel(gelu::DEF),
    unit: "elements",
    sizes: [1 << 12, 1 << 18, 1 << 23],
    inputs: |n, rng| vec![Input::F32(uniform(rng, n, -4.0, 4.0)), Input::F32(poison(n))],
    // By the logistic function: (1 + tanh z) / 2 = 1 / (1 + e^{−2z}).
    reference: |args| {
        let value = |&x: &f32| {
            let x = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            x / (1.0 + (-2.0 * inner).exp())
        };
        vec![Expected { param: 1, values: args[0].f32().iter().map(value).collect() }]
    },
    // Below −3, 1 + tanh cancels to what f32 has left of 1.
    tolerance: Tolerance::of(2e-6, 1e-6),
    operations: |n| 30.0 * n as f64,
};
