//! A matrix times a vector, and its transpose times one: what several programs are made of.

use crate::{Id, kernel};

/// `y = A x`, for A of n columns.
#[kernel(grid = (y.len()), contract)]
pub fn mat_vec(id: Id, n: usize, a: &[f32], x: &[f32], y: &mut [f32]) {
    let mut sum = 0.0;
    for k in 0..n {
        sum += a[id.x * n + k] * x[k];
    }
    y[id.x] = sum;
}

/// `y = Aᵀ x`, for A of n columns and as many rows.
#[kernel(grid = (y.len()), contract)]
pub fn mat_t_vec(id: Id, n: usize, a: &[f32], x: &[f32], y: &mut [f32]) {
    let mut sum = 0.0;
    for k in 0..n {
        sum += a[k * n + id.x] * x[k];
    }
    y[id.x] = sum;
}

/// `A x` in `f64`.
pub(super) fn product(n: usize, a: impl Fn(usize) -> f64, x: impl Fn(usize) -> f64) -> Vec<f64> {
    (0..n).map(|i| (0..n).map(|k| a(i * n + k) * x(k)).sum()).collect()
}

/// `Aᵀ x` in `f64`, row by row of A.
pub(super) fn t_product(n: usize, a: impl Fn(usize) -> f64, x: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut sums = vec![0.0; n];
    for k in 0..n {
        let factor = x(k);
        sums.iter_mut().enumerate().for_each(|(i, sum)| *sum += a(k * n + i) * factor);
    }
    sums
}

/// What a row of n numbers is scaled by, so that products with it do not grow with n.
pub(super) fn row_scale(n: usize) -> f32 {
    1.0 / (n as f32).sqrt().max(1.0)
}
