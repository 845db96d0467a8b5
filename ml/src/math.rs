//! The two inner loops of the network, written so that the compiler makes SIMD of them.

/// `outputs += Σ inputs[i] · weight[i]`, with `weight` row by row (`inputs × outputs`).
/// Four rows at a time, so that `outputs` is read and written a quarter as often; zero inputs are skipped.
pub(crate) fn add_scaled_rows(inputs: &[f32], weight: &[f32], outputs: &mut [f32]) {
    let width = outputs.len();
    let mut taken = [(0.0, &[][..]); 4];
    let mut count = 0;
    for (&x, row) in inputs.iter().zip(weight.chunks_exact(width)) {
        if x == 0.0 {
            continue;
        }
        taken[count] = (x, row);
        count += 1;
        if count == 4 {
            add_four(taken, outputs);
            count = 0;
        }
    }
    for (x, row) in &taken[..count] {
        outputs.iter_mut().zip(*row).for_each(|(out, w)| *out += x * w);
    }
}

fn add_four(taken: [(f32, &[f32]); 4], outputs: &mut [f32]) {
    let [(a, p), (b, q), (c, r), (d, s)] = taken;
    let rows = p.iter().zip(q).zip(r).zip(s);
    for (out, (((p, q), r), s)) in outputs.iter_mut().zip(rows) {
        *out += (a * p + b * q) + (c * r + d * s);
    }
}

/// The scalar product, in eight partial sums.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail =
        a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum::<f32>();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + tail
}
