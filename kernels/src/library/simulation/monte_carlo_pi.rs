//! π by chance: each invocation throws points of its own and counts those inside the circle. No memory but
//! for one seed, and whole numbers, so that the count is exact.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, poison_u32};
use crate::{Id, kernel};

/// How many of an invocation's points fall into the quarter circle.
#[kernel(reduce = add)]
pub fn monte_carlo_pi(id: Id, seeds: &[u32]) -> u32 {
    let mut state = seeds[id.x];
    let mut inside = 0u32;
    for _ in 0..64 {
        state = state.wrapping_mul(747796405).wrapping_add(2891336453);
        let mut word = state ^ (state >> 15);
        word = word.wrapping_mul(739982445);
        word ^= word >> 12;
        // Two places of fifteen bits.
        let x = word >> 17;
        let y = (word >> 2) & 32767;
        if x * x + y * y < 1073741824 {
            inside += 1;
        }
    }
    inside
}

/// Points that an invocation throws.
const THROWS: u32 = 64;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "monte_carlo_pi",
    about: "points in a quarter circle, 64 of each seed",
    tags: &["reduction", "random", "integer", "compute"],
    code: Code::Kernel(monte_carlo_pi::DEF),
    unit: "seeds",
    sizes: [1 << 10, 1 << 16, 1 << 20],
    inputs: |n, rng| {
        let seeds = (0..n).map(|_| rng.next_u32()).collect();
        vec![Input::U32(seeds), Input::U32(poison_u32(1))]
    },
    // The same points, wherever they lie, in 64 bits and by distance.
    reference: |args| {
        let throw = |state: &mut u64| {
            *state = (*state * 747_796_405 + 2_891_336_453) % (1 << 32);
            let word = (*state ^ (*state >> 15)) * 739_982_445 % (1 << 32);
            let word = word ^ (word >> 12);
            let (x, y) = ((word >> 17) as f64, (word >> 2 & 0x7fff) as f64);
            f64::from(u8::from(x.hypot(y) < 32_768.0))
        };
        let of_seed = |&seed: &u32| {
            let mut state = u64::from(seed);
            (0..THROWS).map(|_| throw(&mut state)).sum::<f64>()
        };
        vec![Expected { param: 1, values: vec![args[0].u32().iter().map(of_seed).sum()] }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| 14.0 * f64::from(THROWS) * n as f64,
};
