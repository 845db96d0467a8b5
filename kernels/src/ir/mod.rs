//! What a kernel is, once it is typed.
//!
//! A [`Kernel`] is a [`Function`] run once for every point of a grid, plus the helper functions it
//! calls and how its grid and its result are formed. A function is
//!
//! - an arena of **values**: each is defined once by an [`Inst`] of explicit type and never changes;
//! - **locals**: typed variables and fixed arrays that do change, zero at the start of an invocation;
//! - a **body** of structured statements that says when each value is computed.
//!
//! ```text
//! kernel axpy(a: f32, x: [f32], y: mut [f32]) {
//!   %0: u32 = id.x                  a value is computed where its line stands
//!   %1: u32 = len x
//!   %2: bool = lt %0 %1
//!   check %2 bounds x %0            the invocation fails here if %2 is false
//!   %3: f32 = load x %0
//!   …
//!   store y %0 %9
//! }
//! ```
//!
//! # Evaluation
//!
//! A value is computed when its `Let` statement runs, once per passage; a use refers to the latest
//! passage. A definition dominates its uses: it stands earlier in the same block or in a block
//! around. `load`, `get` and atomic values read at that moment; they are never recomputed later.
//!
//! # Errors
//!
//! Loads, stores and integer divisions do not check anything. The front end puts a [`Stmt::Check`]
//! before each, and passes remove those they can prove. A failing check ends the whole call with
//! an error that names the check's [`Site`]; what other invocations wrote stays written.

pub mod builder;
mod inside;
pub mod op;
pub mod text;
pub mod ty;

use std::sync::Arc;

pub(crate) use inside::{assigned, defined};
pub use op::{AtomicOp, BinaryOp, CollectiveOp, UnaryOp};
pub use ty::{Const, Type};

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl $name {
            /// The position in the table this refers to.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id_type!(
    /// A value of a function: an index into [`Function::values`].
    Value, "%"
);
id_type!(
    /// A parameter of a function, scalar or buffer: an index into [`Function::params`].
    Param, "p"
);
id_type!(
    /// A variable of a function: an index into [`Function::locals`].
    Local, "$"
);
id_type!(
    /// A helper function: an index into [`Kernel::helpers`].
    Helper, "@"
);
id_type!(
    /// A place where an invocation can fail: an index into [`Function::sites`].
    SiteId, "#"
);

/// Where in the source something came from. Line and column count from 1; line 0 is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Index into [`Kernel::files`].
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

/// How a kernel uses a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// `&[T]`: loads only.
    Read,
    /// `&mut [T]`: loads and stores; no two invocations touch an element that one of them stores.
    ReadWrite,
    /// `&[Atomic<T>]`: atomic operations only, from any invocation.
    Atomic,
}

/// What a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParamKind {
    /// One value, the same for all invocations.
    Scalar(Type),
    /// A buffer of elements.
    Buffer {
        /// The type of an element, one of [`Type::STORABLE`].
        element: Type,
        /// What the function does with it.
        access: Access,
    },
    /// No argument, but an array that the invocations of a workgroup share, zero at the start of
    /// each group. Behind all arguments.
    Shared {
        /// The type of an element, one of [`Type::STORABLE`].
        element: Type,
        /// Number of elements.
        len: u32,
        /// Whether its elements are atomic.
        atomic: bool,
    },
}

impl ParamKind {
    /// The type of a scalar, or of a buffer's or array's element.
    pub fn ty(self) -> Type {
        match self {
            ParamKind::Scalar(ty)
            | ParamKind::Buffer { element: ty, .. }
            | ParamKind::Shared { element: ty, .. } => ty,
        }
    }
}

/// A named parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParamDef {
    /// The name in the source.
    pub name: String,
    /// Scalar or buffer.
    pub kind: ParamKind,
}

/// A variable: one element, or a fixed array.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalDef {
    /// The type of the variable or of an array's element.
    pub ty: Type,
    /// `None` for a plain variable, the number of elements for an array.
    pub array: Option<u32>,
    /// The name in the source, where it has one: for those who read what becomes of a kernel.
    pub name: Option<Arc<str>>,
}

