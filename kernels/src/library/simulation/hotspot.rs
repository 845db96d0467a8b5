//! The heat of a chip from the power of its parts (Rodinia): a stencil over two fields, in steps.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// A step: power heats, neighbours and air of 80 degrees cool; at the border there is no neighbour.
#[kernel(grid = (n, n), contract)]
pub fn hotspot_step(id: Id, n: usize, power: &[f32], x: &[f32], y: &mut [f32]) {
    let at = id.y * n + id.x;
    let own = x[at];
    let mut around = 0.0;
    if id.x > 0 {
        around += x[at - 1] - own;
    }
    if id.x + 1 < n {
        around += x[at + 1] - own;
    }
    if id.y > 0 {
        around += x[at - n] - own;
    }
    if id.y + 1 < n {
        around += x[at + n] - own;
    }
    y[at] = own + 0.5 * power[at] + 0.1 * around + 0.05 * (80.0 - own);
}

/// Time steps.
const STEPS: usize = 4;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "hotspot",
    about: "heat of a chip from the power of its parts, four steps",
    tags: &["stencil", "bandwidth", "time-steps"],
    code: Code::Program {
        kernels: &[hotspot_step::DEF],
        steps: |_| {
            let buffers = [[2, 3], [3, 4], [4, 3], [3, 4]];
            let step = |[x, y]: [usize; 2]| Step::of(hotspot_step::DEF, [0, 1, x, y].map(arg));
            buffers.map(step).into()
        },
    },
    unit: "rows and columns",
    sizes: [64, 512, 2048],
    inputs: |n, rng| {
        let power = Input::F32(uniform(rng, n * n, 0.0, 1.0));
        let x = Input::F32(uniform(rng, n * n, 70.0, 90.0));
        vec![number(n), power, x, Input::F32(poison(n * n)), Input::F32(poison(n * n))]
    },
    // What flows over each border between two cells, once for both.
    reference: |args| {
        let n = args[0].scalar() as usize;
        let mut heat: Vec<f64> = args[2].f32().iter().map(|&v| f64::from(v)).collect();
        for _ in 0..STEPS {
            let before = heat.clone();
            for at in 0..n * n {
                heat[at] += 0.5 * args[1].value(at) + 0.05 * (80.0 - before[at]);
                let right = (at % n + 1 < n).then_some(at + 1);
                for other in
                    [right, Some(at + n).filter(|&below| below < n * n)].into_iter().flatten()
                {
                    let flow = 0.1 * (before[other] - before[at]);
                    heat[at] += flow;
                    heat[other] -= flow;
                }
            }
        }
        vec![Expected { param: 4, values: heat }]
    },
    // Degrees below 100, off by 1e-5 at each of four steps.
    tolerance: Tolerance::of(2e-6, 0.0),
    operations: |n| 14.0 * STEPS as f64 * (n * n) as f64,
};

const _: () = assert!(STEPS == 4, "as many as there are pairs of buffers");
