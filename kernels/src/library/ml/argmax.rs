//! Where the largest of each row is.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison_u32, uniform};
use crate::{Id, kernel};

/// The first place of the largest in each row.
#[kernel(grid = (places.len()))]
pub fn argmax(id: Id, width: usize, x: &[f32], places: &mut [u32]) {
    let from = id.x * width;
    let mut most = x[from];
    let mut place = 0u32;
    for at in 1..width {
        let v = x[from + at];
        if v > most {
            most = v;
            place = at as u32;
        }
    }
    places[id.x] = place;
}

/// Elements of a row.
const WIDTH: usize = 128;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "argmax",
    about: "place of the largest, in rows of 128",
    tags: &["reduction", "strided", "divergent"],
    code: Code::Kernel(argmax::DEF),
    unit: "rows",
    sizes: [64, 2048, 65_536],
    inputs: |n, rng| {
        let x = Input::F32(uniform(rng, n * WIDTH, -1.0, 1.0));
        vec![number(WIDTH), x, Input::U32(poison_u32(n))]
    },
    // By sorting places.
    reference: |args| {
        let place = |row: &[f32]| {
            let before = |a: &usize, b: &usize| row[*b].total_cmp(&row[*a]).then(a.cmp(b));
            (0..row.len()).min_by(before).unwrap_or(0) as f64
        };
        vec![Expected { param: 2, values: args[1].f32().chunks(WIDTH).map(place).collect() }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| (n * WIDTH) as f64,
};
