//! `C = A·B` of square matrices, written as the definition: n³ multiplications over n² numbers.

use super::entry::{Code, Entry, Expected, Input, Tolerance, poison, uniform};
use crate::{Id, kernel};

/// The product of two n × n matrices, row by row.
#[kernel(grid = (n, n), contract)]
pub fn matmul(id: Id, n: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    let mut sum = 0.0;
    for k in 0..n {
        sum += a[id.y * n + k] * b[k * n + id.x];
    }
    c[id.y * n + id.x] = sum;
}

/// Rows of the result that the reference computes when there are more: all of a large product in
/// `f64` would take longer than everything else.
const ROWS_CHECKED: usize = 64;

pub(super) const ENTRY: Entry = Entry {
    name: "matmul",
    about: "C = A B, n × n",
    tags: &["dense", "compute"],
    code: Code::Kernel(matmul::DEF),
    unit: "rows and columns",
    sizes: [64, 384, 1792],
    inputs: |n, rng| {
        let (a, b) = (uniform(rng, n * n, -1.0, 1.0), uniform(rng, n * n, -1.0, 1.0));
        let size = Input::Scalar((n as u32).into());
        vec![size, Input::F32(a), Input::F32(b), Input::F32(poison(n * n))]
    },
    reference: |args| {
        let n = args[0].scalar() as usize;
        let (a, b) = (args[1].f32(), args[2].f32());
        // Every row, or some that are spread over the matrix; NaN stands for "not looked at".
        let step = n.div_ceil(ROWS_CHECKED).max(1);
        let mut values = vec![f64::NAN; n * n];
        for i in (0..n).step_by(step) {
            let row = &mut values[i * n..][..n];
            row.fill(0.0);
            for k in 0..n {
                let x = f64::from(a[i * n + k]);
                for (sum, &y) in row.iter_mut().zip(&b[k * n..][..n]) {
                    *sum += x * f64::from(y);
                }
            }
        }
        vec![Expected { param: 3, values }]
    },
    tolerance: Tolerance::of(1e-4, 2e-4),
    operations: |n| 2.0 * (n as f64).powi(3),
};
