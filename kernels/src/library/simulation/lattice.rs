//! A fluid as populations on a lattice (Boltzmann, D2Q9): nine numbers for each cell that stream to its
//! neighbours and collide. Much state for each invocation.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::library::program::{Step, arg};
use crate::{Id, kernel};

/// A step on a torus. Population k moves by `dx[k] − 1, dy[k] − 1` and has the weight `weights[k]`.
#[kernel(grid = (n, n), contract)]
#[expect(clippy::too_many_arguments, reason = "the lattice, and populations before and after")]
pub fn lattice_step(
    id: Id,
    n: usize,
    rate: f32,
    dx: &[u32],
    dy: &[u32],
    weights: &[f32],
    f: &[f32],
    g: &mut [f32],
) {
    let cells = n * n;
    let mut own = [0.0f32; 9];
    let mut density = 0.0;
    let mut ux = 0.0;
    let mut uy = 0.0;
    for k in 0..9 {
        // What arrives comes from where its motion began.
        let column = (id.x + n + 1 - dx[k] as usize) % n;
        let row = (id.y + n + 1 - dy[k] as usize) % n;
        let v = f[k * cells + row * n + column];
        own[k] = v;
        density += v;
        ux += v * (dx[k] as f32 - 1.0);
        uy += v * (dy[k] as f32 - 1.0);
    }
    ux /= density;
    uy /= density;
    let still = 1.0 - 1.5 * (ux * ux + uy * uy);
    for k in 0..9 {
        let along = ux * (dx[k] as f32 - 1.0) + uy * (dy[k] as f32 - 1.0);
        let rest = weights[k] * density * (still + 3.0 * along + 4.5 * along * along);
        g[k * cells + id.y * n + id.x] = own[k] + rate * (rest - own[k]);
    }
}

/// Motions, by one to the right and below.
const MOTIONS: [[u32; 9]; 2] = [[1, 2, 1, 0, 1, 2, 0, 0, 2], [1, 1, 2, 1, 0, 2, 2, 0, 0]];

/// The weight of a motion: at rest, along an axis, or across.
fn weight(k: usize) -> f64 {
    match k {
        0 => 4.0 / 9.0,
        1..=4 => 1.0 / 9.0,
        _ => 1.0 / 36.0,
    }
}

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "lattice",
    about: "lattice Boltzmann with nine populations, two steps",
    tags: &["stencil", "registers", "time-steps"],
    code: Code::Program {
        kernels: &[lattice_step::DEF],
        steps: |_| {
            let step =
                |[f, g]: [usize; 2]| Step::of(lattice_step::DEF, [0, 1, 2, 3, 4, f, g].map(arg));
            [[5, 6], [6, 7]].map(step).into()
        },
    },
    unit: "rows and columns",
    sizes: [32, 256, 1024],
    inputs: |n, rng| {
        let weights: Vec<f32> = (0..9).map(|k| weight(k) as f32).collect();
        let mut f = uniform(rng, 9 * n * n, 0.9, 1.1);
        f.iter_mut().enumerate().for_each(|(at, f)| *f *= weights[at / (n * n)]);
        let mut args = vec![number(n), Input::Scalar(0.6f32.into())];
        args.extend(MOTIONS.map(|motions| Input::U32(motions.to_vec())));
        args.extend([Input::F32(weights), Input::F32(f)]);
        args.extend((0..2).map(|_| Input::F32(poison(9 * n * n))));
        args
    },
    // First everything collides, cell by cell; then all populations move.
    reference: |args| {
        let (n, rate) = (args[0].scalar() as usize, args[1].scalar());
        let cells = n * n;
        let motion = |k: usize| MOTIONS.map(|motions| f64::from(motions[k]) - 1.0);
        let stream = |f: &[f64]| {
            let mut moved = vec![0.0; f.len()];
            for (at, &v) in f.iter().enumerate() {
                let (k, row, column) = (at / cells, at % cells / n, at % n);
                let [dx, dy] = MOTIONS.map(|motions| motions[k] as usize);
                let (row, column) = ((row + n + dy - 1) % n, (column + n + dx - 1) % n);
                moved[k * cells + row * n + column] = v;
            }
            moved
        };
        let mut f: Vec<f64> = args[5].f32().iter().map(|&v| f64::from(v)).collect();
        for _ in 0..2 {
            f = stream(&f);
            for cell in 0..cells {
                let own: [f64; 9] = std::array::from_fn(|k| f[k * cells + cell]);
                let density: f64 = own.iter().sum();
                let flow = |axis: usize| {
                    let terms = own.iter().enumerate().map(|(k, v)| v * motion(k)[axis]);
                    terms.sum::<f64>() / density
                };
                let u = [flow(0), flow(1)];
                for k in 0..9 {
                    let along = u[0] * motion(k)[0] + u[1] * motion(k)[1];
                    let speed = 1.5 * (u[0].powi(2) + u[1].powi(2));
                    let rest =
                        weight(k) * density * (1.0 + 3.0 * along + 4.5 * along.powi(2) - speed);
                    f[k * cells + cell] += rate * (rest - own[k]);
                }
            }
        }
        vec![Expected { param: 7, values: f }]
    },
    // Populations of 0.03 and more, sums of nine.
    tolerance: Tolerance::of(2e-5, 1e-6),
    operations: |n| 2.0 * 9.0 * 16.0 * (n * n) as f64,
};
