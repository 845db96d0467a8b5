//! Lloyd's k-means in whole numbers: the nearest of sixteen centres for each point, sums by atomics, and
//! the centres anew. Sums of whole numbers are the same in any order.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, poison_u32};
use crate::library::program::{Step, arg};
use crate::{Atomic, Id, kernel};

/// The centres to begin with.
#[kernel(grid = (from.len()))]
pub fn means_start(id: Id, from: &[u32], centres: &mut [u32]) {
    centres[id.x] = from[id.x];
}

/// Nothing has been counted.
#[kernel(grid = (sums.len()))]
pub fn means_clear(id: Id, sums: &mut [u32]) {
    sums[id.x] = 0;
}

/// The nearest centre of each point, and what its points are in sum: x, y, and how many.
#[kernel(grid = (x.len()))]
pub fn means_assign(
    id: Id,
    x: &[u32],
    y: &[u32],
    centres: &[u32],
    nearest: &mut [u32],
    sums: &[Atomic<u32>],
) {
    let px = x[id.x];
    let py = y[id.x];
    let mut least = u32::MAX;
    let mut best = 0usize;
    for k in 0..16 {
        let dx = px.max(centres[2 * k]) - px.min(centres[2 * k]);
        let dy = py.max(centres[2 * k + 1]) - py.min(centres[2 * k + 1]);
        let away = dx * dx + dy * dy;
        if away < least {
            least = away;
            best = k;
        }
    }
    nearest[id.x] = best as u32;
    sums[3 * best].fetch_add(px);
    sums[3 * best + 1].fetch_add(py);
    sums[3 * best + 2].fetch_add(1);
}

/// Each centre in the middle of its points; where it was, if it has none.
#[kernel(grid = (centres.len()))]
#[expect(clippy::manual_checked_ops, reason = "kernels have no options")]
pub fn means_move(id: Id, sums: &[u32], centres: &mut [u32]) {
    let k = id.x / 2;
    let count = sums[3 * k + 2];
    if count > 0 {
        centres[id.x] = sums[3 * k + id.x % 2] / count;
    }
}

/// Centres.
const CENTRES: usize = 16;

/// Rounds.
const ROUNDS: usize = 3;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "k_means",
    about: "k-means of points in a plane, sixteen centres, three rounds",
    tags: &["atomics", "integer", "compute"],
    code: Code::Program {
        kernels: &[means_start::DEF, means_clear::DEF, means_assign::DEF, means_move::DEF],
        steps: |_| {
            let mut steps = vec![Step::of(means_start::DEF, [2, 3].map(arg))];
            for _ in 0..ROUNDS {
                steps.push(Step::of(means_clear::DEF, [arg(5)]));
                steps.push(Step::of(means_assign::DEF, [0, 1, 3, 4, 5].map(arg)));
                steps.push(Step::of(means_move::DEF, [5, 3].map(arg)));
            }
            steps
        },
    },
    unit: "points",
    sizes: [1 << 10, 1 << 16, 1 << 20],
    inputs: |n, rng| {
        // Twelve bits: a million of them in sum are below 2³².
        let mut places =
            |count: usize| Input::U32((0..count).map(|_| rng.next_u32() >> 20).collect());
        let (x, y, from) = (places(n), places(n), places(2 * CENTRES));
        let rest = [2 * CENTRES, n, 3 * CENTRES].map(|len| Input::U32(poison_u32(len)));
        [vec![x, y, from], rest.into()].concat()
    },
    reference: |args| {
        let at = |arg: usize, i: usize| i64::from(args[arg].u32()[i]);
        let points: Vec<[i64; 2]> = (0..args[0].len()).map(|i| [at(0, i), at(1, i)]).collect();
        let mut centres: Vec<[i64; 2]> =
            (0..CENTRES).map(|k| [at(2, 2 * k), at(2, 2 * k + 1)]).collect();
        let mut nearest = Vec::new();
        for _ in 0..ROUNDS {
            let away = |p: &[i64; 2], c: &[i64; 2]| (p[0] - c[0]).pow(2) + (p[1] - c[1]).pow(2);
            let best =
                |p: &[i64; 2]| (0..CENTRES).min_by_key(|&k| away(p, &centres[k])).unwrap_or(0);
            nearest = points.iter().map(best).collect::<Vec<usize>>();
            for (k, centre) in centres.iter_mut().enumerate() {
                let own = points.iter().zip(&nearest).filter(|(_, of)| **of == k);
                let own: Vec<&[i64; 2]> = own.map(|(point, _)| point).collect();
                for axis in (0..2).filter(|_| !own.is_empty()) {
                    let sum: i64 = own.iter().map(|point| point[axis]).sum();
                    centre[axis] = sum / own.len() as i64;
                }
            }
        }
        let centres = centres.into_iter().flatten().map(|v| v as f64).collect();
        let nearest = nearest.into_iter().map(|k| k as f64).collect();
        vec![Expected { param: 3, values: centres }, Expected { param: 4, values: nearest }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| ROUNDS as f64 * 16.0 * 8.0 * n as f64,
};
