//! Numbers that write themselves down: a [`Num`] is a value of the function being built, and its
//! operators emit instructions. With it, [`super::math`] reads as the formulas it emits.

use std::cell::RefCell;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Shl, Shr, Sub};

use super::math_table::Table;
use crate::ir::builder::Builder;
use crate::ir::{BinaryOp, Const, Stmt, Type, UnaryOp, Value};

/// Where numbers of one float type are written to.
#[derive(Debug)]
pub(super) struct Math {
    builder: RefCell<Builder>,
    /// The constants of the float type.
    pub(super) table: &'static Table,
}

impl Math {
    /// Writes to the innermost open block of the builder.
    pub(super) fn new(builder: Builder, table: &'static Table) -> Math {
        Math { builder: RefCell::new(builder), table }
    }

    /// Gives the builder back.
    pub(super) fn into_builder(self) -> Builder {
        self.builder.into_inner()
    }

    /// A value that exists already.
    pub(super) fn num(&self, value: Value) -> Num<'_> {
        Num { math: self, value }
    }

    /// A constant of the float type.
    pub(super) fn float(&self, c: f64) -> Num<'_> {
        if self.table.ty == Type::F32 { self.constant(c as f32) } else { self.constant(c) }
    }

    /// The number of the float type with these bits.
    pub(super) fn of_bits(&self, bits: u64) -> Num<'_> {
        self.constant(Const::new(self.table.ty, bits))
    }

    /// A constant of the signed type of the float's width.
    pub(super) fn int(&self, c: i64) -> Num<'_> {
        self.constant(Const::new(self.table.int, c as u64))
    }

    /// A constant of the unsigned type of the float's width.
    pub(super) fn uint(&self, c: u64) -> Num<'_> {
        self.constant(Const::new(self.table.uint, c))
    }

    /// `numbers`, or where the condition holds, those that `others` computes: only then.
    pub(super) fn replace_if<'m>(
        &'m self,
        condition: Num<'m>,
        numbers: [Num<'m>; 3],
        others: impl FnOnce() -> [Num<'m>; 3],
    ) -> [Num<'m>; 3] {
        let locals = numbers.map(|n| {
            let mut b = self.builder.borrow_mut();
            let ty = b.function().ty(n.value);
            let local = b.local(ty, None);
            b.set(local, n.value);
            local
        });
        self.builder.borrow_mut().open();
        let others = others();
        let mut b = self.builder.borrow_mut();
        for (local, other) in locals.into_iter().zip(others) {
            b.set(local, other.value);
        }
        let then = b.close();
        b.stmt(Stmt::If { condition: condition.value, then, otherwise: Vec::new() });
        locals.map(|local| Num { math: self, value: b.get(local) })
    }

    fn constant(&self, c: impl Into<Const>) -> Num<'_> {
        let value = self.builder.borrow_mut().constant(c);
        self.num(value)
    }
}

/// A value, and where what is computed from it goes.
#[derive(Clone, Copy)]
pub(super) struct Num<'m> {
    math: &'m Math,
    /// The value itself.
    pub(super) value: Value,
}

macro_rules! operators {
    ($($trait:ident::$method:ident => $op:ident;)*) => {$(
        impl<'m> $trait for Num<'m> {
            type Output = Num<'m>;

            fn $method(self, other: Num<'m>) -> Num<'m> {
                self.binary(BinaryOp::$op, other)
            }
        }
    )*};
}

operators! {
    Add::add => Add;
    Sub::sub => Sub;
    Mul::mul => Mul;
    Div::div => Div;
    BitAnd::bitand => And;
    BitOr::bitor => Or;
    BitXor::bitxor => Xor;
    Shl::shl => Shl;
    Shr::shr => Shr;
}

impl<'m> Neg for Num<'m> {
    type Output = Num<'m>;

    fn neg(self) -> Num<'m> {
        self.unary(UnaryOp::Neg)
    }
}

impl<'m> Not for Num<'m> {
    type Output = Num<'m>;

    fn not(self) -> Num<'m> {
        self.unary(UnaryOp::Not)
    }
}

macro_rules! methods {
    (unary { $($unary:ident => $uop:ident,)* } binary { $($binary:ident => $bop:ident,)* }) => {
        impl<'m> Num<'m> {
            $(
                /// The operator of this name.
                pub(super) fn $unary(self) -> Num<'m> {
                    self.unary(UnaryOp::$uop)
                }
            )*
            $(
                /// The operator of this name.
                pub(super) fn $binary(self, other: Num<'m>) -> Num<'m> {
                    self.binary(BinaryOp::$bop, other)
                }
            )*
        }
    };
}

methods! {
    unary {
    abs => Abs,
    round_even => RoundEven,
    trunc => Trunc,
    sqrt => Sqrt,
    leading_zeros => LeadingZeros,
    }
    binary {
    min => Min,
    max => Max,
    copysign => Copysign,
    eq => Eq,
    ne => Ne,
    lt => Lt,
    gt => Gt,
    ge => Ge,
    }
}

impl<'m> Num<'m> {
    /// Of two numbers, the first where this truth value holds.
    pub(super) fn pick(self, yes: Num<'m>, no: Num<'m>) -> Num<'m> {
        let value = self.math.builder.borrow_mut().select(self.value, yes.value, no.value);
        self.math.num(value)
    }

    /// A whole number as a signed integer of the float's width, if it is small: below 2²¹ for `f32`,
    /// 2⁵⁰ for `f64`. Anything else gives some integer or other.
    ///
    /// The sum with 1.5·2ᵐ, m being the bits of the mantissa, has its last place at 1, and the integer
    /// in its bits. A conversion that is right for every float is seven vector instructions, and for
    /// `f64` none at all.
    pub(super) fn whole_to_int(self) -> Num<'m> {
        let math = self.math;
        let unit = math.float(1.5 * 2f64.powi(math.table.mantissa as i32));
        (self + unit).signed() - unit.signed()
    }

    /// The float nearest to an integer.
    pub(super) fn to_float(self) -> Num<'m> {
        self.cast(self.math.table.ty)
    }

    /// The bits as an unsigned integer.
    pub(super) fn bits(self) -> Num<'m> {
        self.bitcast(self.math.table.uint)
    }

    /// The bits as a signed integer.
    pub(super) fn signed(self) -> Num<'m> {
        self.bitcast(self.math.table.int)
    }

    /// The float of these bits.
    pub(super) fn float(self) -> Num<'m> {
        self.bitcast(self.math.table.ty)
    }

    /// The float without its last bit.
    pub(super) fn blunt(self) -> Num<'m> {
        (self.bits() & self.math.uint(u64::MAX - 1)).float()
    }

    fn unary(self, op: UnaryOp) -> Num<'m> {
        let value = self.math.builder.borrow_mut().unary(op, self.value);
        self.math.num(value)
    }

    fn binary(self, op: BinaryOp, other: Num<'m>) -> Num<'m> {
        let value = self.math.builder.borrow_mut().binary(op, self.value, other.value);
        self.math.num(value)
    }

    fn cast(self, ty: Type) -> Num<'m> {
        let value = self.math.builder.borrow_mut().cast(self.value, ty);
        self.math.num(value)
    }

    fn bitcast(self, ty: Type) -> Num<'m> {
        let value = self.math.builder.borrow_mut().bitcast(self.value, ty);
        self.math.num(value)
    }
}
