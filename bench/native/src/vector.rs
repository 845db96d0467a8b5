//! Kernels in 128-bit vectors by hand: four lanes, fused multiply-add, several vectors in flight.
//!
//! WebAssembly has vectors of this width and no wider, so these are what code that is emitted for it
//! could reach at best. Where the target has no fused multiply-add, there is a multiplication and
//! an addition in its place.

mod black_scholes;
mod group_sum;
mod mandelbrot;
mod math;
mod matmul;
mod nbody;

use crossover_kernels::library::Input;
use wide::f32x4;

/// Lanes of a vector.
const LANES: usize = 4;

/// Runs a kernel of the library on these arguments, in the order of its entry. `None` where it is
/// not written by hand, or its arguments are others.
pub fn run(kernel: &str, args: &mut [Input]) -> Option<()> {
    use Input::{F32, Scalar, U32};
    match (kernel, args) {
        ("matmul", [Scalar(n), F32(a), F32(b), F32(c)]) => {
            matmul::run(n.to_f64() as usize, a, b, c);
        }
        (
            "black_scholes",
            [Scalar(rate), Scalar(volatility), F32(s), F32(k), F32(t), F32(call), F32(put)],
        ) => {
            let (rate, volatility) = (rate.to_f64() as f32, volatility.to_f64() as f32);
            black_scholes::run(rate, volatility, [s, k, t], call, put);
        }
        ("mandelbrot", [Scalar(w), Scalar(h), Scalar(limit), U32(out)]) => {
            mandelbrot::run(w.to_f64() as usize, h.to_f64() as usize, limit.to_f64() as u32, out);
        }
        (
            "nbody",
            [Scalar(softening), F32(x), F32(y), F32(z), F32(m), F32(ax), F32(ay), F32(az)],
        ) => nbody::run(softening.to_f64() as f32, [x, y, z], m, [ax, ay, az]),
        ("group_sum", [F32(x), F32(sums)]) => group_sum::run(x, sums),
        _ => return None,
    }
    Some(())
}

/// The first lanes of a slice; where it ends, zeros.
fn load(from: &[f32]) -> f32x4 {
    match from.first_chunk() {
        Some(lanes) => f32x4::from(*lanes),
        None => {
            let mut lanes = [0.0; LANES];
            lanes[..from.len()].copy_from_slice(from);
            f32x4::from(lanes)
        }
    }
}

/// As many lanes as there is room for.
fn store(vector: f32x4, to: &mut [f32]) {
    let lanes = vector.to_array();
    match to.first_chunk_mut() {
        Some(to) => *to = lanes,
        None => to.copy_from_slice(&lanes[..to.len()]),
    }
}
