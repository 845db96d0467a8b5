//! Layer norm: mean and spread of each row, then every element by them.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// The mean of each row, and one over its spread.
#[kernel(grid = (means.len()))]
pub fn row_moments(id: Id, width: usize, x: &[f32], means: &mut [f32], scales: &mut [f32]) {
    let from = id.x * width;
    let mut sum = 0.0;
    for k in 0..width {
        sum += x[from + k];
    }
    let mean = sum / width as f32;
    let mut squares = 0.0;
    for k in 0..width {
        let away = x[from + k] - mean;
        squares += away * away;
    }
    means[id.x] = mean;
    scales[id.x] = 1.0 / (squares / width as f32 + 0.00001).sqrt();
}

/// Every element in units of its row, times a gain and plus a bias.
#[kernel(grid = (width, means.len()), contract)]
#[expect(clippy::too_many_arguments, reason = "what there is to say of a layer")]
pub fn normalise(
    id: Id,
    width: usize,
    gains: &[f32],
    biases: &[f32],
    x: &[f32],
    means: &[f32],
    scales: &[f32],
    y: &mut [f32],
) {
    let at = id.y * width + id.x;
    y[at] = (x[at] - means[id.y]) * scales[id.y] * gains[id.x] + biases[id.x];
}

/// Elements of a row.
const WIDTH: usize = 256;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "layer_norm",
    about: "layer norm of rows of 256",
    tags: &["reduction", "bandwidth"],
    code: Code::Program {
        kernels: &[row_moments::DEF, normalise::DEF],
        steps: |_| {
            vec![
                Step::of(row_moments::DEF, [0, 3, 4, 5].map(arg)),
                Step::of(normalise::DEF, [0, 1, 2, 3, 4, 5, 6].map(arg)),
            ]
        },
    },
    unit: "rows",
    sizes: [32, 1024, 16_384],
    inputs: |n, rng| {
        let gains = Input::F32(uniform(rng, WIDTH, 0.5, 1.5));
        let biases = Input::F32(uniform(rng, WIDTH, -0.5, 0.5));
        let x = Input::F32(uniform(rng, n * WIDTH, -2.0, 3.0));
        let mut args = vec![number(WIDTH), gains, biases, x];
        args.extend([n, n, n * WIDTH].map(|len| Input::F32(poison(len))));
        args
    },
    // The spread from the mean of squares less the square of the mean.
    reference: |args| {
        let row = |row: &[f32]| {
            let mean = |of: fn(f64) -> f64| {
                row.iter().map(|&v| of(f64::from(v))).sum::<f64>() / row.len() as f64
            };
            let centre = mean(|v| v);
            let spread = (mean(|v| v * v) - centre * centre + 1e-5).sqrt();
            let place = |(at, &v): (usize, &f32)| {
                (f64::from(v) - centre) / spread * args[1].value(at) + args[2].value(at)
            };
            row.iter().enumerate().map(place).collect::<Vec<f64>>()
        };
        vec![Expected { param: 6, values: args[3].f32().chunks(WIDTH).flat_map(row).collect() }]
    },
    // Sums of 256.
    tolerance: Tolerance::of(2e-5, 2e-5),
    operations: |n| 8.0 * (n * WIDTH) as f64,
};
