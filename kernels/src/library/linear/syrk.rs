//! `C = A Aᵀ` below the diagonal: a product whose invocations above it have nothing to do (PolyBench).

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::{Id, kernel};

/// The lower triangle of the product of a matrix with its transpose, zero above.
#[kernel(grid = (n, n), contract)]
pub fn syrk(id: Id, n: usize, a: &[f32], c: &mut [f32]) {
    let mut sum = 0.0;
    if id.x <= id.y {
        for k in 0..n {
            sum += a[id.y * n + k] * a[id.x * n + k];
        }
    }
    c[id.y * n + id.x] = sum;
}

/// Rows that the reference computes when there are more.
const ROWS_CHECKED: usize = 48;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "syrk",
    about: "C = A Aᵀ below the diagonal, n × n",
    tags: &["dense", "compute", "divergent"],
    code: Code::Kernel(syrk::DEF),
    unit: "rows and columns",
    sizes: [48, 256, 768],
    inputs: |n, rng| {
        let a = Input::F32(uniform(rng, n * n, -1.0, 1.0));
        vec![number(n), a, Input::F32(poison(n * n))]
    },
    reference: |args| {
        let n = args[0].scalar() as usize;
        let step = n.div_ceil(ROWS_CHECKED).max(1);
        let mut values = vec![f64::NAN; n * n];
        for i in (0..n).step_by(step) {
            for j in 0..n {
                let products = (0..n).map(|k| args[1].value(i * n + k) * args[1].value(j * n + k));
                values[i * n + j] = if j <= i { products.sum() } else { 0.0 };
            }
        }
        vec![Expected { param: 2, values }]
    },
    tolerance: Tolerance::of(1e-4, 2e-4),
    operations: |n| (n as f64).powi(3),
};
