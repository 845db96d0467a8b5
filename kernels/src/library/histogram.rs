//! Counts of values in 256 bins: atomics, and all invocations after the same few.

use super::entry::{Code, Entry, Expected, Input, Tolerance};
use crate::{Atomic, Id, kernel};

/// Adds each element's lowest eight bits to its bin.
#[kernel]
pub fn histogram(id: Id, x: &[u32], bins: &[Atomic<u32>]) {
    bins[(x[id.x] & 255) as usize].fetch_add(1);
}

pub(super) const ENTRY: Entry = Entry {
    name: "histogram",
    about: "counts in 256 bins",
    tags: &["atomics"],
    code: Code::Kernel(histogram::DEF),
    unit: "elements",
    sizes: [1 << 12, 1 << 18, 1 << 24],
    inputs: |n, rng| {
        let x = (0..n).map(|_| rng.next_u32()).collect();
        vec![Input::U32(x), Input::U32(vec![0; 256])]
    },
    reference: |args| {
        let mut values = vec![0.0; 256];
        args[0].u32().iter().for_each(|&x| values[(x & 255) as usize] += 1.0);
        vec![Expected { param: 1, values }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| n as f64,
};
