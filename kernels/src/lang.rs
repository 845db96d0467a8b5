//! What a kernel's source is written with: the invocation's position, atomics, the number traits of
//! generic kernels, and the contract between `#[kernel]` and whoever runs calls.

use std::ops::{
    Add, AddAssign, BitAnd, BitOr, BitXor, Div, DivAssign, Mul, MulAssign, Neg, Rem, Shl, Shr, Sub,
    SubAssign,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use smallvec::SmallVec;

use crate::ir::{Const, Type};

/// A kernel's definition, as `#[kernel]` stores it in the program.
#[derive(Debug)]
pub struct Def {
    /// The function's name.
    pub name: &'static str,
    /// The source file.
    pub file: &'static str,
    /// The encoded syntax tree.
    pub tree: &'static [u8],
    /// The helpers that it calls, in the tree's order.
    pub helpers: &'static [&'static Def],
}

/// The position of one invocation in the grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Id {
    /// Along the fastest axis.
    pub x: usize,
    /// Along the second axis; 0 in a grid of one.
    pub y: usize,
    /// Along the slowest axis; 0 in a grid of fewer than three.
    pub z: usize,
    /// The position in the workgroup, in a kernel that has them.
    pub local: Place,
    /// The number of the workgroup, in a kernel that has them.
    pub group: Place,
}

/// A position along the three axes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Along the fastest axis.
    pub x: usize,
    /// Along the second axis.
    pub y: usize,
    /// Along the slowest axis.
    pub z: usize,
}

impl Id {
    /// A position in a grid of one axis, to call a kernel as plain Rust. It is a workgroup of its
    /// own.
    ///
    /// ```
    /// use crossover_kernels::{Id, library::saxpy::saxpy};
    /// let mut y = [10.0, 20.0];
    /// saxpy(Id::at(1), 2.0, &[1.0, 2.0], &mut y);
    /// assert_eq!(y, [10.0, 24.0]);
    /// ```
    pub fn at(x: usize) -> Id {
        Id::at2(x, 0)
    }

    /// A position in a grid of two axes, a workgroup of its own.
    ///
    /// ```
    /// use crossover_kernels::Id;
    /// let id = Id::at2(3, 7);
    /// assert_eq!((id.x, id.y, id.z, id.group.x, id.local.x), (3, 7, 0, 3, 0));
    /// ```
    pub fn at2(x: usize, y: usize) -> Id {
        Id { x, y, z: 0, local: Place::default(), group: Place { x, y, z: 0 } }
    }

    /// An array of `N` elements that all invocations of the workgroup share, zero at its start. Only
    /// in a kernel with `#[kernel(workgroup = …)]`, as `let tile = id.shared::<f32, 256>();`:
    /// elements are read by `tile[i].get()` and written by `tile[i].set(v)`; those of an
    /// `Atomic<u32>` or `Atomic<i32>` have the operations of [`Atomic`].
    ///
    /// Called as plain Rust, the invocation is a workgroup of its own and shares with nobody.
    ///
    /// ```
    /// use crossover_kernels::Id;
    /// let tile = Id::at(0).shared::<f32, 4>();
    /// tile[1].set(2.0);
    /// assert_eq!((tile[0].get(), tile[1].get()), (0.0, 2.0));
    /// ```
    pub fn shared<T: Shared, const N: usize>(self) -> [T::Cell; N] {
        std::array::from_fn(|_| T::Cell::default())
    }

    /// Waits until all invocations of the workgroup have come here: then each sees what the others
    /// have written. Refused where not all of them come, before the kernel runs.
    ///
    /// Called as plain Rust, the invocation is a workgroup of its own and waits for nobody.
    ///
    /// ```
    /// use crossover_kernels::Id;
    /// let (id, mine) = (Id::at(0), Id::at(0).shared::<u32, 2>());
    /// mine[0].set(7);
    /// id.barrier(); // From here on `mine` is what all have made of it.
    /// assert_eq!(mine[0].get(), 7);
    /// ```
    pub fn barrier(self) {}
}

/// A type that workgroups can share: the scalars of buffers, `Atomic<u32>` and `Atomic<i32>`.
pub trait Shared {
    /// What stands in the array.
    type Cell: Default;
}

macro_rules! shared {
    ($($ty:ty),*) => {$(
        impl Shared for $ty {
            type Cell = std::cell::Cell<$ty>;
        }
    )*};
}

shared!(f32, f64, i32, u32, i64, u64);

