//! Each library kernel as it would be written by hand in plain Rust over rayon.
//!
//! Inner loops are zips over slices, or have several accumulators, so that they vectorise. Where a
//! call is too small to be worth waking another thread, rayon runs it where it is: see `least`.

use crossover_kernels::library::Input;
use rayon::prelude::*;

use crate::{TASK, least, suites};

/// Accumulators of a sum: a float addition waits for the one before it, unless there are others.
const LANES: usize = 16;

/// Bodies that look at the others together: three sums each, and all of them in registers.
const BODIES: usize = 8;

/// Rows of a matrix product that are computed together.
const ROWS: usize = 4;

/// Elements that a workgroup sums.
const GROUP: usize = 256;

/// Bins of the histogram.
const BINS: usize = 256;

/// Runs a kernel of the library on these arguments, in the order of its entry. `None` where there is
/// no such kernel here, or its arguments are others.
pub fn run(kernel: &str, args: &mut [Input]) -> Option<()> {
    use Input::{F32, Scalar, U32};
    match (kernel, args) {
        ("saxpy", [Scalar(a), F32(x), F32(y)]) => saxpy(a.to_f64() as f32, x, y),
        ("dot", [F32(x), F32(y), F32(out)]) => out.fill(dot(x, y)),
        ("sum", [F32(x), F32(out)]) => out.fill(sum(x)),
        ("group_sum", [F32(x), F32(sums)]) => group_sum(x, sums),
        ("prefix_sum", [U32(x), U32(out)]) => prefix_sum(x, out),
        ("matmul", [Scalar(n), F32(a), F32(b), F32(c)]) => matmul(n.to_f64() as usize, a, b, c),
        ("jacobi", [Scalar(w), Scalar(h), F32(x), F32(y)]) => {
            jacobi(w.to_f64() as usize, h.to_f64() as usize, x, y);
        }
        ("conv3x3", [Scalar(w), Scalar(h), F32(weights), F32(x), F32(y)]) => {
            let weights = weights.first_chunk()?;
            conv3x3(w.to_f64() as usize, h.to_f64() as usize, weights, x, y);
        }
        (
            "black_scholes",
            [Scalar(rate), Scalar(volatility), F32(s), F32(k), F32(t), F32(call), F32(put)],
        ) => black_scholes(rate.to_f64() as f32, volatility.to_f64() as f32, [s, k, t], call, put),
        ("mandelbrot", [Scalar(w), Scalar(h), Scalar(limit), U32(out)]) => {
            mandelbrot(w.to_f64() as usize, h.to_f64() as usize, limit.to_f64() as u32, out);
        }
        (
            "nbody",
            [Scalar(softening), F32(x), F32(y), F32(z), F32(m), F32(ax), F32(ay), F32(az)],
        ) => nbody(softening.to_f64() as f32, [x, y, z], m, [ax, ay, az]),
        ("histogram", [U32(x), U32(bins)]) => histogram(x, bins),
        ("spmv", [U32(starts), U32(columns), F32(values), F32(x), F32(y)]) => {
            spmv(starts, columns, values, x, y);
        }
        (_, args) => return suites::run(kernel, args),
    }
    Some(())
}

fn saxpy(a: f32, x: &[f32], y: &mut [f32]) {
    y.par_iter_mut().zip(x).with_min_len(least(1)).for_each(|(y, &x)| *y += a * x);
}

fn dot(x: &[f32], y: &[f32]) -> f32 {
    let run = |(x, y): (&[f32], &[f32])| {
        let ((xs, x_tail), (ys, y_tail)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
        let mut sums = [0.0f32; LANES];
        for (x, y) in xs.iter().zip(ys) {
            for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
                *sum += x * y;
            }
        }
        let tail: f32 = x_tail.iter().zip(y_tail).map(|(x, y)| x * y).sum();
        sums.iter().sum::<f32>() + tail
    };
    x.par_chunks(TASK).zip(y.par_chunks(TASK)).map(run).sum()
}

fn sum(x: &[f32]) -> f32 {
    x.par_chunks(TASK).map(sum_of).sum()
}

fn sum_of(x: &[f32]) -> f32 {
    let (xs, tail) = x.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for x in xs {
        sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
    }
    sums.iter().chain(tail).sum::<f32>()
}

fn group_sum(x: &[f32], sums: &mut [f32]) {
    x.par_chunks(GROUP)
        .zip(sums)
        .with_min_len(least(GROUP))
        .for_each(|(group, out)| *out = sum_of(group));
}