impl LocalDef {
    /// A variable without a name.
    pub fn new(ty: Type, array: Option<u32>) -> LocalDef {
        LocalDef { ty, array, name: None }
    }
}

/// One axis of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Axis {
    /// The fastest: neighbours along x are neighbours in memory.
    X,
    /// The second.
    Y,
    /// The slowest.
    Z,
}

impl Axis {
    /// All three, fastest first.
    pub const ALL: [Axis; 3] = [Axis::X, Axis::Y, Axis::Z];

    /// 0, 1 or 2.
    pub fn index(self) -> usize {
        self as usize
    }

    /// `x`, `y` or `z`.
    pub fn name(self) -> &'static str {
        ["x", "y", "z"][self.index()]
    }
}

/// An argument of a helper call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallArg {
    /// For a scalar parameter.
    Value(Value),
    /// For a buffer parameter: one of the caller's own buffer parameters.
    Buffer(Param),
}

/// How a value comes about. The type of the result stands beside it, in [`ValueDef`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Inst {
    /// A constant.
    Const(Const),
    /// A scalar argument.
    Param(Param),
    /// The position of this invocation along an axis: `u32`.
    Id(Axis),
    /// The position of this invocation in its workgroup: `u32`.
    Local(Axis),
    /// The number of this invocation's workgroup along an axis: `u32`.
    Group(Axis),
    /// The extent of the grid along an axis, in whole workgroups where there are any: `u32`.
    Extent(Axis),
    /// The number of elements of a buffer: `u32`.
    Len(Param),
    /// The counter of the `for` statement that names this value. Never in a `Let`.
    Counter,
    /// An operator of one operand.
    Unary(UnaryOp, Value),
    /// An operator of two operands of one type.
    Binary(BinaryOp, Value, Value),
    /// `a * b + c`, rounded once or twice, as the device likes; floats.
    Fma(Value, Value, Value),
    /// The second operand where the first is true, else the third. Both are computed.
    Select(Value, Value, Value),
    /// Conversion to the result type as Rust's `as`: float to integer saturates, NaN gives 0.
    Cast(Value),
    /// The same bits as another type of the same width.
    Bitcast(Value),
    /// The value of a variable now.
    Get(Local),
    /// An element of an array now. The index must be below the array's length.
    GetElement(Local, Value),
    /// An element of a buffer now. The index must be below the buffer's length.
    Load(Param, Value),
    /// An element of an atomic buffer now.
    AtomicLoad(Param, Value),
    /// Read-modify-write of an element (buffer, index, operand); the result is the value before.
    Atomic(AtomicOp, Param, Value, Value),
    /// Replaces an element that holds what is expected (buffer, index, expected, new); the result is
    /// the value before.
    CompareSwap(Param, Value, Value, Value),
    /// The result of a helper. Gone after inlining.
    Call(Helper, Box<[CallArg]>),
}

/// A value: its type, how it is computed, and from which place in the source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ValueDef {
    /// The type of the value.
    pub ty: Type,
    /// How it is computed.
    pub inst: Inst,
    /// Where in the source.
    pub span: Span,
}

/// Statements that run one after another.
pub type Block = Vec<Stmt>;

