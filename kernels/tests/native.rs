//! The kernels of the library against their own functions, called as plain Rust: the same arithmetic in
//! the same order, so the same bits, but for functions whose last bits are the platform's own.

extern crate crossover_kernels as crossover;

use crossover_kernels::error::RunError;
use crossover_kernels::interp::{self, Data};
use crossover_kernels::ir::{Kernel, Type};
use crossover_kernels::library::{self, Input};
use crossover_kernels::random::Random;
use crossover_kernels::{Atomic, Def, Id, front};
use library::{
    black_scholes, conv3x3, dot, histogram, image, jacobi, mandelbrot, matmul, ml, nbody,
    prefix_sum, saxpy, simulation, spmv, sum,
};

/// An argument as a pattern takes it, and as the function takes it.
macro_rules! pattern {
    (f32, $v:ident) => {
        Input::Scalar($v)
    };
    (u32, $v:ident) => {
        Input::Scalar($v)
    };
    (usize, $v:ident) => {
        Input::Scalar($v)
    };
    (F32, $v:ident) => {
        Input::F32($v)
    };
    (U32, $v:ident) => {
        Input::U32($v)
    };
    (I32, $v:ident) => {
        Input::I32($v)
    };
}

macro_rules! value {
    (f32, $v:ident) => {
        $v.to_f64() as f32
    };
    (u32, $v:ident) => {
        $v.to_f64() as u32
    };
    (usize, $v:ident) => {
        $v.to_f64() as usize
    };
    (F32, $v:ident) => {
        $v
    };
    (U32, $v:ident) => {
        $v
    };
    (I32, $v:ident) => {
        $v
    };
}

/// Calls the function of a kernel for every point of a grid, one after another.
macro_rules! call {
    ($args:ident, $grid:ident, $($path:ident)::+($($arg:ident: $ty:tt),*)) => {{
        let [$(pattern!($ty, $arg)),*] = $args else {
            panic!("`{}` takes other arguments", stringify!($($path)::+))
        };
        for_each($grid, |id| $($path)::+(id, $(value!($ty, $arg)),*));
    }};
}

/// Runs the function of that name for every point of its grid.
fn native(name: &str, args: &mut [Input], grid: [u32; 3]) {
    match (name, args) {
        ("histogram", [Input::U32(x), Input::U32(bins)]) => {
            counting(bins, |bins| for_each(grid, |id| histogram::histogram(id, x, bins)));
        }
        ("equalise_count", [Input::U32(x), Input::U32(bins)]) => {
            counting(bins, |bins| {
                for_each(grid, |id| image::equalise::equalise_count(id, x, bins));
            });
        }
        ("means_assign", [x, y, centres, Input::U32(nearest), Input::U32(sums)]) => {
            let (x, y, centres) = (x.u32(), y.u32(), centres.u32());
            counting(sums, |sums| {
                for_each(grid, |id| {
                    ml::k_means::means_assign(id, x, y, centres, nearest, sums);
                });
            });
        }
        (_, args) => collectives(name, args, grid),
    }
}

/// Has these numbers changed as atomics.
fn counting(bins: &mut Vec<u32>, count: impl FnOnce(&[Atomic<u32>])) {
    let atomics: Vec<_> = bins.iter().map(|&bin| Atomic::<u32>::new(bin)).collect();
    count(&atomics);
    *bins = atomics.iter().map(Atomic::<u32>::load).collect();
}

