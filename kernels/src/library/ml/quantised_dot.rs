//! A layer of bytes: four signed weights to a word, whole numbers throughout.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison_u32};
use crate::{Id, kernel};

/// Each row of weights times the same inputs, both four signed bytes to a word.
#[kernel(grid = (out.len()))]
pub fn quantised_dot(id: Id, words: usize, weights: &[u32], x: &[u32], out: &mut [i32]) {
    let mut sum = 0i32;
    for at in 0..words {
        let a = weights[id.x * words + at];
        let b = x[at];
        for lane in 0..4u32 {
            let shift = 24 - 8 * lane;
            let left = (a << shift) as i32 >> 24;
            let right = (b << shift) as i32 >> 24;
            sum += left * right;
        }
    }
    out[id.x] = sum;
}

/// Words of a row.
const WORDS: usize = 64;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "quantised_dot",
    about: "rows of 256 signed bytes times a vector of bytes",
    tags: &["dense", "integer", "packed"],
    code: Code::Kernel(quantised_dot::DEF),
    unit: "rows",
    sizes: [64, 2048, 65_536],
    inputs: |n, rng| {
        let mut words = |count: usize| Input::U32((0..count).map(|_| rng.next_u32()).collect());
        let (weights, x) = (words(n * WORDS), words(WORDS));
        let out = poison_u32(n).into_iter().map(u32::cast_signed).collect();
        vec![number(WORDS), weights, x, Input::I32(out)]
    },
    reference: |args| {
        let bytes = |words: &[u32]| {
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            bytes.map(|byte| f64::from(byte.cast_signed())).collect::<Vec<f64>>()
        };
        let x = bytes(args[2].u32());
        let row = |row: &[u32]| bytes(row).iter().zip(&x).map(|(a, b)| a * b).sum();
        vec![Expected { param: 3, values: args[1].u32().chunks(WORDS).map(row).collect() }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| 8.0 * (n * WORDS) as f64,
};
