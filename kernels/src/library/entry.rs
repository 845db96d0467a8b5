//! What the library says of a kernel.

use crate::interp::Data;
use crate::ir::{Const, Type};
use crate::random::Random;

pub use super::program::Code;

/// A benchmark of the library: a kernel, or a program of several.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name; that of the kernel, where it is one.
    pub name: &'static str,
    /// What it computes, in a line.
    pub about: &'static str,
    /// What kind of work it is, in words of `crossover bench --only`.
    pub tags: &'static [&'static str],
    /// What it runs.
    pub code: Code,
    /// What `size` means: `elements`, `rows and columns`, …
    pub unit: &'static str,
    /// Sizes: resident in the cache, medium, beyond the last-level cache where the kernel's cost
    /// allows it.
    pub sizes: [usize; 3],
    /// The arguments for a size: inputs random, outputs holding garbage that has to go.
    pub inputs: fn(size: usize, rng: &mut Random) -> Vec<Input>,
    /// What the outputs have to hold for these arguments, in `f64`.
    pub reference: fn(&[Input]) -> Vec<Expected>,
    /// How far off a result may be.
    pub tolerance: Tolerance,
    /// Floating-point (or, where there is none, integer) operations for a size.
    pub operations: fn(size: usize) -> f64,
}

/// An argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A scalar.
    Scalar(Const),
    /// A buffer of `f32`.
    F32(Vec<f32>),
    /// A buffer of `u32`.
    U32(Vec<u32>),
    /// A buffer of `i32`.
    I32(Vec<i32>),
}

/// What an output has to hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Which argument.
    pub param: usize,
    /// Its elements; NaN where the reference does not look.
    pub values: Vec<f64>,
}

/// How far off a result may be: `|found − expected| ≤ absolute + relative · |expected|`, for all
/// elements but a share of outliers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Share of the expected value.
    pub relative: f64,
    /// In the unit of the value.
    pub absolute: f64,
    /// Share of the elements that may be anything: points of a chaotic map, which one rounding sends
    /// elsewhere.
    pub outliers: f64,
}

impl Tolerance {
    /// Equal, bit for bit in meaning.
    pub const EXACT: Tolerance = Tolerance::of(0.0, 0.0);

    /// A share of the value or a fixed amount, for every element.
    pub const fn of(relative: f64, absolute: f64) -> Tolerance {
        Tolerance { relative, absolute, outliers: 0.0 }
    }

    /// Whether `found` is close enough.
    pub fn accepts(&self, expected: f64, found: f64) -> bool {
        expected.is_nan()
            || expected == found
            || (found - expected).abs() <= self.absolute + self.relative * expected.abs()
    }

    /// The first element that is wrong, when more are wrong than may be: (index, expected, found).
    pub fn judge(
        &self,
        expected: &[f64],
        found: impl Iterator<Item = f64>,
    ) -> Option<(usize, f64, f64)> {
        let pairs = expected.iter().copied().zip(found.chain(std::iter::repeat(f64::INFINITY)));
        let mut wrong = pairs.enumerate().filter(|(_, (e, f))| !self.accepts(*e, *f));
        let allowed = (self.outliers * expected.len() as f64) as usize;
        let (index, (e, f)) = wrong.next()?;
        (wrong.count() + 1 > allowed).then_some((index, e, f))
    }
}

impl Input {
    /// The elements as `f32`; empty for other types.
    pub fn f32(&self) -> &[f32] {
        match self {
            Input::F32(v) => v,
            Input::Scalar(_) | Input::U32(_) | Input::I32(_) => &[],
        }
    }

    /// The elements as `u32`; empty for other types.
    pub fn u32(&self) -> &[u32] {
        match self {
            Input::U32(v) => v,
            Input::Scalar(_) | Input::F32(_) | Input::I32(_) => &[],
        }
    }

    /// The elements as `i32`; empty for other types.
    pub fn i32(&self) -> &[i32] {
        match self {
            Input::I32(v) => v,
            Input::Scalar(_) | Input::F32(_) | Input::U32(_) => &[],
        }
    }

    /// The scalar; 0 for a buffer.
    pub fn scalar(&self) -> f64 {
        match self {
            Input::Scalar(c) => c.to_f64(),
            Input::F32(_) | Input::U32(_) | Input::I32(_) => 0.0,
        }
    }

    /// Element `at` as `f64`; NaN for a scalar or beyond the end.
    pub fn value(&self, at: usize) -> f64 {
        match self {
            Input::Scalar(_) => f64::NAN,
            Input::F32(v) => v.get(at).map_or(f64::NAN, |&x| f64::from(x)),
            Input::U32(v) => v.get(at).map_or(f64::NAN, |&x| f64::from(x)),
            Input::I32(v) => v.get(at).map_or(f64::NAN, |&x| f64::from(x)),
        }
    }

    /// How many elements; 0 for a scalar.
    #[expect(clippy::len_without_is_empty, reason = "a scalar is neither")]
    pub fn len(&self) -> usize {
        match self {
            Input::Scalar(_) => 0,
            Input::F32(v) => v.len(),
            Input::U32(v) => v.len(),
            Input::I32(v) => v.len(),
        }
    }

    /// The type of the scalar or the elements.
    pub fn element(&self) -> Type {
        match self {
            Input::Scalar(c) => c.ty,
            Input::F32(_) => Type::F32,
            Input::U32(_) => Type::U32,
            Input::I32(_) => Type::I32,
        }
    }

    /// As the interpreter takes it.
    pub fn data(&self) -> Data {
        match self {
            Input::Scalar(c) => Data::Scalar(*c),
            Input::F32(v) => Data::Narrow(v.iter().map(|x| x.to_bits()).collect()),
            Input::U32(v) => Data::Narrow(v.clone()),
            Input::I32(v) => Data::Narrow(v.iter().map(|x| x.cast_unsigned()).collect()),
        }
    }
}

/// `n` random values in `low..high`.
pub(super) fn uniform(rng: &mut Random, n: usize, low: f32, high: f32) -> Vec<f32> {
    let unit = |rng: &mut Random| (rng.next_u32() >> 8) as f32 / (1 << 24) as f32;
    (0..n).map(|_| low + (high - low) * unit(rng)).collect()
}

/// An output of `n` elements that holds garbage.
pub(super) fn poison(n: usize) -> Vec<f32> {
    vec![f32::from_bits(0x7fc0_dead); n]
}

/// An output of `n` whole numbers that holds garbage.
pub(super) fn poison_u32(n: usize) -> Vec<u32> {
    vec![0xdead_beef; n]
}

/// A size or a count, as an argument.
pub(super) fn number(n: usize) -> Input {
    Input::Scalar((n as u32).into())
}