/// A structured statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stmt {
    /// Compute a value now.
    Let(Value),
    /// Assign a variable.
    Set(Local, Value),
    /// Assign an element of an array: (array, index, value).
    SetElement(Local, Value, Value),
    /// Assign an element of a buffer: (buffer, index, value).
    Store(Param, Value, Value),
    /// Assign an element of an atomic buffer: (buffer, index, value).
    AtomicStore(Param, Value, Value),
    /// End the call with an error unless the condition holds.
    Check {
        /// What has to be true.
        condition: Value,
        /// Which error it is otherwise.
        site: SiteId,
        /// The offending index, for errors that report one.
        index: Option<Value>,
    },
    /// Either of two blocks.
    If {
        /// Decides.
        condition: Value,
        /// Runs when true.
        then: Block,
        /// Runs when false.
        otherwise: Block,
    },
    /// `for counter in start..end` by a step, all of one integer type, evaluated before the loop.
    /// The step is a positive constant, and the counter never overflows: the loop also ends when
    /// the next counter would.
    For {
        /// The counter; its instruction is [`Inst::Counter`].
        counter: Value,
        /// First counter.
        start: Value,
        /// One past the last.
        end: Value,
        /// Distance between counters, at least 1.
        step: u32,
        /// Runs for each.
        body: Block,
    },
    /// Repeats until a `Break` or `Return`.
    Loop(Block),
    /// Runs the helper for its effects only: its result, if any, is dropped. Gone after inlining.
    CallVoid(Helper, Box<[CallArg]>, Span),
    /// No invocation of the workgroup goes on before all have come here, and then each sees what the
    /// others wrote before. All or none of them come here.
    Barrier(Span),
    /// The block, for each invocation of the workgroup; around it, statements run once for all of
    /// them. Made by [`crate::passes::fission`], never nested.
    Each(Block),
    /// Leave the innermost loop.
    Break,
    /// Go on with the innermost loop's next passage.
    Continue,
    /// End this invocation (in a helper: go back to the caller).
    Return,
}

/// Why a check fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trap {
    /// An index is not below the length of a buffer.
    Bounds(Param),
    /// An index is not below the length of a fixed array.
    ArrayBounds(u32),
    /// An integer is divided by zero.
    ZeroDivisor,
}

/// A place where an invocation can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    /// What goes wrong there.
    pub trap: Trap,
    /// Where it stands in the source.
    pub span: Span,
}

/// A typed function: a kernel's entry or a helper.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Function {
    /// The name in the source.
    pub name: String,
    /// Parameters, in order, without the `Id`.
    pub params: Vec<ParamDef>,
    /// Variables.
    pub locals: Vec<LocalDef>,
    /// All values; `Let` statements say when they are computed.
    pub values: Vec<ValueDef>,
    /// The statements.
    pub body: Block,
    /// The variable whose value is the result when the function ends; in what [`crate::passes::quads`] makes of a
    /// collective, an array of four.
    pub result: Option<Local>,
    /// Where it can fail.
    pub sites: Vec<Site>,
}

/// How an extent of the grid is found from the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// The length of a buffer.
    Len(Param),
    /// The value of a `u32` scalar.
    Scalar(Param),
    /// Always the same.
    Fixed(u32),
    /// What the call says; 1 if it says nothing.
    Given,
}

/// What becomes of the value each invocation contributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CollectiveKind {
    /// All are combined into element 0 of the output.
    Reduce,
    /// Element i of the output combines contributions 0 to i (inclusive scan).
    Scan,
}

/// A kernel that returns a value: the contributions are combined over a one-axis grid into the last
/// parameter, an output buffer that the source does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Collective {
    /// Reduction or scan.
    pub kind: CollectiveKind,
    /// How two contributions combine.
    pub op: CollectiveOp,
}

/// A whole kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// The entry function. Its parameters are the arguments of a call.
    pub entry: Function,
    /// Helper functions; none calls itself, directly or not.
    pub helpers: Vec<Function>,
    /// The grid's extents: one to three.
    pub grid: Vec<Extent>,
    /// Invocations of a workgroup along each axis, where the kernel says; its grid is then made of
    /// whole groups ([`Kernel::whole_groups`]).
    pub workgroup: Option<[u32; 3]>,
    /// Set when the entry has a result.
    pub collective: Option<Collective>,
    /// Whether `x * y + z` may be rounded once ([`crate::passes::contract`]).
    pub contract: bool,
    /// Source files that spans refer to.
    pub files: Vec<Arc<str>>,
}

