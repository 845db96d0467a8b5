//! The standard kernel library: the one kernel list, and a file for each kernel.
//!
//! An [`Entry`] holds everything that tests, benchmarks and reports need: the kernel, how to make its
//! inputs for a size from a seed, and what comes out, computed in `f64` by other means. Adding a file
//! and a line in [`ALL`] puts a kernel into the differential tests and the suites.

pub mod black_scholes;
pub mod conv3x3;
pub mod dot;
mod entry;
pub mod group_sum;
pub mod histogram;
pub mod jacobi;
pub mod mandelbrot;
pub mod matmul;
pub mod nbody;
pub mod prefix_sum;
pub mod saxpy;
pub mod spmv;
pub mod sum;

pub use entry::{Entry, Expected, Input, Tolerance};

/// Every kernel, in the order of reports.
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
];

/// The kernel of that name.
pub fn find(name: &str) -> Option<&'static Entry> {
    ALL.iter().find(|entry| entry.name == name)
}
