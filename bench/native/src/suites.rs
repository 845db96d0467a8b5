//! Kernels and programs of the suites beside `core`, as they would be written by hand in plain Rust over
//! rayon: a program in one piece, without what its calls leave to each other where nobody needs it.

use crossover_kernels::library::Input;
use rayon::prelude::*;

use crate::least;

/// Accumulators of a sum: see [`crate::plain`].
const LANES: usize = 16;

/// Runs an entry of the library on these arguments, in its order. `None` where it is not here.
pub fn run(name: &str, args: &mut [Input]) -> Option<()> {
    linear(name, args)
        .or_else(|| images(name, args))
        .or_else(|| data(name, args))
        .or_else(|| ml(name, args))
}

fn linear(name: &str, args: &mut [Input]) -> Option<()> {
    use Input::{F32, Scalar};
    match (name, args) {
        ("atax", [_, F32(a), F32(x), F32(t), F32(y)]) => {
            product(a, x, t);
            t_product(a, t, y);
        }
        ("bicg", [_, F32(a), F32(p), F32(r), F32(q), F32(s)]) => {
            product(a, p, q);
            t_product(a, r, s);
        }
        ("gesummv", [Scalar(alpha), Scalar(beta), F32(a), F32(b), F32(x), F32(y)]) => {
            let (alpha, beta, n) = (alpha.to_f64() as f32, beta.to_f64() as f32, x.len().max(1));
            let rows = a.par_chunks(n).zip(b.par_chunks(n)).zip(&mut *y);
            rows.with_min_len(least(2 * n))
                .for_each(|((a, b), y)| *y = alpha * dot(a, x) + beta * dot(b, x));
        }
        ("syrk", [Scalar(n), F32(a), F32(c)]) => {
            let n = n.to_f64() as usize;
            let row = |(i, c): (usize, &mut [f32])| {
                let own = &a[i * n..][..n];
                for (j, c) in c.iter_mut().enumerate() {
                    *c = if j <= i { dot(own, &a[j * n..][..n]) } else { 0.0 };
                }
            };
            c.par_chunks_mut(n.max(1)).enumerate().with_min_len(least(n * n)).for_each(row);
        }
        ("transpose", [Scalar(n), F32(a), F32(b)]) => {
            let n = n.to_f64() as usize;
            // Blocks of rows and columns, so that a line of the cache is used while it is there.
            let block = 16;
            let rows = |(i, b): (usize, &mut [f32])| {
                for from in (0..n).step_by(block) {
                    for (k, row) in b.chunks_mut(n).enumerate() {
                        let to = (from + block).min(n);
                        for (j, v) in (from..to).zip(&mut row[from..to]) {
                            *v = a[j * n + i * block + k];
                        }
                    }
                }
            };
            let blocks = b.par_chunks_mut((block * n).max(1)).enumerate();
            blocks.with_min_len(least(block * n)).for_each(rows);
        }
        _ => return None,
    }
    Some(())
}

fn images(name: &str, args: &mut [Input]) -> Option<()> {
    use Input::{F32, Scalar, U32};
    match (name, args) {
        ("sobel", [Scalar(n), _, F32(x), F32(y)]) => sobel(n.to_f64() as usize, x, y),
        ("max_pool", [Scalar(half), Scalar(n), F32(x), F32(y)]) => {
            let (half, n) = (half.to_f64() as usize, n.to_f64() as usize);
            let row = |(i, y): (usize, &mut [f32])| {
                let (above, below) = (&x[2 * i * n..][..n], &x[(2 * i + 1) * n..][..n]);
                let pairs = above.chunks_exact(2).zip(below.chunks_exact(2));
                for (y, (a, b)) in y.iter_mut().zip(pairs) {
                    *y = a[0].max(a[1]).max(b[0].max(b[1]));
                }
            };
            let rows = y.par_chunks_mut(half.max(1)).enumerate();
            rows.with_min_len(least(2 * n)).for_each(row);
        }
        ("luma", [U32(red), U32(green), U32(blue), U32(y)]) => {
            let bright = |r: u32, g: u32, b: u32| (66 * r + 129 * g + 25 * b + 128) / 256 + 16;
            let words = red.par_iter().zip(green).zip(blue).zip(&mut *y);
            words.with_min_len(least(40)).for_each(|(((r, g), b), y)| {
                let (r, g, b) = (r.to_le_bytes(), g.to_le_bytes(), b.to_le_bytes());
                let pixel = |k: usize| bright(r[k].into(), g[k].into(), b[k].into()) as u8;
                *y = u32::from_le_bytes(std::array::from_fn(pixel));
            });
        }
        _ => return None,
    }
    Some(())
}

