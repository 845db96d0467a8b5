//! A sparse matrix times a vector, rows compressed (CSR): gathers, and rows of different lengths.

use super::entry::{Code, Entry, Expected, Input, Tolerance, poison, uniform};
use crate::{Id, kernel};

/// `y = A x` with row i's entries at `starts[i]..starts[i + 1]`.
#[kernel(contract)]
pub fn spmv(id: Id, starts: &[u32], columns: &[u32], values: &[f32], x: &[f32], y: &mut [f32]) {
    let i = id.x;
    let mut sum = 0.0;
    for at in starts[i]..starts[i + 1] {
        let k = at as usize;
        sum += values[k] * x[columns[k] as usize];
    }
    y[i] = sum;
}

/// Entries of a row, on average; rows have from none to twice as many.
const ENTRIES: u32 = 16;

pub(super) const ENTRY: Entry = Entry {
    name: "spmv",
    about: "sparse matrix (CSR) times vector",
    tags: &["sparse", "gather"],
    code: Code::Kernel(spmv::DEF),
    unit: "rows",
    sizes: [1 << 10, 1 << 14, 1 << 19],
    inputs: |n, rng| {
        let mut starts = vec![0u32];
        for row in 0..n {
            starts.push(starts[row] + rng.below(2 * ENTRIES as usize + 1) as u32);
        }
        let entries = starts[n] as usize;
        let columns = (0..entries).map(|_| rng.below(n.max(1)) as u32).collect();
        vec![
            Input::U32(starts),
            Input::U32(columns),
            Input::F32(uniform(rng, entries, -1.0, 1.0)),
            Input::F32(uniform(rng, n, -1.0, 1.0)),
            Input::F32(poison(n)),
        ]
    },
    reference: |args| {
        let (starts, columns) = (args[0].u32(), args[1].u32());
        let row = |pair: &[u32]| {
            (pair[0] as usize..pair[1] as usize)
                .map(|k| args[2].value(k) * args[3].value(columns[k] as usize))
                .sum()
        };
        vec![Expected { param: 4, values: starts.windows(2).map(row).collect() }]
    },
    tolerance: Tolerance::of(1e-5, 1e-5),
    operations: |n| 2.0 * f64::from(ENTRIES) * n as f64,
};
