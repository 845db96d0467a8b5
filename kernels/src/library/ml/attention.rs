//! Attention of n queries on n keys: scores, their softmax by rows, and the mean of the values by it.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// How alike query y and key x are.
#[kernel(grid = (n, n), contract)]
pub fn attention_scores(
    id: Id,
    n: usize,
    width: usize,
    scale: f32,
    q: &[f32],
    k: &[f32],
    scores: &mut [f32],
) {
    let mut sum = 0.0;
    for at in 0..width {
        sum += q[id.y * width + at] * k[id.x * width + at];
    }
    scores[id.y * n + id.x] = scale * sum;
}

/// Softmax of each row, in place.
#[kernel(grid = (n))]
pub fn attention_shares(id: Id, n: usize, scores: &mut [f32]) {
    let from = id.x * n;
    let mut most = scores[from];
    for at in 1..n {
        most = most.max(scores[from + at]);
    }
    let mut sum = 0.0;
    for at in 0..n {
        let power = (scores[from + at] - most).exp();
        scores[from + at] = power;
        sum += power;
    }
    for at in 0..n {
        scores[from + at] /= sum;
    }
}

/// The mean of the values, by each query's shares.
#[kernel(grid = (width, n), contract)]
pub fn attention_mean(id: Id, n: usize, width: usize, shares: &[f32], v: &[f32], out: &mut [f32]) {
    let mut sum = 0.0;
    for at in 0..n {
        sum += shares[id.y * n + at] * v[at * width + id.x];
    }
    out[id.y * width + id.x] = sum;
}

/// Numbers of a query, key or value.
const WIDTH: usize = 64;

/// Queries that the reference looks at when there are more.
const CHECKED: usize = 128;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "attention",
    about: "attention of n queries of 64 numbers on as many keys",
    tags: &["dense", "compute", "transcendental"],
    code: Code::Program {
        kernels: &[attention_scores::DEF, attention_shares::DEF, attention_mean::DEF],
        steps: |_| {
            vec![
                Step::of(attention_scores::DEF, [0, 1, 2, 3, 4, 6].map(arg)),
                Step::of(attention_shares::DEF, [0, 6].map(arg)),
                Step::of(attention_mean::DEF, [0, 1, 6, 5, 7].map(arg)),
            ]
        },
    },
    unit: "queries and keys",
    sizes: [64, 256, 1024],
    inputs: |n, rng| {
        let mut args = vec![number(n), number(WIDTH), Input::Scalar(0.125f32.into())];
        args.extend((0..3).map(|_| Input::F32(uniform(rng, n * WIDTH, -1.0, 1.0))));
        args.extend([n * n, n * WIDTH].map(|len| Input::F32(poison(len))));
        args
    },
    reference: |args| {
        let n = args[0].scalar() as usize;
        let row = |arg: usize, at: usize| &args[arg].f32()[at * WIDTH..][..WIDTH];
        let mut values = vec![f64::NAN; n * WIDTH];
        for query in (0..n).step_by(n.div_ceil(CHECKED).max(1)) {
            let (mut all, mut mean) = (0.0, [0.0; WIDTH]);
            for key in 0..n {
                let pairs = row(3, query).iter().zip(row(4, key));
                let score: f64 = pairs.map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
                let power = (0.125 * score).exp();
                all += power;
                mean.iter_mut().zip(row(5, key)).for_each(|(m, &v)| *m += power * f64::from(v));
            }
            let target = &mut values[query * WIDTH..][..WIDTH];
            target.iter_mut().zip(mean).for_each(|(to, sum)| *to = sum / all);
        }
        vec![Expected { param: 7, values }]
    },
    // Means of up to 1,024 values below 1.
    tolerance: Tolerance::of(1e-4, 2e-5),
    operations: |n| (4.0 * WIDTH as f64 + 40.0) * (n as f64).powi(2),
};
