//! A layer of a network, there and back (Rodinia): outputs, how much each input is to blame, and new
//! weights.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// Each output: the logistic function of its weights times the inputs.
#[kernel(grid = (out.len()), contract)]
pub fn layer_forward(id: Id, inputs: usize, weights: &[f32], x: &[f32], out: &mut [f32]) {
    let mut sum = 0.0;
    for k in 0..inputs {
        sum += weights[id.x * inputs + k] * x[k];
    }
    out[id.x] = 1.0 / (1.0 + (-sum).exp());
}

/// How far each output is off, times its slope.
#[kernel(grid = (out.len()), contract)]
pub fn layer_error(id: Id, out: &[f32], wanted: &[f32], delta: &mut [f32]) {
    let v = out[id.x];
    delta[id.x] = (wanted[id.x] - v) * v * (1.0 - v);
}

/// How much each input is to blame.
#[kernel(grid = (blame.len()), contract)]
pub fn layer_blame(id: Id, inputs: usize, weights: &[f32], delta: &[f32], blame: &mut [f32]) {
    let mut sum = 0.0;
    for k in 0..delta.len() {
        sum += weights[k * inputs + id.x] * delta[k];
    }
    blame[id.x] = sum;
}

/// Weights that would have done better.
#[kernel(grid = (inputs, delta.len()), contract)]
pub fn layer_adjust(
    id: Id,
    inputs: usize,
    rate: f32,
    weights: &[f32],
    x: &[f32],
    delta: &[f32],
    adjusted: &mut [f32],
) {
    let at = id.y * inputs + id.x;
    adjusted[at] = weights[at] + rate * delta[id.y] * x[id.x];
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "back_propagation",
    about: "a layer of n inputs and outputs, forward and back",
    tags: &["dense", "bandwidth", "transcendental"],
    code: Code::Program {
        kernels: &[layer_forward::DEF, layer_error::DEF, layer_blame::DEF, layer_adjust::DEF],
        steps: |_| {
            vec![
                Step::of(layer_forward::DEF, [0, 2, 3, 5].map(arg)),
                Step::of(layer_error::DEF, [5, 4, 6].map(arg)),
                Step::of(layer_blame::DEF, [0, 2, 6, 7].map(arg)),
                Step::of(layer_adjust::DEF, [0, 1, 2, 3, 6, 8].map(arg)),
            ]
        },
    },
    unit: "inputs and outputs",
    sizes: [64, 768, 2048],
    inputs: |n, rng| {
        let most = 1.0 / (n as f32).sqrt().max(1.0);
        let mut args = vec![number(n), Input::Scalar(0.3f32.into())];
        args.push(Input::F32(uniform(rng, n * n, -most, most)));
        args.push(Input::F32(uniform(rng, n, -1.0, 1.0)));
        args.push(Input::F32(uniform(rng, n, 0.0, 1.0)));
        args.extend([n, n, n, n * n].map(|len| Input::F32(poison(len))));
        args
    },
    reference: |args| {
        let n = args[3].len();
        let (mut deltas, mut outs, mut blame) = (Vec::new(), Vec::new(), vec![0.0; n]);
        let mut adjusted = Vec::with_capacity(n * n);
        for k in 0..n {
            let weights = (0..n).map(|i| args[2].value(k * n + i));
            let sum: f64 = weights.clone().enumerate().map(|(i, w)| w * args[3].value(i)).sum();
            let out = 0.5 + 0.5 * (0.5 * sum).tanh();
            let delta = (args[4].value(k) - out) * (out - out * out);
            for (i, w) in weights.enumerate() {
                blame[i] += w * delta;
                adjusted.push(w + args[1].scalar() * delta * args[3].value(i));
            }
            outs.push(out);
            deltas.push(delta);
        }
        let outputs = [(5, outs), (6, deltas), (7, blame), (8, adjusted)];
        outputs.map(|(param, values)| Expected { param, values }).into()
    },
    // Sums of n terms of 1 / √n.
    tolerance: Tolerance::of(1e-4, 1e-5),
    operations: |n| 7.0 * (n as f64).powi(2),
};
