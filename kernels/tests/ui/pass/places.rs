//! Kernels stand in functions, modules and macros, behind `cfg`, and come by one `use`.
#![deny(warnings, missing_docs, unreachable_pub)]

extern crate crossover_kernels as crossover;

#[path = "../../common/mod.rs"]
mod common;

use common::Reference;
use crossover::kernel;

/// A module of kernels.
pub mod math {
    use crossover::{Id, Num, kernel};

    /// Twice a number.
    #[kernel]
    #[inline]
    pub fn twice<T: Num>(v: T) -> T {
        v + v
    }

    /// Twice every number.
    #[kernel]
    pub(crate) fn all_twice(id: Id, x: &[f32], y: &mut [f32]) {
        y[id.x] = twice(x[id.x]);
    }

    /// In a module of its own.
    pub mod inner {
        use crossover::{Id, kernel};

        /// Uses a kernel of another module, by its path.
        #[kernel(reduce = add)]
        pub fn sum(id: Id, x: &[f32]) -> f32 {
            super::twice(x[id.x]) + crate::math::twice(1.0)
        }
    }

    pub use inner::sum;
}

// One name brings the function and the kernel.
use math::{all_twice, sum};

#[cfg(test)]
#[kernel]
fn only_in_tests(v: f32) -> f32 {
    v.missing()
}

#[kernel]
#[cfg(test)]
fn only_in_tests_too(v: f32) -> f32 {
    v.missing()
}

macro_rules! scale {
    ($name:ident, $by:expr) => {
        #[kernel]
        fn $name(id: crossover::Id, x: &[f32], y: &mut [f32]) {
            y[id.x] = x[id.x] * $by;
        }
    };
}

scale!(by_three, 3.0);
scale!(by_a_half, 1.0 / 2.0);

fn main() {
    #[kernel]
    fn local(id: crossover::Id, x: &[f32], y: &mut [f32]) {
        y[id.x] = helper(x[id.x]);
    }

    #[kernel]
    fn helper(v: f32) -> f32 {
        v * v
    }

    let x = vec![1.0, 2.0, 3.0];
    let mut y = vec![0.0; 3];
    all_twice::on(&Reference).args(&x, &mut y).run().unwrap();
    assert_eq!(y, [2.0, 4.0, 6.0]);
    local::on(&Reference).args(&x, &mut y).run().unwrap();
    assert_eq!(y, [1.0, 4.0, 9.0]);
    by_three::on(&Reference).args(&x, &mut y).run().unwrap();
    by_a_half::on(&Reference).args(&x, &mut y).run().unwrap();
    assert_eq!(y, [0.5, 1.0, 1.5]);
    let mut total = vec![0.0];
    sum::on(&Reference).args(&x, &mut total).run().unwrap();
    assert_eq!(total, [18.0]);
    assert_eq!(sum(crossover::Id::at(0), &x), 4.0);
    assert_eq!(sum::DEF.name, "sum");
}
