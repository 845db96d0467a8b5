//! Mandelbrot: neighbours in a row go through the passages together, until none of them is left.

use rayon::prelude::*;
use wide::{f32x4, i32x4};

use super::LANES;
use crate::least;

/// Vectors in flight: a passage is a chain of additions, and a single one would wait for itself.
const VECTORS: usize = 2;

/// Points that go together.
const POINTS: usize = VECTORS * LANES;

pub(super) fn run(w: usize, h: usize, limit: u32, out: &mut [u32]) {
    let rows = out.par_chunks_mut(w.max(1)).enumerate().with_min_len(least(100 * w));
    rows.for_each(|(i, row)| {
        let cy = f32x4::splat(-1.25 + 2.5 * (i as f32 + 0.5) / h as f32);
        for (group, out) in row.chunks_mut(POINTS).enumerate() {
            let mut vector = 0;
            let cx = [(); VECTORS].map(|()| {
                let first = group * POINTS + vector * LANES;
                vector += 1;
                let at = |lane: usize| -2.0 + 2.5 * ((first + lane) as f32 + 0.5) / w as f32;
                f32x4::from([0, 1, 2, 3].map(at))
            });
            let counts = escape(cx, cy, limit);
            let counts = counts.iter().flat_map(|vector| vector.to_array());
            out.iter_mut().zip(counts).for_each(|(out, count)| *out = count as u32);
        }
    });
}

/// Passages until each point has gone. A point that is gone stays so: beyond the circle of radius 2
/// distances only grow, and what has become NaN compares as gone.
fn escape(cx: [f32x4; VECTORS], cy: f32x4, limit: u32) -> [i32x4; VECTORS] {
    let four = f32x4::splat(4.0);
    let (mut x, mut y) = ([f32x4::ZERO; VECTORS], [f32x4::ZERO; VECTORS]);
    let mut counts = [i32x4::ZERO; VECTORS];
    for _ in 0..limit {
        let mut any = f32x4::ZERO;
        for v in 0..VECTORS {
            let (xx, yy) = (x[v] * x[v], y[v] * y[v]);
            let here = (xx + yy).simd_le(four);
            // A lane that is still here is all ones: -1.
            counts[v] -= bytemuck::cast::<f32x4, i32x4>(here);
            any |= here;
            y[v] = (x[v] + x[v]).mul_add(y[v], cy);
            x[v] = xx - yy + cx[v];
        }
        if !any.any() {
            break;
        }
    }
    counts
}
