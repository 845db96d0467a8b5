//! Building a function statement by statement. The builder types each value from its operands, so a
//! caller states types only where an operator does not fix them.

use std::sync::Arc;

use super::text::is_identifier;
use super::{
    Access, Axis, BinaryOp, Block, Const, Function, Inst, Local, LocalDef, Param, ParamDef,
    ParamKind, Site, SiteId, Span, Stmt, Trap, Type, UnaryOp, Value, ValueDef,
};

/// Builds one [`Function`]. Statements go to the innermost open block.
///
/// ```
/// use crossover_kernels::ir::{Access, Axis, BinaryOp, Type, builder::Builder};
///
/// let mut b = Builder::new("double");
/// let y = b.buffer("y", Type::F32, Access::ReadWrite);
/// let i = b.id(Axis::X);
/// let v = b.checked_load(y, i);
/// let twice = b.binary(BinaryOp::Add, v, v);
/// b.checked_store(y, i, twice);
/// let function = b.finish();
/// assert_eq!(function.params.len(), 1);
/// ```
#[derive(Debug)]
pub struct Builder {
    function: Function,
    open: Vec<Block>,
    span: Span,
}

impl Builder {
    /// A function of this name without parameters.
    pub fn new(name: impl Into<String>) -> Builder {
        let function = Function { name: name.into(), ..Function::default() };
        Builder { function, open: vec![Vec::new()], span: Span::default() }
    }

    /// Continues a function: new statements go to a fresh block, which
    /// [`Builder::close`] gives back. Passes use this to write replacements.
    pub fn resume(function: Function) -> Builder {
        Builder { function, open: vec![Vec::new()], span: Span::default() }
    }

    /// The function so far.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// The function so far, to change its result or sites.
    pub fn function_mut(&mut self) -> &mut Function {
        &mut self.function
    }

    /// The span that the following values and sites get.
    pub fn at(&mut self, span: Span) {
        self.span = span;
    }

    /// The span that the following values and sites get.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Adds a scalar parameter.
    pub fn scalar(&mut self, name: impl Into<String>, ty: Type) -> Param {
        self.param(ParamDef { name: name.into(), kind: ParamKind::Scalar(ty) })
    }

    /// Adds a buffer parameter.
    pub fn buffer(&mut self, name: impl Into<String>, element: Type, access: Access) -> Param {
        self.param(ParamDef { name: name.into(), kind: ParamKind::Buffer { element, access } })
    }

    /// Adds a parameter.
    pub fn param(&mut self, def: ParamDef) -> Param {
        self.function.params.push(def);
        Param(self.function.params.len() as u32 - 1)
    }

    /// Adds a variable; with `array`, one of that many elements.
    pub fn local(&mut self, ty: Type, array: Option<u32>) -> Local {
        self.function.locals.push(LocalDef::new(ty, array));
        Local(self.function.locals.len() as u32 - 1)
    }

    /// Gives a variable a name, if it is one that the text form has.
    pub fn name_local(&mut self, local: Local, name: &str) {
        let name = Some(name).filter(|name| is_identifier(name)).map(Arc::from);
        self.function.locals[local.index()].name = name;
    }

    /// Adds a value and computes it here.
    pub fn value(&mut self, ty: Type, inst: Inst) -> Value {
        let value = self.define(ty, inst);
        self.stmt(Stmt::Let(value));
        value
    }

    /// Adds a value that no `Let` computes: the counter of a `for`.
    fn define(&mut self, ty: Type, inst: Inst) -> Value {
        self.function.values.push(ValueDef { ty, inst, span: self.span });
        Value(self.function.values.len() as u32 - 1)
    }

    /// A constant.
    pub fn constant(&mut self, c: impl Into<Const>) -> Value {
        let c = c.into();
        self.value(c.ty, Inst::Const(c))
    }

    /// The value of a scalar parameter.
    pub fn argument(&mut self, param: Param) -> Value {
        let ty = self.function.params[param.index()].kind.ty();
        self.value(ty, Inst::Param(param))
    }

    /// The position along an axis.
    pub fn id(&mut self, axis: Axis) -> Value {
        self.value(Type::U32, Inst::Id(axis))
    }

    /// The length of a buffer; that of a shared array is a constant.
    pub fn len(&mut self, buffer: Param) -> Value {
        match self.function.params[buffer.index()].kind {
            ParamKind::Shared { len, .. } => self.constant(len),
            ParamKind::Buffer { .. } | ParamKind::Scalar(_) => {
                self.value(Type::U32, Inst::Len(buffer))
            }
        }
    }

    /// An operator of one operand.
    pub fn unary(&mut self, op: UnaryOp, a: Value) -> Value {
        let ty = self.function.ty(a);
        self.value(ty, Inst::Unary(op, a))
    }

