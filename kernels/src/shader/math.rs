//! Built-in functions.

use naga::{Expression, Handle, MathFunction};

use super::body::{Body, scalar_type};
use super::expr::Scalars;
use super::matrix::is_matrix;
use super::{Refusal, Taken};
use crate::ir::{BinaryOp, Type, UnaryOp, Value};

impl Body<'_> {
    pub(super) fn math(
        &mut self,
        fun: MathFunction,
        arg: Handle<Expression>,
        others: [Option<Handle<Expression>>; 3],
        span: naga::Span,
    ) -> Taken<Scalars> {
        if is_matrix(&self.inner(arg)) {
            return self.matrix_math(fun, arg, span);
        }
        let ty = scalar_type(&self.inner(arg), span)?;
        let mut args = vec![self.scalars(arg)?];
        for other in others.into_iter().flatten() {
            args.push(self.scalars(other)?);
        }
        let whole = match fun {
            MathFunction::Modf => Some(self.modf(&args[0])),
            MathFunction::Frexp => self.frexp(&args[0], ty),
            _ => self.of_vectors(fun, ty, &args).or_else(|| self.of_words(fun, &args)),
        };
        if let Some(whole) = whole {
            return Ok(whole);
        }
        let count = args.iter().map(Vec::len).max().unwrap_or(0);
        let mut scalars = Vec::with_capacity(count);
        for at in 0..count {
            let lane = |arg: &Scalars| arg[at.min(arg.len() - 1)];
            let lanes: Vec<Value> = args.iter().map(lane).collect();
            match self.of_scalars(fun, ty, &lanes) {
                Some(value) => scalars.push(value),
                None => {
                    let message = format!("the function {fun:?} is not taken");
                    return Err(Refusal { message, span });
                }
            }
        }
        Ok(scalars)
    }

    pub(super) fn dot(&mut self, a: &[Value], b: &[Value]) -> Value {
        let mut products = a.iter().zip(b).map(|(&a, &b)| (a, b));
        let (a, b) = products.next().expect("vectors have lanes");
        let mut sum = self.b.binary(BinaryOp::Mul, a, b);
        for (a, b) in products {
            let product = self.b.binary(BinaryOp::Mul, a, b);
            sum = self.b.binary(BinaryOp::Add, sum, product);
        }
        sum
    }

    fn length_of(&mut self, v: &[Value]) -> Value {
        match v {
            [one] => self.b.unary(UnaryOp::Abs, *one),
            _ => {
                let square = self.dot(v, v);
                self.b.unary(UnaryOp::Sqrt, square)
            }
        }
    }

    /// Functions that mix the lanes of vectors.
    fn of_vectors(&mut self, fun: MathFunction, ty: Type, args: &[Scalars]) -> Option<Scalars> {
        let a = &args[0];
        Some(match (fun, args) {
            (MathFunction::Dot, [a, b]) => vec![self.dot(a, b)],
            (MathFunction::Length, _) => vec![self.length_of(a)],
            (MathFunction::Distance, [a, b]) => {
                let lanes = a.iter().zip(b);
                let apart: Scalars =
                    lanes.map(|(&a, &b)| self.b.binary(BinaryOp::Sub, a, b)).collect();
                vec![self.length_of(&apart)]
            }
            (MathFunction::Normalize, _) => {
                let length = self.length_of(a);
                a.iter().map(|&v| self.b.binary(BinaryOp::Div, v, length)).collect()
            }
            (MathFunction::Cross, [a, b]) => {
                let lane = |body: &mut Self, i: usize, j: usize| {
                    let x = body.b.binary(BinaryOp::Mul, a[i], b[j]);
                    let y = body.b.binary(BinaryOp::Mul, a[j], b[i]);
                    body.b.binary(BinaryOp::Sub, x, y)
                };
                vec![lane(self, 1, 2), lane(self, 2, 0), lane(self, 0, 1)]
            }
            (MathFunction::Reflect, [a, n]) => {
                let along = self.dot(n, a);
                let twice = self.b.binary(BinaryOp::Add, along, along);
                let lanes = a.iter().zip(n);
                lanes
                    .map(|(&a, &n)| {
                        let by = self.b.binary(BinaryOp::Mul, twice, n);
                        self.b.binary(BinaryOp::Sub, a, by)
                    })
                    .collect()
            }
            (MathFunction::Outer, [a, b]) => self.outer(a, b),
            (MathFunction::FaceForward, [a, incident, normal]) => {
                let along = self.dot(incident, normal);
                let zero = self.zero(ty);
                let faces = self.b.binary(BinaryOp::Lt, along, zero);
                let lane = |&v| {
                    let other = self.b.unary(UnaryOp::Neg, v);
                    self.b.select(faces, v, other)
                };
                a.iter().map(lane).collect()
            }
            (MathFunction::Refract, [incident, normal, ratio]) => {
                self.refract(ty, incident, normal, ratio[0])
            }
            _ => return None,
        })
    }

    /// `k = 1 - r² (1 - (n · i)²); r i - (r (n · i) + √k) n`, or nothing where `k < 0`.
    fn refract(&mut self, ty: Type, incident: &[Value], normal: &[Value], ratio: Value) -> Scalars {
        use BinaryOp::{Add, Lt, Mul, Sub};
        let (zero, one) = (self.zero(ty), self.number(ty, 1.0));
        let along = self.dot(normal, incident);
        let square = self.b.binary(Mul, along, along);
        let across = self.b.binary(Sub, one, square);
        let ratio_square = self.b.binary(Mul, ratio, ratio);
        let bent = self.b.binary(Mul, ratio_square, across);
        let k = self.b.binary(Sub, one, bent);
        let is_reflected = self.b.binary(Lt, k, zero);
        let root = self.b.unary(UnaryOp::Sqrt, k);
        let forward = self.b.binary(Mul, ratio, along);
        let by = self.b.binary(Add, forward, root);
        let lane = |(&i, &n)| {
            let (straight, inward) = (self.b.binary(Mul, ratio, i), self.b.binary(Mul, by, n));
            let refracted = self.b.binary(Sub, straight, inward);
            self.b.select(is_reflected, zero, refracted)
        };
        incident.iter().zip(normal).map(lane).collect()
    }

    /// All fractions, then all whole parts.
    fn modf(&mut self, lanes: &[Value]) -> Scalars {
        let wholes: Scalars = lanes.iter().map(|&x| self.b.unary(UnaryOp::Trunc, x)).collect();
        let pairs = lanes.iter().zip(&wholes);
        let fraction = |(&x, &whole)| self.b.binary(BinaryOp::Sub, x, whole);
        let mut parts: Scalars = pairs.map(fraction).collect();
        parts.extend(wholes);
        parts
    }

    fn of_scalars(&mut self, fun: MathFunction, ty: Type, args: &[Value]) -> Option<Value> {
        let unary = match fun {
            MathFunction::Abs if ty == Type::U32 || ty == Type::U64 => return Some(args[0]),
            MathFunction::Abs => Some(UnaryOp::Abs),
            MathFunction::Cos => Some(UnaryOp::Cos),
            MathFunction::Sin => Some(UnaryOp::Sin),
            MathFunction::Tan => Some(UnaryOp::Tan),
            MathFunction::Tanh => Some(UnaryOp::Tanh),
            MathFunction::Asin => Some(UnaryOp::Asin),
            MathFunction::Acos => Some(UnaryOp::Acos),
            MathFunction::Atan => Some(UnaryOp::Atan),
            MathFunction::Ceil => Some(UnaryOp::Ceil),
            MathFunction::Floor => Some(UnaryOp::Floor),
            MathFunction::Round => Some(UnaryOp::RoundEven),
            MathFunction::Trunc => Some(UnaryOp::Trunc),
            MathFunction::Exp => Some(UnaryOp::Exp),
            MathFunction::Exp2 => Some(UnaryOp::Exp2),
            MathFunction::Log => Some(UnaryOp::Ln),
            MathFunction::Log2 => Some(UnaryOp::Log2),
            MathFunction::Sqrt => Some(UnaryOp::Sqrt),
            MathFunction::CountOneBits => Some(UnaryOp::CountOnes),
            MathFunction::CountLeadingZeros => Some(UnaryOp::LeadingZeros),
            MathFunction::CountTrailingZeros => Some(UnaryOp::TrailingZeros),
            _ => None,
        };
        if let Some(op) = unary {
            return Some(self.b.unary(op, args[0]));
        }
        let binary = match fun {
            MathFunction::Min => Some(BinaryOp::Min),
            MathFunction::Max => Some(BinaryOp::Max),
            MathFunction::Pow => Some(BinaryOp::Pow),
            MathFunction::Atan2 => Some(BinaryOp::Atan2),
            _ => None,
        };
        if let (Some(op), [a, b]) = (binary, args) {
            return Some(self.b.binary(op, *a, *b));
        }
        let composed = self.composed(fun, ty, args);
        composed
            .or_else(|| self.hyperbolic(fun, ty, args[0]))
            .or_else(|| self.of_bits(fun, ty, args))
    }

    /// By the formulas of the WGSL specification.
    fn hyperbolic(&mut self, fun: MathFunction, ty: Type, x: Value) -> Option<Value> {
        use BinaryOp::{Add, Div, Mul, Sub};
        let (one, half) = (self.number(ty, 1.0), self.number(ty, 0.5));
        Some(match fun {
            MathFunction::Sinh | MathFunction::Cosh => {
                let negative = self.b.unary(UnaryOp::Neg, x);
                let (up, down) =
                    (self.b.unary(UnaryOp::Exp, x), self.b.unary(UnaryOp::Exp, negative));
                let op = if fun == MathFunction::Sinh { Sub } else { Add };
                let both = self.b.binary(op, up, down);
                self.b.binary(Mul, both, half)
            }
            MathFunction::Asinh | MathFunction::Acosh => {
                let square = self.b.binary(Mul, x, x);
                let op = if fun == MathFunction::Asinh { Add } else { Sub };
                let shifted = self.b.binary(op, square, one);
                let root = self.b.unary(UnaryOp::Sqrt, shifted);
                let sum = self.b.binary(Add, x, root);
                self.b.unary(UnaryOp::Ln, sum)
            }
            MathFunction::Atanh => {
                let (above, below) = (self.b.binary(Add, one, x), self.b.binary(Sub, one, x));
                let ratio = self.b.binary(Div, above, below);
                let log = self.b.unary(UnaryOp::Ln, ratio);
                self.b.binary(Mul, log, half)
            }
            _ => return None,
        })
    }

    /// Functions that are a few operators.
    fn composed(&mut self, fun: MathFunction, ty: Type, args: &[Value]) -> Option<Value> {
        use BinaryOp::{Add, Copysign, Div, Ge, Max, Min, Mul, Sub};
        let x = args[0];
        Some(match (fun, args) {
            (MathFunction::Clamp, [x, low, high]) => {
                let raised = self.b.binary(Max, *x, *low);
                self.b.binary(Min, raised, *high)
            }
            (MathFunction::Saturate, _) => {
                let (zero, one) = (self.number(ty, 0.0), self.number(ty, 1.0));
                let raised = self.b.binary(Max, x, zero);
                self.b.binary(Min, raised, one)
            }
            (MathFunction::Fract, _) => {
                let floor = self.b.unary(UnaryOp::Floor, x);
                self.b.binary(Sub, x, floor)
            }
            (MathFunction::Fma, [a, b, c]) => self.b.fma(*a, *b, *c),
            (MathFunction::Mix, [a, b, t]) => {
                let one = self.number(ty, 1.0);
                let rest = self.b.binary(Sub, one, *t);
                let (from, to) = (self.b.binary(Mul, *a, rest), self.b.binary(Mul, *b, *t));
                self.b.binary(Add, from, to)
            }
            (MathFunction::Step, [edge, x]) => {
                let (zero, one) = (self.number(ty, 0.0), self.number(ty, 1.0));
                let reached = self.b.binary(Ge, *x, *edge);
                self.b.select(reached, one, zero)
            }
            (MathFunction::SmoothStep, [low, high, x]) => {
                let (above, width) =
                    (self.b.binary(Sub, *x, *low), self.b.binary(Sub, *high, *low));
                let ratio = self.b.binary(Div, above, width);
                let t = self.composed(MathFunction::Saturate, ty, &[ratio])?;
                let (two, three) = (self.number(ty, 2.0), self.number(ty, 3.0));
                let twice = self.b.binary(Mul, two, t);
                let bend = self.b.binary(Sub, three, twice);
                let square = self.b.binary(Mul, t, t);
                self.b.binary(Mul, square, bend)
            }
            (MathFunction::InverseSqrt, _) => {
                let (one, root) = (self.number(ty, 1.0), self.b.unary(UnaryOp::Sqrt, x));
                self.b.binary(Div, one, root)
            }
            (MathFunction::Sign, _) if ty.is_float() => {
                let (zero, one) = (self.number(ty, 0.0), self.number(ty, 1.0));
                let signed = self.b.binary(Copysign, one, x);
                let none = self.b.binary(BinaryOp::Eq, x, zero);
                self.b.select(none, zero, signed)
            }
            (MathFunction::Sign, _) => {
                let (low, high) = (self.number(ty, -1.0), self.number(ty, 1.0));
                let raised = self.b.binary(Max, x, low);
                self.b.binary(Min, raised, high)
            }
            (MathFunction::Radians, _) => {
                let factor = self.number(ty, std::f64::consts::PI / 180.0);
                self.b.binary(Mul, x, factor)
            }
            (MathFunction::Degrees, _) => {
                let factor = self.number(ty, 180.0 / std::f64::consts::PI);
                self.b.binary(Mul, x, factor)
            }
            _ => return None,
        })
    }
}
