//! `E = (α A B) C + β D`: two products, the second of the first (PolyBench's 2mm).

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// `T = α A B`.
#[kernel(grid = (n, n), contract)]
pub fn scaled_product(id: Id, n: usize, alpha: f32, a: &[f32], b: &[f32], t: &mut [f32]) {
    let mut sum = 0.0;
    for k in 0..n {
        sum += a[id.y * n + k] * b[k * n + id.x];
    }
    t[id.y * n + id.x] = alpha * sum;
}

/// `E = T C + β D`.
#[kernel(grid = (n, n), contract)]
pub fn product_plus(id: Id, n: usize, beta: f32, t: &[f32], c: &[f32], d: &[f32], e: &mut [f32]) {
    let at = id.y * n + id.x;
    let mut sum = beta * d[at];
    for k in 0..n {
        sum += t[id.y * n + k] * c[k * n + id.x];
    }
    e[at] = sum;
}

/// Rows that the reference computes when there are more.
const ROWS_CHECKED: usize = 24;

/// `row · M` in `f64`.
fn row_times(n: usize, row: &[f64], m: &[f32]) -> Vec<f64> {
    let mut sums = vec![0.0; n];
    for (&factor, of_m) in row.iter().zip(m.chunks(n.max(1))) {
        sums.iter_mut().zip(of_m).for_each(|(sum, &m)| *sum += factor * f64::from(m));
    }
    sums
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "two_mm",
    about: "E = (α A B) C + β D, n × n",
    tags: &["dense", "compute"],
    code: Code::Program {
        kernels: &[scaled_product::DEF, product_plus::DEF],
        steps: |_| {
            vec![
                Step::of(scaled_product::DEF, [0, 1, 3, 4, 7].map(arg)),
                Step::of(product_plus::DEF, [0, 2, 7, 5, 6, 8].map(arg)),
            ]
        },
    },
    unit: "rows and columns",
    sizes: [48, 256, 1024],
    inputs: |n, rng| {
        let mut args = vec![number(n), Input::Scalar(0.5f32.into()), Input::Scalar(2f32.into())];
        args.extend((0..4).map(|_| Input::F32(uniform(rng, n * n, -1.0, 1.0))));
        args.extend((0..2).map(|_| Input::F32(poison(n * n))));
        args
    },
    reference: |args| {
        let n = args[0].scalar() as usize;
        let (alpha, beta) = (args[1].scalar(), args[2].scalar());
        let step = n.div_ceil(ROWS_CHECKED).max(1);
        let mut values = vec![f64::NAN; n * n];
        for i in (0..n).step_by(step) {
            let row: Vec<f64> = (0..n).map(|k| alpha * args[3].value(i * n + k)).collect();
            let row = row_times(n, &row_times(n, &row, args[4].f32()), args[5].f32());
            for (j, sum) in row.into_iter().enumerate() {
                values[i * n + j] = sum + beta * args[6].value(i * n + j);
            }
        }
        vec![Expected { param: 8, values }]
    },
    // n terms of √n / 6 each, rounded at every addition.
    tolerance: Tolerance::of(1e-4, 2e-3),
    operations: |n| 4.0 * (n as f64).powi(3),
};
