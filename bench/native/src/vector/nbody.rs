//! Gravity: some vectors of bodies at once, so that their roots and divisions overlap.

use rayon::prelude::*;
use wide::f32x4;

use super::{LANES, load, store};
use crate::least;

/// Vectors of bodies that look at the others together.
const VECTORS: usize = 4;

/// Bodies that look at the others together.
const BODIES: usize = VECTORS * LANES;

pub(super) fn run(softening: f32, at: [&[f32]; 3], m: &[f32], out: [&mut [f32]; 3]) {
    let [x, y, z] = at;
    let [ax, ay, az] = out.map(|axis| axis.par_chunks_mut(BODIES));
    let groups = (ax, ay, az, x.par_chunks(BODIES), y.par_chunks(BODIES), z.par_chunks(BODIES));
    let groups = groups.into_par_iter().with_min_len(least(10 * BODIES * m.len()));
    groups.for_each(|(ax, ay, az, px, py, pz)| {
        let group = [px, py, pz].map(vectors);
        let forces = pulls(f32x4::splat(softening), at, m, &group);
        for (out, force) in [ax, ay, az].into_iter().zip(forces) {
            out.chunks_mut(LANES).zip(force).for_each(|(out, force)| store(force, out));
        }
    });
}

/// A coordinate of a group; the last group may be short, and zeros fill it.
fn vectors(axis: &[f32]) -> [f32x4; VECTORS] {
    let mut chunks = axis.chunks(LANES);
    [(); VECTORS].map(|()| chunks.next().map_or(f32x4::ZERO, load))
}

/// The pull of all bodies on a group of them.
fn pulls(
    softening: f32x4,
    [x, y, z]: [&[f32]; 3],
    m: &[f32],
    [px, py, pz]: &[[f32x4; VECTORS]; 3],
) -> [[f32x4; VECTORS]; 3] {
    let [mut fx, mut fy, mut fz] = [[f32x4::ZERO; VECTORS]; 3];
    for (((&x, &y), &z), &m) in x.iter().zip(y).zip(z).zip(m) {
        let [x, y, z, m] = [x, y, z, m].map(f32x4::splat);
        for v in 0..VECTORS {
            let (dx, dy, dz) = (x - px[v], y - py[v], z - pz[v]);
            let square = dx.mul_add(dx, dy.mul_add(dy, dz.mul_add(dz, softening)));
            let inverse = f32x4::ONE / square.sqrt();
            let pull = m * inverse * (inverse * inverse);
            fx[v] = dx.mul_add(pull, fx[v]);
            fy[v] = dy.mul_add(pull, fy[v]);
            fz[v] = dz.mul_add(pull, fz[v]);
        }
    }
    [fx, fy, fz]
}
