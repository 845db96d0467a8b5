//! What the library's kernels are compared with: the same work as it is written without Crossover.
//!
//! ```text
//! plain    loops over slices and rayon; how wide the vectors are is the compiler's affair
//! suites   the same of the suites beside `core`
//! vector   128-bit vectors by hand: what WebAssembly could reach at best
//! peak     the multiply-adds a second that 128-bit registers allow
//! ```
//!
//! How fast these are depends on the target they are compiled for, so the binary of this package is
//! a server: it is compiled for the machine at hand, and whoever compares asks it, over
//! [`protocol`], for one repetition at a time. So its repetitions take turns with those of others
//! that are compiled otherwise.

#![forbid(unsafe_code)]

pub mod peak;
pub mod plain;
pub mod protocol;
pub mod server;
pub mod suites;
pub mod vector;

use crossover_kernels::library::Input;

/// How a kernel is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// See [`plain`].
    Plain,
    /// See [`vector`].
    Vector,
}

impl Body {
    /// Both.
    pub const ALL: [Body; 2] = [Body::Plain, Body::Vector];

    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Body::Plain => "plain",
            Body::Vector => "vector",
        }
    }

    /// Runs a kernel of the library on these arguments, in the order of its entry. `None` where it
    /// is not written like this, or its arguments are others.
    pub fn run(self, kernel: &str, args: &mut [Input]) -> Option<()> {
        match self {
            Body::Plain => plain::run(kernel, args),
            Body::Vector => vector::run(kernel, args),
        }
    }
}

/// Trivial operations that a thread does in a few microseconds, which is what handing them to
/// another thread costs.
const TASK: usize = 1 << 14;

/// The fewest items worth a task of their own, for `with_min_len`: under twice as many, rayon splits
/// nothing, and runs the loop on the calling thread.
fn least(operations_per_item: usize) -> usize {
    (TASK / operations_per_item.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use crossover_kernels::library::{ALL, Entry};
    use crossover_kernels::random::Random;

    use super::*;

    /// The kernels that are written in plain Rust.
    const PLAIN: [&str; 32] = [
        "saxpy",
        "dot",
        "sum",
        "prefix_sum",
        "matmul",
        "jacobi",
        "conv3x3",
        "black_scholes",
        "mandelbrot",
        "nbody",
        "histogram",
        "spmv",
        "group_sum",
        "atax",
        "bicg",
        "gesummv",
        "syrk",
        "transpose",
        "sobel",
        "max_pool",
        "luma",
        "bitonic",
        "radix_sort",
        "lower_bound",
        "compact",
        "adam",
        "gelu",
        "softmax",
        "argmax",
        "embedding",
        "layer_norm",
        "quantised_dot",
    ];

    /// Those that are written with vectors by hand.
    const BY_HAND: [&str; 4] = ["matmul", "black_scholes", "mandelbrot", "nbody"];

    fn check(body: Body, entry: &Entry, size: usize) {
        let (mut args, name) = ((entry.inputs)(size, &mut Random::new(7)), body.name());
        let expected = (entry.reference)(&args);
        if body.run(entry.name, &mut args).is_none() {
            let has = match body {
                Body::Plain => &PLAIN[..],
                Body::Vector => &BY_HAND,
            };
            let has = has.contains(&entry.name);
            return assert!(!has, "{} has no {name} body", entry.name);
        }
        for output in expected {
            let found = (0..output.values.len()).map(|at| args[output.param].value(at));
            let wrong = entry.tolerance.judge(&output.values, found);
            assert_eq!(wrong, None, "{name} {} at {size}, argument {}", entry.name, output.param);
        }
    }

    #[test]
    fn results_are_the_references() {
        for entry in ALL {
            for size in [1, 2, 3, 4, 5, 8, 37, entry.sizes[0]] {
                Body::ALL.into_iter().for_each(|body| check(body, entry, size));
            }
        }
    }

    #[test]
    fn results_are_the_references_where_threads_share_the_work() {
        let cheap = |entry: &Entry| (entry.operations)(entry.sizes[1]) < 2e8;
        for entry in ALL.iter().filter(|entry| cheap(entry)) {
            Body::ALL.into_iter().for_each(|body| check(body, entry, entry.sizes[1] + 13));
        }
    }

    #[test]
    fn other_kernels_and_arguments_are_none() {
        for body in Body::ALL {
            assert_eq!(body.run("nothing", &mut []), None);
            assert_eq!(body.run("matmul", &mut [Input::F32(vec![1.0])]), None);
        }
    }

    #[test]
    fn nothing_to_do_is_done() {
        let empty = || Input::F32(Vec::new());
        let none = || Input::Scalar(0u32.into());
        for body in Body::ALL {
            assert_eq!(body.run("matmul", &mut [none(), empty(), empty(), empty()]), Some(()));
            let mut bodies = [(); 8].map(|()| empty());
            bodies[0] = Input::Scalar(1f32.into());
            assert_eq!(body.run("nbody", &mut bodies), Some(()));
            let mut image = [none(), none(), none(), Input::U32(Vec::new())];
            assert_eq!(body.run("mandelbrot", &mut image), Some(()));
        }
        assert_eq!(plain::run("jacobi", &mut [none(), none(), empty(), empty()]), Some(()));
        let mut out = [empty(), Input::F32(vec![7.0])];
        assert_eq!(plain::run("sum", &mut out), Some(()));
        assert_eq!(out[1], Input::F32(vec![0.0]));
    }
}
