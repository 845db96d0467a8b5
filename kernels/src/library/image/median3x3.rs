//! The median of each pixel's neighbourhood, by a network of comparisons: no branch, many minima.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::{Id, kernel};

/// The middle of three.
#[kernel]
pub fn median(a: f32, b: f32, c: f32) -> f32 {
    a.min(b).max(a.max(b).min(c))
}

/// The middle of nine neighbours; outside lies the nearest pixel.
#[kernel(grid = (w, h))]
pub fn median3x3(id: Id, w: usize, h: usize, x: &[f32], y: &mut [f32]) {
    let left = id.x.max(1) - 1;
    let right = (id.x + 1).min(w - 1);
    let up = (id.y.max(1) - 1) * w;
    let own = id.y * w;
    let down = (id.y + 1).min(h - 1) * w;
    // Each row in order; then the middle is among the largest of the least, the middle of the
    // middles, and the least of the largest.
    let mut least = [0.0f32; 3];
    let mut middle = [0.0f32; 3];
    let mut most = [0.0f32; 3];
    for row in 0..3 {
        let from = if row == 0 {
            up
        } else if row == 1 {
            own
        } else {
            down
        };
        let a = x[from + left];
        let b = x[from + id.x];
        let c = x[from + right];
        let low = a.min(b);
        let high = a.max(b);
        least[row] = low.min(c);
        middle[row] = median(a, b, c);
        most[row] = high.max(c);
    }
    let of_least = least[0].max(least[1]).max(least[2]);
    let of_most = most[0].min(most[1]).min(most[2]);
    let of_middle = median(middle[0], middle[1], middle[2]);
    y[own + id.x] = median(of_least, of_middle, of_most);
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "median3x3",
    about: "median of 3 × 3 of a square image",
    tags: &["stencil", "filter"],
    code: Code::Kernel(median3x3::DEF),
    unit: "rows and columns",
    sizes: [64, 512, 2048],
    inputs: |n, rng| {
        let x = Input::F32(uniform(rng, n * n, 0.0, 1.0));
        vec![number(n), number(n), x, Input::F32(poison(n * n))]
    },
    reference: |args| {
        let n = args[0].scalar() as usize;
        let clamp = |v: usize| v.max(1).min(n) - 1;
        let pixel = |at: usize| {
            let around = |k: usize| clamp(at / n + k / 3) * n + clamp(at % n + k % 3);
            let mut nine: [f64; 9] = std::array::from_fn(|k| args[2].value(around(k)));
            *nine.select_nth_unstable_by(4, f64::total_cmp).1
        };
        vec![Expected { param: 3, values: (0..n * n).map(pixel).collect() }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| 30.0 * (n * n) as f64,
};
