//! Looking tokens up in a table: whole rows from anywhere.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::{Id, kernel};

/// The row of each token.
#[kernel(grid = (width, tokens.len()))]
pub fn embedding(id: Id, width: usize, tokens: &[u32], table: &[f32], out: &mut [f32]) {
    out[id.y * width + id.x] = table[tokens[id.y] as usize * width + id.x];
}

/// Numbers of a row.
const WIDTH: usize = 128;

/// Rows of the table.
const ROWS: usize = 2000;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "embedding",
    about: "rows of 128 of a table, by token",
    tags: &["gather", "bandwidth"],
    code: Code::Kernel(embedding::DEF),
    unit: "tokens",
    sizes: [64, 2048, 65_536],
    inputs: |n, rng| {
        let tokens = Input::U32((0..n).map(|_| rng.below(ROWS) as u32).collect());
        let table = Input::F32(uniform(rng, ROWS * WIDTH, -1.0, 1.0));
        vec![number(WIDTH), tokens, table, Input::F32(poison(n * WIDTH))]
    },
    reference: |args| {
        let row = |&token: &u32| &args[2].f32()[token as usize * WIDTH..][..WIDTH];
        let values = args[1].u32().iter().flat_map(row).map(|&v| f64::from(v)).collect();
        vec![Expected { param: 3, values }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| (n * WIDTH) as f64,
};
