//! Binary searches in a sorted array: loads that depend on loads, and no two invocations on one way.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, poison_u32};
use crate::{Id, kernel};

/// How many elements of `sorted` are less than each of `wanted`.
#[kernel(grid = (wanted.len()))]
pub fn lower_bound(id: Id, sorted: &[u32], wanted: &[u32], places: &mut [u32]) {
    let v = wanted[id.x];
    let mut low = 0;
    let mut high = sorted.len();
    while low < high {
        let middle = low + (high - low) / 2;
        if sorted[middle] < v {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    places[id.x] = low as u32;
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "lower_bound",
    about: "binary searches, as many as the sorted array is long",
    tags: &["search", "gather", "divergent"],
    code: Code::Kernel(lower_bound::DEF),
    unit: "elements",
    sizes: [1 << 10, 1 << 16, 1 << 20],
    inputs: |n, rng| {
        let mut sorted: Vec<u32> = (0..n).map(|_| rng.next_u32()).collect();
        sorted.sort_unstable();
        // Every other one is in the array.
        let wanted = |at: usize| if at.is_multiple_of(2) { sorted[at] } else { rng.next_u32() };
        let mut wanted: Vec<u32> = (0..n).map(wanted).collect();
        for at in (1..n).rev() {
            wanted.swap(at, rng.below(at + 1));
        }
        vec![Input::U32(sorted), Input::U32(wanted), Input::U32(poison_u32(n))]
    },
    // By merging both in order.
    reference: |args| {
        let (sorted, wanted) = (args[0].u32(), args[1].u32());
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        order.sort_unstable_by_key(|&at| wanted[at]);
        let (mut values, mut less) = (vec![0.0; wanted.len()], 0);
        for at in order {
            while less < sorted.len() && sorted[less] < wanted[at] {
                less += 1;
            }
            values[at] = less as f64;
        }
        vec![Expected { param: 2, values }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| 4.0 * (n as f64) * (n as f64).max(2.0).log2(),
};
