//! The kernels of the library against their own functions, called as plain Rust: the same arithmetic in
//! the same order, so the same bits, but for functions whose last bits are the platform's own.

extern crate crossover_kernels as crossover;

use crossover_kernels::interp::{self, Data};
use crossover_kernels::ir::Extent;
use crossover_kernels::library::{self, Input};
use crossover_kernels::random::Random;
use crossover_kernels::{Atomic, Id, front};
use library::{
    black_scholes, conv3x3, dot, histogram, jacobi, mandelbrot, matmul, nbody, prefix_sum, saxpy,
    spmv, sum,
};

/// Runs the function of that name for every point of its grid, one after another.
fn native(name: &str, args: &mut [Input]) {
    let usize_of = |input: &Input| input.scalar() as usize;
    match (name, args) {
        ("saxpy", [a, Input::F32(x), Input::F32(y)]) => {
            let a = a.scalar() as f32;
            (0..y.len()).for_each(|i| saxpy::saxpy(Id::at(i), a, x, y));
        }
        ("dot", [Input::F32(x), Input::F32(y), Input::F32(out)]) => {
            out[0] = (0..x.len()).fold(0.0, |s, i| s + dot::dot(Id::at(i), x, y));
        }
        ("sum", [Input::F32(x), Input::F32(out)]) => {
            out[0] = (0..x.len()).fold(0.0, |s, i| s + sum::sum(Id::at(i), x));
        }
        ("prefix_sum", [Input::U32(x), Input::U32(out)]) => {
            let mut total = 0u32;
            for (i, prefix) in out.iter_mut().enumerate() {
                total = total.wrapping_add(prefix_sum::prefix_sum(Id::at(i), x));
                *prefix = total;
            }
        }
        ("matmul", [n, Input::F32(a), Input::F32(b), Input::F32(c)]) => {
            let n = usize_of(n);
            points(n, n, |id| matmul::matmul(id, n, a, b, c));
        }
        ("jacobi", [w, h, Input::F32(x), Input::F32(y)]) => {
            let (w, h) = (usize_of(w), usize_of(h));
            points(w, h, |id| jacobi::jacobi(id, w, h, x, y));
        }
        ("conv3x3", [w, h, Input::F32(weights), Input::F32(x), Input::F32(y)]) => {
            let (w, h) = (usize_of(w), usize_of(h));
            points(w, h, |id| conv3x3::conv3x3(id, w, h, weights, x, y));
        }
        (
            "black_scholes",
            [r, v, Input::F32(s), Input::F32(k), Input::F32(t), Input::F32(call), Input::F32(put)],
        ) => {
            let (r, v) = (r.scalar() as f32, v.scalar() as f32);
            for i in 0..s.len() {
                black_scholes::black_scholes(Id::at(i), r, v, s, k, t, call, put);
            }
        }
        ("mandelbrot", [w, h, limit, Input::U32(out)]) => {
            let (w, h, limit) = (usize_of(w), usize_of(h), limit.scalar() as u32);
            points(w, h, |id| mandelbrot::mandelbrot(id, w, h, limit, out));
        }
        (
            "nbody",
            [
                softening,
                Input::F32(x),
                Input::F32(y),
                Input::F32(z),
                Input::F32(m),
                Input::F32(ax),
                Input::F32(ay),
                Input::F32(az),
            ],
        ) => {
            let softening = softening.scalar() as f32;
            for i in 0..x.len() {
                nbody::nbody(Id::at(i), softening, x, y, z, m, ax, ay, az);
            }
        }
        ("histogram", [Input::U32(x), Input::U32(bins)]) => {
            let atomics: Vec<_> = bins.iter().map(|&b| Atomic::<u32>::new(b)).collect();
            (0..x.len()).for_each(|i| histogram::histogram(Id::at(i), x, &atomics));
            *bins = atomics.iter().map(Atomic::<u32>::load).collect();
        }
        (
            "spmv",
            [Input::U32(starts), Input::U32(columns), Input::F32(v), Input::F32(x), Input::F32(y)],
        ) => (0..y.len()).for_each(|i| spmv::spmv(Id::at(i), starts, columns, v, x, y)),
        (other, _) => panic!("`{other}` has no native call in this test: add it"),
    }
}

fn points(w: usize, h: usize, mut run: impl FnMut(Id)) {
    (0..h).for_each(|y| (0..w).for_each(|x| run(Id::at2(x, y))));
}

fn values(data: &Data, like: &Input) -> Vec<f64> {
    let of = |bits: &u32| match like {
        Input::F32(_) => f64::from(f32::from_bits(*bits)),
        Input::U32(_) | Input::Scalar(_) => f64::from(*bits),
    };
    match data {
        Data::Narrow(v) => v.iter().map(of).collect(),
        Data::Scalar(_) | Data::Wide(_) => Vec::new(),
    }
}

#[test]
fn every_library_kernel_does_what_its_function_does() {
    for entry in library::ALL {
        let kernel = front::kernel(entry.def, &[], &[]).expect("a library kernel types");
        // As plain Rust every invocation is a group of its own.
        if kernel.workgroup.is_some() {
            continue;
        }
        for size in [0, 1, 2, 7, 40] {
            let mut inputs = (entry.inputs)(size, &mut Random::new(size as u64 + 99));
            let mut data: Vec<Data> = inputs.iter().map(Input::data).collect();
            let mut grid = [1; 3];
            for (extent, size) in kernel.grid.iter().zip(&mut grid) {
                *size = match *extent {
                    Extent::Len(p) => data[p.index()].len() as u32,
                    Extent::Scalar(p) => inputs[p.index()].scalar() as u32,
                    Extent::Fixed(n) => n,
                    Extent::Given => 1,
                };
            }
            interp::run(&kernel, &mut data, grid, None).expect("no check fails");
            native(entry.name, &mut inputs);
            // exp, ln and sqrt of the platform differ from ours in the last bits.
            let tolerance = if entry.name == "black_scholes" { 2e-5 } else { 0.0 };
            for (input, data) in inputs.iter().zip(&data) {
                for (at, found) in values(data, input).into_iter().enumerate() {
                    let expected = input.value(at);
                    let close = (found - expected).abs() <= tolerance * expected.abs().max(1.0);
                    assert!(
                        close || (found.is_nan() && expected.is_nan()),
                        "{} at {size}: [{at}] is {found}, the function gives {expected}",
                        entry.name
                    );
                }
            }
        }
    }
}