/// In two passes: the sum of each chunk, then each chunk from where the ones before it end.
fn prefix_sum(x: &[u32], out: &mut [u32]) {
    fn scan(mut sum: u32, x: &[u32], out: &mut [u32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            sum = sum.wrapping_add(x);
            *out = sum;
        }
    }
    // A few chunks a thread, so that one that is late holds up little.
    let chunk = x.len().div_ceil(4 * rayon::current_num_threads()).max(TASK);
    if x.len() <= chunk {
        return scan(0, x, out);
    }
    let total = |x: &[u32]| x.iter().fold(0, |sum: u32, &x| sum.wrapping_add(x));
    let mut starts: Vec<u32> = x.par_chunks(chunk).map(total).collect();
    let mut sum = 0u32;
    for start in &mut starts {
        let next = sum.wrapping_add(*start);
        *start = std::mem::replace(&mut sum, next);
    }
    let chunks = out.par_chunks_mut(chunk).zip(x.par_chunks(chunk)).zip(starts);
    chunks.for_each(|((out, x), start)| scan(start, x, out));
}

/// Row i of C is the sum of B's rows, each times an element of row i of A; a few rows of C at once,
/// so that a row of B is fetched once for all of them.
fn matmul(n: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    let n = n.max(1);
    let blocks = c.par_chunks_mut(ROWS * n).zip(a.par_chunks(ROWS * n));
    blocks.with_min_len(least(ROWS * n * n)).for_each(|(c, a)| {
        c.fill(0.0);
        for (k, b) in b.chunks_exact(n).enumerate() {
            for (c, a) in c.chunks_exact_mut(n).zip(a.chunks_exact(n)) {
                let a = a[k];
                c.iter_mut().zip(b).for_each(|(c, b)| *c += a * b);
            }
        }
    });
}

fn jacobi(w: usize, h: usize, x: &[f32], y: &mut [f32]) {
    let w = w.max(1);
    let rows = y.par_chunks_mut(w).enumerate().with_min_len(least(w));
    rows.for_each(|(i, y)| {
        let row = |i: usize| &x[i * w..][..w];
        let here = row(i);
        if i == 0 || i + 1 == h || w < 3 {
            return y.copy_from_slice(here);
        }
        let (up, down) = (&row(i - 1)[1..w - 1], &row(i + 1)[1..w - 1]);
        let sides = here[..w - 2].iter().zip(&here[2..]);
        let around = sides.zip(up.iter().zip(down));
        for (y, ((left, right), (up, down))) in y[1..w - 1].iter_mut().zip(around) {
            *y = 0.25 * (left + right + up + down);
        }
        (y[0], y[w - 1]) = (here[0], here[w - 1]);
    });
}

fn conv3x3(w: usize, h: usize, weights: &[f32; 9], x: &[f32], y: &mut [f32]) {
    let w = w.max(1);
    let rows = y.par_chunks_mut(w).enumerate().with_min_len(least(4 * w));
    rows.for_each(|(i, y)| {
        let row = |i: usize| &x[i * w..][..w];
        let sources = [row(i.saturating_sub(1)), row(i), row((i + 1).min(h - 1))];
        conv3x3_row(weights, sources, y);
    });
}

/// A row of the image from the three around it: the inside without clamping, then both ends.
fn conv3x3_row(weights: &[f32; 9], sources: [&[f32]; 3], y: &mut [f32]) {
    let w = y.len();
    if let Some(inner) = y.get_mut(1..w - 1) {
        inner.fill(0.0);
        for (source, &[a, b, c]) in sources.iter().zip(weights.as_chunks().0) {
            let taps = source.iter().zip(&source[1..]).zip(&source[2..]);
            for (y, ((left, here), right)) in inner.iter_mut().zip(taps) {
                *y += a * left + b * here + c * right;
            }
        }
    }
    for j in [0, w - 1] {
        let tap = |k: usize| weights[k] * sources[k / 3][(j + k % 3).clamp(1, w) - 1];
        y[j] = (0..9).map(tap).sum();
    }
}

fn black_scholes(
    rate: f32,
    volatility: f32,
    [s, k, t]: [&[f32]; 3],
    call: &mut [f32],
    put: &mut [f32],
) {
    let options = (call, put, s, k, t).into_par_iter().with_min_len(least(100));
    options.for_each(|(call, put, &s, &k, &t)| {
        let spread = volatility * t.sqrt();
        let d1 = ((s / k).ln() + (rate + 0.5 * volatility * volatility) * t) / spread;
        let (d2, strike) = (d1 - spread, k * (-rate * t).exp());
        *call = s * normal(d1) - strike * normal(d2);
        *put = strike * normal(-d2) - s * normal(-d1);
    });
}

