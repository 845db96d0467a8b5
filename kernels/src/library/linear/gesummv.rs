//! `y = α A x + β B x`: two matrices, each looked at once (PolyBench).

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, poison, uniform};
use crate::{Id, kernel};

/// The sum of two scaled products with the same vector.
#[kernel(grid = (y.len()), contract)]
pub fn gesummv(id: Id, alpha: f32, beta: f32, a: &[f32], b: &[f32], x: &[f32], y: &mut [f32]) {
    let n = x.len();
    let mut left = 0.0;
    let mut right = 0.0;
    for k in 0..n {
        left += a[id.x * n + k] * x[k];
        right += b[id.x * n + k] * x[k];
    }
    y[id.x] = alpha * left + beta * right;
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "gesummv",
    about: "y = α A x + β B x, n × n",
    tags: &["dense", "bandwidth"],
    code: Code::Kernel(gesummv::DEF),
    unit: "rows and columns",
    sizes: [64, 768, 3072],
    inputs: |n, rng| {
        let mut args = vec![Input::Scalar(1.5f32.into()), Input::Scalar((-0.75f32).into())];
        args.extend([n * n, n * n, n].map(|len| Input::F32(uniform(rng, len, -1.0, 1.0))));
        args.push(Input::F32(poison(n)));
        args
    },
    reference: |args| {
        let n = args[4].len();
        let (alpha, beta) = (args[0].scalar(), args[1].scalar());
        let row = |i: usize| {
            let both = |at| alpha * args[2].value(at) + beta * args[3].value(at);
            (0..n).map(|k| both(i * n + k) * args[4].value(k)).sum()
        };
        vec![Expected { param: 5, values: (0..n).map(row).collect() }]
    },
    // n terms of about 1, rounded at each addition.
    tolerance: Tolerance::of(1e-4, 5e-4),
    operations: |n| 4.0 * (n as f64).powi(2),
};
