//! A 3 × 3 convolution with borders clamped: what image filters are made of.

use super::entry::{Code, Entry, Expected, Input, Tolerance, poison, uniform};
use crate::{Id, kernel};

/// Convolves an image with nine weights; outside lies the nearest pixel.
#[kernel(grid = (w, h), contract)]
pub fn conv3x3(id: Id, w: usize, h: usize, weights: &[f32], x: &[f32], y: &mut [f32]) {
    let mut sum = 0.0;
    for i in 0..3 {
        let row = (id.y + i).max(1).min(h) - 1;
        for j in 0..3 {
            let column = (id.x + j).max(1).min(w) - 1;
            sum += weights[i * 3 + j] * x[row * w + column];
        }
    }
    y[id.y * w + id.x] = sum;
}

pub(super) const ENTRY: Entry = Entry {
    name: "conv3x3",
    about: "3 × 3 convolution of a square image",
    tags: &["stencil", "image"],
    code: Code::Kernel(conv3x3::DEF),
    unit: "rows and columns",
    sizes: [64, 512, 4096],
    inputs: |n, rng| {
        let size = Input::Scalar((n as u32).into());
        let weights = Input::F32(uniform(rng, 9, -1.0, 1.0));
        let x = Input::F32(uniform(rng, n * n, 0.0, 1.0));
        vec![size.clone(), size, weights, x, Input::F32(poison(n * n))]
    },
    reference: |args| {
        let n = args[0].scalar() as usize;
        let (weights, x) = (args[2].f32(), args[3].f32());
        let clamp = |v: usize| v.max(1).min(n) - 1;
        let pixel = |at: usize| {
            let (row, column) = (at / n, at % n);
            (0..9)
                .map(|k| {
                    let source = clamp(row + k / 3) * n + clamp(column + k % 3);
                    f64::from(weights[k]) * f64::from(x[source])
                })
                .sum()
        };
        vec![Expected { param: 4, values: (0..n * n).map(pixel).collect() }]
    },
    tolerance: Tolerance::of(1e-5, 2e-6),
    operations: |n| 18.0 * (n * n) as f64,
};
