//! A step of Adam: four streams in, three out, in place.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, uniform};
use crate::{Id, kernel};

/// Moves each weight by the mean of its gradients over their spread.
#[kernel(grid = (weights.len()), contract)]
pub fn adam(
    id: Id,
    rate: f32,
    gradients: &[f32],
    means: &mut [f32],
    squares: &mut [f32],
    weights: &mut [f32],
) {
    let i = id.x;
    let g = gradients[i];
    let mean = 0.9 * means[i] + 0.1 * g;
    let square = 0.999 * squares[i] + 0.001 * g * g;
    means[i] = mean;
    squares[i] = square;
    weights[i] -= rate * mean / (square.sqrt() + 0.00000001);
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "adam",
    about: "a step of Adam",
    tags: &["map", "bandwidth"],
    code: Code::Kernel(adam::DEF),
    unit: "weights",
    sizes: [1 << 12, 1 << 18, 1 << 22],
    inputs: |n, rng| {
        let ranges = [(-1.0, 1.0), (-1.0, 1.0), (0.0, 1.0), (-1.0, 1.0)];
        let mut args = vec![Input::Scalar(0.001f32.into())];
        args.extend(ranges.map(|(low, high)| Input::F32(uniform(rng, n, low, high))));
        args
    },
    reference: |args| {
        let n = args[1].len();
        let of = |arg: usize, at: usize| args[arg].value(at);
        let mean = |at: usize| of(2, at) + 0.1 * (of(1, at) - of(2, at));
        let square = |at: usize| of(3, at) + 0.001 * (of(1, at).powi(2) - of(3, at));
        let step = |at: usize| args[0].scalar() * mean(at) / (square(at).sqrt() + 1e-8);
        let all = |value: &dyn Fn(usize) -> f64| (0..n).map(value).collect();
        vec![
            Expected { param: 2, values: all(&mean) },
            Expected { param: 3, values: all(&square) },
            Expected { param: 4, values: all(&|at| of(4, at) - step(at)) },
        ]
    },
    // Where the mean cancels; a step is a few thousandths.
    tolerance: Tolerance::of(1e-6, 1e-6),
    operations: |n| 13.0 * n as f64,
};
