//! Colours to brightness: four pixels of three bytes in three words, as video has them.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, poison_u32};
use crate::{Id, kernel};

/// The brightness of four pixels in a word, from red, green and blue each in a word of their own
/// (BT.601, video range, whole numbers).
#[kernel]
pub fn luma(id: Id, red: &[u32], green: &[u32], blue: &[u32], y: &mut [u32]) {
    let mut packed = 0u32;
    for lane in 0..4u32 {
        let shift = 8 * lane;
        let r = (red[id.x] >> shift) & 255;
        let g = (green[id.x] >> shift) & 255;
        let b = (blue[id.x] >> shift) & 255;
        let bright = (66 * r + 129 * g + 25 * b + 128) / 256 + 16;
        packed |= bright << shift;
    }
    y[id.x] = packed;
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "luma",
    about: "brightness of packed colours, four pixels to a word",
    tags: &["map", "bandwidth", "integer"],
    code: Code::Kernel(luma::DEF),
    unit: "words of four pixels",
    sizes: [1 << 12, 1 << 18, 1 << 23],
    inputs: |n, rng| {
        let mut words = || Input::U32((0..n).map(|_| rng.next_u32()).collect());
        vec![words(), words(), words(), Input::U32(poison_u32(n))]
    },
    reference: |args| {
        let bright = |word: usize| {
            let lane = |lane: usize| {
                let byte = |arg: usize| f64::from(args[arg].u32()[word].to_le_bytes()[lane]);
                let sum = 66.0 * byte(0) + 129.0 * byte(1) + 25.0 * byte(2);
                ((sum + 128.0) / 256.0).floor() + 16.0
            };
            (0..4).map(|at| lane(at) * 256f64.powi(at as i32)).sum()
        };
        vec![Expected { param: 3, values: (0..args[3].len()).map(bright).collect() }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| 4.0 * 14.0 * n as f64,
};
