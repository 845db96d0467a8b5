//! An integral image: the sum of all pixels above and left, by rows and then by columns. Each invocation
//! walks along a whole row or column.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison_u32};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// Sums along each row.
#[kernel(grid = (h))]
pub fn integral_rows(id: Id, w: usize, h: usize, x: &[u32], y: &mut [u32]) {
    let mut sum = 0;
    for column in 0..w {
        sum += x[id.x * w + column];
        y[id.x * w + column] = sum;
    }
}

/// Sums along each column, in place.
#[kernel(grid = (w))]
pub fn integral_columns(id: Id, w: usize, h: usize, y: &mut [u32]) {
    let mut sum = 0;
    for row in 0..h {
        sum += y[row * w + id.x];
        y[row * w + id.x] = sum;
    }
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "integral",
    about: "sums of all pixels above and left, of a square image",
    tags: &["scan", "bandwidth", "integer"],
    code: Code::Program {
        kernels: &[integral_rows::DEF, integral_columns::DEF],
        steps: |_| {
            vec![
                Step::of(integral_rows::DEF, [arg(0), arg(1), arg(2), arg(3)]),
                Step::of(integral_columns::DEF, [arg(0), arg(1), arg(3)]),
            ]
        },
    },
    unit: "rows and columns",
    sizes: [64, 512, 4096],
    inputs: |n, rng| {
        // Bytes: 4,096² of them are just below 2³².
        let x = (0..n * n).map(|_| rng.next_u32() & 255).collect();
        vec![number(n), number(n), Input::U32(x), Input::U32(poison_u32(n * n))]
    },
    // From the sums of the pixel above and the pixel to the left, at once.
    reference: |args| {
        let n = args[0].scalar() as usize;
        let mut values = vec![0.0; n * n];
        for at in 0..n * n {
            let above = if at >= n { values[at - n] } else { 0.0 };
            let left = if at % n > 0 { values[at - 1] } else { 0.0 };
            let both = if at >= n && at % n > 0 { values[at - n - 1] } else { 0.0 };
            values[at] = args[2].value(at) + above + left - both;
        }
        vec![Expected { param: 3, values }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| 2.0 * (n * n) as f64,
};
