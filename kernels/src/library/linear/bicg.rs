//! `q = A p` and `s = Aᵀ r`: the two products of a step of the biconjugate gradient (PolyBench). They
//! have nothing in common but the matrix.

use super::mat_vec::{mat_t_vec, mat_vec, product, row_scale, t_product};
use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison, uniform};
use crate::library::program::{Step, arg};

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "bicg",
    about: "q = A p and s = Aᵀ r, n × n",
    tags: &["dense", "bandwidth"],
    code: Code::Program {
        kernels: &[mat_vec::DEF, mat_t_vec::DEF],
        steps: |_| {
            vec![
                Step::of(mat_vec::DEF, [arg(0), arg(1), arg(2), arg(4)]),
                Step::of(mat_t_vec::DEF, [arg(0), arg(1), arg(3), arg(5)]),
            ]
        },
    },
    unit: "rows and columns",
    sizes: [64, 1024, 4096],
    inputs: |n, rng| {
        let scale = row_scale(n);
        let a = Input::F32(uniform(rng, n * n, -scale, scale));
        let [p, r] = [(); 2].map(|()| Input::F32(uniform(rng, n, -1.0, 1.0)));
        vec![number(n), a, p, r, Input::F32(poison(n)), Input::F32(poison(n))]
    },
    reference: |args| {
        let n = args[2].len();
        let of = |arg: usize| move |at: usize| args[arg].value(at);
        vec![
            Expected { param: 4, values: product(n, of(1), of(2)) },
            Expected { param: 5, values: t_product(n, of(1), of(3)) },
        ]
    },
    // Sums stay below 1 or so, and are rounded n times.
    tolerance: Tolerance::of(1e-4, 2e-5),
    operations: |n| 4.0 * (n as f64).powi(2),
};