impl Function {
    /// The definition of a value.
    pub fn def(&self, value: Value) -> &ValueDef {
        &self.values[value.index()]
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> Type {
        self.def(value).ty
    }

    /// The constant that a value is, if it is one.
    pub fn as_const(&self, value: Value) -> Option<Const> {
        match self.def(value).inst {
            Inst::Const(c) => Some(c),
            _ => None,
        }
    }

    /// The element type of a buffer parameter; `None` for scalars.
    pub fn element(&self, param: Param) -> Option<Type> {
        match self.params.get(param.index())?.kind {
            ParamKind::Buffer { element, .. } | ParamKind::Shared { element, .. } => Some(element),
            ParamKind::Scalar(_) => None,
        }
    }

    /// Whether a parameter is a buffer that is only loaded from.
    pub fn is_read_only(&self, param: Param) -> bool {
        let kind = self.params.get(param.index()).map(|param| param.kind);
        matches!(kind, Some(ParamKind::Buffer { access: Access::Read, .. }))
    }

    /// Where a store stands, as far as its operands tell: the later place of the two, in one file.
    pub fn span_of_store(&self, index: Value, value: Value) -> Span {
        let (index, value) = (self.def(index).span, self.def(value).span);
        if value.file == index.file && value.line > index.line { value } else { index }
    }

    /// Number of parameters that are arguments of a call: all but the shared arrays.
    pub fn arity(&self) -> usize {
        self.params.len() - self.shared().count()
    }

    /// The shared arrays with element type and length, in order.
    pub fn shared(&self) -> impl Iterator<Item = (Param, Type, u32)> + '_ {
        self.params.iter().enumerate().filter_map(|(i, p)| match p.kind {
            ParamKind::Shared { element, len, .. } => Some((Param(i as u32), element, len)),
            ParamKind::Scalar(_) | ParamKind::Buffer { .. } => None,
        })
    }

    /// The buffer parameters with element type and access, in order.
    pub fn buffers(&self) -> impl Iterator<Item = (Param, Type, Access)> + '_ {
        self.params.iter().enumerate().filter_map(|(i, p)| match p.kind {
            ParamKind::Buffer { element, access } => Some((Param(i as u32), element, access)),
            ParamKind::Scalar(_) | ParamKind::Shared { .. } => None,
        })
    }

    /// The scalar parameters with their type, in order.
    pub fn scalars(&self) -> impl Iterator<Item = (Param, Type)> + '_ {
        self.params.iter().enumerate().filter_map(|(i, p)| match p.kind {
            ParamKind::Scalar(ty) => Some((Param(i as u32), ty)),
            ParamKind::Buffer { .. } | ParamKind::Shared { .. } => None,
        })
    }

    /// Calls `f` with every statement, outer before inner, in program order.
    pub fn walk<'a>(&'a self, f: &mut impl FnMut(&'a Stmt)) {
        walk_block(&self.body, f);
    }

    /// Renumbers the values in program order and forgets those that no statement computes.
    pub fn compact(&mut self) {
        let mut order = Vec::new();
        self.walk(&mut |stmt| match stmt {
            Stmt::Let(value) => order.push(*value),
            Stmt::For { counter, .. } => order.push(*counter),
            _ => {}
        });
        let mut new = vec![Value(u32::MAX); self.values.len()];
        for (at, old) in order.iter().enumerate() {
            new[old.index()] = Value(at as u32);
        }
        let mut values: Vec<ValueDef> =
            order.iter().map(|old| self.values[old.index()].clone()).collect();
        for value in &mut values {
            value.inst.map_operands(&mut |v| new[v.index()]);
        }
        self.values = values;
        map_block(&mut self.body, &mut |v| new[v.index()]);
    }
}

fn walk_block<'a>(block: &'a Block, f: &mut impl FnMut(&'a Stmt)) {
    for stmt in block {
        f(stmt);
        for inner in stmt.blocks() {
            walk_block(inner, f);
        }
    }
}

/// Replaces every value named in the statements of a block, those that statements define included;
/// operands of instructions are not touched.
pub fn map_block(block: &mut Block, f: &mut impl FnMut(Value) -> Value) {
    for stmt in block {
        stmt.map_values(f);
        for inner in stmt.blocks_mut() {
            map_block(inner, f);
        }
    }
}

