//! How surprised a model is of the truth: a logarithm of a sum of powers for each row, and their mean.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// Minus the logarithm of the share that each row gives to its label.
#[kernel(grid = (labels.len()))]
pub fn surprise(id: Id, width: usize, x: &[f32], labels: &[u32], losses: &mut [f32]) {
    let from = id.x * width;
    let mut most = x[from];
    for at in 1..width {
        most = most.max(x[from + at]);
    }
    let mut sum = 0.0;
    for at in 0..width {
        sum += (x[from + at] - most).exp();
    }
    losses[id.x] = most + sum.ln() - x[from + labels[id.x] as usize];
}

/// The mean.
#[kernel(reduce = add)]
pub fn mean(id: Id, x: &[f32]) -> f32 {
    x[id.x] / x.len() as f32
}

/// Classes.
const WIDTH: usize = 64;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "cross_entropy",
    about: "mean cross-entropy of rows of 64 classes",
    tags: &["reduction", "transcendental", "strided"],
    code: Code::Program {
        kernels: &[surprise::DEF, mean::DEF],
        steps: |_| {
            vec![
                Step::of(surprise::DEF, [0, 1, 2, 3].map(arg)),
                Step::of(mean::DEF, [3, 4].map(arg)),
            ]
        },
    },
    unit: "rows",
    sizes: [64, 4096, 65_536],
    inputs: |n, rng| {
        let x = Input::F32(uniform(rng, n * WIDTH, -4.0, 4.0));
        let labels = Input::U32((0..n).map(|_| rng.below(WIDTH) as u32).collect());
        vec![number(WIDTH), x, labels, Input::F32(poison(n)), Input::F32(poison(1))]
    },
    reference: |args| {
        let loss = |(row, &label): (&[f32], &u32)| {
            let powers = row.iter().map(|&x| f64::from(x).exp());
            -(f64::from(row[label as usize]).exp() / powers.sum::<f64>()).ln()
        };
        let rows = args[1].f32().chunks(WIDTH).zip(args[2].u32());
        let losses: Vec<f64> = rows.map(loss).collect();
        let mean = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        vec![Expected { param: 3, values: losses }, Expected { param: 4, values: vec![mean] }]
    },
    // Losses of 1 to 10; the mean is of positive terms in many accumulators.
    tolerance: Tolerance::of(2e-4, 5e-6),
    operations: |n| 42.0 * (n * WIDTH) as f64,
};
