//! Matrices: their columns one after the other, as many scalars as they have elements.

use naga::{BinaryOperator, Expression, Handle, MathFunction, TypeInner};

use super::body::Body;
use super::expr::Scalars;
use super::{Refusal, Taken};
use crate::ir::{BinaryOp, Const, UnaryOp, Value};

/// What stands on one side of an operator.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Scalar,
    Vector,
    /// Columns and rows.
    Matrix(usize, usize),
}

impl Shape {
    fn of(inner: &TypeInner) -> Option<Shape> {
        match inner {
            TypeInner::Scalar(_) => Some(Shape::Scalar),
            TypeInner::Vector { .. } => Some(Shape::Vector),
            TypeInner::Matrix { columns, rows, .. } => {
                Some(Shape::Matrix(*columns as usize, *rows as usize))
            }
            _ => None,
        }
    }
}

pub(super) fn is_matrix(inner: &TypeInner) -> bool {
    matches!(inner, TypeInner::Matrix { .. })
}

impl Body<'_> {
    /// An operator with a matrix on one side at least.
    pub(super) fn matrix_binary(
        &mut self,
        op: BinaryOperator,
        left: Handle<Expression>,
        right: Handle<Expression>,
        span: naga::Span,
    ) -> Taken<Scalars> {
        let shapes = [left, right].map(|side| Shape::of(&self.inner(side)));
        let (a, b) = (self.scalars(left)?, self.scalars(right)?);
        let lanes = |body: &mut Self, op| {
            let count = a.len().max(b.len());
            let pair = |at: usize| (a[at.min(a.len() - 1)], b[at.min(b.len() - 1)]);
            (0..count).map(pair).map(|(a, b)| body.b.binary(op, a, b)).collect()
        };
        Ok(match (op, shapes) {
            (BinaryOperator::Add, _) => lanes(self, BinaryOp::Add),
            (BinaryOperator::Subtract, _) => lanes(self, BinaryOp::Sub),
            (BinaryOperator::Divide, [_, Some(Shape::Scalar)]) => lanes(self, BinaryOp::Div),
            (BinaryOperator::Multiply, [Some(Shape::Scalar), _] | [_, Some(Shape::Scalar)]) => {
                lanes(self, BinaryOp::Mul)
            }
            (BinaryOperator::Multiply, [Some(Shape::Matrix(_, rows)), Some(_)]) => {
                let inner = a.len() / rows;
                let columns: Vec<&[Value]> = b.chunks(inner).collect();
                let products = columns.into_iter().map(|column| self.of_column(&a, rows, column));
                products.collect::<Vec<_>>().concat()
            }
            (BinaryOperator::Multiply, [Some(Shape::Vector), Some(Shape::Matrix(_, rows))]) => {
                b.chunks(rows).map(|column| self.dot(&a, column)).collect()
            }
            _ => {
                let message = format!("{op:?} of matrices is not taken");
                return Err(Refusal { message, span });
            }
        })
    }

    /// A matrix times a column.
    fn of_column(&mut self, matrix: &[Value], rows: usize, column: &[Value]) -> Scalars {
        let row = |at: usize| matrix.iter().skip(at).step_by(rows).copied().collect::<Vec<_>>();
        (0..rows).map(row).map(|row| self.dot(&row, column)).collect()
    }

    /// A function of a matrix.
    pub(super) fn matrix_math(
        &mut self,
        fun: MathFunction,
        arg: Handle<Expression>,
        span: naga::Span,
    ) -> Taken<Scalars> {
        let m = self.scalars(arg)?;
        let TypeInner::Matrix { columns, rows, .. } = self.inner(arg) else {
            return Err(Refusal { message: "a matrix is wanted".to_owned(), span });
        };
        let (columns, rows) = (columns as usize, rows as usize);
        Ok(match fun {
            MathFunction::Transpose => transposed(&m, columns, rows),
            MathFunction::Determinant => vec![self.determinant(&m, rows)],
            MathFunction::Inverse => self.inverse(&m, rows),
            _ => {
                let message = format!("the function {fun:?} of a matrix is not taken");
                return Err(Refusal { message, span });
            }
        })
    }

    /// Column by row.
    pub(super) fn outer(&mut self, column: &[Value], row: &[Value]) -> Scalars {
        let pairs = row.iter().flat_map(|&r| column.iter().map(move |&c| (c, r)));
        pairs.map(|(c, r)| self.b.binary(BinaryOp::Mul, c, r)).collect()
    }

    /// By its first column.
    fn determinant(&mut self, m: &[Value], size: usize) -> Value {
        if let [one] = m {
            return *one;
        }
        let mut sum = None;
        for row in 0..size {
            let below = self.determinant(&without(m, size, 0, row), size - 1);
            let term = self.b.binary(BinaryOp::Mul, m[row], below);
            sum = Some(match sum {
                None => term,
                Some(sum) if row % 2 == 0 => self.b.binary(BinaryOp::Add, sum, term),
                Some(sum) => self.b.binary(BinaryOp::Sub, sum, term),
            });
        }
        sum.expect("a matrix has rows")
    }

    /// The adjugate over the determinant.
    fn inverse(&mut self, m: &[Value], size: usize) -> Scalars {
        let determinant = self.determinant(m, size);
        let ty = self.b.function().ty(determinant);
        let one = self.b.constant(Const::one(ty));
        let factor = self.b.binary(BinaryOp::Div, one, determinant);
        let mut cofactors = Vec::with_capacity(m.len());
        for column in 0..size {
            for row in 0..size {
                let rest = without(m, size, column, row);
                let minor = if size == 1 { one } else { self.determinant(&rest, size - 1) };
                let odd = (column + row) % 2 == 1;
                let signed = if odd { self.b.unary(UnaryOp::Neg, minor) } else { minor };
                cofactors.push(self.b.binary(BinaryOp::Mul, signed, factor));
            }
        }
        transposed(&cofactors, size, size)
    }
}

fn transposed(m: &[Value], columns: usize, rows: usize) -> Scalars {
    let place = |row: usize, column: usize| m[column * rows + row];
    (0..rows).flat_map(|row| (0..columns).map(move |column| place(row, column))).collect()
}

/// A square matrix without a column and a row.
fn without(m: &[Value], size: usize, column: usize, row: usize) -> Vec<Value> {
    let stays = |at: &usize| at / size != column && at % size != row;
    (0..m.len()).filter(stays).map(|at| m[at]).collect()
}
