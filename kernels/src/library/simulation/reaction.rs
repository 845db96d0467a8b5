//! Reaction and diffusion of two substances (Gray and Scott): a stencil over two fields that feed on each
//! other.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// A step on a torus: both diffuse, v grows on u, u is fed, v is taken.
#[kernel(grid = (n, n), contract)]
pub fn reaction_step(
    id: Id,
    n: usize,
    u: &[f32],
    v: &[f32],
    next_u: &mut [f32],
    next_v: &mut [f32],
) {
    let left = id.y * n + (id.x + n - 1) % n;
    let right = id.y * n + (id.x + 1) % n;
    let up = (id.y + n - 1) % n * n + id.x;
    let down = (id.y + 1) % n * n + id.x;
    let at = id.y * n + id.x;
    let spread_u = u[left] + u[right] + u[up] + u[down] - 4.0 * u[at];
    let spread_v = v[left] + v[right] + v[up] + v[down] - 4.0 * v[at];
    let grown = u[at] * v[at] * v[at];
    next_u[at] = u[at] + 0.16 * spread_u - grown + 0.035 * (1.0 - u[at]);
    next_v[at] = v[at] + 0.08 * spread_v + grown - 0.1 * v[at];
}

/// Time steps.
const STEPS: usize = 4;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "reaction",
    about: "two substances that diffuse and react, four steps",
    tags: &["stencil", "time-steps"],
    code: Code::Program {
        kernels: &[reaction_step::DEF],
        steps: |_| {
            let fields = [[1, 3], [3, 5], [5, 3], [3, 5]];
            let step =
                |[x, y]: [usize; 2]| Step::of(reaction_step::DEF, [0, x, x + 1, y, y + 1].map(arg));
            fields.map(step).into()
        },
    },
    unit: "rows and columns",
    sizes: [64, 512, 1536],
    inputs: |n, rng| {
        let u = Input::F32(uniform(rng, n * n, 0.5, 1.0));
        let v = Input::F32(uniform(rng, n * n, 0.0, 0.5));
        let mut args = vec![number(n), u, v];
        args.extend((0..4).map(|_| Input::F32(poison(n * n))));
        args
    },
    reference: |args| {
        let n = args[0].scalar() as usize;
        let field = |at: usize| args[at].f32().iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let spread = |x: &[f64], at: usize| {
            let (row, column) = (at / n, at % n);
            let ways = [(1, 0), (n - 1, 0), (0, 1), (0, n - 1)];
            let other = |(i, j)| x[(row + i) % n * n + (column + j) % n] - x[at];
            ways.map(other).into_iter().sum::<f64>()
        };
        let (mut u, mut v) = (field(1), field(2));
        for _ in 0..STEPS {
            let next = |at: usize| {
                let grown = u[at] * v[at].powi(2);
                let new_u = u[at] + 0.16 * spread(&u, at) - grown + 0.035 * (1.0 - u[at]);
                (new_u, 0.9 * v[at] + 0.08 * spread(&v, at) + grown)
            };
            (u, v) = (0..n * n).map(next).unzip();
        }
        vec![Expected { param: 5, values: u }, Expected { param: 6, values: v }]
    },
    // Shares below 1, a dozen operations in each of four steps.
    tolerance: Tolerance::of(1e-5, 2e-6),
    operations: |n| 22.0 * STEPS as f64 * (n * n) as f64,
};

const _: () = assert!(STEPS == 4, "as many as there are pairs of fields");