/// The same of those whose results are combined.
fn collectives(name: &str, args: &mut [Input], grid: [u32; 3]) {
    let points = || (0..grid[0] as usize).map(Id::at);
    match (name, args) {
        ("dot", [Input::F32(x), Input::F32(y), Input::F32(out)]) => {
            out[0] = points().fold(0.0, |sum, id| sum + dot::dot(id, x, y));
        }
        ("sum", [Input::F32(x), Input::F32(out)]) => {
            out[0] = points().fold(0.0, |sum, id| sum + sum::sum(id, x));
        }
        ("mean", [Input::F32(x), Input::F32(out)]) => {
            out[0] = points().fold(0.0, |sum, id| sum + ml::cross_entropy::mean(id, x));
        }
        ("softmax_most", [Input::F32(x), Input::F32(out)]) => {
            // NaN is less than every number.
            let most = |most: f32, id| most.max(ml::softmax::softmax_most(id, x));
            out[0] = points().fold(f32::NAN, most);
        }
        ("softmax_sum", [Input::F32(x), Input::F32(most), Input::F32(out)]) => {
            out[0] = points().fold(0.0, |sum, id| sum + ml::softmax::softmax_sum(id, x, most));
        }
        ("monte_carlo_pi", [Input::U32(seeds), Input::U32(out)]) => {
            let throw = |id| simulation::monte_carlo_pi::monte_carlo_pi(id, seeds);
            out[0] = points().map(throw).sum();
        }
        ("prefix_sum", [Input::U32(x), Input::U32(out)]) => {
            scan(out, |id| prefix_sum::prefix_sum(id, x));
        }
        ("equalise_ranks", [Input::U32(x), Input::U32(out)]) => {
            scan(out, |id| image::equalise::equalise_ranks(id, x));
        }
        ("radix_places", [Input::U32(x), Input::U32(out)]) => {
            scan(out, |id| library::data::radix_sort::radix_places(id, x));
        }
        ("compact_places", [Input::Scalar(least), Input::F32(x), Input::U32(out)]) => {
            let least = least.to_f64() as f32;
            scan(out, |id| library::data::compact::compact_places(id, least, x));
        }
        (_, args) => maps(name, args, grid),
    }
}

/// All sums up to each.
fn scan(out: &mut [u32], of: impl Fn(Id) -> u32) {
    let mut total = 0u32;
    for (i, prefix) in out.iter_mut().enumerate() {
        total = total.wrapping_add(of(Id::at(i)));
        *prefix = total;
    }
}

/// The same of those that only write what is their own.
fn maps(name: &str, args: &mut [Input], grid: [u32; 3]) {
    match name {
        "saxpy" => call!(args, grid, saxpy::saxpy(a: f32, x: F32, y: F32)),
        "matmul" => call!(args, grid, matmul::matmul(n: usize, a: F32, b: F32, c: F32)),
        "jacobi" => call!(args, grid, jacobi::jacobi(w: usize, h: usize, x: F32, y: F32)),
        "conv3x3" => {
            call!(args, grid, conv3x3::conv3x3(w: usize, h: usize, k: F32, x: F32, y: F32));
        }
        "black_scholes" => {
            call!(args, grid, black_scholes::black_scholes(
                r: f32, v: f32, s: F32, k: F32, t: F32, call: F32, put: F32
            ));
        }
        "mandelbrot" => {
            call!(args, grid, mandelbrot::mandelbrot(w: usize, h: usize, n: u32, out: U32));
        }
        "nbody" => {
            call!(args, grid, nbody::nbody(
                s: f32, x: F32, y: F32, z: F32, m: F32, ax: F32, ay: F32, az: F32
            ));
        }
        "spmv" => call!(args, grid, spmv::spmv(s: U32, c: U32, v: F32, x: F32, y: F32)),
        other => {
            let suites = [linear_suite, image_suite, simulation_suite, data_suite, ml_suite];
            let done = suites.iter().any(|suite| suite(other, args, grid));
            assert!(done, "`{other}` has no native call in this test: add it");
        }
    }
}

