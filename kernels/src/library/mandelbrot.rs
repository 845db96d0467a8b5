//! The Mandelbrot set: heavy arithmetic, no input, and loops that end at a different time for each
//! point.

use super::entry::{Code, Entry, Expected, Input, Tolerance};
use crate::{Id, kernel};

/// Passages of `z ← z² + c` until |z| > 2, at most `limit`, over [−2, 0.5] × [−1.25, 1.25].
#[kernel(grid = (w, h), contract)]
pub fn mandelbrot(id: Id, w: usize, h: usize, limit: u32, out: &mut [u32]) {
    let cx = -2.0 + 2.5 * (id.x as f32 + 0.5) / w as f32;
    let cy = -1.25 + 2.5 * (id.y as f32 + 0.5) / h as f32;
    let mut x = 0.0f32;
    let mut y = 0.0f32;
    let mut count = 0;
    for _ in 0..limit {
        let xx = x * x;
        let yy = y * y;
        if xx + yy > 4.0 {
            break;
        }
        y = 2.0 * x * y + cy;
        x = xx - yy + cx;
        count += 1;
    }
    out[id.y * w + id.x] = count;
}

/// The most passages of a point.
const LIMIT: u32 = 256;

pub(super) const ENTRY: Entry = Entry {
    name: "mandelbrot",
    about: "escape times of a square image, at most 256 passages",
    tags: &["map", "compute", "divergent"],
    code: Code::Kernel(mandelbrot::DEF),
    unit: "rows and columns",
    sizes: [64, 512, 2048],
    inputs: |n, _| {
        let size = Input::Scalar((n as u32).into());
        let out = Input::U32(vec![0xdead_beef; n * n]);
        vec![size.clone(), size, Input::Scalar(LIMIT.into()), out]
    },
    reference: |args| {
        let n = args[0].scalar() as usize;
        // In f32, step by step: near the border the escape time is chaotic, and f64 would count
        // other passages. A device that rounds once where others round twice still differs there.
        let escape = |at: usize| {
            let cx = -2.0 + 2.5 * ((at % n) as f32 + 0.5) / n as f32;
            let cy = -1.25 + 2.5 * ((at / n) as f32 + 0.5) / n as f32;
            let (mut x, mut y, mut count) = (0.0f32, 0.0f32, 0u32);
            while count < LIMIT && x * x + y * y <= 4.0 {
                (x, y) = (x * x - y * y + cx, 2.0 * x * y + cy);
                count += 1;
            }
            f64::from(count)
        };
        vec![Expected { param: 3, values: (0..n * n).map(escape).collect() }]
    },
    tolerance: Tolerance { relative: 0.0, absolute: 0.0, outliers: 0.01 },
    operations: |n| 60.0 * 8.0 * (n * n) as f64,
};
