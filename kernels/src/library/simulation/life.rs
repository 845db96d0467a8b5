//! Conway's Game of Life on a torus: whole numbers, and indices that wrap around.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison_u32};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// A generation: alive with three neighbours, or with two if alive before.
#[kernel(grid = (n, n))]
pub fn life_step(id: Id, n: usize, x: &[u32], y: &mut [u32]) {
    let mut around = 0;
    for i in 0..3 {
        let row = (id.y + n - 1 + i) % n;
        for j in 0..3 {
            let column = (id.x + n - 1 + j) % n;
            around += x[row * n + column];
        }
    }
    let at = id.y * n + id.x;
    // The cell itself was counted, too.
    let lives = around == 3 || (around == 4 && x[at] == 1);
    y[at] = if lives { 1 } else { 0 };
}

/// Generations.
const STEPS: usize = 4;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "life",
    about: "Game of Life on a torus, four generations",
    tags: &["stencil", "integer", "time-steps"],
    code: Code::Program {
        kernels: &[life_step::DEF],
        steps: |_| {
            let buffers = [[1, 2], [2, 3], [3, 2], [2, 3]];
            buffers.map(|[x, y]| Step::of(life_step::DEF, [arg(0), arg(x), arg(y)])).into()
        },
    },
    unit: "rows and columns",
    sizes: [64, 512, 1536],
    inputs: |n, rng| {
        let x = (0..n * n).map(|_| rng.next_u32() >> 31).collect();
        vec![number(n), Input::U32(x), Input::U32(poison_u32(n * n)), Input::U32(poison_u32(n * n))]
    },
    // Each that lives adds to its neighbours.
    reference: |args| {
        let n = args[0].scalar() as usize;
        let mut cells = args[1].u32().to_vec();
        for _ in 0..STEPS {
            let mut neighbours = vec![0u32; cells.len()];
            for at in (0..cells.len()).filter(|&at| cells[at] == 1) {
                for way in (0..9).filter(|&way| way != 4) {
                    let row = (at / n + n + way / 3 - 1) % n;
                    neighbours[row * n + (at % n + n + way % 3 - 1) % n] += 1;
                }
            }
            for (cell, around) in cells.iter_mut().zip(neighbours) {
                *cell = u32::from(around == 3 || (around == 2 && *cell == 1));
            }
        }
        vec![Expected { param: 3, values: cells.into_iter().map(f64::from).collect() }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| 12.0 * STEPS as f64 * (n * n) as f64,
};

const _: () = assert!(STEPS == 4, "as many as there are pairs of buffers");
