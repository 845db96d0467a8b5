//! The operators, in one table each: variant, spelling in the text form, meaning.
//!
//! What an operator means for a value is written once, in [`crate::interp`]; which types it takes
//! is written once, here, in `accepts`. Matches over operators list every variant, so a new line in
//! a table makes the compiler name each place that has to know it.

use super::ty::Type;

macro_rules! operators {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every operator of the table, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The spelling in the text form.
            pub fn text(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// The operator spelled `text`.
            pub fn from_text(text: &str) -> Option<$name> {
                match text { $($text => Some($name::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.text())
            }
        }
    };
}

operators! {
    /// Operators of one operand; the result has the operand's type.
    UnaryOp {
        /// `-a`; integers wrap.
        Neg = "neg",
        /// `!a`: every bit, or the truth value.
        Not = "not",
        /// `|a|`; `i32::MIN` stays (wraps).
        Abs = "abs",
        /// Square root, correctly rounded.
        Sqrt = "sqrt",
        /// Largest integer not above `a`.
        Floor = "floor",
        /// Smallest integer not below `a`.
        Ceil = "ceil",
        /// Towards zero.
        Trunc = "trunc",
        /// Nearest integer, halves to even.
        RoundEven = "round_even",
        /// Nearest integer, halves away from zero (Rust's `round`).
        Round = "round",
        /// e to the power `a`.
        Exp = "exp",
        /// 2 to the power `a`.
        Exp2 = "exp2",
        /// Natural logarithm.
        Ln = "ln",
        /// Logarithm to base 2.
        Log2 = "log2",
        /// Sine; radians.
        Sin = "sin",
        /// Cosine; radians.
        Cos = "cos",
        /// Tangent; radians.
        Tan = "tan",
        /// Hyperbolic tangent.
        Tanh = "tanh",
        /// Arc sine; radians.
        Asin = "asin",
        /// Arc cosine; radians.
        Acos = "acos",
        /// Arc tangent; radians.
        Atan = "atan",
        /// The error function: 2/√π times the integral of e^(−t²) from 0 to `a`.
        Erf = "erf",
        /// Number of bits set.
        CountOnes = "count_ones",
        /// Number of zero bits above the highest one; the width for zero.
        LeadingZeros = "leading_zeros",
        /// Number of zero bits below the lowest one; the width for zero.
        TrailingZeros = "trailing_zeros",
    }
}

operators! {
    /// Operators of two operands of one type; comparisons yield `bool`.
    BinaryOp {
        /// Sum; integers wrap.
        Add = "add",
        /// Difference; integers wrap.
        Sub = "sub",
        /// Product; integers wrap.
        Mul = "mul",
        /// Quotient; integers truncate, `MIN / -1` wraps. A zero divisor has to be ruled out by a
        /// check before.
        Div = "div",
        /// Remainder with the dividend's sign, integers only; `MIN % -1` is 0. Zero as for `Div`.
        Rem = "rem",
        /// The smaller; of a number and a NaN, the number. −0 and +0 are equal.
        Min = "min",
        /// The larger; of a number and a NaN, the number. −0 and +0 are equal.
        Max = "max",
        /// Bitwise or logical and.
        And = "and",
        /// Bitwise or logical or.
        Or = "or",
        /// Bitwise or logical exclusive or.
        Xor = "xor",
        /// Shift left; the amount is taken modulo the width.
        Shl = "shl",
        /// Shift right, with sign for signed types; the amount is taken modulo the width.
        Shr = "shr",
        /// Equal; NaN equals nothing.
        Eq = "eq",
        /// Not equal; NaN differs from everything.
        Ne = "ne",
        /// Less.
        Lt = "lt",
        /// Less or equal.
        Le = "le",
        /// Greater.
        Gt = "gt",
        /// Greater or equal.
        Ge = "ge",
        /// `a` to the power `b`, floats.
        Pow = "pow",
        /// The angle of the point (`b`, `a`), from −π to π, floats.
        Atan2 = "atan2",
        /// The magnitude of `a` with the sign of `b`, floats.
        Copysign = "copysign",
    }
}

operators! {
    /// Read-modify-write operators on one element of an atomic buffer, relaxed order. The result is
    /// the value before.
    AtomicOp {
        /// Wrapping sum.
        Add = "add",
        /// Wrapping difference.
        Sub = "sub",
        /// Smaller.
        Min = "min",
        /// Larger.
        Max = "max",
        /// Bitwise and.
        And = "and",
        /// Bitwise or.
        Or = "or",
        /// Bitwise exclusive or.
        Xor = "xor",
        /// Exchange.
        Swap = "swap",
    }
}

operators! {
    /// Operators of collectives: associative, with an identity.
    CollectiveOp {
        /// Sum.
        Add = "add",
        /// Product.
        Mul = "mul",
        /// Smallest.
        Min = "min",
        /// Largest.
        Max = "max",
        /// Bitwise and; integers.
        And = "and",
        /// Bitwise or; integers.
        Or = "or",
        /// Bitwise exclusive or; integers.
        Xor = "xor",
    }
}

impl UnaryOp {
    /// Whether the operator is defined for operands of this type.
    pub fn accepts(self, ty: Type) -> bool {
        match self {
            UnaryOp::Neg | UnaryOp::Abs => ty.is_float() || ty.is_signed_int(),
            UnaryOp::Not => !ty.is_float(),
            UnaryOp::CountOnes | UnaryOp::LeadingZeros | UnaryOp::TrailingZeros => ty.is_int(),
            UnaryOp::Sqrt
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Trunc
            | UnaryOp::RoundEven
            | UnaryOp::Round
            | UnaryOp::Exp
            | UnaryOp::Exp2
            | UnaryOp::Ln
            | UnaryOp::Log2
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Tan
            | UnaryOp::Tanh
            | UnaryOp::Asin
            | UnaryOp::Acos
            | UnaryOp::Atan
            | UnaryOp::Erf => ty.is_float(),
        }
    }

    /// Whether [`crate::passes::lower_math`] replaces the operator by arithmetic, so that no back
    /// end ever meets it.
    pub fn is_transcendental(self) -> bool {
        match self {
            UnaryOp::Exp
            | UnaryOp::Exp2
            | UnaryOp::Ln
            | UnaryOp::Log2
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Tan
            | UnaryOp::Tanh
            | UnaryOp::Asin
            | UnaryOp::Acos
            | UnaryOp::Atan
            | UnaryOp::Erf => true,
            UnaryOp::Neg
            | UnaryOp::Not
            | UnaryOp::Abs
            | UnaryOp::Sqrt
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Trunc
            | UnaryOp::RoundEven
            | UnaryOp::Round
            | UnaryOp::CountOnes
            | UnaryOp::LeadingZeros
            | UnaryOp::TrailingZeros => false,
        }
    }
}

impl BinaryOp {
    /// Whether the operator is defined for two operands of this type.
    pub fn accepts(self, ty: Type) -> bool {
        match self {
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Min
            | BinaryOp::Max
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Gt
            | BinaryOp::Ge => ty != Type::Bool,
            BinaryOp::Rem | BinaryOp::Shl | BinaryOp::Shr => ty.is_int(),
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => !ty.is_float(),
            BinaryOp::Eq | BinaryOp::Ne => true,
            BinaryOp::Pow | BinaryOp::Atan2 | BinaryOp::Copysign => ty.is_float(),
        }
    }

    /// Whether [`crate::passes::lower_math`] replaces the operator by arithmetic, so that no back
    /// end ever meets it.
    pub fn is_transcendental(self) -> bool {
        match self {
            BinaryOp::Pow | BinaryOp::Atan2 => true,
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Rem
            | BinaryOp::Min
            | BinaryOp::Max
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor
            | BinaryOp::Shl
            | BinaryOp::Shr
            | BinaryOp::Eq
            | BinaryOp::Ne
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Gt
            | BinaryOp::Ge
            | BinaryOp::Copysign => false,
        }
    }

    /// Whether the result is `bool` whatever the operands.
    pub fn is_comparison(self) -> bool {
        match self {
            BinaryOp::Eq
            | BinaryOp::Ne
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Gt
            | BinaryOp::Ge => true,
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Rem
            | BinaryOp::Min
            | BinaryOp::Max
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor
            | BinaryOp::Shl
            | BinaryOp::Shr
            | BinaryOp::Pow
            | BinaryOp::Atan2
            | BinaryOp::Copysign => false,
        }
    }

    /// The type of the result for operands of type `ty`.
    pub fn result(self, ty: Type) -> Type {
        if self.is_comparison() { Type::Bool } else { ty }
    }

    /// Whether the operands can be swapped for type `ty` without changing a bit of the result.
    /// `min` and `max` cannot for floats: which NaN or zero comes out depends on the order.
    pub fn is_commutative(self, ty: Type) -> bool {
        match self {
            BinaryOp::Add | BinaryOp::Mul | BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => true,
            BinaryOp::Eq | BinaryOp::Ne => true,
            BinaryOp::Min | BinaryOp::Max => !ty.is_float(),
            BinaryOp::Sub
            | BinaryOp::Div
            | BinaryOp::Rem
            | BinaryOp::Shl
            | BinaryOp::Shr
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Gt
            | BinaryOp::Ge
            | BinaryOp::Pow
            | BinaryOp::Atan2
            | BinaryOp::Copysign => false,
        }
    }
}

impl CollectiveOp {
    /// Whether the operator is defined for contributions of this type.
    pub fn accepts(self, ty: Type) -> bool {
        self.binary().accepts(ty) && ty != Type::Bool
    }

    /// The operator that combines two contributions.
    pub fn binary(self) -> BinaryOp {
        match self {
            CollectiveOp::Add => BinaryOp::Add,
            CollectiveOp::Mul => BinaryOp::Mul,
            CollectiveOp::Min => BinaryOp::Min,
            CollectiveOp::Max => BinaryOp::Max,
            CollectiveOp::And => BinaryOp::And,
            CollectiveOp::Or => BinaryOp::Or,
            CollectiveOp::Xor => BinaryOp::Xor,
        }
    }

    /// The contribution that changes nothing, and the result over an empty grid. For `min` and
    /// `max` of floats it is NaN, which Rust's `min` and `max` ignore.
    pub fn identity(self, ty: Type) -> super::Const {
        use super::Const;
        match self {
            CollectiveOp::Add | CollectiveOp::Or | CollectiveOp::Xor => Const::zero(ty),
            CollectiveOp::Mul => Const::one(ty),
            CollectiveOp::And => Const::new(ty, u64::MAX),
            CollectiveOp::Min => match ty {
                Type::F32 => f32::NAN.into(),
                Type::F64 => f64::NAN.into(),
                Type::I32 => i32::MAX.into(),
                Type::I64 => i64::MAX.into(),
                Type::Bool | Type::U32 | Type::U64 => Const::new(ty, u64::MAX),
            },
            CollectiveOp::Max => match ty {
                Type::F32 => f32::NAN.into(),
                Type::F64 => f64::NAN.into(),
                Type::I32 => i32::MIN.into(),
                Type::I64 => i64::MIN.into(),
                Type::Bool | Type::U32 | Type::U64 => Const::zero(ty),
            },
        }
    }
}