/// The same of this suite; whether it has the kernel.
fn linear_suite(name: &str, args: &mut [Input], grid: [u32; 3]) -> bool {
    use library::linear::*;
    match name {
        "fft_pass" => {
            call!(args, grid, fft::fft_pass(run: usize, cosines: F32, sines: F32, re: F32, im: F32, out_re: F32, out_im: F32))
        }
        "rank_two" => {
            call!(args, grid, gemver::rank_two(n: usize, a: F32, u1: F32, v1: F32, u2: F32, v2: F32, b: F32))
        }
        "t_product_plus" => {
            call!(args, grid, gemver::t_product_plus(n: usize, beta: f32, b: F32, y: F32, z: F32, x: F32))
        }
        "product_scaled" => {
            call!(args, grid, gemver::product_scaled(n: usize, alpha: f32, b: F32, x: F32, w: F32))
        }
        "gesummv" => {
            call!(args, grid, gesummv::gesummv(alpha: f32, beta: f32, a: F32, b: F32, x: F32, y: F32))
        }
        "lu_start" => call!(args, grid, lu::lu_start(a: F32, lu: F32)),
        "lu_column" => call!(args, grid, lu::lu_column(n: usize, k: usize, lu: F32)),
        "lu_update" => call!(args, grid, lu::lu_update(rows: usize, n: usize, k: usize, lu: F32)),
        "mat_vec" => call!(args, grid, mat_vec::mat_vec(n: usize, a: F32, x: F32, y: F32)),
        "mat_t_vec" => call!(args, grid, mat_vec::mat_t_vec(n: usize, a: F32, x: F32, y: F32)),
        "syrk" => call!(args, grid, syrk::syrk(n: usize, a: F32, c: F32)),
        "transpose" => call!(args, grid, transpose::transpose(n: usize, a: F32, b: F32)),
        "scaled_product" => {
            call!(args, grid, two_mm::scaled_product(n: usize, alpha: f32, a: F32, b: F32, t: F32))
        }
        "product_plus" => {
            call!(args, grid, two_mm::product_plus(n: usize, beta: f32, t: F32, c: F32, d: F32, e: F32))
        }
        _ => return false,
    }
    true
}

/// The same of this suite; whether it has the kernel.
fn image_suite(name: &str, args: &mut [Input], grid: [u32; 3]) -> bool {
    use library::image::*;
    match name {
        "bilateral" => {
            call!(args, grid, bilateral::bilateral(w: usize, h: usize, near: f32, alike: f32, x: F32, y: F32))
        }
        "equalise_clear" => call!(args, grid, equalise::equalise_clear(bins: U32)),
        "equalise_apply" => call!(args, grid, equalise::equalise_apply(x: U32, ranks: U32, y: U32)),
        "blur_rows" => {
            call!(args, grid, gaussian::blur_rows(w: usize, h: usize, weights: F32, x: F32, y: F32))
        }
        "blur_columns" => {
            call!(args, grid, gaussian::blur_columns(w: usize, h: usize, weights: F32, x: F32, y: F32))
        }
        "integral_rows" => {
            call!(args, grid, integral::integral_rows(w: usize, h: usize, x: U32, y: U32))
        }
        "integral_columns" => {
            call!(args, grid, integral::integral_columns(w: usize, h: usize, y: U32))
        }
        "luma" => call!(args, grid, luma::luma(red: U32, green: U32, blue: U32, y: U32)),
        "median3x3" => call!(args, grid, median3x3::median3x3(w: usize, h: usize, x: F32, y: F32)),
        "resize" => call!(args, grid, resize::resize(from: usize, to: usize, x: F32, y: F32)),
        "sobel" => call!(args, grid, sobel::sobel(w: usize, h: usize, x: F32, y: F32)),
        _ => return false,
    }
    true
}

/// The same of this suite; whether it has the kernel.
fn simulation_suite(name: &str, args: &mut [Input], grid: [u32; 3]) -> bool {
    use library::simulation::*;
    match name {
        "fdtd_start" => {
            call!(args, grid, fdtd2d::fdtd_start(from_ex: F32, from_ey: F32, from_hz: F32, ex: F32, ey: F32, hz: F32))
        }
        "fdtd_electric" => {
            call!(args, grid, fdtd2d::fdtd_electric(n: usize, hz: F32, ex: F32, ey: F32))
        }
        "fdtd_magnetic" => {
            call!(args, grid, fdtd2d::fdtd_magnetic(n: usize, ex: F32, ey: F32, hz: F32))
        }
        "heat3d_step" => call!(args, grid, heat3d::heat3d_step(n: usize, x: F32, y: F32)),
        "hotspot_step" => {
            call!(args, grid, hotspot::hotspot_step(n: usize, power: F32, x: F32, y: F32))
        }
        "lattice_step" => {
            call!(args, grid, lattice::lattice_step(n: usize, rate: f32, dx: U32, dy: U32, weights: F32, f: F32, g: F32))
        }
        "life_step" => call!(args, grid, life::life_step(n: usize, x: U32, y: U32)),
        "reaction_step" => {
            call!(args, grid, reaction::reaction_step(n: usize, u: F32, v: F32, next_u: F32, next_v: F32))
        }
        "springs_step" => {
            call!(args, grid, springs::springs_step(n: usize, before_x: F32, before_y: F32, x: F32, y: F32, next_x: F32, next_y: F32))
        }
        _ => return false,
    }
    true
}