impl<T: AtomicElement + Default> Shared for Atomic<T> {
    type Cell = Atomic<T>;
}

/// The arguments of a call: as many as most kernels have without an allocation.
pub type Args<A> = SmallVec<[A; 4]>;

/// Whoever runs kernels: what `KERNEL::on(&host)` takes. The scheduler's `Runtime` is one.
pub trait Host: Sized {
    /// Memory for elements of `T`.
    type Buffer<T: Scalar>;
    /// An argument that is bound.
    type Arg<'b>
    where
        Self: 'b;
    /// A call whose arguments are bound.
    type Call<'b>
    where
        Self: 'b;

    /// A scalar argument.
    fn scalar<'b, T: Scalar>(&'b self, value: T) -> Self::Arg<'b>;

    /// A buffer that the kernel only reads.
    fn read<'b, T: Scalar>(&'b self, buffer: &'b Self::Buffer<T>) -> Self::Arg<'b>;

    /// A buffer that the kernel changes.
    fn write<'b, T: Scalar>(&'b self, buffer: &'b mut Self::Buffer<T>) -> Self::Arg<'b>;

    /// A call of a kernel with these generic types and constants.
    fn call<'b>(
        &'b self,
        def: &'static Def,
        types: &[Type],
        consts: &[usize],
        args: Args<Self::Arg<'b>>,
    ) -> Self::Call<'b>;
}

/// Whoever is shared runs kernels as if it was not: `KERNEL::on(&shared)`.
impl<H: Host> Host for Arc<H> {
    type Buffer<T: Scalar> = H::Buffer<T>;
    type Arg<'b>
        = H::Arg<'b>
    where
        Self: 'b;
    type Call<'b>
        = H::Call<'b>
    where
        Self: 'b;

    fn scalar<'b, T: Scalar>(&'b self, value: T) -> H::Arg<'b> {
        H::scalar(self, value)
    }

    fn read<'b, T: Scalar>(&'b self, buffer: &'b H::Buffer<T>) -> H::Arg<'b> {
        H::read(self, buffer)
    }

    fn write<'b, T: Scalar>(&'b self, buffer: &'b mut H::Buffer<T>) -> H::Arg<'b> {
        H::write(self, buffer)
    }

    fn call<'b>(
        &'b self,
        def: &'static Def,
        types: &[Type],
        consts: &[usize],
        args: Args<H::Arg<'b>>,
    ) -> H::Call<'b> {
        H::call(self, def, types, consts, args)
    }
}

/// A scalar Rust type that kernels know.
pub trait Scalar: Copy + Send + Sync + 'static {
    /// The kernel language's type.
    const TYPE: Type;

    /// The value as a constant; `None` for a `usize` that needs more than 32 bits.
    fn to_const(self) -> Option<Const>;

    /// The value of a constant of this type; of another type, its conversion as by `as`.
    fn from_const(c: Const) -> Self;
}

macro_rules! scalars {
    ($($ty:ty => $name:ident, |$bits:ident| $value:expr;)*) => {$(
        impl Scalar for $ty {
            const TYPE: Type = Type::$name;

            fn to_const(self) -> Option<Const> {
                Some(self.into())
            }

            fn from_const(c: Const) -> Self {
                let $bits = crate::eval::cast(c, Type::$name).bits;
                $value
            }
        }
    )*};
}

scalars! {
    bool => Bool, |bits| bits == 1;
    i32 => I32, |bits| bits as u32 as i32;
    u32 => U32, |bits| bits as u32;
    f32 => F32, |bits| f32::from_bits(bits as u32);
    i64 => I64, |bits| bits as i64;
    u64 => U64, |bits| bits;
    f64 => F64, |bits| f64::from_bits(bits);
}

impl Scalar for usize {
    const TYPE: Type = Type::U32;

    fn to_const(self) -> Option<Const> {
        u32::try_from(self).ok().map(Const::from)
    }

    fn from_const(c: Const) -> usize {
        u32::from_const(c) as usize
    }
}

/// Any number type: the bound of a generic kernel's `T`.
pub trait Num:
    Scalar
    + PartialOrd
    + Default
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
{
    /// The constant nearest to `value`: `T::lit(0.5)`.
    ///
    /// ```
    /// use crossover_kernels::Num;
    /// fn half<T: Num>() -> T {
    ///     T::lit(0.5)
    /// }
    /// assert_eq!((half::<f32>(), half::<u32>()), (0.5, 0));
    /// ```
    fn lit(value: f64) -> Self;
}

