//! The standard kernel library: the one kernel list, and a file for each kernel.
//!
//! An [`Entry`] holds everything that tests, benchmarks and reports need: the kernel, how to make its
//! inputs for a size from a seed, and what comes out, computed in `f64` by other means. Adding a file
//! and a line in [`ALL`] puts a kernel into the differential tests and the suites.

pub mod black_scholes;
pub mod conv3x3;
pub mod data;
pub mod dot;
mod entry;
pub mod group_sum;
pub mod histogram;
pub mod image;
pub mod jacobi;
pub mod linear;
pub mod mandelbrot;
pub mod matmul;
pub mod ml;
pub mod nbody;
pub mod prefix_sum;
mod program;
pub mod saxpy;
pub mod simulation;
pub mod spmv;
pub mod sum;

pub use entry::{Code, Entry, Expected, Input, Tolerance};
pub use program::{Passed, Step};

use std::collections::HashSet;

use crate::lang::Def;

/// Every benchmark, in the order of reports.
pub static ALL: &[Entry] = &[
    saxpy::ENTRY,
    dot::ENTRY,
    sum::ENTRY,
    prefix_sum::ENTRY,
    matmul::ENTRY,
    jacobi::ENTRY,
    conv3x3::ENTRY,
    black_scholes::ENTRY,
    mandelbrot::ENTRY,
    nbody::ENTRY,
    histogram::ENTRY,
    spmv::ENTRY,
    group_sum::ENTRY,
    linear::atax::ENTRY,
    linear::bicg::ENTRY,
    linear::fft::ENTRY,
    linear::gemver::ENTRY,
    linear::gesummv::ENTRY,
    linear::lu::ENTRY,
    linear::syrk::ENTRY,
    linear::transpose::ENTRY,
    linear::two_mm::ENTRY,
    image::bilateral::ENTRY,
    image::equalise::ENTRY,
    image::gaussian::ENTRY,
    image::integral::ENTRY,
    image::luma::ENTRY,
    image::median3x3::ENTRY,
    image::resize::ENTRY,
    image::sobel::ENTRY,
    simulation::fdtd2d::ENTRY,
    simulation::heat3d::ENTRY,
    simulation::hotspot::ENTRY,
    simulation::lattice::ENTRY,
    simulation::life::ENTRY,
    simulation::monte_carlo_pi::ENTRY,
    simulation::reaction::ENTRY,
    simulation::springs::ENTRY,
    data::bitonic::ENTRY,
    data::compact::ENTRY,
    data::floyd_warshall::ENTRY,
    data::lower_bound::ENTRY,
    data::path_finder::ENTRY,
    data::radix_sort::ENTRY,
    data::sha256::ENTRY,
    data::smith_waterman::ENTRY,
    ml::adam::ENTRY,
    ml::argmax::ENTRY,
    ml::attention::ENTRY,
    ml::back_propagation::ENTRY,
    ml::cross_entropy::ENTRY,
    ml::embedding::ENTRY,
    ml::gelu::ENTRY,
    ml::k_means::ENTRY,
    ml::layer_norm::ENTRY,
    ml::max_pool::ENTRY,
    ml::quantised_dot::ENTRY,
    ml::softmax::ENTRY,
];

/// Every kernel of every benchmark, once.
///
/// ```
/// use crossover_kernels::library;
/// assert!(library::kernels().any(|def| def.name == "saxpy"));
/// assert!(library::kernels().count() >= library::ALL.len(), "programs have several");
/// ```
pub fn kernels() -> impl Iterator<Item = &'static Def> {
    let mut names = HashSet::new();
    let all = ALL.iter().flat_map(|entry| entry.kernels().iter().copied());
    all.filter(move |def| names.insert(def.name))
}

/// The benchmark of that name.
///
/// ```
/// use crossover_kernels::library;
/// let entry = library::find("matmul").expect("one of the first");
/// assert_eq!((entry.kernels().len(), entry.is_program()), (1, false));
/// assert!(library::find("mtmul").is_none());
/// ```
pub fn find(name: &str) -> Option<&'static Entry> {
    ALL.iter().find(|entry| entry.name == name)
}

/// The kernel of that name, or the only one of the benchmark of that name: the benchmark, and the
/// kernel's number among its own.
///
/// ```
/// use crossover_kernels::library;
/// let (entry, kernel) = library::find_kernel("saxpy").expect("one of the first");
/// assert_eq!((entry.name, kernel), ("saxpy", 0));
/// ```
pub fn find_kernel(name: &str) -> Option<(&'static Entry, usize)> {
    let of = |entry: &'static Entry| {
        let at = entry.kernels().iter().position(|def| def.name == name);
        at.map(|at| (entry, at))
    };
    ALL.iter().find_map(of)
}
