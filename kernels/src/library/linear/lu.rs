//! LU factors of a matrix without pivots: two calls for each column, each over less than the one before.
//! The matrix has a large diagonal, so that no pivot is needed.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::library::program::{Step, arg, int};
use crate::{Id, kernel};

/// Where the factors are made: a copy.
#[kernel]
pub fn lu_start(id: Id, a: &[f32], lu: &mut [f32]) {
    lu[id.x] = a[id.x];
}

/// Divides what is below the diagonal in column k by the diagonal.
#[kernel]
pub fn lu_column(id: Id, n: usize, k: usize, lu: &mut [f32]) {
    let i = k + 1 + id.x;
    lu[i * n + k] /= lu[k * n + k];
}

/// Takes column k's multiple of row k from what is below and right of both.
#[kernel(grid = (rows, rows), contract)]
pub fn lu_update(id: Id, rows: usize, n: usize, k: usize, lu: &mut [f32]) {
    let i = k + 1 + id.y;
    let j = k + 1 + id.x;
    lu[i * n + j] -= lu[i * n + k] * lu[k * n + j];
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "lu",
    about: "factors L U of A, n × n, no pivots",
    tags: &["dense", "many-calls"],
    code: Code::Program {
        kernels: &[lu_start::DEF, lu_column::DEF, lu_update::DEF],
        steps: |n| {
            let mut steps = vec![Step::of(lu_start::DEF, [arg(1), arg(2)])];
            for k in 0..n.saturating_sub(1) {
                let rows = n - 1 - k;
                let own = [arg(0), int(k), arg(2)];
                steps.push(Step::of(lu_column::DEF, own).over(rows));
                steps.push(Step::of(lu_update::DEF, [int(rows)].into_iter().chain(own)));
            }
            steps
        },
    },
    unit: "rows and columns",
    sizes: [32, 128, 512],
    inputs: |n, rng| {
        let mut a = uniform(rng, n * n, -1.0, 1.0);
        (0..n).for_each(|i| a[i * n + i] += n as f32);
        vec![number(n), Input::F32(a), Input::F32(poison(n * n))]
    },
    // Row by row, as Doolittle has it, where the kernels go column by column.
    reference: |args| {
        let n = args[0].scalar() as usize;
        let mut lu: Vec<f64> = args[1].f32().iter().map(|&v| f64::from(v)).collect();
        for i in 0..n {
            let (above, row) = lu.split_at_mut(i * n);
            for k in 0..i {
                row[k] /= above[k * n + k];
                let factor = row[k];
                let of_k = &above[k * n..][..n];
                (k + 1..n).for_each(|j| row[j] -= factor * of_k[j]);
            }
        }
        vec![Expected { param: 2, values: lu }]
    },
    // The diagonal is n times what else there is: errors do not grow.
    tolerance: Tolerance::of(1e-5, 1e-5),
    operations: |n| 2.0 / 3.0 * (n as f64).powi(3),
};