/// A float type.
#[expect(missing_docs, reason = "each method is the standard library's of the same name")]
pub trait Float: Num + Neg<Output = Self> {
    /// `1 / sqrt(self)`.
    ///
    /// ```
    /// use crossover_kernels::Float;
    /// assert_eq!(4f32.rsqrt(), 0.5);
    /// ```
    fn rsqrt(self) -> Self;
    /// The error function. The standard library has claimed the name: on an `f32` or `f64`, rather
    /// than on a generic number, write `Float::erf(x)`, or rustc warns.
    ///
    /// ```
    /// use crossover_kernels::Float;
    /// assert!((Float::erf(1f64) - 0.842_700_79).abs() < 1e-8);
    /// ```
    fn erf(self) -> Self;
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn trunc(self) -> Self;
    fn round(self) -> Self;
    fn exp(self) -> Self;
    fn exp2(self) -> Self;
    fn ln(self) -> Self;
    fn log2(self) -> Self;
    fn sin(self) -> Self;
    fn cos(self) -> Self;
    fn tan(self) -> Self;
    fn tanh(self) -> Self;
    fn asin(self) -> Self;
    fn acos(self) -> Self;
    fn atan(self) -> Self;
    fn atan2(self, x: Self) -> Self;
    fn recip(self) -> Self;
    fn powf(self, exponent: Self) -> Self;
    fn powi(self, exponent: i32) -> Self;
    fn min(self, other: Self) -> Self;
    fn max(self, other: Self) -> Self;
    fn copysign(self, sign: Self) -> Self;
    fn mul_add(self, a: Self, b: Self) -> Self;
}

/// An integer type.
pub trait Int:
    Num
    + Rem<Output = Self>
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + Shl<u32, Output = Self>
    + Shr<u32, Output = Self>
{
}

macro_rules! numbers {
    ($($ty:ty),*) => {$(
        impl Num for $ty {
            fn lit(value: f64) -> $ty {
                value as $ty
            }
        }
    )*};
}

numbers!(i32, u32, f32, i64, u64, f64, usize);

macro_rules! integers {
    ($($ty:ty),*) => { $(impl Int for $ty {})* };
}

integers!(i32, u32, i64, u64, usize);

macro_rules! floats {
    ($ty:ident: $($name:ident($($arg:ident: $at:ty),*);)*) => {
        impl Float for $ty {
            fn rsqrt(self) -> $ty {
                $ty::sqrt(self).recip()
            }
            fn erf(self) -> $ty {
                libm::erf(self as f64) as $ty
            }
            $(fn $name(self $(, $arg: $at)*) -> $ty {
                $ty::$name(self $(, $arg)*)
            })*
        }
    };
    ($ty:ident) => {
        floats! { $ty:
            sqrt(); abs(); floor(); ceil(); trunc(); round(); exp(); exp2(); ln(); log2(); sin();
            cos(); tan(); tanh(); asin(); acos(); atan(); atan2(x: $ty); recip();
            powf(exponent: $ty); powi(exponent: i32); min(other: $ty); max(other: $ty);
            copysign(sign: $ty); mul_add(a: $ty, b: $ty);
        }
    };
}

floats!(f32);
floats!(f64);

/// An element that any invocation may change: `&[Atomic<u32>]` or `&[Atomic<i32>]`. Operations are
/// relaxed; each gives the value before.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Atomic<T: AtomicElement>(T::Cell);

/// A type that has atomics: `u32` and `i32`.
pub trait AtomicElement: Scalar {
    /// The standard library's atomic.
    type Cell: std::fmt::Debug + Default;
}

impl AtomicElement for u32 {
    type Cell = AtomicU32;
}

impl AtomicElement for i32 {
    type Cell = AtomicI32;
}