impl Stmt {
    /// The blocks directly inside.
    pub fn blocks(&self) -> Vec<&Block> {
        match self {
            Stmt::If { then, otherwise, .. } => vec![then, otherwise],
            Stmt::For { body, .. } | Stmt::Loop(body) | Stmt::Each(body) => vec![body],
            Stmt::Let(_)
            | Stmt::Set(..)
            | Stmt::SetElement(..)
            | Stmt::Store(..)
            | Stmt::AtomicStore(..)
            | Stmt::Check { .. }
            | Stmt::CallVoid(..)
            | Stmt::Barrier(_)
            | Stmt::Break
            | Stmt::Continue
            | Stmt::Return => Vec::new(),
        }
    }

    /// The blocks directly inside, to change.
    pub fn blocks_mut(&mut self) -> Vec<&mut Block> {
        match self {
            Stmt::If { then, otherwise, .. } => vec![then, otherwise],
            Stmt::For { body, .. } | Stmt::Loop(body) | Stmt::Each(body) => vec![body],
            Stmt::Let(_)
            | Stmt::Set(..)
            | Stmt::SetElement(..)
            | Stmt::Store(..)
            | Stmt::AtomicStore(..)
            | Stmt::Check { .. }
            | Stmt::CallVoid(..)
            | Stmt::Barrier(_)
            | Stmt::Break
            | Stmt::Continue
            | Stmt::Return => Vec::new(),
        }
    }

    /// Replaces every value the statement itself names, definitions included.
    pub fn map_values(&mut self, f: &mut impl FnMut(Value) -> Value) {
        match self {
            Stmt::Let(v) | Stmt::Set(_, v) => *v = f(*v),
            Stmt::SetElement(_, a, b) | Stmt::Store(_, a, b) | Stmt::AtomicStore(_, a, b) => {
                *a = f(*a);
                *b = f(*b);
            }
            Stmt::Check { condition, index, .. } => {
                *condition = f(*condition);
                if let Some(v) = index {
                    *v = f(*v);
                }
            }
            Stmt::If { condition, .. } => *condition = f(*condition),
            Stmt::For { counter, start, end, .. } => {
                *counter = f(*counter);
                *start = f(*start);
                *end = f(*end);
            }
            Stmt::CallVoid(_, args, _) => map_args(args, f),
            Stmt::Loop(_)
            | Stmt::Barrier(_)
            | Stmt::Each(_)
            | Stmt::Break
            | Stmt::Continue
            | Stmt::Return => {}
        }
    }

    /// The values the statement itself uses. What a `Let` computes and a `for` counts are
    /// definitions and are left out; the operands of a `Let` are its instruction's.
    pub fn uses(&self) -> Vec<Value> {
        match self {
            Stmt::Set(_, v) => vec![*v],
            Stmt::SetElement(_, a, b) | Stmt::Store(_, a, b) | Stmt::AtomicStore(_, a, b) => {
                vec![*a, *b]
            }
            Stmt::Check { condition, index, .. } => {
                let mut uses = vec![*condition];
                uses.extend(*index);
                uses
            }
            Stmt::If { condition, .. } => vec![*condition],
            Stmt::For { start, end, .. } => vec![*start, *end],
            Stmt::CallVoid(_, args, _) => arg_values(args).collect(),
            Stmt::Let(_)
            | Stmt::Loop(_)
            | Stmt::Barrier(_)
            | Stmt::Each(_)
            | Stmt::Break
            | Stmt::Continue
            | Stmt::Return => Vec::new(),
        }
    }
}

fn arg_values(args: &[CallArg]) -> impl Iterator<Item = Value> + '_ {
    args.iter().filter_map(|arg| match arg {
        CallArg::Value(v) => Some(*v),
        CallArg::Buffer(_) => None,
    })
}

fn map_args(args: &mut [CallArg], f: &mut impl FnMut(Value) -> Value) {
    for arg in args {
        match arg {
            CallArg::Value(v) => *v = f(*v),
            CallArg::Buffer(_) => {}
        }
    }
}