/// The cumulative normal distribution: Abramowitz and Stegun's 26.2.17, as in the kernel.
fn normal(x: f32) -> f32 {
    let size = x.abs();
    let k = 1.0 / (1.0 + 0.231_641_9 * size);
    let series = k
        * (0.319_381_54
            + k * (-0.356_563_78 + k * (1.781_477_9 + k * (-1.821_255_9 + k * 1.330_274_5))));
    let tail = 0.398_942_3 * (-0.5 * size * size).exp() * series;
    if x < 0.0 { tail } else { 1.0 - tail }
}

fn mandelbrot(w: usize, h: usize, limit: u32, out: &mut [u32]) {
    let escape = |i: usize, j: usize| {
        let cx = -2.0 + 2.5 * (j as f32 + 0.5) / w as f32;
        let cy = -1.25 + 2.5 * (i as f32 + 0.5) / h as f32;
        let (mut x, mut y, mut count) = (0.0f32, 0.0f32, 0);
        while count < limit && x * x + y * y <= 4.0 {
            (x, y) = (x * x - y * y + cx, 2.0 * x * y + cy);
            count += 1;
        }
        count
    };
    let rows = out.par_chunks_mut(w.max(1)).enumerate().with_min_len(least(100 * w));
    rows.for_each(|(i, row)| {
        row.iter_mut().enumerate().for_each(|(j, count)| *count = escape(i, j));
    });
}

/// Several bodies at once, a lane each: a single one's sums would be a chain of additions.
fn nbody(softening: f32, at: [&[f32]; 3], m: &[f32], out: [&mut [f32]; 3]) {
    let [x, y, z] = at;
    let [ax, ay, az] = out.map(|axis| axis.par_chunks_mut(BODIES));
    let groups = (ax, ay, az, x.par_chunks(BODIES), y.par_chunks(BODIES), z.par_chunks(BODIES));
    let groups = groups.into_par_iter().with_min_len(least(10 * BODIES * m.len()));
    groups.for_each(|(ax, ay, az, px, py, pz)| {
        let [fx, fy, fz] = pulls(softening, at, m, [px, py, pz]);
        for (out, force) in [(ax, fx), (ay, fy), (az, fz)] {
            out.copy_from_slice(&force[..out.len()]);
        }
    });
}

/// The pull of all bodies on a group of them.
fn pulls(softening: f32, at: [&[f32]; 3], m: &[f32], group: [&[f32]; 3]) -> [[f32; BODIES]; 3] {
    // The last group may be short: its other lanes are computed and thrown away.
    let [px, py, pz] = group.map(|axis| {
        let mut lanes = [0.0f32; BODIES];
        lanes[..axis.len()].copy_from_slice(axis);
        lanes
    });
    let ([mut fx, mut fy, mut fz], [x, y, z]) = ([[0.0f32; BODIES]; 3], at);
    for (((&x, &y), &z), &m) in x.iter().zip(y).zip(z).zip(m) {
        for lane in 0..BODIES {
            let (dx, dy, dz) = (x - px[lane], y - py[lane], z - pz[lane]);
            let inverse = 1.0 / (dx * dx + dy * dy + dz * dz + softening).sqrt();
            let pull = m * inverse * inverse * inverse;
            fx[lane] += dx * pull;
            fy[lane] += dy * pull;
            fz[lane] += dz * pull;
        }
    }
    [fx, fy, fz]
}

/// Bins of their own for each thread's share, then their sums.
fn histogram(x: &[u32], bins: &mut [u32]) {
    let add = |sums: &mut [u32], bins: &[u32; BINS]| {
        sums.iter_mut().zip(bins).for_each(|(sum, bin)| *sum = sum.wrapping_add(*bin));
    };
    let count = |mut bins: [u32; BINS], x: &[u32]| {
        x.iter().for_each(|x| bins[(x & 255) as usize] += 1);
        bins
    };
    let merge = |mut a: [u32; BINS], b: [u32; BINS]| {
        add(&mut a, &b);
        a
    };
    let none = || [0; BINS];
    add(bins, &x.par_chunks(TASK).fold(none, count).reduce(none, merge));
}

fn spmv(starts: &[u32], columns: &[u32], values: &[f32], x: &[f32], y: &mut [f32]) {
    let rows = y.par_iter_mut().zip(starts.par_windows(2)).with_min_len(least(32));
    rows.for_each(|(y, bounds)| {
        let row = bounds[0] as usize..bounds[1] as usize;
        let entries = values[row.clone()].iter().zip(&columns[row]);
        *y = entries.map(|(value, &column)| value * x[column as usize]).sum();
    });
}
