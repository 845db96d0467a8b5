//! The tree itself. Names are as in the source; nothing is resolved or typed.

use serde::{Deserialize, Serialize};

/// A position in the source file: line and column from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pos {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

/// A kernel function: its signature, attributes and body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// The function's name.
    pub name: String,
    /// Type parameters, in order.
    pub generics: Vec<Generic>,
    /// The name of the `Id` parameter, if there is one. It is always the first.
    pub id: Option<String>,
    /// Parameters after the `Id`.
    pub params: Vec<Param>,
    /// The scalar type that is returned.
    pub result: Option<Name>,
    /// How returned values combine; a function that returns and has none is a helper.
    pub collective: Option<Collective>,
    /// Extents of the grid, where the attribute gives them.
    pub grid: Vec<Extent>,
    /// Invocations of a workgroup along each axis, where the attribute gives them.
    pub workgroup: Vec<Extent>,
    /// Whether a product and a sum may be rounded once.
    pub contract: bool,
    /// The body.
    pub body: Block,
    /// The paths of the helpers that calls name, as written, for messages.
    pub helpers: Vec<String>,
    /// Where the function's name stands.
    pub pos: Pos,
}

/// A name with its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Where it stands.
    pub pos: Pos,
}

/// A generic parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generic {
    /// Its name.
    pub name: String,
    /// What it stands for.
    pub kind: GenericKind,
}

/// What a generic parameter stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GenericKind {
    /// Any number type (`Num`).
    Num,
    /// A float type (`Float`).
    Float,
    /// An integer type (`Int`).
    Int,
    /// A `const N: usize`.
    Const,
}

/// `reduce = op` or `scan = op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collective {
    /// Whether every prefix is wanted, not only the total.
    pub scan: bool,
    /// The operator.
    pub op: CollectiveOp,
}

/// The operator of a collective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CollectiveOp {
    /// Sum.
    Add,
    /// Product.
    Mul,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
}

/// An extent of the grid, as the attribute names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Extent {
    /// A scalar parameter, or a const generic.
    Name(Name),
    /// `name.len()`.
    Len(Name),
    /// A number.
    Fixed(u32),
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Whether it is bound `mut`: then it is a variable of its own.
    pub mutable: bool,
    /// Scalar or slice.
    pub kind: ParamKind,
    /// The scalar or element type's name.
    pub ty: Name,
}

/// What kind of parameter it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParamKind {
    /// By value.
    Scalar,
    /// `&[T]`.
    Slice,
    /// `&mut [T]`.
    SliceMut,
    /// `&[Atomic<T>]`.
    Atomics,
}

/// Statements and, where the last is an expression without a semicolon, a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// In order.
    pub stmts: Vec<Stmt>,
    /// The value of the block.
    pub tail: Option<Box<Expr>>,
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Stmt {
    /// `let name: ty = init;`
    Let {
        /// The variable.
        name: Name,
        /// Whether it is assigned later.
        mutable: bool,
        /// The annotation.
        ty: Option<Ty>,
        /// Its first value.
        init: Expr,
    },
    /// `const NAME: ty = init;`
    Const {
        /// The constant.
        name: Name,
        /// Its type.
        ty: Name,
        /// Its value.
        init: Expr,
    },
    /// An expression for its effect.
    Expr(Expr),
}

/// An annotated type of a variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ty {
    /// A scalar.
    Scalar(Name),
    /// `[T; n]`.
    Array(Name, Box<Expr>),
}

/// An expression and its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub pos: Pos,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ExprKind {
    /// `3`, `3u32`.
    Int {
        /// The value.
        value: u64,
        /// The type suffix.
        suffix: Option<String>,
    },
    /// `1.5`, `1.5f32`. Bits of an `f64`.
    Float {
        /// The value.
        value: f64,
        /// The type suffix.
        suffix: Option<String>,
    },
    /// `true`, `false`.
    Bool(bool),
    /// A variable, parameter or constant.
    Var(String),
    /// `f32::MAX`, `f32::consts::PI`: the type's name and the constant's.
    Assoc(String, String),
    /// An operator of two operands; `&&` and `||` evaluate the right side only when needed.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// An operator of one operand.
    Unary(UnaryOp, Box<Expr>),
    /// `place = value`, or `place op= value`.
    Assign(Option<BinaryOp>, Box<Expr>, Box<Expr>),
    /// `base[index]`.
    Index(Box<Expr>, Box<Expr>),
    /// `base.name`: only `id.x`, `id.local.x`, `id.group.x`, and the same of y and z.
    Field(Box<Expr>, String),
    /// `expr as ty`.
    Cast(Box<Expr>, Name),
    /// `receiver.method(args)`.
    Method(Box<Expr>, Name, Vec<Expr>),
    /// `Type::function(args)`: `f32::from_bits(x)`, `T::lit(0.5)`, `f32::max(a, b)`.
    TypeCall(String, Name, Vec<Expr>),
    /// A call of a helper: an index into the tree's helpers. Slices are passed as `x` or `&mut x`.
    Call(u32, Vec<Expr>),
    /// A call of the function itself, as the last thing that it does.
    TailCall(Vec<Expr>),
    /// `if`, with or without a value.
    If(Box<Expr>, Block, Option<Box<Expr>>),
    /// `match` over integers.
    Match(Box<Expr>, Vec<Arm>),
    /// `for name in start..end` (or `..=`), by a step.
    For {
        /// The counter.
        name: Name,
        /// First counter.
        start: Box<Expr>,
        /// Last, or one past it.
        end: Box<Expr>,
        /// Whether the end is counted, too.
        inclusive: bool,
        /// Distance between counters.
        step: u32,
        /// Runs for each.
        body: Block,
    },
    /// `while`.
    While(Box<Expr>, Block),
    /// `loop`.
    Loop(Block),
    /// `break`.
    Break,
    /// `continue`.
    Continue,
    /// `return`, with or without a value.
    Return(Option<Box<Expr>>),
    /// `{ … }`.
    Block(Block),
    /// `[a, b, c]`.
    Array(Vec<Expr>),
    /// `[value; n]`.
    Repeat(Box<Expr>, Box<Expr>),
    /// `&x`, `&mut x` before a slice argument.
    Ref(Box<Expr>),
    /// `id.shared::<T, N>()`: an array that a workgroup shares.
    Shared {
        /// The `Id`.
        id: Box<Expr>,
        /// The type of an element.
        ty: Name,
        /// Whether it is an `Atomic`.
        atomic: bool,
        /// Number of elements.
        len: Box<Expr>,
    },
}

/// An arm of a `match`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// Alternatives; empty for `_`.
    pub patterns: Vec<Pattern>,
    /// `if` guard.
    pub guard: Option<Expr>,
    /// The arm's value.
    pub body: Expr,
}

/// An integer pattern: one number or an inclusive range, signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    /// Smallest that matches.
    pub low: i64,
    /// Largest that matches.
    pub high: i64,
}

/// Operators of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
    /// `&`
    And,
    /// `|`
    Or,
    /// `^`
    Xor,
    /// `<<`
    Shl,
    /// `>>`
    Shr,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `&&`
    LazyAnd,
    /// `||`
    LazyOr,
}

/// Operators of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `!`
    Not,
}
