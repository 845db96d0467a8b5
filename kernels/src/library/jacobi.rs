//! One step of Jacobi's iteration for the Laplace equation: a five-point stencil, borders kept.

use super::entry::{Code, Entry, Expected, Input, Tolerance, poison, uniform};
use crate::{Id, kernel};

/// The mean of the four neighbours inside, the old value on the border.
#[kernel(grid = (w, h), contract)]
pub fn jacobi(id: Id, w: usize, h: usize, x: &[f32], y: &mut [f32]) {
    let at = id.y * w + id.x;
    if id.x == 0 || id.y == 0 || id.x + 1 == w || id.y + 1 == h {
        y[at] = x[at];
    } else {
        y[at] = 0.25 * (x[at - 1] + x[at + 1] + x[at - w] + x[at + w]);
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "jacobi",
    about: "five-point stencil on a square grid",
    tags: &["stencil", "bandwidth"],
    code: Code::Kernel(jacobi::DEF),
    unit: "rows and columns",
    sizes: [64, 512, 4096],
    inputs: |n, rng| {
        let size = Input::Scalar((n as u32).into());
        let x = Input::F32(uniform(rng, n * n, 0.0, 1.0));
        vec![size.clone(), size, x, Input::F32(poison(n * n))]
    },
    reference: |args| {
        let n = args[0].scalar() as usize;
        let x = |row: usize, column: usize| f64::from(args[2].f32()[row * n + column]);
        let values = (0..n * n)
            .map(|at| {
                let (i, j) = (at / n, at % n);
                if i == 0 || j == 0 || i + 1 == n || j + 1 == n {
                    return x(i, j);
                }
                0.25 * (x(i, j - 1) + x(i, j + 1) + x(i - 1, j) + x(i + 1, j))
            })
            .collect();
        vec![Expected { param: 3, values }]
    },
    tolerance: Tolerance::of(1e-6, 1e-6),
    operations: |n| 4.0 * (n * n) as f64,
};