macro_rules! atomics {
    ($($ty:ty: $cell:ty;)*) => {$(
        impl Atomic<$ty> {
            /// An element of this value.
            ///
            /// ```
            /// use crossover_kernels::Atomic;
            /// assert_eq!(Atomic::<u32>::new(7).load(), 7);
            /// ```
            pub fn new(value: $ty) -> Self {
                Atomic(<$cell>::new(value))
            }

            /// The value now.
            ///
            /// ```
            /// # use crossover_kernels::Atomic;
            /// assert_eq!(Atomic::<i32>::new(-7).load(), -7);
            /// ```
            pub fn load(&self) -> $ty {
                self.0.load(Ordering::Relaxed)
            }

            /// Replaces the value.
            ///
            /// ```
            /// # use crossover_kernels::Atomic;
            /// let count = Atomic::<u32>::new(7);
            /// count.store(8);
            /// assert_eq!(count.load(), 8);
            /// ```
            pub fn store(&self, value: $ty) {
                self.0.store(value, Ordering::Relaxed);
            }

            /// Replaces the value; gives the one before.
            ///
            /// ```
            /// # use crossover_kernels::Atomic;
            /// let count = Atomic::<u32>::new(7);
            /// assert_eq!((count.swap(8), count.load()), (7, 8));
            /// ```
            pub fn swap(&self, value: $ty) -> $ty {
                self.0.swap(value, Ordering::Relaxed)
            }

            /// Replaces the value if it is the expected one; gives the one before. The value has been
            /// replaced if that is the expected one.
            ///
            /// ```
            /// # use crossover_kernels::Atomic;
            /// let count = Atomic::<u32>::new(7);
            /// assert_eq!((count.compare_and_swap(6, 9), count.load()), (7, 7));
            /// assert_eq!((count.compare_and_swap(7, 9), count.load()), (7, 9));
            /// ```
            pub fn compare_and_swap(&self, expected: $ty, new: $ty) -> $ty {
                let done = self.0.compare_exchange(
                    expected,
                    new,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                match done {
                    Ok(before) | Err(before) => before,
                }
            }

            /// Adds, wrapping.
            ///
            /// ```
            /// # use crossover_kernels::Atomic;
            /// let count = Atomic::<u32>::new(u32::MAX);
            /// assert_eq!((count.fetch_add(2), count.load()), (u32::MAX, 1));
            /// ```
            pub fn fetch_add(&self, value: $ty) -> $ty {
                self.0.fetch_add(value, Ordering::Relaxed)
            }

            /// Subtracts, wrapping.
            ///
            /// ```
            /// # use crossover_kernels::Atomic;
            /// let count = Atomic::<u32>::new(1);
            /// assert_eq!((count.fetch_sub(2), count.load()), (1, u32::MAX));
            /// ```
            pub fn fetch_sub(&self, value: $ty) -> $ty {
                self.0.fetch_sub(value, Ordering::Relaxed)
            }

            /// Keeps the smaller.
            ///
            /// ```
            /// # use crossover_kernels::Atomic;
            /// let least = Atomic::<i32>::new(3);
            /// assert_eq!((least.fetch_min(-4), least.load()), (3, -4));
            /// ```
            pub fn fetch_min(&self, value: $ty) -> $ty {
                self.0.fetch_min(value, Ordering::Relaxed)
            }

            /// Keeps the larger.
            ///
            /// ```
            /// # use crossover_kernels::Atomic;
            /// let most = Atomic::<i32>::new(3);
            /// assert_eq!((most.fetch_max(-4), most.load()), (3, 3));
            /// ```
            pub fn fetch_max(&self, value: $ty) -> $ty {
                self.0.fetch_max(value, Ordering::Relaxed)
            }

            /// Bitwise and.
            ///
            /// ```
            /// # use crossover_kernels::Atomic;
            /// let bits = Atomic::<u32>::new(0b1100);
            /// assert_eq!((bits.fetch_and(0b1010), bits.load()), (0b1100, 0b1000));
            /// ```
            pub fn fetch_and(&self, value: $ty) -> $ty {
                self.0.fetch_and(value, Ordering::Relaxed)
            }

            /// Bitwise or.
            ///
            /// ```
            /// # use crossover_kernels::Atomic;
            /// let bits = Atomic::<u32>::new(0b1100);
            /// assert_eq!((bits.fetch_or(0b1010), bits.load()), (0b1100, 0b1110));
            /// ```
            pub fn fetch_or(&self, value: $ty) -> $ty {
                self.0.fetch_or(value, Ordering::Relaxed)
            }

            /// Bitwise exclusive or.
            ///
            /// ```
            /// # use crossover_kernels::Atomic;
            /// let bits = Atomic::<u32>::new(0b1100);
            /// assert_eq!((bits.fetch_xor(0b1010), bits.load()), (0b1100, 0b0110));
            /// ```
            pub fn fetch_xor(&self, value: $ty) -> $ty {
                self.0.fetch_xor(value, Ordering::Relaxed)
            }
        }
    )*};
}

atomics! { u32: AtomicU32; i32: AtomicI32; }
