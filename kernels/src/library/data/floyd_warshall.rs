//! Shortest ways between all places (Floyd and Warshall): a call for each place that a way may lead through.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison_u32};
use crate::library::program::{Step, arg, int};
use crate::{Id, kernel};

/// Ways that may lead through place k as well. From one buffer to another: what one invocation would
/// change in place, others look at.
#[kernel(grid = (n, n))]
pub fn ways_through(id: Id, n: usize, k: usize, x: &[u32], y: &mut [u32]) {
    let at = id.y * n + id.x;
    y[at] = x[at].min(x[id.y * n + k] + x[k * n + id.x]);
}

/// Longer than any way.
const NONE: u32 = 1 << 28;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "floyd_warshall",
    about: "shortest ways between n places",
    tags: &["graph", "dynamic-programming", "integer", "many-calls"],
    code: Code::Program {
        kernels: &[ways_through::DEF],
        steps: |n| {
            // The last comes to buffer 3.
            let buffer = |left: usize| if left.is_multiple_of(2) { 3 } else { 2 };
            let mut from = 1;
            let step = |k: usize| {
                let to = buffer(n - 1 - k);
                let step = Step::of(ways_through::DEF, [arg(0), int(k), arg(from), arg(to)]);
                from = to;
                step
            };
            (0..n).map(step).collect()
        },
    },
    unit: "places",
    sizes: [32, 128, 384],
    inputs: |n, rng| {
        let mut x: Vec<u32> = (0..n * n)
            .map(|_| if rng.chance(90) { NONE } else { 1 + rng.next_u32() % 1000 })
            .collect();
        (0..n).for_each(|i| x[i * n + i] = 0);
        let (a, b) = (Input::U32(poison_u32(n * n)), Input::U32(poison_u32(n * n)));
        vec![number(n), Input::U32(x), a, b]
    },
    // Dijkstra's algorithm from every place. No way is no way, however long two of them are.
    reference: |args| {
        let n = args[0].scalar() as usize;
        let x = args[1].u32();
        let from = |start: usize| {
            let mut ways: Vec<u32> = x[start * n..][..n].to_vec();
            let mut known = vec![false; n];
            for _ in 0..n {
                let open = (0..n).filter(|&at| !known[at]);
                let Some(nearest) = open.min_by_key(|&at| ways[at]) else { break };
                known[nearest] = true;
                let here = ways[nearest];
                for (way, &edge) in ways.iter_mut().zip(&x[nearest * n..][..n]) {
                    *way = (*way).min(here + edge);
                }
            }
            ways
        };
        let values = (0..n).flat_map(from).map(f64::from).collect();
        vec![Expected { param: 3, values }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| 2.0 * (n as f64).powi(3),
};
