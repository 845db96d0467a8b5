//! Histogram equalisation: counts, their sums, and each pixel by its rank. Four calls, two of them over
//! 256 bins only.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, poison_u32};
use crate::library::program::{Step, arg};
use crate::{Atomic, Id, kernel};

/// No counts.
#[kernel]
pub fn equalise_clear(id: Id, bins: &mut [u32]) {
    bins[id.x] = 0;
}

/// Counts the pixels of each brightness.
#[kernel(grid = (x.len()))]
pub fn equalise_count(id: Id, x: &[u32], bins: &[Atomic<u32>]) {
    bins[(x[id.x] & 255) as usize].fetch_add(1);
}

/// Pixels that are no brighter.
#[kernel(scan = add)]
pub fn equalise_ranks(id: Id, bins: &[u32]) -> u32 {
    bins[id.x]
}

/// Spreads brightness so that each is as frequent: by the share of pixels that are no brighter.
#[kernel(grid = (x.len()))]
pub fn equalise_apply(id: Id, x: &[u32], ranks: &[u32], y: &mut [u32]) {
    let pixels = x.len() as u32;
    y[id.x] = ranks[(x[id.x] & 255) as usize] * 255 / pixels;
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "equalise",
    about: "histogram equalisation of brightness in 256 steps",
    tags: &["atomics", "gather", "integer"],
    code: Code::Program {
        kernels: &[
            equalise_clear::DEF,
            equalise_count::DEF,
            equalise_ranks::DEF,
            equalise_apply::DEF,
        ],
        steps: |_| {
            vec![
                Step::of(equalise_clear::DEF, [arg(1)]),
                Step::of(equalise_count::DEF, [arg(0), arg(1)]),
                Step::of(equalise_ranks::DEF, [arg(1), arg(2)]),
                Step::of(equalise_apply::DEF, [arg(0), arg(2), arg(3)]),
            ]
        },
    },
    unit: "pixels",
    sizes: [1 << 12, 1 << 18, 1 << 23],
    inputs: |n, rng| {
        // Dark pixels are more frequent: the product of two.
        let dark = |a: u32| (a & 255) * (a >> 8 & 255) / 255;
        let x = (0..n).map(|_| dark(rng.next_u32())).collect();
        let bins = [(); 2].map(|()| Input::U32(poison_u32(256)));
        let [counts, ranks] = bins;
        vec![Input::U32(x), counts, ranks, Input::U32(poison_u32(n))]
    },
    reference: |args| {
        let mut sorted = args[0].u32().to_vec();
        sorted.sort_unstable();
        let pixels = sorted.len() as f64;
        let ranks: Vec<f64> =
            (0..256).map(|v| sorted.partition_point(|&pixel| pixel <= v) as f64).collect();
        let spread = |&pixel: &u32| (ranks[pixel as usize] * 255.0 / pixels).floor();
        let values = args[0].u32().iter().map(spread).collect();
        vec![Expected { param: 2, values: ranks.clone() }, Expected { param: 3, values }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| 3.0 * n as f64,
};
