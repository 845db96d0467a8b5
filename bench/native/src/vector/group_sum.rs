//! Sums of 256 neighbours: no tree and no shared array, which hardware without workgroups does not
//! need.

use wide::f32x4;

use super::{LANES, load};
use crate::least;
use rayon::prelude::*;

/// Elements of a group.
const WIDTH: usize = 256;

/// Vectors in flight.
const VECTORS: usize = 4;

pub(super) fn run(x: &[f32], sums: &mut [f32]) {
    x.par_chunks(WIDTH)
        .zip(sums)
        .with_min_len(least(WIDTH))
        .for_each(|(group, out)| *out = sum(group));
}

fn sum(group: &[f32]) -> f32 {
    let mut sums = [f32x4::ZERO; VECTORS];
    for x in group.chunks(VECTORS * LANES) {
        for (sum, x) in sums.iter_mut().zip(x.chunks(LANES)) {
            *sum += load(x);
        }
    }
    let [a, b, c, d] = sums;
    ((a + b) + (c + d)).reduce_add()
}
