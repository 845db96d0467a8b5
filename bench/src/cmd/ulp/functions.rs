//! The functions of one number: the kernel of each, and what it is held against.

use crossover::{Def, Float, Id, kernel};

/// A function of one `f32`.
pub(super) struct Function {
    pub(super) name: &'static str,
    /// `y[i]` is the function of the number whose bits are `first + i * step`.
    pub(super) def: &'static Def,
    /// The same in `f64`, whose own error is far below an ULP of `f32`.
    pub(super) reference: fn(f64) -> f64,
}

macro_rules! functions {
    ($($name:ident)*) => {
        mod kernels {
            use super::{Float, Id, kernel};

            $(
                #[kernel]
                pub(super) fn $name(id: Id, first: u32, step: u32, y: &mut [f32]) {
                    y[id.x] = Float::$name(f32::from_bits(first + id.x as u32 * step));
                }
            )*
        }

        /// Every function of one number that kernels have, but those that only look at the bits.
        pub(super) const ALL: &[Function] = &[
            $(Function {
                name: stringify!($name),
                def: kernels::$name::DEF,
                reference: <f64 as Float>::$name,
            },)*
        ];
    };
}

functions! { exp exp2 ln log2 sin cos tan tanh asin acos atan erf sqrt rsqrt }
