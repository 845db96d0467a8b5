//! Gravity of n bodies on each other, all pairs: n² interactions over 4n numbers.

use super::entry::{Code, Entry, Expected, Input, Tolerance, poison, uniform};
use crate::{Id, kernel};

/// Accelerations of bodies at (x, y, z) with mass `m`, softened by `softening`².
#[kernel(grid = (ax.len()), contract)]
#[expect(clippy::too_many_arguments, reason = "a structure of arrays")]
pub fn nbody(
    id: Id,
    softening: f32,
    x: &[f32],
    y: &[f32],
    z: &[f32],
    m: &[f32],
    ax: &mut [f32],
    ay: &mut [f32],
    az: &mut [f32],
) {
    let i = id.x;
    let px = x[i];
    let py = y[i];
    let pz = z[i];
    let mut fx = 0.0;
    let mut fy = 0.0;
    let mut fz = 0.0;
    for j in 0..x.len() {
        let dx = x[j] - px;
        let dy = y[j] - py;
        let dz = z[j] - pz;
        let r2 = dx * dx + dy * dy + dz * dz + softening;
        let inverse = 1.0 / r2.sqrt();
        let pull = m[j] * inverse * inverse * inverse;
        fx += dx * pull;
        fy += dy * pull;
        fz += dz * pull;
    }
    ax[i] = fx;
    ay[i] = fy;
    az[i] = fz;
}

/// Bodies that the reference looks at when there are more.
const BODIES_CHECKED: usize = 512;

pub(super) const ENTRY: Entry = Entry {
    name: "nbody",
    about: "gravity of n bodies, all pairs",
    tags: &["all-pairs", "compute"],
    code: Code::Kernel(nbody::DEF),
    unit: "bodies",
    sizes: [512, 4096, 16384],
    inputs: |n, rng| {
        let mut args = vec![Input::Scalar(0.01f32.into())];
        args.extend((0..3).map(|_| Input::F32(uniform(rng, n, -1.0, 1.0))));
        args.push(Input::F32(uniform(rng, n, 0.1, 1.0)));
        args.extend((0..3).map(|_| Input::F32(poison(n))));
        args
    },
    reference: |args| {
        let n = args[1].f32().len();
        let step = n.div_ceil(BODIES_CHECKED).max(1);
        let mut forces = [(); 3].map(|()| vec![f64::NAN; n]);
        for i in (0..n).step_by(step) {
            let mut force = [0.0; 3];
            for j in 0..n {
                let d = [1, 2, 3].map(|axis| args[axis].value(j) - args[axis].value(i));
                let r2 = d.iter().map(|d| d * d).sum::<f64>() + args[0].scalar();
                let pull = args[4].value(j) / (r2 * r2.sqrt());
                (0..3).for_each(|axis| force[axis] += d[axis] * pull);
            }
            (0..3).for_each(|axis| forces[axis][i] = force[axis]);
        }
        let mut param = 4;
        forces
            .map(|values| {
                param += 1;
                Expected { param, values }
            })
            .into()
    },
    tolerance: Tolerance::of(1e-3, 5e-2),
    operations: |n| 20.0 * (n as f64).powi(2),
};
