//! A cloth of masses and springs: each knot is pulled by its four neighbours and by gravity.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// The pull of a spring of length 1 along one axis, for each unit of that axis.
#[kernel]
pub fn pull(dx: f32, dy: f32) -> f32 {
    let length = (dx * dx + dy * dy).sqrt();
    0.3 * (length - 1.0) / length
}

/// A step of Verlet's: from places before and now to the next. The top row hangs.
#[kernel(grid = (n, n), contract)]
#[expect(clippy::too_many_arguments, reason = "two axes at three times")]
pub fn springs_step(
    id: Id,
    n: usize,
    before_x: &[f32],
    before_y: &[f32],
    x: &[f32],
    y: &[f32],
    next_x: &mut [f32],
    next_y: &mut [f32],
) {
    let at = id.y * n + id.x;
    let mut fx = 0.0;
    let mut fy = 0.05;
    if id.y > 0 {
        if id.x > 0 {
            let f = pull(x[at - 1] - x[at], y[at - 1] - y[at]);
            fx += f * (x[at - 1] - x[at]);
            fy += f * (y[at - 1] - y[at]);
        }
        if id.x + 1 < n {
            let f = pull(x[at + 1] - x[at], y[at + 1] - y[at]);
            fx += f * (x[at + 1] - x[at]);
            fy += f * (y[at + 1] - y[at]);
        }
        let f = pull(x[at - n] - x[at], y[at - n] - y[at]);
        fx += f * (x[at - n] - x[at]);
        fy += f * (y[at - n] - y[at]);
        if id.y + 1 < n {
            let f = pull(x[at + n] - x[at], y[at + n] - y[at]);
            fx += f * (x[at + n] - x[at]);
            fy += f * (y[at + n] - y[at]);
        }
        next_x[at] = 2.0 * x[at] - before_x[at] + fx;
        next_y[at] = 2.0 * y[at] - before_y[at] + fy;
    } else {
        next_x[at] = x[at];
        next_y[at] = y[at];
    }
}

/// The two axes before, now, and after each of the steps.
const FIELDS: [[usize; 3]; 3] = [[1, 3, 5], [3, 5, 7], [5, 7, 9]];

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "springs",
    about: "a cloth of masses and springs, three steps",
    tags: &["stencil", "particles", "time-steps"],
    code: Code::Program {
        kernels: &[springs_step::DEF],
        steps: |_| {
            let step = |[before, now, next]: [usize; 3]| {
                let fields = [0, before, before + 1, now, now + 1, next, next + 1];
                Step::of(springs_step::DEF, fields.map(arg))
            };
            FIELDS.map(step).into()
        },
    },
    unit: "rows and columns",
    sizes: [48, 512, 2048],
    inputs: |n, rng| {
        let mut near = |of: fn(usize, usize) -> usize| {
            let shifts = uniform(rng, n * n, -0.2, 0.2);
            shifts.iter().enumerate().map(|(at, d)| of(at, n) as f32 + d).collect::<Vec<f32>>()
        };
        let (x, y) = (near(|at, n| at % n), near(|at, n| at / n));
        let mut args = vec![number(n)];
        // At rest: where it was before.
        args.extend([x.clone(), y.clone(), x, y].map(Input::F32));
        args.extend((0..6).map(|_| Input::F32(poison(n * n))));
        args
    },
    // By springs, each of which pulls at both of its ends.
    reference: |args| {
        let n = args[0].scalar() as usize;
        let field = |at: usize| args[at].f32().iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let (mut before, mut now) = ([field(1), field(2)], [field(3), field(4)]);
        for _ in FIELDS {
            let mut next = now.clone();
            for axis in 0..2 {
                for at in n..n * n {
                    next[axis][at] += now[axis][at] - before[axis][at] + [0.0, 0.05][axis];
                }
            }
            for at in 0..n * n {
                let right = (at % n + 1 < n).then_some(at + 1);
                let below = (at + n < n * n).then_some(at + n);
                for other in [right, below].into_iter().flatten() {
                    let apart = [0, 1].map(|axis| now[axis][other] - now[axis][at]);
                    let length = apart[0].hypot(apart[1]);
                    for axis in 0..2 {
                        let force = 0.3 * (1.0 - 1.0 / length) * apart[axis];
                        // The top row hangs.
                        next[axis][at] += if at < n { 0.0 } else { force };
                        next[axis][other] -= if other < n { 0.0 } else { force };
                    }
                }
            }
            (before, now) = (now, next);
        }
        let [x, y] = now;
        vec![Expected { param: 9, values: x }, Expected { param: 10, values: y }]
    },
    // Places of up to 2,048 are known to 1e-4, differences of them to 2e-4; three steps.
    tolerance: Tolerance::of(1e-6, 2e-3),
    operations: |n| 60.0 * 3.0 * (n * n) as f64,
};
