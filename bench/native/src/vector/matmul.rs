//! `C = A·B`, blocked for registers and caches (K. Goto and R. van de Geijn, "Anatomy of
//! High-Performance Matrix Multiplication", 2008).
//!
//! ```text
//! B   copied once into panels of WIDTH columns × DEPTH rows, which the first cache holds
//! A   each task copies its rows into panels of HEIGHT rows, which the second cache holds
//! C   HEIGHT × WIDTH sums in registers at a time: 12 of the 16 that every machine has
//! ```
//!
//! Panels are padded with zeros, so only what is added to C knows of odd sizes.

use rayon::prelude::*;
use wide::f32x4;

use super::{LANES, load, store};
use crate::least;

/// Rows of C in registers.
const HEIGHT: usize = 6;

/// Vectors of C in registers, for each row.
const VECTORS: usize = 2;

/// Columns of C in registers.
const WIDTH: usize = VECTORS * LANES;

/// Products that are summed before the sums go to C: a panel of B is 8 KiB.
const DEPTH: usize = 256;

/// The most rows of C that a task computes: its panels of A are 96 KiB.
const ROWS: usize = 96;

/// A row of a panel of B.
type Wide = [f32x4; VECTORS];

/// A column of a panel of A.
type High = [f32; HEIGHT];

pub(super) fn run(n: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    let n = n.max(1);
    let panels = panels_of_b(n, b);
    // A few tasks for each thread, so that one that is late holds up little.
    let share = n.div_ceil(4 * rayon::current_num_threads());
    let rows = share.next_multiple_of(HEIGHT).min(ROWS);
    let tasks = c.par_chunks_mut(rows * n).zip(a.par_chunks(rows * n));
    tasks
        .with_min_len(least(rows * n * n))
        .for_each_init(Vec::new, |scratch, (c, a)| rows_of_c(n, a, &panels, c, scratch));
}

/// For each DEPTH rows of B, their panels from left to right.
fn panels_of_b(n: usize, b: &[f32]) -> Vec<Wide> {
    let across = n.div_ceil(WIDTH);
    let mut panels = vec![[f32x4::ZERO; VECTORS]; n * across];
    let blocks = panels.par_chunks_mut(DEPTH * across).zip(b.par_chunks(DEPTH * n));
    blocks.with_min_len(least(DEPTH * n)).for_each(|(block, b)| {
        let depth = b.len() / n;
        for (k, row) in b.chunks_exact(n).enumerate() {
            for (j, columns) in row.chunks(WIDTH).enumerate() {
                let (left, right) = columns.split_at(columns.len().min(LANES));
                block[j * depth + k] = [load(left), load(right)];
            }
        }
    });
    panels
}

/// Some rows of C, from the same rows of A.
fn rows_of_c(n: usize, a: &[f32], panels: &[Wide], c: &mut [f32], scratch: &mut Vec<High>) {
    c.fill(0.0);
    for (block, b) in panels.chunks(DEPTH * n.div_ceil(WIDTH)).enumerate() {
        let depth = DEPTH.min(n - block * DEPTH);
        panels_of_a(n, a, block * DEPTH..block * DEPTH + depth, scratch);
        for (j, b) in b.chunks_exact(depth).enumerate() {
            let columns = j * WIDTH..n.min((j + 1) * WIDTH);
            for (a, c) in scratch.chunks_exact(depth).zip(c.chunks_mut(HEIGHT * n)) {
                let sums = tile(a, b);
                for (c, sums) in c.chunks_exact_mut(n).zip(&sums) {
                    add(sums, &mut c[columns.clone()]);
                }
            }
        }
    }
}

/// Panels of these columns of A, from the top down.
fn panels_of_a(n: usize, a: &[f32], columns: std::ops::Range<usize>, panels: &mut Vec<High>) {
    panels.clear();
    for rows in a.chunks(HEIGHT * n) {
        let start = panels.len();
        panels.resize(start + columns.len(), [0.0; HEIGHT]);
        for (i, row) in rows.chunks_exact(n).enumerate() {
            for (column, a) in panels[start..].iter_mut().zip(&row[columns.clone()]) {
                column[i] = *a;
            }
        }
    }
}

/// The product of a panel of A and one of B: twelve sums that do not wait for each other.
fn tile(a: &[High], b: &[Wide]) -> [Wide; HEIGHT] {
    let mut sums = [[f32x4::ZERO; VECTORS]; HEIGHT];
    for (a, b) in a.iter().zip(b) {
        for (sums, a) in sums.iter_mut().zip(a) {
            let a = f32x4::splat(*a);
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = a.mul_add(*b, *sum);
            }
        }
    }
    sums
}

fn add(sums: &Wide, c: &mut [f32]) {
    for (sum, c) in sums.iter().zip(c.chunks_mut(LANES)) {
        store(load(c) + *sum, c);
    }
}
