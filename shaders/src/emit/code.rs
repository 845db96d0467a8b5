//! Writing one naga function statement by statement.
//!
//! naga evaluates an expression where an `Emit` statement covers it; literals, arguments and
//! variables must not be covered. [`Code`] keeps the range of expressions that no statement covers
//! yet and closes it before every statement and every expression of the second kind, so callers
//! never see it.

use std::collections::HashMap;

use crossover_kernels::ir::{Const, Type};
use naga::{
    AddressSpace, BinaryOperator, Binding, Block, BuiltIn, Expression, Function, FunctionArgument,
    FunctionResult, GlobalVariable, Handle, Literal, LocalVariable, MathFunction, Module, Scalar,
    ScalarKind, Span, Statement, TypeInner, UnaryOperator,
};

use super::lines;

/// A naga expression.
pub(super) type Node = Handle<Expression>;

/// naga's word for a scalar type.
pub(super) fn scalar(ty: Type) -> Scalar {
    match ty {
        Type::Bool => Scalar::BOOL,
        Type::I32 => Scalar::I32,
        Type::U32 => Scalar::U32,
        Type::F32 => Scalar::F32,
        Type::I64 => Scalar::I64,
        Type::U64 => Scalar::U64,
        Type::F64 => Scalar::F64,
    }
}

/// The handle of a scalar type; the arena holds each type once.
pub(super) fn scalar_type(module: &mut Module, ty: Type) -> Handle<naga::Type> {
    anonymous(module, TypeInner::Scalar(scalar(ty)))
}

/// The handle of the type of four scalars.
pub(super) fn vector_type(module: &mut Module, ty: Type) -> Handle<naga::Type> {
    let size = naga::VectorSize::Quad;
    anonymous(module, TypeInner::Vector { size, scalar: scalar(ty) })
}

/// The handle of a type without a name.
pub(super) fn anonymous(module: &mut Module, inner: TypeInner) -> Handle<naga::Type> {
    module.types.insert(naga::Type { name: None, inner }, Span::UNDEFINED)
}

/// A function under construction.
pub(super) struct Code<'m> {
    pub(super) module: &'m mut Module,
    function: Function,
    /// Open blocks, innermost last.
    blocks: Vec<Block>,
    /// Where the expressions start that no `Emit` covers yet.
    open_from: Option<usize>,
    /// What stands for the place in the source of the statements that are written.
    span: Span,
    literals: HashMap<Const, Node>,
    globals: HashMap<Handle<GlobalVariable>, Node>,
}

