//! A Fourier transform by Stockham's passes: log₂ n calls between two pairs of buffers, each with another
//! stride, and twiddle factors from a table.

use std::f64::consts::TAU;

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, poison, uniform};
use crate::library::program::{Step, arg, int};
use crate::{Id, kernel};

/// One pass: butterflies of elements half of all apart, whose results stand together. `run` is how many
/// neighbours belong to one transform so far.
#[kernel(grid = (cosines.len()), contract)]
#[expect(clippy::too_many_arguments, reason = "complex numbers as two buffers")]
pub fn fft_pass(
    id: Id,
    run: usize,
    cosines: &[f32],
    sines: &[f32],
    re: &[f32],
    im: &[f32],
    out_re: &mut [f32],
    out_im: &mut [f32],
) {
    let half = cosines.len();
    let i = id.x;
    let within = i % run;
    let twiddle = i - within;
    let a = re[i];
    let b = im[i];
    let c = re[i + half];
    let d = im[i + half];
    let x = a - c;
    let y = b - d;
    let to = 2 * twiddle + within;
    out_re[to] = a + c;
    out_im[to] = b + d;
    out_re[to + run] = x * cosines[twiddle] - y * sines[twiddle];
    out_im[to + run] = x * sines[twiddle] + y * cosines[twiddle];
}

/// Points of a transform of this size: a power of two.
fn points(n: usize) -> usize {
    n.max(2).next_power_of_two()
}

/// Frequencies that the reference computes when there are more.
const CHECKED: usize = 64;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "fft",
    about: "Fourier transform of complex numbers, radix 2",
    tags: &["transform", "strided", "many-calls"],
    code: Code::Program {
        kernels: &[fft_pass::DEF],
        steps: |n| {
            let passes = points(n).trailing_zeros() as usize;
            // The last goes to buffers 6 and 7; those before alternate.
            let buffers = |left: usize| if left.is_multiple_of(2) { [6, 7] } else { [4, 5] };
            let mut from = [2, 3];
            let step = |pass: usize| {
                let to = buffers(passes - 1 - pass);
                let given = [int(1 << pass), arg(0), arg(1)];
                let moved = [from, to].concat().into_iter().map(arg);
                from = to;
                Step::of(fft_pass::DEF, given.into_iter().chain(moved))
            };
            (0..passes).map(step).collect()
        },
    },
    unit: "points, rounded up to a power of two",
    sizes: [1 << 10, 1 << 15, 1 << 20],
    inputs: |n, rng| {
        let n = points(n);
        let angles = (0..n / 2).map(|k| -TAU * k as f64 / n as f64);
        let (cosines, sines) = angles.map(|a| (a.cos() as f32, a.sin() as f32)).unzip();
        let mut args = vec![Input::F32(cosines), Input::F32(sines)];
        args.extend((0..2).map(|_| Input::F32(uniform(rng, n, -1.0, 1.0))));
        args.extend((0..4).map(|_| Input::F32(poison(n))));
        args
    },
    // The definition, for some of the frequencies.
    reference: |args| {
        let n = args[2].len();
        let table: Vec<(f64, f64)> =
            (0..n).map(|k| (TAU * k as f64 / n as f64).sin_cos()).collect();
        let (mut re, mut im) = (vec![f64::NAN; n], vec![f64::NAN; n]);
        // An odd distance: frequencies of every remainder.
        for k in (0..n).step_by((n / CHECKED) | 1) {
            let (mut x, mut y) = (0.0, 0.0);
            for i in 0..n {
                let (sine, cosine) = table[i * k % n];
                let (a, b) = (args[2].value(i), args[3].value(i));
                (x, y) = (x + a * cosine + b * sine, y + b * cosine - a * sine);
            }
            (re[k], im[k]) = (x, y);
        }
        vec![Expected { param: 6, values: re }, Expected { param: 7, values: im }]
    },
    // Frequencies are √n large, and each of log₂ n passes rounds once more.
    tolerance: Tolerance::of(1e-4, 3e-3),
    operations: |n| 5.0 * points(n) as f64 * f64::from(points(n).trailing_zeros()),
};
