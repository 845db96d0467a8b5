//! Resampling an image: each pixel between four of another grid.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::{Id, kernel};

/// A square image of `from` rows becomes one of `to`, bilinear, pixel centres on pixel centres.
#[kernel(grid = (to, to), contract)]
pub fn resize(id: Id, from: usize, to: usize, x: &[f32], y: &mut [f32]) {
    let scale = from as f32 / to as f32;
    let last = (from - 1) as f32;
    let u = ((id.x as f32 + 0.5) * scale - 0.5).max(0.0).min(last);
    let v = ((id.y as f32 + 0.5) * scale - 0.5).max(0.0).min(last);
    let left = u as usize;
    let up = v as usize;
    let right = (left + 1).min(from - 1);
    let down = (up + 1).min(from - 1);
    let a = u - left as f32;
    let b = v - up as f32;
    let above = x[up * from + left] + a * (x[up * from + right] - x[up * from + left]);
    let below = x[down * from + left] + a * (x[down * from + right] - x[down * from + left]);
    y[id.y * to + id.x] = above + b * (below - above);
}

/// Rows of the result.
fn target(n: usize) -> usize {
    n * 3 / 4
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "resize",
    about: "a square image at three quarters of its size, bilinear",
    tags: &["gather", "resampling"],
    code: Code::Kernel(resize::DEF),
    unit: "rows and columns",
    sizes: [64, 512, 4096],
    inputs: |n, rng| {
        let x = Input::F32(uniform(rng, n * n, 0.0, 1.0));
        let to = target(n);
        vec![number(n), number(to), x, Input::F32(poison(to * to))]
    },
    reference: |args| {
        let (from, to) = (args[0].scalar() as usize, args[1].scalar() as usize);
        // Where a pixel lies: the two beside it, and how far it is on the way.
        let place = |at: usize| {
            let centre = (at as f64 + 0.5) * from as f64 / to as f64 - 0.5;
            let centre = centre.clamp(0.0, from as f64 - 1.0);
            let low = centre.floor();
            (low as usize, (low as usize + 1).min(from - 1), centre - low)
        };
        let pixel = |at: usize| {
            let ((up, down, b), (left, right, a)) = (place(at / to), place(at % to));
            let x = |row: usize, column: usize| args[2].value(row * from + column);
            (1.0 - b) * ((1.0 - a) * x(up, left) + a * x(up, right))
                + b * ((1.0 - a) * x(down, left) + a * x(down, right))
        };
        vec![Expected { param: 3, values: (0..to * to).map(pixel).collect() }]
    },
    // Places of up to 4,096 are known to 2e-4 in f32; pixels beside each other differ by up to 1.
    tolerance: Tolerance::of(0.0, 1e-3),
    operations: |n| 20.0 * (target(n) * target(n)) as f64,
};
