//! The typed tree: names resolved to what they stand for, every expression with its (perhaps still
//! open) type.

use std::sync::Arc;

use crossover_syntax::tree::{BinaryOp, Pattern, Pos};

use super::Request;
use super::method::Method;
use super::types::{TypeVar, Types};
use crate::ir::{AtomicOp, Axis, Const, Param, Type};

/// A variable of the function: an index into [`Typed::variables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variable(pub(super) usize);

#[derive(Clone, Debug)]
pub(super) struct VariableDef {
    pub(super) ty: TypeVar,
    /// Elements, for an array.
    pub(super) array: Option<u32>,
    /// Whether it is assigned after its `let`.
    pub(super) mutable: bool,
    /// Its name in the source.
    pub(super) name: Option<Arc<str>>,
}

/// A function with everything known.
#[derive(Debug)]
pub(super) struct Typed {
    pub(super) types: Types,
    pub(super) variables: Vec<VariableDef>,
    /// Scalar parameters bound `mut`, with the variable that takes their value.
    pub(super) mutable_params: Vec<(Param, Variable)>,
    pub(super) param_types: Vec<Type>,
    pub(super) shared: Vec<SharedDef>,
    pub(super) result: Option<Type>,
    pub(super) body: TBlock,
    pub(super) file: u32,
    pub(super) pos: Pos,
}

/// An array that a workgroup shares.
#[derive(Clone, Debug)]
pub(super) struct SharedDef {
    pub(super) name: String,
    pub(super) ty: Type,
    pub(super) len: u32,
    pub(super) atomic: bool,
}

#[derive(Debug)]
pub(super) struct TBlock {
    pub(super) stmts: Vec<TExpr>,
    pub(super) tail: Option<Box<TExpr>>,
}

/// What kind of thing an expression yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Yield {
    /// Nothing: `()`.
    Unit,
    /// Never comes back.
    Never,
    /// A scalar.
    Scalar(TypeVar),
    /// A fixed array.
    Array(TypeVar, u32),
    /// A buffer parameter.
    Buffer(Param),
    /// The `Id`.
    Id,
    /// Wrong, and reported.
    Error,
}

#[derive(Debug)]
pub(super) struct TExpr {
    pub(super) kind: TKind,
    pub(super) yields: Yield,
    pub(super) pos: Pos,
}

#[derive(Debug)]
pub(super) enum Place {
    Variable(Variable),
    Element(Variable, Box<TExpr>),
    Buffer(Param, Box<TExpr>),
}

#[derive(Debug)]
pub(super) enum TKind {
    Int(u64),
    Float(f64),
    Bool(bool),
    /// A constant whose type is settled.
    Const(Const),
    Param(Param),
    Id(Axis),
    /// The position in the workgroup.
    Local(Axis),
    /// The workgroup's number.
    Group(Axis),
    Barrier,
    Len(Param),
    Variable(Variable),
    Element(Variable, Box<TExpr>),
    Load(Param, Box<TExpr>),
    Binary(BinaryOp, Box<TExpr>, Box<TExpr>),
    Neg(Box<TExpr>),
    Not(Box<TExpr>),
    Cast(Box<TExpr>),
    Method(Method, Vec<TExpr>),
    FromBits(Box<TExpr>),
    AtomicLoad(Param, Box<TExpr>),
    AtomicStore(Param, Box<TExpr>, Box<TExpr>),
    Atomic(AtomicOp, Param, Box<TExpr>, Box<TExpr>),
    /// The index, what is expected, and what replaces it.
    CompareSwap(Param, Box<TExpr>, Box<TExpr>, Box<TExpr>),
    Call(HelperCall, Vec<TArg>),
    If(Box<TExpr>, TBlock, Option<Box<TExpr>>),
    /// The value, its arms, and the body of the arm that takes the rest.
    Match(Box<TExpr>, Vec<TArm>),
    For {
        counter: Variable,
        start: Box<TExpr>,
        end: Box<TExpr>,
        inclusive: bool,
        step: u32,
        body: TBlock,
    },
    While(Box<TExpr>, TBlock),
    Loop(TBlock),
    Break,
    Continue,
    Return(Option<Box<TExpr>>),
    Block(TBlock),
    /// `let`: the variable and its first value.
    Let(Variable, Box<TExpr>),
    Assign(Option<BinaryOp>, Place, Box<TExpr>),
    Array(Vec<TExpr>),
    Repeat(Box<TExpr>, u32),
    /// Names a buffer or the `Id`, or is in error.
    Nothing,
}

#[derive(Debug)]
pub(super) struct TArm {
    /// Empty: takes everything.
    pub(super) patterns: Vec<Pattern>,
    pub(super) guard: Option<TExpr>,
    pub(super) body: TExpr,
}

#[derive(Debug)]
pub(super) enum TArg {
    Value(TExpr),
    Buffer(Param),
}

/// Which helper a call means; its type arguments are settled when inference has ended.
#[derive(Debug)]
pub(super) struct HelperCall {
    /// `None` of the function itself.
    pub(super) helper: Option<usize>,
    pub(super) types: Vec<TypeVar>,
}

impl HelperCall {
    /// The helper's request, once all types are known.
    pub(super) fn request(&self, caller: &Request, types: &Types) -> Request {
        let Some(helper) = self.helper else { return caller.clone() };
        Request {
            definition: caller.definition.helpers[helper].clone(),
            types: self.types.iter().map(|&var| types.resolve(var)).collect(),
            consts: Vec::new(),
        }
    }
}
