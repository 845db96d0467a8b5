//! A Gaussian blur: rows, then columns, with the same weights.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// Weighs the neighbours in the row; outside lies the nearest pixel.
#[kernel(grid = (w, h), contract)]
#[expect(clippy::needless_range_loop, reason = "kernels have no iterators")]
pub fn blur_rows(id: Id, w: usize, h: usize, weights: &[f32], x: &[f32], y: &mut [f32]) {
    let radius = weights.len() / 2;
    let mut sum = 0.0;
    for k in 0..weights.len() {
        let column = (id.x + k).max(radius).min(w - 1 + radius) - radius;
        sum += weights[k] * x[id.y * w + column];
    }
    y[id.y * w + id.x] = sum;
}

/// Weighs the neighbours in the column; outside lies the nearest pixel.
#[kernel(grid = (w, h), contract)]
#[expect(clippy::needless_range_loop, reason = "kernels have no iterators")]
pub fn blur_columns(id: Id, w: usize, h: usize, weights: &[f32], x: &[f32], y: &mut [f32]) {
    let radius = weights.len() / 2;
    let mut sum = 0.0;
    for k in 0..weights.len() {
        let row = (id.y + k).max(radius).min(h - 1 + radius) - radius;
        sum += weights[k] * x[row * w + id.x];
    }
    y[id.y * w + id.x] = sum;
}

/// How far the blur reaches.
const RADIUS: usize = 4;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "gaussian",
    about: "Gaussian blur of 9 × 9 of a square image, rows then columns",
    tags: &["stencil", "filter"],
    code: Code::Program {
        kernels: &[blur_rows::DEF, blur_columns::DEF],
        steps: |_| {
            vec![
                Step::of(blur_rows::DEF, [0, 1, 2, 3, 4].map(arg)),
                Step::of(blur_columns::DEF, [0, 1, 2, 4, 5].map(arg)),
            ]
        },
    },
    unit: "rows and columns",
    sizes: [64, 512, 2048],
    inputs: |n, rng| {
        let raw = (0..2 * RADIUS + 1).map(|k| (-(k as f64 - RADIUS as f64).powi(2) / 8.0).exp());
        let raw: Vec<f64> = raw.collect();
        let all: f64 = raw.iter().sum();
        let weights = Input::F32(raw.iter().map(|w| (w / all) as f32).collect());
        let x = Input::F32(uniform(rng, n * n, 0.0, 1.0));
        let (t, y) = (Input::F32(poison(n * n)), Input::F32(poison(n * n)));
        vec![number(n), number(n), weights, x, t, y]
    },
    // Both directions at once, which is n² · 81 products: of some rows.
    reference: |args| {
        let n = args[0].scalar() as usize;
        let weight = |k: usize| args[2].value(k);
        let clamp = |v: usize| v.max(RADIUS).min(n + RADIUS - 1) - RADIUS;
        let mut values = vec![f64::NAN; n * n];
        for row in (0..n).step_by((n / 64) | 1) {
            for column in 0..n {
                let mut sum = 0.0;
                for i in 0..2 * RADIUS + 1 {
                    let from = clamp(row + i) * n;
                    let pixel = |j: usize| args[3].value(from + clamp(column + j));
                    sum +=
                        weight(i) * (0..2 * RADIUS + 1).map(|j| weight(j) * pixel(j)).sum::<f64>();
                }
                values[row * n + column] = sum;
            }
        }
        vec![Expected { param: 5, values }]
    },
    // A mean: two sums of nine terms.
    tolerance: Tolerance::of(2e-6, 1e-6),
    operations: |n| 36.0 * (n * n) as f64,
};
