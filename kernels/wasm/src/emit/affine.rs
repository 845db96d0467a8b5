//! 32-bit sums and products of uniform and linear values, with constants kept apart.
//!
//! ```text
//! (a + c) + (b + d)   is   (a + b) + (c + d)     wrapping, so that it is the same number
//! (a + c) · b         is   a · b + c · b
//! ```
//!
//! A constant costs no code where it ends in the offset of a memory access, and the passages of an
//! unrolled loop, whose counters differ by constants, share everything else.

use std::collections::HashMap;

use crossover_kernels::ir::{BinaryOp, Const, Inst, Type, Value, ValueDef};
use wasm_encoder::ValType;

use super::body::Body;
use super::code::Rep;

/// Half of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Local(u32),
    Const(u32),
}

/// The wasm locals of sums, differences and products of parts.
pub(super) type Memo = HashMap<(BinaryOp, Part, Part), u32>;

/// `local + constant`, or the constant alone.
type Sum = (Option<u32>, u32);

impl Body<'_> {
    /// The value as a sum, if it is one of 32-bit integers that are the same in all lanes, or linear
    /// by a `stride`; computes what is new of it.
    pub(super) fn affine_inst(&mut self, def: &ValueDef, stride: Option<i32>) -> Option<Rep> {
        let narrow = |ty: Type| matches!(ty, Type::I32 | Type::U32);
        if !narrow(def.ty) {
            return None;
        }
        let sum = match def.inst {
            Inst::Cast(a) | Inst::Bitcast(a) if narrow(self.function.ty(a)) => self.sum(a)?,
            Inst::Binary(BinaryOp::Add, a, b) => {
                let (a, b) = (self.sum(a)?, self.sum(b)?);
                self.add(BinaryOp::Add, a, b)
            }
            Inst::Binary(BinaryOp::Sub, a, b) => {
                let (a, b) = (self.sum(a)?, self.sum(b)?);
                self.add(BinaryOp::Sub, a, b)
            }
            Inst::Binary(BinaryOp::Mul, a, b) => {
                let (a, b) = (self.sum(a)?, self.sum(b)?);
                self.multiply(a, b)
            }
            _ => return None,
        };
        Some(match (sum, stride) {
            ((Some(local), by), Some(stride)) => Rep::Linear { local, by, stride },
            ((None, by), _) => Rep::Const(Const::new(def.ty, u64::from(by))),
            ((Some(local), 0), None) => Rep::Scalar(local),
            ((Some(local), by), None) => Rep::Offset(local, by),
        })
    }

    fn sum(&self, value: Value) -> Option<Sum> {
        match self.rep(value) {
            Rep::Const(c) => Some((None, c.bits as u32)),
            Rep::Scalar(local) => Some((Some(local), 0)),
            Rep::Offset(local, by) | Rep::Linear { local, by, .. } => Some((Some(local), by)),
            Rep::Low(_) | Rep::Lanes(_) => None,
        }
    }

    /// `a + b` or `a - b`.
    fn add(&mut self, op: BinaryOp, a: Sum, b: Sum) -> Sum {
        let minus = op == BinaryOp::Sub;
        let by = if minus { a.1.wrapping_sub(b.1) } else { a.1.wrapping_add(b.1) };
        let local = match (a.0, b.0) {
            (local, None) => local,
            (None, Some(b)) if !minus => Some(b),
            (None, Some(b)) => Some(self.part(op, Part::Const(0), Part::Local(b))),
            (Some(a), Some(b)) => Some(self.part(op, Part::Local(a), Part::Local(b))),
        };
        (local, by)
    }

    /// `(a + c)(b + d) = ab + (ad + cb) + cd`
    fn multiply(&mut self, (a, c): Sum, (b, d): Sum) -> Sum {
        let mut sum = (None, c.wrapping_mul(d));
        let products = [
            a.zip(b).map(|(a, b)| (Part::Local(a), Part::Local(b))),
            a.map(|a| (Part::Local(a), Part::Const(d))),
            b.map(|b| (Part::Local(b), Part::Const(c))),
        ];
        for (left, right) in products.into_iter().flatten() {
            let product = match (left, right) {
                (_, Part::Const(0)) => continue,
                (Part::Local(local), Part::Const(1)) => local,
                (left, right) => self.part(BinaryOp::Mul, left, right),
            };
            sum = self.add(BinaryOp::Add, sum, (Some(product), 0));
        }
        sum
    }

    /// The local of `left op right`, computed now unless it exists.
    pub(super) fn part(&mut self, op: BinaryOp, left: Part, right: Part) -> u32 {
        if let Some(local) = self.memo.get(&(op, left, right)) {
            return *local;
        }
        for part in [left, right] {
            match part {
                Part::Local(local) => self.code.get(local),
                Part::Const(c) => self.code.i32_const(c),
            }
        }
        self.code.scalar_operator(op, Type::U32);
        let local = self.code.local(ValType::I32);
        self.code.set(local);
        self.memo.insert((op, left, right), local);
        let from_difference =
            |part: Part| matches!(part, Part::Local(local) if self.differences.contains(&local));
        if op == BinaryOp::Sub || from_difference(left) || from_difference(right) {
            self.differences.insert(local);
        }
        local
    }
}