impl Inst {
    /// The values the instruction reads, in order.
    pub fn operands(&self) -> Vec<Value> {
        match self {
            Inst::Const(_)
            | Inst::Param(_)
            | Inst::Id(_)
            | Inst::Local(_)
            | Inst::Group(_)
            | Inst::Extent(_)
            | Inst::Len(_)
            | Inst::Counter
            | Inst::Get(_) => Vec::new(),
            Inst::Unary(_, a)
            | Inst::Cast(a)
            | Inst::Bitcast(a)
            | Inst::GetElement(_, a)
            | Inst::Load(_, a)
            | Inst::AtomicLoad(_, a) => vec![*a],
            Inst::Binary(_, a, b) | Inst::Atomic(_, _, a, b) => vec![*a, *b],
            Inst::Fma(a, b, c) | Inst::Select(a, b, c) | Inst::CompareSwap(_, a, b, c) => {
                vec![*a, *b, *c]
            }
            Inst::Call(_, args) => arg_values(args).collect(),
        }
    }

    /// Replaces every operand.
    pub fn map_operands(&mut self, f: &mut impl FnMut(Value) -> Value) {
        match self {
            Inst::Const(_)
            | Inst::Param(_)
            | Inst::Id(_)
            | Inst::Local(_)
            | Inst::Group(_)
            | Inst::Extent(_)
            | Inst::Len(_)
            | Inst::Counter
            | Inst::Get(_) => {}
            Inst::Unary(_, a)
            | Inst::Cast(a)
            | Inst::Bitcast(a)
            | Inst::GetElement(_, a)
            | Inst::Load(_, a)
            | Inst::AtomicLoad(_, a) => *a = f(*a),
            Inst::Binary(_, a, b) | Inst::Atomic(_, _, a, b) => {
                *a = f(*a);
                *b = f(*b);
            }
            Inst::Fma(a, b, c) | Inst::Select(a, b, c) | Inst::CompareSwap(_, a, b, c) => {
                *a = f(*a);
                *b = f(*b);
                *c = f(*c);
            }
            Inst::Call(_, args) => map_args(args, f),
        }
    }

    /// Whether the result depends on the operands alone: such a value can be computed once for
    /// several uses, or not at all. Division counts as pure: its check is a statement of its own,
    /// but a division must not move above that check.
    pub fn is_pure(&self) -> bool {
        match self {
            Inst::Const(_)
            | Inst::Param(_)
            | Inst::Id(_)
            | Inst::Local(_)
            | Inst::Group(_)
            | Inst::Extent(_)
            | Inst::Len(_)
            | Inst::Unary(..)
            | Inst::Binary(..)
            | Inst::Fma(..)
            | Inst::Select(..)
            | Inst::Cast(_)
            | Inst::Bitcast(_) => true,
            Inst::Counter
            | Inst::Get(_)
            | Inst::GetElement(..)
            | Inst::Load(..)
            | Inst::AtomicLoad(..)
            | Inst::Atomic(..)
            | Inst::CompareSwap(..)
            | Inst::Call(..) => false,
        }
    }

    /// Whether computing the value changes something others can see.
    pub fn has_effect(&self) -> bool {
        matches!(self, Inst::Atomic(..) | Inst::CompareSwap(..) | Inst::Call(..))
    }
}

impl Kernel {
    /// Number of grid axes, 1 to 3.
    pub fn axes(&self) -> usize {
        self.grid.len()
    }

    /// `file:line:column`, or `<unknown>`.
    pub fn location(&self, span: Span) -> String {
        match self.files.get(span.file as usize) {
            Some(file) if span.line > 0 => format!("{file}:{}:{}", span.line, span.column),
            _ => "<unknown>".to_owned(),
        }
    }

    /// The grid, enlarged to whole workgroups; an empty one stays empty.
    pub fn whole_groups(&self, grid: [u32; 3]) -> [u32; 3] {
        let Some(size) = self.workgroup else { return grid };
        std::array::from_fn(|at| grid[at].div_ceil(size[at]).saturating_mul(size[at]))
    }

    /// The type each invocation contributes to a collective.
    pub fn contribution(&self) -> Option<Type> {
        self.entry.result.map(|local| self.entry.locals[local.index()].ty)
    }

    /// Content hash of everything that decides what the kernel computes: the identity of a version.
    pub fn hash(&self) -> blake3::Hash {
        blake3::hash(self.to_string().as_bytes())
    }
}
