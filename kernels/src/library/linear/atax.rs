//! `y = Aᵀ (A x)`: the same matrix by rows, then by columns (PolyBench).

use super::mat_vec::{mat_t_vec, mat_vec, product, row_scale, t_product};
use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::library::program::{Step, arg};

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "atax",
    about: "y = Aᵀ (A x), n × n",
    tags: &["dense", "bandwidth"],
    code: Code::Program {
        kernels: &[mat_vec::DEF, mat_t_vec::DEF],
        steps: |_| {
            vec![
                Step::of(mat_vec::DEF, [arg(0), arg(1), arg(2), arg(3)]),
                Step::of(mat_t_vec::DEF, [arg(0), arg(1), arg(3), arg(4)]),
            ]
        },
    },
    unit: "rows and columns",
    sizes: [64, 1024, 4096],
    inputs: |n, rng| {
        let scale = row_scale(n);
        let (a, x) = (uniform(rng, n * n, -scale, scale), uniform(rng, n, -1.0, 1.0));
        let (t, y) = (Input::F32(poison(n)), Input::F32(poison(n)));
        vec![number(n), Input::F32(a), Input::F32(x), t, y]
    },
    reference: |args| {
        let n = args[2].len();
        let a = |at| args[1].value(at);
        let t = product(n, a, |at| args[2].value(at));
        vec![Expected { param: 4, values: t_product(n, a, |at| t[at]) }]
    },
    // Both sums stay below 1 or so, and are rounded n times each.
    tolerance: Tolerance::of(1e-4, 2e-5),
    operations: |n| 4.0 * (n as f64).powi(2),
};
