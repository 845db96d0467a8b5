//! Sobel's edges: two 3 × 3 differences and their length.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::{Id, kernel};

/// The steepness at each pixel; outside lies the nearest pixel.
#[kernel(grid = (w, h), contract)]
pub fn sobel(id: Id, w: usize, h: usize, x: &[f32], y: &mut [f32]) {
    let left = id.x.max(1) - 1;
    let right = (id.x + 1).min(w - 1);
    let up = (id.y.max(1) - 1) * w;
    let own = id.y * w;
    let down = (id.y + 1).min(h - 1) * w;
    let across = x[up + right] - x[up + left]
        + 2.0 * (x[own + right] - x[own + left])
        + (x[down + right] - x[down + left]);
    let along = x[down + left] - x[up + left]
        + 2.0 * (x[down + id.x] - x[up + id.x])
        + (x[down + right] - x[up + right]);
    y[own + id.x] = (across * across + along * along).sqrt();
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "sobel",
    about: "steepness of a square image",
    tags: &["stencil", "filter"],
    code: Code::Kernel(sobel::DEF),
    unit: "rows and columns",
    sizes: [64, 512, 4096],
    inputs: |n, rng| {
        let x = Input::F32(uniform(rng, n * n, 0.0, 1.0));
        vec![number(n), number(n), x, Input::F32(poison(n * n))]
    },
    reference: |args| {
        let n = args[0].scalar() as usize;
        let clamp = |v: usize| v.max(1).min(n) - 1;
        let pixel = |at: usize| {
            let (row, column) = (at / n, at % n);
            let (mut across, mut along) = (0.0, 0.0);
            for i in 0..3 {
                for j in 0..3 {
                    let v = args[2].value(clamp(row + i) * n + clamp(column + j));
                    across += v * (j as f64 - 1.0) * [1.0, 2.0, 1.0][i];
                    along += v * (i as f64 - 1.0) * [1.0, 2.0, 1.0][j];
                }
            }
            across.hypot(along)
        };
        vec![Expected { param: 3, values: (0..n * n).map(pixel).collect() }]
    },
    // Differences of pixels below 1 are off by a few 1e-7 each, and the length by no more than both.
    tolerance: Tolerance::of(1e-5, 1e-5),
    operations: |n| 18.0 * (n * n) as f64,
};
