//! Stream compaction: what is to be kept, without gaps and in its order, by a scan of who is kept.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, poison, poison_u32, uniform};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// How many are kept up to here.
#[kernel(scan = add)]
pub fn compact_places(id: Id, least: f32, x: &[f32]) -> u32 {
    if x[id.x] >= least { 1u32 } else { 0u32 }
}

/// Puts what is kept to its place.
#[kernel(grid = (x.len()))]
pub fn compact_scatter(id: Id, least: f32, x: &[f32], places: &[u32], y: &mut [f32]) {
    let v = x[id.x];
    if v >= least {
        y[places[id.x] as usize - 1] = v;
    }
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "compact",
    about: "keeps the elements of x that are not less than a number",
    tags: &["scan", "scatter", "bandwidth"],
    code: Code::Program {
        kernels: &[compact_places::DEF, compact_scatter::DEF],
        steps: |_| {
            vec![
                Step::of(compact_places::DEF, [arg(0), arg(1), arg(2)]),
                Step::of(compact_scatter::DEF, [arg(0), arg(1), arg(2), arg(3)]),
            ]
        },
    },
    unit: "elements",
    sizes: [1 << 12, 1 << 18, 1 << 23],
    inputs: |n, rng| {
        let x = Input::F32(uniform(rng, n, 0.0, 1.0));
        let places = Input::U32(poison_u32(n));
        vec![Input::Scalar(0.75f32.into()), x, places, Input::F32(poison(n))]
    },
    // Behind what is kept stands what stood there.
    reference: |args| {
        let least = args[0].scalar();
        let x = args[1].f32().iter().map(|&v| f64::from(v));
        let mut values: Vec<f64> = x.clone().filter(|&v| v >= least).collect();
        let last = Expected { param: 2, values: ranks(x, least) };
        values.resize(args[3].len(), f64::NAN);
        vec![last, Expected { param: 3, values }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| 3.0 * n as f64,
};

/// How many are kept up to each.
fn ranks(x: impl Iterator<Item = f64>, least: f64) -> Vec<f64> {
    let mut kept = 0.0;
    let rank = |v: f64| {
        kept += f64::from(u8::from(v >= least));
        kept
    };
    x.map(rank).collect()
}
