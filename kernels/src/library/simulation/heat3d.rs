//! Heat in three dimensions: a seven-point stencil, in steps from one buffer to another (PolyBench).

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// A step inside, the old value on the border.
#[kernel(grid = (n, n, n), contract)]
pub fn heat3d_step(id: Id, n: usize, x: &[f32], y: &mut [f32]) {
    let at = (id.z * n + id.y) * n + id.x;
    let first = id.x == 0 || id.y == 0 || id.z == 0;
    let last = id.x + 1 == n || id.y + 1 == n || id.z + 1 == n;
    if first || last {
        y[at] = x[at];
    } else {
        let plane = n * n;
        let around = x[at - 1] + x[at + 1] + x[at - n] + x[at + n] + x[at - plane] + x[at + plane];
        y[at] = 0.25 * x[at] + 0.125 * around;
    }
}

/// Time steps.
const STEPS: usize = 4;

/// Cells of an edge of a cube of so many.
fn edge(cells: usize) -> usize {
    (cells as f64).cbrt().round() as usize
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "heat3d",
    about: "heat in a cube, seven points, four steps",
    tags: &["stencil", "bandwidth", "time-steps"],
    code: Code::Program {
        kernels: &[heat3d_step::DEF],
        steps: |_| {
            let buffers = [[1, 2], [2, 3], [3, 2], [2, 3]];
            buffers.map(|[x, y]| Step::of(heat3d_step::DEF, [arg(0), arg(x), arg(y)])).into()
        },
    },
    unit: "cells, rounded to a cube",
    sizes: [16 * 16 * 16, 64 * 64 * 64, 192 * 192 * 192],
    inputs: |cells, rng| {
        let n = edge(cells);
        let cells = n * n * n;
        let x = Input::F32(uniform(rng, cells, 0.0, 1.0));
        vec![number(n), x, Input::F32(poison(cells)), Input::F32(poison(cells))]
    },
    // What flows between neighbours, axis by axis.
    reference: |args| {
        let n = args[0].scalar() as usize;
        let mut heat: Vec<f64> = args[1].f32().iter().map(|&v| f64::from(v)).collect();
        for _ in 0..STEPS {
            let before = heat.clone();
            for at in 0..before.len() {
                let place = [at % n, at / n % n, at / n / n];
                if place.iter().any(|&p| p == 0 || p + 1 == n) {
                    continue;
                }
                for apart in [1, n, n * n] {
                    let flow = before[at - apart] - 2.0 * before[at] + before[at + apart];
                    heat[at] += 0.125 * flow;
                }
            }
        }
        vec![Expected { param: 3, values: heat }]
    },
    // Means of values below 1.
    tolerance: Tolerance::of(1e-6, 2e-6),
    operations: |cells| 8.0 * STEPS as f64 * cells as f64,
};

const _: () = assert!(STEPS == 4, "as many as there are pairs of buffers");
