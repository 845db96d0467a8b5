//! The most multiply-adds a second that 128-bit registers allow here: what a matrix product is held
//! against.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use wide::f32x4;

/// Sums that do not wait for each other: more than latency times units of any processor so far (4
/// cycles × 2 units, 2026), and few enough for 16 registers.
const CHAINS: usize = 12;

/// Rounds of a measurement: some milliseconds.
const ROUNDS: u64 = 2_000_000;

/// Measurements, of which the best counts: a peak is what is possible.
const REPETITIONS: usize = 5;

/// Operations a second, a multiply-add being two for each lane, of all threads together.
pub fn flops(threads: usize) -> f64 {
    let threads = threads.max(1);
    let operations = threads as f64 * ROUNDS as f64 * (CHAINS * 4 * 2) as f64;
    let times = (0..REPETITIONS).map(|_| seconds(threads));
    operations / times.fold(f64::INFINITY, f64::min)
}

/// The time of the slowest of some threads that start together.
fn seconds(threads: usize) -> f64 {
    let barrier = Barrier::new(threads);
    let run = || {
        barrier.wait();
        let start = Instant::now();
        black_box(rounds(black_box(f32x4::splat(0.5)), black_box(f32x4::ONE)));
        start.elapsed().as_secs_f64()
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        all.into_iter().map(|thread| thread.join().unwrap_or(f64::INFINITY)).fold(0.0, f64::max)
    })
}

/// Every chain tends to `addend / (1 - factor)`, so that no number becomes subnormal or infinite.
fn rounds(factor: f32x4, addend: f32x4) -> f32x4 {
    let mut sums = [f32x4::ZERO; CHAINS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = sum.mul_add(factor, addend);
        }
    }
    sums.into_iter().fold(f32x4::ZERO, |a, b| a + b)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_peak_is_above_what_anything_computes() {
        let peak = super::flops(1);
        assert!(peak > 1e7 && peak < 1e13, "{peak}");
    }
}
