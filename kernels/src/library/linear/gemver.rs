//! Rank-two update of a matrix and two products with it (PolyBench): every step needs all of the one
//! before.

use super::mat_vec::{product, row_scale, t_product};
use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// `B = A + u1 v1ᵀ + u2 v2ᵀ`.
#[kernel(grid = (n, n), contract)]
#[expect(clippy::too_many_arguments, reason = "the matrix and four vectors")]
pub fn rank_two(
    id: Id,
    n: usize,
    a: &[f32],
    u1: &[f32],
    v1: &[f32],
    u2: &[f32],
    v2: &[f32],
    b: &mut [f32],
) {
    let at = id.y * n + id.x;
    b[at] = a[at] + u1[id.y] * v1[id.x] + u2[id.y] * v2[id.x];
}

/// `x = β Bᵀ y + z`.
#[kernel(grid = (x.len()), contract)]
pub fn t_product_plus(id: Id, n: usize, beta: f32, b: &[f32], y: &[f32], z: &[f32], x: &mut [f32]) {
    let mut sum = 0.0;
    for k in 0..n {
        sum += b[k * n + id.x] * y[k];
    }
    x[id.x] = beta * sum + z[id.x];
}

/// `w = α B x`.
#[kernel(grid = (w.len()), contract)]
pub fn product_scaled(id: Id, n: usize, alpha: f32, b: &[f32], x: &[f32], w: &mut [f32]) {
    let mut sum = 0.0;
    for k in 0..n {
        sum += b[id.x * n + k] * x[k];
    }
    w[id.x] = alpha * sum;
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "gemver",
    about: "B = A + u1 v1ᵀ + u2 v2ᵀ, x = β Bᵀ y + z, w = α B x",
    tags: &["dense", "bandwidth"],
    code: Code::Program {
        kernels: &[rank_two::DEF, t_product_plus::DEF, product_scaled::DEF],
        steps: |_| {
            vec![
                Step::of(rank_two::DEF, [0, 3, 4, 5, 6, 7, 10].map(arg)),
                Step::of(t_product_plus::DEF, [0, 2, 10, 8, 9, 11].map(arg)),
                Step::of(product_scaled::DEF, [0, 1, 10, 11, 12].map(arg)),
            ]
        },
    },
    unit: "rows and columns",
    sizes: [64, 768, 2048],
    inputs: |n, rng| {
        // Scaled as n grows, or x and w would.
        let scale = row_scale(n);
        let mut args = vec![number(n), Input::Scalar(scale.into()), Input::Scalar(scale.into())];
        args.push(Input::F32(uniform(rng, n * n, -1.0, 1.0)));
        args.extend((0..6).map(|_| Input::F32(uniform(rng, n, -1.0, 1.0))));
        args.extend([n * n, n, n].map(|len| Input::F32(poison(len))));
        args
    },
    reference: |args| {
        let n = args[4].len();
        let of = |arg: usize, at: usize| args[arg].value(at);
        let entry = |at: usize| {
            let (i, j) = (at / n, at % n);
            of(3, at) + of(4, i) * of(5, j) + of(6, i) * of(7, j)
        };
        let b: Vec<f64> = (0..n * n).map(entry).collect();
        let mut x = t_product(n, |at| b[at], |at| of(8, at));
        x.iter_mut().enumerate().for_each(|(i, x)| *x = args[2].scalar() * *x + of(9, i));
        let mut w = product(n, |at| b[at], |at| x[at]);
        w.iter_mut().for_each(|w| *w *= args[1].scalar());
        vec![Expected { param: 11, values: x }, Expected { param: 12, values: w }]
    },
    // Sums of n terms about 1, scaled down by √n.
    tolerance: Tolerance::of(1e-4, 2e-4),
    operations: |n| 8.0 * (n as f64).powi(2),
};