    /// An operator of two operands, without a check for zero divisors.
    pub fn binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        let ty = op.result(self.function.ty(a));
        self.value(ty, Inst::Binary(op, a, b))
    }

    /// An operator of two operands; integer division and remainder get their check.
    pub fn checked_binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        let ty = self.function.ty(b);
        if matches!(op, BinaryOp::Div | BinaryOp::Rem) && ty.is_int() {
            let zero = self.constant(Const::zero(ty));
            let condition = self.binary(BinaryOp::Ne, b, zero);
            self.check(condition, Trap::ZeroDivisor, None);
        }
        self.binary(op, a, b)
    }

    /// `a * b + c`.
    pub fn fma(&mut self, a: Value, b: Value, c: Value) -> Value {
        let ty = self.function.ty(a);
        self.value(ty, Inst::Fma(a, b, c))
    }

    /// `a` where the condition holds, else `b`.
    pub fn select(&mut self, condition: Value, a: Value, b: Value) -> Value {
        let ty = self.function.ty(a);
        self.value(ty, Inst::Select(condition, a, b))
    }

    /// Conversion as Rust's `as`.
    pub fn cast(&mut self, a: Value, ty: Type) -> Value {
        self.value(ty, Inst::Cast(a))
    }

    /// The same bits as `ty`.
    pub fn bitcast(&mut self, a: Value, ty: Type) -> Value {
        self.value(ty, Inst::Bitcast(a))
    }

    /// The value of a variable now.
    pub fn get(&mut self, local: Local) -> Value {
        let ty = self.function.locals[local.index()].ty;
        self.value(ty, Inst::Get(local))
    }

    /// Assigns a variable.
    pub fn set(&mut self, local: Local, value: Value) {
        self.stmt(Stmt::Set(local, value));
    }

    /// An element of an array, after a bounds check.
    pub fn checked_get_element(&mut self, local: Local, index: Value) -> Value {
        self.check_array(local, index);
        let ty = self.function.locals[local.index()].ty;
        self.value(ty, Inst::GetElement(local, index))
    }

    /// Assigns an element of an array, after a bounds check.
    pub fn checked_set_element(&mut self, local: Local, index: Value, value: Value) {
        self.check_array(local, index);
        self.stmt(Stmt::SetElement(local, index, value));
    }

    /// An element of a buffer, after a bounds check.
    pub fn checked_load(&mut self, buffer: Param, index: Value) -> Value {
        self.check_bounds(buffer, index);
        let ty = self.function.element(buffer).expect("loads are from buffers");
        self.value(ty, Inst::Load(buffer, index))
    }

    /// Assigns an element of a buffer, after a bounds check.
    pub fn checked_store(&mut self, buffer: Param, index: Value, value: Value) {
        self.check_bounds(buffer, index);
        self.stmt(Stmt::Store(buffer, index, value));
    }

    /// Fails the call unless `index < len(buffer)`.
    pub fn check_bounds(&mut self, buffer: Param, index: Value) {
        let len = self.len(buffer);
        let condition = self.binary(BinaryOp::Lt, index, len);
        self.check(condition, Trap::Bounds(buffer), Some(index));
    }

    fn check_array(&mut self, local: Local, index: Value) {
        let len = self.function.locals[local.index()].array.unwrap_or(0);
        let bound = self.constant(len);
        let condition = self.binary(BinaryOp::Lt, index, bound);
        self.check(condition, Trap::ArrayBounds(len), Some(index));
    }

    /// Fails the call unless the condition holds.
    pub fn check(&mut self, condition: Value, trap: Trap, index: Option<Value>) {
        self.function.sites.push(Site { trap, span: self.span });
        let site = SiteId(self.function.sites.len() as u32 - 1);
        self.stmt(Stmt::Check { condition, site, index });
    }

    /// Adds a statement to the innermost open block. What would follow a jump is never reached and
    /// is left out.
    pub fn stmt(&mut self, stmt: Stmt) {
        let block = self.open.last_mut().expect("a builder has an open block until it is finished");
        if !matches!(block.last(), Some(Stmt::Break | Stmt::Continue | Stmt::Return)) {
            block.push(stmt);
        }
    }

    /// Opens a block inside: the following statements go there until [`Builder::close`].
    pub fn open(&mut self) {
        self.open.push(Vec::new());
    }

    /// Closes the innermost open block and gives it back.
    pub fn close(&mut self) -> Block {
        self.open.pop().expect("every `close` follows an `open`")
    }

    /// An `if` whose blocks the closures fill.
    pub fn if_else(
        &mut self,
        condition: Value,
        then: impl FnOnce(&mut Builder),
        otherwise: impl FnOnce(&mut Builder),
    ) {
        self.open();
        then(self);
        let then = self.close();
        self.open();
        otherwise(self);
        let otherwise = self.close();
        self.stmt(Stmt::If { condition, then, otherwise });
    }

    /// A counted loop whose body the closure fills from the counter.
    pub fn for_range(
        &mut self,
        start: Value,
        end: Value,
        step: u32,
        body: impl FnOnce(&mut Builder, Value),
    ) {
        let ty = self.function.ty(start);
        let counter = self.define(ty, Inst::Counter);
        self.open();
        body(self, counter);
        let body = self.close();
        self.stmt(Stmt::For { counter, start, end, step, body });
    }

    /// A counter value for a `for` statement that the caller assembles itself.
    pub fn counter(&mut self, ty: Type) -> Value {
        self.define(ty, Inst::Counter)
    }

    /// A loop that runs until a `Break` or `Return` in the body that the closure fills.
    pub fn repeat(&mut self, body: impl FnOnce(&mut Builder)) {
        self.open();
        body(self);
        let body = self.close();
        self.stmt(Stmt::Loop(body));
    }

    /// The finished function.
    pub fn finish(mut self) -> Function {
        let mut body = self.open.remove(0);
        std::mem::swap(&mut self.function.body, &mut body);
        self.function
    }
}
