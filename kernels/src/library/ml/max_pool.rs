//! The largest of each 2 × 2: a quarter as many as there were.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::{Id, kernel};

/// The largest of each four neighbours; a last row or column without another is left out.
#[kernel(grid = (half, half))]
pub fn max_pool(id: Id, half: usize, n: usize, x: &[f32], y: &mut [f32]) {
    let at = 2 * id.y * n + 2 * id.x;
    let above = x[at].max(x[at + 1]);
    let below = x[at + n].max(x[at + n + 1]);
    y[id.y * half + id.x] = above.max(below);
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "max_pool",
    about: "largest of each 2 × 2 of a square",
    tags: &["stencil", "strided", "bandwidth"],
    code: Code::Kernel(max_pool::DEF),
    unit: "rows and columns",
    sizes: [64, 512, 4096],
    inputs: |n, rng| {
        let x = Input::F32(uniform(rng, n * n, -1.0, 1.0));
        vec![number(n / 2), number(n), x, Input::F32(poison(n / 2 * (n / 2)))]
    },
    // Each element to the place it belongs to.
    reference: |args| {
        let (half, n) = (args[0].scalar() as usize, args[1].scalar() as usize);
        let mut values = vec![f64::NEG_INFINITY; half * half];
        for (at, &v) in args[2].f32().iter().enumerate() {
            let (row, column) = (at / n / 2, at % n / 2);
            if row < half && column < half {
                let largest = &mut values[row * half + column];
                *largest = largest.max(f64::from(v));
            }
        }
        vec![Expected { param: 3, values }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| 0.75 * (n * n) as f64,
};
