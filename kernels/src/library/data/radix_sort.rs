//! A radix sort, four bits at a time from the lowest: counts in blocks, a scan of them, and a scatter that
//! keeps the order. Each invocation has a block of its own.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, poison_u32};
use crate::library::program::{Step, arg, int};
use crate::{Id, kernel};

/// How often each digit stands in a block of 256; digit by digit, in each the blocks.
#[kernel(grid = (blocks))]
pub fn radix_count(id: Id, blocks: usize, shift: u32, x: &[u32], counts: &mut [u32]) {
    let mut own = [0u32; 16];
    let end = (id.x * 256 + 256).min(x.len());
    for at in id.x * 256..end {
        own[((x[at] >> shift) & 15) as usize] += 1;
    }
    for digit in 0..16 {
        counts[digit * blocks + id.x] = own[digit];
    }
}

/// Where the next digit of the block goes.
#[kernel(scan = add)]
pub fn radix_places(id: Id, counts: &[u32]) -> u32 {
    counts[id.x]
}

/// Puts each element of a block behind those of smaller digits, and of the same in earlier blocks.
#[kernel(grid = (blocks))]
#[expect(clippy::needless_range_loop, reason = "kernels have no iterators")]
pub fn radix_scatter(
    id: Id,
    blocks: usize,
    shift: u32,
    x: &[u32],
    counts: &[u32],
    ends: &[u32],
    y: &mut [u32],
) {
    let mut next = [0u32; 16];
    for digit in 0..16 {
        let at = digit * blocks + id.x;
        next[digit] = ends[at] - counts[at];
    }
    let end = (id.x * 256 + 256).min(x.len());
    for at in id.x * 256..end {
        let v = x[at];
        let digit = ((v >> shift) & 15) as usize;
        y[next[digit] as usize] = v;
        next[digit] += 1;
    }
}

/// Elements of a block.
const BLOCK: usize = 256;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "radix_sort",
    about: "sorts whole numbers, four bits at a time",
    tags: &["sort", "integer", "scatter", "scan", "many-calls"],
    code: Code::Program {
        kernels: &[radix_count::DEF, radix_places::DEF, radix_scatter::DEF],
        steps: |n| {
            let blocks = int(n.div_ceil(BLOCK));
            // Eight digits, to and fro, so that the last comes to buffer 2.
            let buffers = |pass: usize| match pass {
                0 => [0, 1],
                pass if pass.is_multiple_of(2) => [2, 1],
                _ => [1, 2],
            };
            let of_pass = |pass: usize| {
                let [from, to] = buffers(pass).map(arg);
                let shift = int(4 * pass);
                [
                    Step::of(radix_count::DEF, [blocks, shift, from, arg(3)]),
                    Step::of(radix_places::DEF, [arg(3), arg(4)]),
                    Step::of(radix_scatter::DEF, [blocks, shift, from, arg(3), arg(4), to]),
                ]
            };
            (0..8).flat_map(of_pass).collect()
        },
    },
    unit: "elements",
    sizes: [1 << 12, 1 << 17, 1 << 20],
    inputs: |n, rng| {
        let x = (0..n).map(|_| rng.next_u32()).collect();
        let counts = 16 * n.div_ceil(BLOCK);
        let mut args = vec![Input::U32(x)];
        args.extend([n, n, counts, counts].map(|len| Input::U32(poison_u32(len))));
        args
    },
    reference: |args| {
        let mut sorted = args[0].u32().to_vec();
        sorted.sort_unstable();
        vec![Expected { param: 2, values: sorted.into_iter().map(f64::from).collect() }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| 8.0 * 8.0 * n as f64,
};
