//! A bitonic sort: log² n calls that compare and swap, whatever the data.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, poison_u32};
use crate::library::program::{Step, arg, int};
use crate::{Id, kernel};

/// What is to be sorted, then the largest number as often as a power of two needs.
#[kernel(grid = (y.len()))]
pub fn bitonic_start(id: Id, x: &[u32], y: &mut [u32]) {
    let mut v = u32::MAX;
    if id.x < x.len() {
        v = x[id.x];
    }
    y[id.x] = v;
}

/// Puts elements `apart` from each other in order: rising in every other run of `run`. A pair to an
/// invocation.
#[kernel]
pub fn bitonic_pass(id: Id, run: usize, apart: usize, y: &mut [u32]) {
    let low = id.x / apart * (2 * apart) + id.x % apart;
    let high = low + apart;
    let a = y[low];
    let b = y[high];
    let rises = (low & run) == 0;
    if (a > b) == rises {
        y[low] = b;
        y[high] = a;
    }
}

fn points(n: usize) -> usize {
    n.max(1).next_power_of_two()
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "bitonic",
    about: "sorts whole numbers by a bitonic network",
    tags: &["sort", "integer", "strided", "many-calls"],
    code: Code::Program {
        kernels: &[bitonic_start::DEF, bitonic_pass::DEF],
        steps: |n| {
            let pairs = points(n) / 2;
            let mut steps = vec![Step::of(bitonic_start::DEF, [arg(0), arg(1)])];
            let mut run = 2;
            while run <= 2 * pairs {
                let mut apart = run / 2;
                while apart > 0 {
                    let own = [int(run), int(apart), arg(1)];
                    steps.push(Step::of(bitonic_pass::DEF, own).over(pairs));
                    apart /= 2;
                }
                run *= 2;
            }
            steps
        },
    },
    unit: "elements",
    sizes: [1 << 10, 1 << 14, 1 << 18],
    inputs: |n, rng| {
        let x = (0..n).map(|_| rng.next_u32()).collect();
        vec![Input::U32(x), Input::U32(poison_u32(points(n)))]
    },
    reference: |args| {
        let mut sorted = args[0].u32().to_vec();
        sorted.sort_unstable();
        sorted.resize(args[1].len(), u32::MAX);
        vec![Expected { param: 1, values: sorted.into_iter().map(f64::from).collect() }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| {
        let passes = f64::from(points(n).trailing_zeros());
        passes * (passes + 1.0) / 4.0 * points(n) as f64
    },
};