impl<'m> Code<'m> {
    pub(super) fn new(module: &'m mut Module, name: &str) -> Code<'m> {
        Code {
            module,
            function: Function { name: Some(name.to_owned()), ..Function::default() },
            blocks: vec![Block::new()],
            open_from: None,
            span: Span::UNDEFINED,
            literals: HashMap::new(),
            globals: HashMap::new(),
        }
    }

    /// Adds an argument; all arguments come before anything else.
    pub(super) fn argument(&mut self, name: &str, ty: Type) -> Node {
        let ty = scalar_type(self.module, ty);
        self.any_argument(name, ty, None)
    }

    /// Adds a built-in input of an entry point.
    pub(super) fn builtin(&mut self, name: &str, builtin: BuiltIn) -> Node {
        let inner = match builtin {
            BuiltIn::LocalInvocationIndex
            | BuiltIn::SubgroupId
            | BuiltIn::SubgroupSize
            | BuiltIn::SubgroupInvocationId
            | BuiltIn::NumSubgroups => TypeInner::Scalar(Scalar::U32),
            _ => TypeInner::Vector { size: naga::VectorSize::Tri, scalar: Scalar::U32 },
        };
        let ty = anonymous(self.module, inner);
        self.any_argument(name, ty, Some(Binding::BuiltIn(builtin)))
    }

    fn any_argument(
        &mut self,
        name: &str,
        ty: Handle<naga::Type>,
        binding: Option<Binding>,
    ) -> Node {
        let index = self.function.arguments.len() as u32;
        self.function.arguments.push(FunctionArgument { name: Some(name.to_owned()), ty, binding });
        self.expr(Expression::FunctionArgument(index))
    }

    /// States what the function returns.
    pub(super) fn returns(&mut self, ty: Type) {
        let ty = scalar_type(self.module, ty);
        self.function.result = Some(FunctionResult { ty, binding: None });
    }

    /// States that the function returns four of them.
    pub(super) fn returns_vector(&mut self, ty: Type) {
        let ty = vector_type(self.module, ty);
        self.function.result = Some(FunctionResult { ty, binding: None });
    }

    /// The finished function.
    pub(super) fn finish(mut self) -> Function {
        self.flush();
        self.function.body = self.blocks.pop().unwrap_or_default();
        self.function
    }

    /// Adds an expression that is evaluated here.
    pub(super) fn expr(&mut self, expression: Expression) -> Node {
        if expression.needs_pre_emit() {
            self.flush();
        } else if self.open_from.is_none() {
            self.open_from = Some(self.function.expressions.len());
        }
        self.function.expressions.append(expression, Span::UNDEFINED)
    }

    /// Adds an expression that a statement evaluates: the result of a call or an atomic.
    fn result(&mut self, expression: Expression) -> Node {
        self.flush();
        self.function.expressions.append(expression, Span::UNDEFINED)
    }

    fn flush(&mut self) {
        if let Some(from) = self.open_from.take() {
            let range = self.function.expressions.range_from(from);
            self.push(Statement::Emit(range));
        }
    }

    fn push(&mut self, statement: Statement) {
        let block = self.blocks.last_mut().expect("a function has an open block until it ends");
        block.push(statement, self.span);
    }

    /// The statements from here on come from this line; see [`super::lines`].
    pub(super) fn at(&mut self, span: crossover_kernels::ir::Span) {
        if span.line > 0 {
            self.span = lines::naga_span(span);
        }
    }

    /// Adds a statement.
    pub(super) fn stmt(&mut self, statement: Statement) {
        self.flush();
        self.push(statement);
    }

    /// `vector.x`, `.y`, `.z` or `.w`.
    pub(super) fn component(&mut self, vector: Node, index: u32) -> Node {
        self.expr(Expression::AccessIndex { base: vector, index })
    }

    /// `vec4<ty>(parts…)`
    pub(super) fn vector(&mut self, ty: Type, parts: [Node; 4]) -> Node {
        let ty = vector_type(self.module, ty);
        self.expr(Expression::Compose { ty, components: parts.to_vec() })
    }

    /// The name that the WGSL gives a value.
    pub(super) fn name(&mut self, node: Node, name: &str) {
        self.function.named_expressions.insert(node, name.to_owned());
    }

    // Blocks

    /// Fills a block.
    pub(super) fn block(&mut self, fill: impl FnOnce(&mut Self)) -> Block {
        self.open();
        fill(self);
        self.close()
    }

    /// Opens a block inside.
    pub(super) fn open(&mut self) {
        self.flush();
        self.blocks.push(Block::new());
    }

    /// Closes the innermost block and gives it back.
    pub(super) fn close(&mut self) -> Block {
        self.flush();
        self.blocks.pop().expect("every `close` follows an `open`")
    }

    /// `if (condition) { … }`
    pub(super) fn when(&mut self, condition: Node, fill: impl FnOnce(&mut Self)) {
        let accept = self.block(fill);
        self.stmt(Statement::If { condition, accept, reject: Block::new() });
    }

    /// `if (condition) { break; }`
    pub(super) fn break_when(&mut self, condition: Node) {
        self.when(condition, |code| code.stmt(Statement::Break));
    }

    /// `return value;`
    pub(super) fn give(&mut self, value: Option<Node>) {
        self.stmt(Statement::Return { value });
    }

    /// `workgroupBarrier();`
    pub(super) fn barrier(&mut self) {
        self.stmt(Statement::ControlBarrier(naga::Barrier::WORK_GROUP));
    }

    /// `workgroupBarrier(); storageBarrier();`
    pub(super) fn barrier_of_all(&mut self) {
        let all = naga::Barrier::WORK_GROUP | naga::Barrier::STORAGE;
        self.stmt(Statement::ControlBarrier(all));
    }

    /// Calls a function.
    pub(super) fn call(
        &mut self,
        function: Handle<Function>,
        arguments: Vec<Node>,
    ) -> Option<Node> {
        let result = self.module.functions[function].result.is_some();
        let result = result.then(|| self.result(Expression::CallResult(function)));
        self.stmt(Statement::Call { function, arguments, result });
        result
    }

    /// A read-modify-write of an atomic, and its value before.
    pub(super) fn atomic(
        &mut self,
        fun: naga::AtomicFunction,
        pointer: Node,
        value: Node,
        ty: Type,
    ) -> Node {
        let ty = scalar_type(self.module, ty);
        let result = self.result(Expression::AtomicResult { ty, comparison: false });
        self.stmt(Statement::Atomic { pointer, fun, value, result: Some(result) });
        result
    }

    /// The value that another invocation of the subgroup has.
    pub(super) fn shuffle(&mut self, mode: naga::GatherMode, value: Node, ty: Type) -> Node {
        let ty = scalar_type(self.module, ty);
        let result = self.result(Expression::SubgroupOperationResult { ty });
        self.stmt(Statement::SubgroupGather { mode, argument: value, result });
        result
    }

    /// What an invocation of the workgroup has left in a variable of it, for all; a barrier before and behind.
    pub(super) fn uniform_load(&mut self, pointer: Node, ty: Type) -> Node {
        let ty = scalar_type(self.module, ty);
        let result = self.result(Expression::WorkGroupUniformLoadResult { ty });
        self.stmt(Statement::WorkGroupUniformLoad { pointer, result });
        result
    }

    /// Compares and swaps; gives the value before.
    pub(super) fn compare_swap(
        &mut self,
        pointer: Node,
        expected: Node,
        value: Node,
        ty: Type,
    ) -> Node {
        let scalar = scalar(ty);
        let result = naga::PredeclaredType::AtomicCompareExchangeWeakResult(scalar);
        let ty = self.module.generate_predeclared_type(result);
        let result = self.result(Expression::AtomicResult { ty, comparison: true });
        let fun = naga::AtomicFunction::Exchange { compare: Some(expected) };
        self.stmt(Statement::Atomic { pointer, fun, value, result: Some(result) });
        self.member(result, 0)
    }

    // Values

    /// A constant. naga refuses NaN and infinity as literals: they are bits, seen as a float.
    pub(super) fn constant(&mut self, c: Const) -> Node {
        let finite = match c.ty {
            Type::F32 => f32::from_bits(c.bits as u32).is_finite(),
            Type::F64 => f64::from_bits(c.bits).is_finite(),
            Type::Bool | Type::I32 | Type::U32 | Type::I64 | Type::U64 => true,
        };
        if !finite {
            let bits = self.literal(Const::new(c.ty.bit_pattern(), c.bits));
            return self.bitcast(bits, c.ty);
        }
        self.literal(c)
    }

    fn literal(&mut self, c: Const) -> Node {
        if let Some(&node) = self.literals.get(&c) {
            return node;
        }
        let literal = match c.ty {
            Type::Bool => Literal::Bool(c.bits == 1),
            Type::I32 => Literal::I32(c.bits as u32 as i32),
            Type::U32 => Literal::U32(c.bits as u32),
            Type::F32 => Literal::F32(f32::from_bits(c.bits as u32)),
            Type::I64 => Literal::I64(c.bits as i64),
            Type::U64 => Literal::U64(c.bits),
            Type::F64 => Literal::F64(f64::from_bits(c.bits)),
        };
        let node = self.expr(Expression::Literal(literal));
        self.literals.insert(c, node);
        node
    }

    /// A `u32` literal.
    pub(super) fn u32(&mut self, n: u32) -> Node {
        self.literal(n.into())
    }

    /// `left op right`
    pub(super) fn binary(&mut self, op: BinaryOperator, left: Node, right: Node) -> Node {
        self.expr(Expression::Binary { op, left, right })
    }

    /// `op value`
    pub(super) fn unary(&mut self, op: UnaryOperator, expr: Node) -> Node {
        self.expr(Expression::Unary { op, expr })
    }

    /// A built-in function.
    pub(super) fn math(&mut self, fun: MathFunction, arguments: &[Node]) -> Node {
        let argument = |at: usize| arguments.get(at).copied();
        self.expr(Expression::Math {
            fun,
            arg: arguments[0],
            arg1: argument(1),
            arg2: argument(2),
            arg3: None,
        })
    }

    /// `accept` where the condition holds, else `reject`.
    pub(super) fn select(&mut self, condition: Node, accept: Node, reject: Node) -> Node {
        self.expr(Expression::Select { condition, accept, reject })
    }

    /// The value of another type, converted.
    pub(super) fn convert(&mut self, expr: Node, ty: Type) -> Node {
        let Scalar { kind, width } = scalar(ty);
        self.expr(Expression::As { expr, kind, convert: Some(width) })
    }

    /// The same bits as another type of the same width.
    pub(super) fn bitcast(&mut self, expr: Node, ty: Type) -> Node {
        let kind: ScalarKind = scalar(ty).kind;
        self.expr(Expression::As { expr, kind, convert: None })
    }

    // Memory

    /// A variable of the function, zero when it starts.
    pub(super) fn variable(&mut self, name: &str, ty: Handle<naga::Type>) -> Node {
        let variable = LocalVariable { name: Some(name.to_owned()), ty, init: None };
        let handle = self.function.local_variables.append(variable, Span::UNDEFINED);
        self.expr(Expression::LocalVariable(handle))
    }

    /// A scalar variable of the function.
    pub(super) fn scalar_variable(&mut self, name: &str, ty: Type) -> Node {
        let ty = scalar_type(self.module, ty);
        self.variable(name, ty)
    }

    /// A pointer to a global variable.
    pub(super) fn global(&mut self, global: Handle<GlobalVariable>) -> Node {
        if let Some(&node) = self.globals.get(&global) {
            return node;
        }
        let node = self.expr(Expression::GlobalVariable(global));
        self.globals.insert(global, node);
        node
    }

    /// A pointer to an element.
    pub(super) fn element(&mut self, base: Node, index: Node) -> Node {
        self.expr(Expression::Access { base, index })
    }

    /// A member of a structure or a component of a vector.
    pub(super) fn member(&mut self, base: Node, index: u32) -> Node {
        self.expr(Expression::AccessIndex { base, index })
    }

    /// What a pointer points to, now.
    pub(super) fn load(&mut self, pointer: Node) -> Node {
        self.expr(Expression::Load { pointer })
    }

    /// Assigns what a pointer points to.
    pub(super) fn store(&mut self, pointer: Node, value: Node) {
        self.stmt(Statement::Store { pointer, value });
    }
}

/// A global variable in group 0, or without a binding where `binding` is `None`.
pub(super) fn global(
    module: &mut Module,
    name: &str,
    space: AddressSpace,
    binding: Option<u32>,
    ty: Handle<naga::Type>,
) -> Handle<GlobalVariable> {
    let variable = GlobalVariable {
        name: Some(name.to_owned()),
        space,
        binding: binding.map(|binding| naga::ResourceBinding { group: 0, binding }),
        ty,
        init: None,
        memory_decorations: naga::MemoryDecorations::empty(),
    };
    module.global_variables.append(variable, Span::UNDEFINED)
}
