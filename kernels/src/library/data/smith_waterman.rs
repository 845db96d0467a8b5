//! Where two sequences are most alike (Smith and Waterman): a table by its diagonals, a call for each.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number};
use crate::library::program::{Step, arg, int};
use crate::{Id, kernel};

/// Nothing is alike before the sequences begin: the first row and column of the table.
#[kernel(grid = (width))]
pub fn align_start(id: Id, width: usize, h: &mut [i32]) {
    h[id.x] = 0;
    h[id.x * width] = 0;
}

/// Scores on a diagonal, from row `first` down to the left: a match counts 3, another letter −1, a gap −2.
#[kernel(grid = (cells))]
#[expect(clippy::too_many_arguments, reason = "where the diagonal lies")]
pub fn align_diagonal(
    id: Id,
    cells: usize,
    first: usize,
    diagonal: usize,
    width: usize,
    a: &[u32],
    b: &[u32],
    h: &mut [i32],
) {
    let i = first + id.x;
    let j = diagonal - i;
    let at = i * width + j;
    let alike = if a[i - 1] == b[j - 1] { 3 } else { -1 };
    let both = h[at - width - 1] + alike;
    let gap = h[at - width].max(h[at - 1]) - 2;
    h[at] = both.max(gap).max(0);
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "smith_waterman",
    about: "local alignment of two sequences, by diagonals",
    tags: &["dynamic-programming", "integer", "wavefront", "many-calls"],
    code: Code::Program {
        kernels: &[align_start::DEF, align_diagonal::DEF],
        steps: |n| {
            let width = n + 1;
            let mut steps = vec![Step::of(align_start::DEF, [int(width), arg(3)])];
            for diagonal in 2..2 * width - 1 {
                let first = diagonal.saturating_sub(n).max(1);
                let cells = diagonal.min(width) - first;
                let own = [cells, first, diagonal].map(int);
                let rest = [arg(0), arg(1), arg(2), arg(3)];
                steps.push(Step::of(align_diagonal::DEF, own.into_iter().chain(rest)));
            }
            steps
        },
    },
    unit: "letters",
    sizes: [64, 384, 1024],
    inputs: |n, rng| {
        let mut letters = || Input::U32((0..n).map(|_| rng.next_u32() >> 30).collect());
        let (a, b) = (letters(), letters());
        vec![number(n + 1), a, b, Input::I32(vec![i32::MIN / 2; (n + 1) * (n + 1)])]
    },
    // Row by row.
    reference: |args| {
        let (a, b) = (args[1].u32(), args[2].u32());
        let mut values = vec![0.0; args[3].len()];
        let mut above = vec![0i64; b.len() + 1];
        for (i, x) in a.iter().enumerate() {
            let mut row = vec![0i64];
            for (j, y) in b.iter().enumerate() {
                let both = above[j] + if x == y { 3 } else { -1 };
                row.push(both.max(above[j + 1] - 2).max(row[j] - 2).max(0));
            }
            let target = &mut values[(i + 1) * (b.len() + 1)..][..row.len()];
            target.iter_mut().zip(&row).for_each(|(to, &score)| *to = score as f64);
            above = row;
        }
        vec![Expected { param: 3, values }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| 6.0 * (n * n) as f64,
};
