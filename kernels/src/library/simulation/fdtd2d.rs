//! Electromagnetic waves in two dimensions, in finite differences (PolyBench): three fields, each step of
//! one needs the others.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// The fields at the beginning.
#[kernel(grid = (ex.len()))]
pub fn fdtd_start(
    id: Id,
    from_ex: &[f32],
    from_ey: &[f32],
    from_hz: &[f32],
    ex: &mut [f32],
    ey: &mut [f32],
    hz: &mut [f32],
) {
    ex[id.x] = from_ex[id.x];
    ey[id.x] = from_ey[id.x];
    hz[id.x] = from_hz[id.x];
}

/// The electric field, from the magnetic field's differences.
#[kernel(grid = (n, n), contract)]
pub fn fdtd_electric(id: Id, n: usize, hz: &[f32], ex: &mut [f32], ey: &mut [f32]) {
    let at = id.y * n + id.x;
    if id.y > 0 {
        ey[at] -= 0.5 * (hz[at] - hz[at - n]);
    }
    if id.x > 0 {
        ex[at] -= 0.5 * (hz[at] - hz[at - 1]);
    }
}

/// The magnetic field, from the electric field's differences.
#[kernel(grid = (n, n), contract)]
pub fn fdtd_magnetic(id: Id, n: usize, ex: &[f32], ey: &[f32], hz: &mut [f32]) {
    let at = id.y * n + id.x;
    if id.x + 1 < n && id.y + 1 < n {
        hz[at] -= 0.7 * (ex[at + 1] - ex[at] + ey[at + n] - ey[at]);
    }
}

/// Time steps.
const STEPS: usize = 4;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "fdtd2d",
    about: "electromagnetic waves on a square grid, four steps",
    tags: &["stencil", "bandwidth", "time-steps"],
    code: Code::Program {
        kernels: &[fdtd_start::DEF, fdtd_electric::DEF, fdtd_magnetic::DEF],
        steps: |_| {
            let mut steps = vec![Step::of(fdtd_start::DEF, (1..7).map(arg))];
            for _ in 0..STEPS {
                steps.push(Step::of(fdtd_electric::DEF, [0, 6, 4, 5].map(arg)));
                steps.push(Step::of(fdtd_magnetic::DEF, [0, 4, 5, 6].map(arg)));
            }
            steps
        },
    },
    unit: "rows and columns",
    sizes: [64, 512, 2048],
    inputs: |n, rng| {
        let mut args = vec![number(n)];
        args.extend((0..3).map(|_| Input::F32(uniform(rng, n * n, -1.0, 1.0))));
        args.extend((0..3).map(|_| Input::F32(poison(n * n))));
        args
    },
    reference: |args| {
        let n = args[0].scalar() as usize;
        let field = |at: usize| args[at].f32().iter().map(|&v| f64::from(v)).collect();
        let (mut ex, mut ey, mut hz): (Vec<f64>, Vec<f64>, Vec<f64>) =
            (field(1), field(2), field(3));
        for _ in 0..STEPS {
            (n..n * n).for_each(|at| ey[at] -= 0.5 * (hz[at] - hz[at - n]));
            for (row, h) in ex.chunks_mut(n.max(1)).zip(hz.chunks(n.max(1))) {
                row[1..].iter_mut().zip(h.windows(2)).for_each(|(e, h)| *e -= 0.5 * (h[1] - h[0]));
            }
            for i in 0..n.saturating_sub(1) {
                for j in 0..n - 1 {
                    let at = i * n + j;
                    hz[at] -= 0.7 * (ex[at + 1] - ex[at] + ey[at + n] - ey[at]);
                }
            }
        }
        let fields = [(4, ex), (5, ey), (6, hz)];
        fields.map(|(param, values)| Expected { param, values }).into()
    },
    // Fields of about 1, four steps of a few additions each.
    tolerance: Tolerance::of(1e-5, 1e-5),
    operations: |n| 11.0 * STEPS as f64 * (n * n) as f64,
};