/// The same of this suite; whether it has the kernel.
fn data_suite(name: &str, args: &mut [Input], grid: [u32; 3]) -> bool {
    use library::data::*;
    match name {
        "bitonic_start" => call!(args, grid, bitonic::bitonic_start(x: U32, y: U32)),
        "bitonic_pass" => {
            call!(args, grid, bitonic::bitonic_pass(run: usize, apart: usize, y: U32))
        }
        "compact_scatter" => {
            call!(args, grid, compact::compact_scatter(least: f32, x: F32, places: U32, y: F32))
        }
        "ways_through" => {
            call!(args, grid, floyd_warshall::ways_through(n: usize, k: usize, x: U32, y: U32))
        }
        "lower_bound" => {
            call!(args, grid, lower_bound::lower_bound(sorted: U32, wanted: U32, places: U32))
        }
        "path_row" => {
            call!(args, grid, path_finder::path_row(w: usize, row: usize, costs: I32, x: I32, y: I32))
        }
        "radix_count" => {
            call!(args, grid, radix_sort::radix_count(blocks: usize, shift: u32, x: U32, counts: U32))
        }
        "radix_scatter" => {
            call!(args, grid, radix_sort::radix_scatter(blocks: usize, shift: u32, x: U32, counts: U32, ends: U32, y: U32))
        }
        "sha256" => {
            call!(args, grid, sha256::sha256(n: usize, rounds: U32, start: U32, blocks: U32, out: U32))
        }
        "align_start" => call!(args, grid, smith_waterman::align_start(width: usize, h: I32)),
        "align_diagonal" => {
            call!(args, grid, smith_waterman::align_diagonal(cells: usize, first: usize, diagonal: usize, width: usize, a: U32, b: U32, h: I32))
        }
        _ => return false,
    }
    true
}

/// The same of this suite; whether it has the kernel.
fn ml_suite(name: &str, args: &mut [Input], grid: [u32; 3]) -> bool {
    use library::ml::*;
    match name {
        "adam" => {
            call!(args, grid, adam::adam(rate: f32, gradients: F32, means: F32, squares: F32, weights: F32))
        }
        "argmax" => call!(args, grid, argmax::argmax(width: usize, x: F32, places: U32)),
        "attention_scores" => {
            call!(args, grid, attention::attention_scores(n: usize, width: usize, scale: f32, q: F32, k: F32, scores: F32))
        }
        "attention_shares" => call!(args, grid, attention::attention_shares(n: usize, scores: F32)),
        "attention_mean" => {
            call!(args, grid, attention::attention_mean(n: usize, width: usize, shares: F32, v: F32, out: F32))
        }
        "layer_forward" => {
            call!(args, grid, back_propagation::layer_forward(inputs: usize, weights: F32, x: F32, out: F32))
        }
        "layer_error" => {
            call!(args, grid, back_propagation::layer_error(out: F32, wanted: F32, delta: F32))
        }
        "layer_blame" => {
            call!(args, grid, back_propagation::layer_blame(inputs: usize, weights: F32, delta: F32, blame: F32))
        }
        "layer_adjust" => {
            call!(args, grid, back_propagation::layer_adjust(inputs: usize, rate: f32, weights: F32, x: F32, delta: F32, adjusted: F32))
        }
        "surprise" => {
            call!(args, grid, cross_entropy::surprise(width: usize, x: F32, labels: U32, losses: F32))
        }
        "embedding" => {
            call!(args, grid, embedding::embedding(width: usize, tokens: U32, table: F32, out: F32))
        }
        "gelu" => call!(args, grid, gelu::gelu(x: F32, y: F32)),
        "means_start" => call!(args, grid, k_means::means_start(from: U32, centres: U32)),
        "means_clear" => call!(args, grid, k_means::means_clear(sums: U32)),
        "means_move" => call!(args, grid, k_means::means_move(sums: U32, centres: U32)),
        "row_moments" => {
            call!(args, grid, layer_norm::row_moments(width: usize, x: F32, means: F32, scales: F32))
        }
        "normalise" => {
            call!(args, grid, layer_norm::normalise(width: usize, gains: F32, biases: F32, x: F32, means: F32, scales: F32, y: F32))
        }
        "max_pool" => call!(args, grid, max_pool::max_pool(half: usize, n: usize, x: F32, y: F32)),
        "quantised_dot" => {
            call!(args, grid, quantised_dot::quantised_dot(words: usize, weights: U32, x: U32, out: I32))
        }
        "softmax_share" => {
            call!(args, grid, softmax::softmax_share(x: F32, most: F32, sum: F32, y: F32))
        }
        _ => return false,
    }
    true
}

