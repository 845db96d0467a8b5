//! `Σ x` of each workgroup: a tree of sums in shared memory, with a barrier at each level.

use super::entry::{Code, Entry, Expected, Input, Tolerance, poison, uniform};
use crate::{Id, kernel};

/// Invocations of a workgroup, and elements that it sums.
const WIDTH: usize = 256;

/// The sum of each 256 neighbours; of fewer at the end.
#[kernel(workgroup = 256, grid = x.len())]
pub fn group_sum(id: Id, x: &[f32], sums: &mut [f32]) {
    let tile = id.shared::<f32, 256>();
    let at = id.local.x;
    let mut own = 0.0;
    if id.x < x.len() {
        own = x[id.x];
    }
    tile[at].set(own);
    id.barrier();
    let mut half = tile.len() / 2;
    while half > 0 {
        if at < half {
            tile[at].set(tile[at].get() + tile[at + half].get());
        }
        id.barrier();
        half /= 2;
    }
    if at == 0 {
        sums[id.group.x] = tile[0].get();
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "group_sum",
    about: "sum of each workgroup of 256, through shared memory",
    tags: &["reduction", "barrier"],
    code: Code::Kernel(group_sum::DEF),
    unit: "elements",
    sizes: [1 << 12, 1 << 18, 1 << 24],
    inputs: |n, rng| {
        let sums = poison(n.div_ceil(WIDTH));
        vec![Input::F32(uniform(rng, n, 0.0, 1.0)), Input::F32(sums)]
    },
    reference: |args| {
        let groups = args[0].f32().chunks(WIDTH);
        let sum = |group: &[f32]| group.iter().map(|&x| f64::from(x)).sum();
        vec![Expected { param: 1, values: groups.map(sum).collect() }]
    },
    tolerance: Tolerance::of(1e-5, 1e-6),
    operations: |n| n as f64,
};
