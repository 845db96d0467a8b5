//! The cheapest way through a field from top to bottom (Rodinia's path finder): a call for each row.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number};
use crate::library::program::{Step, arg, int};
use crate::{Id, kernel};

/// What it costs to have come to each cell of a row: its own cost, and the least of three above.
#[kernel(grid = (w))]
pub fn path_row(id: Id, w: usize, row: usize, costs: &[i32], x: &[i32], y: &mut [i32]) {
    let mut least = 0;
    if row > 0 {
        let left = id.x.max(1) - 1;
        let right = (id.x + 1).min(w - 1);
        least = x[left].min(x[id.x]).min(x[right]);
    }
    y[id.x] = costs[row * w + id.x] + least;
}

/// Rows of the field; an even number.
const ROWS: usize = 24;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "path_finder",
    about: "cheapest ways through 24 rows, from top to bottom",
    tags: &["dynamic-programming", "integer", "many-calls"],
    code: Code::Program {
        kernels: &[path_row::DEF],
        steps: |_| {
            let step = |row: usize| {
                let [x, y] = if row.is_multiple_of(2) { [3, 2] } else { [2, 3] };
                Step::of(path_row::DEF, [arg(0), int(row), arg(1), arg(x), arg(y)])
            };
            (0..ROWS).map(step).collect()
        },
    },
    unit: "columns",
    sizes: [1 << 10, 1 << 15, 1 << 19],
    inputs: |n, rng| {
        let costs = (0..ROWS * n).map(|_| rng.below(20) as i32 - 5).collect();
        let garbage = || Input::I32(vec![i32::MIN / 2; n]);
        vec![number(n), Input::I32(costs), garbage(), garbage()]
    },
    reference: |args| {
        let n = args[0].scalar() as usize;
        let mut ways = vec![0i64; n];
        for costs in args[1].i32().chunks(n.max(1)) {
            let least = |at: usize| ways[at.saturating_sub(1)..(at + 2).min(n)].iter().min();
            let way = |at: usize| i64::from(costs[at]) + least(at).copied().unwrap_or(0);
            ways = (0..n).map(way).collect();
        }
        vec![Expected { param: 3, values: ways.into_iter().map(|way| way as f64).collect() }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| 3.0 * ROWS as f64 * n as f64,
};

const _: () = assert!(ROWS.is_multiple_of(2), "the last row comes to the last argument");