fn for_each([w, h, d]: [u32; 3], mut run: impl FnMut(Id)) {
    for z in 0..d as usize {
        (0..h as usize).for_each(|y| (0..w as usize).for_each(|x| run(Id { z, ..Id::at2(x, y) })));
    }
}

/// An argument of this type as the interpreter has left it.
fn input(data: &Data, ty: Type) -> Input {
    match (data, ty) {
        (Data::Narrow(v), Type::F32) => Input::F32(v.iter().map(|b| f32::from_bits(*b)).collect()),
        (Data::Narrow(v), Type::I32) => Input::I32(v.iter().map(|b| b.cast_signed()).collect()),
        (Data::Narrow(v), _) => Input::U32(v.clone()),
        (Data::Scalar(c), _) => Input::Scalar(*c),
        (Data::Wide(_), _) => panic!("no argument of the library is wide"),
    }
}

/// How far the platform's functions may be from ours: of kernels that call any.
fn slack(kernel: &str) -> f64 {
    match kernel {
        "black_scholes" | "bilateral" | "softmax_sum" | "softmax_share" | "attention_shares"
        | "gelu" | "surprise" | "layer_forward" => 2e-5,
        _ => 0.0,
    }
}

#[test]
fn every_library_kernel_does_what_its_function_does() {
    for entry in library::ALL {
        let typed = |def: &&'static Def| front::kernel(def, &[], &[]).expect("it types");
        let kernels: Vec<Kernel> = entry.kernels().iter().map(typed).collect();
        for size in [0, 1, 2, 7, 40] {
            let inputs = (entry.inputs)(size, &mut Random::new(size as u64 + 99));
            let mut data: Vec<Data> = inputs.iter().map(Input::data).collect();
            let ran = entry.run_on(size, &mut data, |at, args, grid| {
                let kernel = &kernels[at];
                let grid = grid.unwrap_or_else(|| interp::default_grid(kernel, args));
                let of_type =
                    |(data, at): (&Data, usize)| input(data, kernel.entry.params[at].kind.ty());
                let mut inputs: Vec<Input> = args.iter().zip(0..).map(of_type).collect();
                interp::run(kernel, args, grid, None)?;
                // As plain Rust every invocation is a group of its own.
                if kernel.workgroup.is_none() {
                    native(&kernel.entry.name, &mut inputs, grid);
                    let found = args.iter().zip(0..).map(of_type);
                    compare(&kernel.entry.name, size, found, &inputs);
                }
                Ok::<(), RunError>(())
            });
            ran.expect("no check fails");
        }
    }
}

fn compare(kernel: &str, size: usize, found: impl Iterator<Item = Input>, expected: &[Input]) {
    let slack = slack(kernel);
    for (param, (found, expected)) in found.zip(expected).enumerate() {
        for at in 0..expected.len() {
            let (found, expected) = (found.value(at), expected.value(at));
            let close = (found - expected).abs() <= slack * expected.abs().max(1.0)
                || found == expected
                || (found.is_nan() && expected.is_nan());
            assert!(
                close,
                "{kernel} at {size}: [{at}] of {param} is {found}, the function gives {expected}"
            );
        }
    }
}
