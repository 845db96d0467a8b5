//! A bilateral filter: weights that depend on what is there, an exponential for each.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::{Id, kernel};

/// The mean of neighbours within 3, those less alike counting less; outside lies the nearest pixel.
#[kernel(grid = (w, h), contract)]
pub fn bilateral(id: Id, w: usize, h: usize, near: f32, alike: f32, x: &[f32], y: &mut [f32]) {
    let at = id.y * w + id.x;
    let own = x[at];
    let mut sum = 0.0;
    let mut all = 0.0;
    for i in 0..7 {
        let row = (id.y + i).max(3).min(h + 2) - 3;
        for j in 0..7 {
            let column = (id.x + j).max(3).min(w + 2) - 3;
            let dy = i as f32 - 3.0;
            let dx = j as f32 - 3.0;
            let v = x[row * w + column];
            let weight = (near * (dx * dx + dy * dy) + alike * (v - own) * (v - own)).exp();
            sum += weight * v;
            all += weight;
        }
    }
    y[at] = sum / all;
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "bilateral",
    about: "bilateral filter of 7 × 7 of a square image",
    tags: &["stencil", "filter", "transcendental", "compute"],
    code: Code::Kernel(bilateral::DEF),
    unit: "rows and columns",
    sizes: [48, 192, 768],
    inputs: |n, rng| {
        let (near, alike) = (Input::Scalar((-0.125f32).into()), Input::Scalar((-8f32).into()));
        let x = Input::F32(uniform(rng, n * n, 0.0, 1.0));
        vec![number(n), number(n), near, alike, x, Input::F32(poison(n * n))]
    },
    reference: |args| {
        let n = args[0].scalar() as usize;
        let (near, alike) = (args[2].scalar(), args[3].scalar());
        let clamp = |v: usize| v.max(3).min(n + 2) - 3;
        let mut values = vec![f64::NAN; n * n];
        for row in (0..n).step_by((n / 128) | 1) {
            for column in 0..n {
                let own = args[4].value(row * n + column);
                let (mut sum, mut all) = (0.0, 0.0);
                for k in 0..49 {
                    let (i, j) = (k / 7, k % 7);
                    let v = args[4].value(clamp(row + i) * n + clamp(column + j));
                    let away = (i as f64 - 3.0).powi(2) + (j as f64 - 3.0).powi(2);
                    let weight = (near * away).exp() * (alike * (v - own).powi(2)).exp();
                    (sum, all) = (sum + weight * v, all + weight);
                }
                values[row * n + column] = sum / all;
            }
        }
        vec![Expected { param: 5, values }]
    },
    // A mean of 49 with the exponential's own error.
    tolerance: Tolerance::of(1e-5, 1e-6),
    operations: |n| 49.0 * 20.0 * (n * n) as f64,
};
