//! Softmax of a vector: the largest, the sum, and the shares. Each call needs the number that the one
//! before has made.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, poison, uniform};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// The largest element.
#[kernel(reduce = max)]
pub fn softmax_most(id: Id, x: &[f32]) -> f32 {
    x[id.x]
}

/// The sum of all powers, the largest of which is 1.
#[kernel(reduce = add)]
pub fn softmax_sum(id: Id, x: &[f32], most: &[f32]) -> f32 {
    (x[id.x] - most[0]).exp()
}

/// The share of each.
#[kernel(grid = (x.len()))]
pub fn softmax_share(id: Id, x: &[f32], most: &[f32], sum: &[f32], y: &mut [f32]) {
    y[id.x] = (x[id.x] - most[0]).exp() / sum[0];
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "softmax",
    about: "softmax of a vector",
    tags: &["reduction", "transcendental"],
    code: Code::Program {
        kernels: &[softmax_most::DEF, softmax_sum::DEF, softmax_share::DEF],
        steps: |_| {
            vec![
                Step::of(softmax_most::DEF, [0, 1].map(arg)),
                Step::of(softmax_sum::DEF, [0, 1, 2].map(arg)),
                Step::of(softmax_share::DEF, [0, 1, 2, 3].map(arg)),
            ]
        },
    },
    unit: "elements",
    sizes: [1 << 12, 1 << 18, 1 << 23],
    inputs: |n, rng| {
        let x = Input::F32(uniform(rng, n, -8.0, 8.0));
        vec![x, Input::F32(poison(1)), Input::F32(poison(1)), Input::F32(poison(n))]
    },
    // Without the largest: f64 has room for all of e⁸.
    reference: |args| {
        let powers: Vec<f64> = args[0].f32().iter().map(|&x| f64::from(x).exp()).collect();
        let sum: f64 = powers.iter().sum();
        vec![Expected { param: 3, values: powers.into_iter().map(|power| power / sum).collect() }]
    },
    // The sum is of positive terms in many accumulators: its error grows with the length of one.
    tolerance: Tolerance::of(2e-4, 0.0),
    operations: |n| 40.0 * n as f64,
};
