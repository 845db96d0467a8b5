//! The numeric methods, in one table: name, what the receiver is, what the arguments and the result
//! are. What a method computes stands in `lower.rs`.

use super::types::Class;
use crate::ir::Type;

/// The type of an argument or result, in terms of the receiver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The receiver's own.
    Same,
    /// This one.
    Fixed(Type),
    /// The unsigned integer as wide as the receiver.
    Bits,
}

macro_rules! methods {
    ($($variant:ident $name:literal $class:ident ($($arg:expr),*) -> $result:expr;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Method { $($variant,)* }

        impl Method {
            #[cfg(all(test, feature = "source"))]
            pub(super) const NAMES: &'static [&'static str] = &[$($name,)*];

            pub(super) fn from_name(name: &str) -> Option<Method> {
                match name { $($name => Some(Method::$variant),)* _ => None }
            }

            /// What the receiver has to be.
            pub(super) fn receiver(self) -> Class {
                match self { $(Method::$variant => Class::$class,)* }
            }

            pub(super) fn args(self) -> &'static [Shape] {
                use Shape::{Bits, Fixed, Same};
                // Some tables use fewer shapes than all.
                let _ = (Bits, Fixed, Same);
                match self { $(Method::$variant => const { &[$($arg),*] },)* }
            }

            pub(super) fn result(self) -> Shape {
                use Shape::{Bits, Fixed, Same};
                match self { $(Method::$variant => $result,)* }
            }
        }
    };
}

methods! {
    Abs "abs" Any () -> Same;
    Signum "signum" Any () -> Same;
    Min "min" Any (Same) -> Same;
    Max "max" Any (Same) -> Same;
    Clamp "clamp" Any (Same, Same) -> Same;
    Sqrt "sqrt" Float () -> Same;
    Rsqrt "rsqrt" Float () -> Same;
    Recip "recip" Float () -> Same;
    Floor "floor" Float () -> Same;
    Ceil "ceil" Float () -> Same;
    Trunc "trunc" Float () -> Same;
    Round "round" Float () -> Same;
    RoundTiesEven "round_ties_even" Float () -> Same;
    Fract "fract" Float () -> Same;
    Exp "exp" Float () -> Same;
    Exp2 "exp2" Float () -> Same;
    Ln "ln" Float () -> Same;
    Log2 "log2" Float () -> Same;
    Log10 "log10" Float () -> Same;
    Sin "sin" Float () -> Same;
    Cos "cos" Float () -> Same;
    Tan "tan" Float () -> Same;
    Tanh "tanh" Float () -> Same;
    Asin "asin" Float () -> Same;
    Acos "acos" Float () -> Same;
    Atan "atan" Float () -> Same;
    Atan2 "atan2" Float (Same) -> Same;
    Erf "erf" Float () -> Same;
    ToDegrees "to_degrees" Float () -> Same;
    ToRadians "to_radians" Float () -> Same;
    Powf "powf" Float (Same) -> Same;
    Powi "powi" Float (Fixed(Type::I32)) -> Same;
    Pow "pow" Int (Fixed(Type::U32)) -> Same;
    MulAdd "mul_add" Float (Same, Same) -> Same;
    Copysign "copysign" Float (Same) -> Same;
    IsNan "is_nan" Float () -> Fixed(Type::Bool);
    IsFinite "is_finite" Float () -> Fixed(Type::Bool);
    IsInfinite "is_infinite" Float () -> Fixed(Type::Bool);
    ToBits "to_bits" Float () -> Bits;
    CountOnes "count_ones" Int () -> Fixed(Type::U32);
    LeadingZeros "leading_zeros" Int () -> Fixed(Type::U32);
    TrailingZeros "trailing_zeros" Int () -> Fixed(Type::U32);
    WrappingAdd "wrapping_add" Int (Same) -> Same;
    WrappingSub "wrapping_sub" Int (Same) -> Same;
    WrappingMul "wrapping_mul" Int (Same) -> Same;
    WrappingNeg "wrapping_neg" Int () -> Same;
    RotateLeft "rotate_left" Int (Fixed(Type::U32)) -> Same;
    RotateRight "rotate_right" Int (Fixed(Type::U32)) -> Same;
}

#[cfg(all(test, feature = "source"))]
mod tests {
    use crossover_syntax::parse::METHODS;

    use super::Method;

    #[test]
    fn the_reader_lets_every_method_through_and_no_other() {
        // Those of slices, of atomics, and of what a workgroup shares.
        let elements = |name: &str| {
            matches!(name, "len" | "is_empty" | "load" | "store" | "swap" | "compare_and_swap")
                || matches!(name, "barrier" | "shared" | "get" | "set")
                || name.starts_with("fetch_")
        };
        for name in METHODS {
            assert!(elements(name) || Method::NAMES.contains(name), "{name} is not typed");
        }
        for name in Method::NAMES {
            assert!(METHODS.contains(name), "{name} is refused by the reader");
        }
    }
}
