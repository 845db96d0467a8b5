//! A transpose: nothing but loads and stores, one of them against the grain.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::{Id, kernel};

/// Rows become columns.
#[kernel(grid = (n, n))]
pub fn transpose(id: Id, n: usize, a: &[f32], b: &mut [f32]) {
    b[id.y * n + id.x] = a[id.x * n + id.y];
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "transpose",
    about: "B = Aᵀ, n × n",
    tags: &["bandwidth", "strided"],
    code: Code::Kernel(transpose::DEF),
    unit: "rows and columns",
    sizes: [64, 512, 4096],
    inputs: |n, rng| {
        let a = Input::F32(uniform(rng, n * n, -1.0, 1.0));
        vec![number(n), a, Input::F32(poison(n * n))]
    },
    reference: |args| {
        let n = args[0].scalar() as usize;
        let mut values = vec![0.0; n * n];
        for (at, &v) in args[1].f32().iter().enumerate() {
            values[at % n * n + at / n] = f64::from(v);
        }
        vec![Expected { param: 2, values }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| (n * n) as f64,
};