fn sobel(n: usize, x: &[f32], y: &mut [f32]) {
    let row = |(i, y): (usize, &mut [f32])| {
        let of = |i: usize| &x[i * n..][..n];
        let (up, own, down) = (of(i.saturating_sub(1)), of(i), of((i + 1).min(n - 1)));
        let pixel = |left: usize, at: usize, right: usize| {
            let across =
                up[right] - up[left] + 2.0 * (own[right] - own[left]) + down[right] - down[left];
            let along = down[left] - up[left] + 2.0 * (down[at] - up[at]) + down[right] - up[right];
            (across * across + along * along).sqrt()
        };
        for (at, y) in y.iter_mut().enumerate().skip(1).take(n.saturating_sub(2)) {
            *y = pixel(at - 1, at, at + 1);
        }
        for at in [0, n - 1] {
            y[at] = pixel(at.saturating_sub(1), at, (at + 1).min(n - 1));
        }
    };
    y.par_chunks_mut(n.max(1)).enumerate().with_min_len(least(16 * n)).for_each(row);
}

fn data(name: &str, args: &mut [Input]) -> Option<()> {
    use Input::{F32, Scalar, U32};
    match (name, args) {
        ("bitonic", [U32(x), U32(y)]) => {
            let (head, rest) = y.split_at_mut(x.len());
            head.copy_from_slice(x);
            rest.fill(u32::MAX);
            head.par_sort_unstable();
        }
        ("radix_sort", [U32(x), _, U32(y), _, _]) => {
            y.copy_from_slice(x);
            y.par_sort_unstable();
        }
        ("lower_bound", [U32(sorted), U32(wanted), U32(places)]) => {
            let pairs = wanted.par_iter().zip(&mut *places).with_min_len(least(80));
            pairs.for_each(|(v, to)| *to = sorted.partition_point(|s| s < v) as u32);
        }
        ("compact", [Scalar(least_kept), F32(x), U32(places), F32(y)]) => {
            let low = least_kept.to_f64() as f32;
            let mut kept = 0;
            for (&v, place) in x.iter().zip(places) {
                if v >= low {
                    y[kept] = v;
                    kept += 1;
                }
                *place = kept as u32;
            }
        }
        _ => return None,
    }
    Some(())
}

