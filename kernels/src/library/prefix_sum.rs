//! All prefix sums: a scan, exact in integers.

use super::entry::{Code, Entry, Expected, Input, Tolerance};
use crate::{Id, kernel};

/// Element i of the result is the sum of elements 0 to i, wrapping.
#[kernel(scan = add)]
pub fn prefix_sum(id: Id, x: &[u32]) -> u32 {
    x[id.x]
}

pub(super) const ENTRY: Entry = Entry {
    name: "prefix_sum",
    about: "inclusive scan of x",
    tags: &["scan", "bandwidth"],
    code: Code::Kernel(prefix_sum::DEF),
    unit: "elements",
    sizes: [1 << 12, 1 << 18, 1 << 24],
    inputs: |n, rng| {
        let x = (0..n).map(|_| rng.next_u32() >> 16).collect();
        vec![Input::U32(x), Input::U32(vec![0xdead_beef; n])]
    },
    reference: |args| {
        let mut sum = 0u32;
        let prefix = |x: &u32| {
            sum = sum.wrapping_add(*x);
            f64::from(sum)
        };
        vec![Expected { param: 1, values: args[0].u32().iter().map(prefix).collect() }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| n as f64,
};