fn ml(name: &str, args: &mut [Input]) -> Option<()> {
    use Input::{F32, I32, Scalar, U32};
    match (name, args) {
        ("adam", [Scalar(rate), F32(gradients), F32(means), F32(squares), F32(weights)]) => {
            let rate = rate.to_f64() as f32;
            let state = gradients.par_iter().zip(means).zip(squares).zip(weights);
            state.with_min_len(least(16)).for_each(|(((g, mean), square), weight)| {
                *mean = 0.9 * *mean + 0.1 * g;
                *square = 0.999 * *square + 0.001 * g * g;
                *weight -= rate * *mean / (square.sqrt() + 1e-8);
            });
        }
        ("gelu", [F32(x), F32(y)]) => {
            x.par_iter().zip(&mut *y).with_min_len(least(40)).for_each(|(&v, y)| {
                let inner = 0.797_884_6 * (v + 0.044_715 * v * v * v);
                *y = 0.5 * v * (1.0 + inner.tanh());
            });
        }
        ("softmax", [F32(x), _, _, F32(y)]) => {
            let most = x.par_iter().with_min_len(least(1)).copied().reduce(|| f32::MIN, f32::max);
            let powers = x.par_iter().zip(&mut *y).with_min_len(least(20));
            let sum: f32 = powers
                .map(|(&v, y)| {
                    *y = (v - most).exp();
                    *y
                })
                .sum();
            y.par_iter_mut().with_min_len(least(4)).for_each(|y| *y /= sum);
        }
        ("argmax", [Scalar(width), F32(x), U32(places)]) => {
            let width = width.to_f64() as usize;
            let rows = x.par_chunks(width).zip(&mut *places).with_min_len(least(width));
            rows.for_each(|(row, place)| {
                let first = (0, f32::NEG_INFINITY);
                let larger = |best: (usize, f32), (at, &v): (usize, &f32)| {
                    if v > best.1 { (at, v) } else { best }
                };
                *place = row.iter().enumerate().fold(first, larger).0 as u32;
            });
        }
        ("embedding", [Scalar(width), U32(tokens), F32(table), F32(out)]) => {
            let width = width.to_f64() as usize;
            let rows = out.par_chunks_mut(width).zip(&*tokens).with_min_len(least(width));
            rows.for_each(|(row, &token)| {
                row.copy_from_slice(&table[token as usize * width..][..width]);
            });
        }
        ("layer_norm", [Scalar(width), F32(gains), F32(biases), F32(x), _, _, F32(y)]) => {
            let width = width.to_f64() as usize;
            let rows = x.par_chunks(width).zip(y.par_chunks_mut(width));
            rows.with_min_len(least(4 * width)).for_each(|(x, y)| {
                let mean = sum(x.iter().copied()) / width as f32;
                let spread = sum(x.iter().map(|v| (v - mean) * (v - mean))) / width as f32;
                let scale = 1.0 / (spread + 1e-5).sqrt();
                let of_layer = gains.iter().zip(&*biases);
                for ((y, v), (gain, bias)) in y.iter_mut().zip(x).zip(of_layer) {
                    *y = (v - mean) * scale * gain + bias;
                }
            });
        }
        ("quantised_dot", [Scalar(words), U32(weights), U32(x), I32(out)]) => {
            let words = words.to_f64() as usize;
            let rows = weights.par_chunks(words).zip(&mut *out).with_min_len(least(8 * words));
            rows.for_each(|(row, out)| {
                let word = |(a, b): (&u32, &u32)| {
                    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
                    let byte = |v: u8| i32::from(v.cast_signed());
                    (0..4).map(|k| byte(a[k]) * byte(b[k])).sum::<i32>()
                };
                *out = row.iter().zip(&*x).map(word).sum();
            });
        }
        _ => return None,
    }
    Some(())
}

/// A sum with accumulators enough for vectors.
fn sum(values: impl Iterator<Item = f32>) -> f32 {
    let mut sums = [0.0; LANES];
    values.enumerate().for_each(|(at, v)| sums[at % LANES] += v);
    sums.iter().sum()
}

fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest = xs.remainder().iter().zip(ys.remainder()).map(|(x, y)| x * y).sum::<f32>();
    for (x, y) in xs.zip(ys) {
        sums.iter_mut().zip(x.iter().zip(y)).for_each(|(sum, (x, y))| *sum += x * y);
    }
    sums.iter().sum::<f32>() + rest
}

/// `y = A x`.
fn product(a: &[f32], x: &[f32], y: &mut [f32]) {
    let n = x.len().max(1);
    let rows = a.par_chunks(n).zip(y).with_min_len(least(n));
    rows.for_each(|(row, y)| *y = dot(row, x));
}

/// `y = Aᵀ x`, for blocks of columns, row by row.
fn t_product(a: &[f32], x: &[f32], y: &mut [f32]) {
    let n = x.len();
    let block = 256;
    let blocks = y.par_chunks_mut(block).enumerate().with_min_len(least(block * n));
    blocks.for_each(|(at, sums)| {
        sums.fill(0.0);
        for (row, &factor) in a.chunks(n).zip(x) {
            let row = &row[at * block..][..sums.len()];
            sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += factor * v);
        }
    });
}
