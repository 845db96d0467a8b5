//! The entry function of a kernel as a WGSL function of one grid point. IR values are naga
//! expressions, statement by statement: both are structured alike, and both scope a value to its
//! block.

mod loops;

use std::collections::HashMap;

use crossover_kernels::ir::{
    Axis, BinaryOp, Block, Const, Inst, Kernel, Local, Param, SiteId, Stmt, Type, Value,
};
use crossover_kernels::passes::quads::{self, Quad};
use naga::{BinaryOperator as Op, Function, Handle, MathFunction, Module, Span, Statement};

use super::code::{Code, Node};
use super::entry::{self, Failing};
use super::layout::{Field, Layout};
use super::ops::atomic_function;
use super::{Globals, MAIN, array};
use crate::legality;

/// Emits the function. It takes the position along each axis, and returns what the grid point
/// contributes if the kernel is a collective.
pub(super) fn emit(
    module: &mut Module,
    kernel: &Kernel,
    params: &Layout,
    globals: &Globals,
    failing: Option<Failing>,
) -> Handle<Function> {
    let entry = &kernel.entry;
    let mut code = Code::new(module, &entry.name);
    let names: &[&str] = if kernel.axes() == 1 { &["id"] } else { &["id_x", "id_y", "id_z"] };
    let mut id: Vec<Node> =
        names[..kernel.axes()].iter().map(|name| code.argument(name, Type::U32)).collect();
    id.resize_with(3, || code.u32(0));
    match kernel.contribution() {
        Some(ty) if gives_four(kernel) => code.returns_vector(ty),
        Some(ty) => code.returns(ty),
        None => {}
    }
    let locals = variables(&mut code, kernel);
    let passages =
        legality::has_unbounded_loop(kernel).then(|| code.scalar_variable("passages", Type::U32));
    let values = vec![None; entry.values.len()];
    let (local, group) = (Vec::new(), Vec::new());
    let mut body = Body {
        kernel,
        params,
        globals,
        failing,
        code,
        id,
        local,
        group,
        locals,
        values,
        passages,
        passages_together: None,
        begun: loops::hidden(kernel, params),
        stays: false,
    };
    body.block(&entry.body);
    if !ends(&entry.body) {
        body.give_result();
    }
    let function = body.code.finish();
    module.functions.append(function, Span::UNDEFINED)
}

/// Emits the entry point of a kernel with workgroups.
///
/// ```wgsl
/// let block = group.y * groups.x + group.x;      // one axis; more: group + origin / size
/// if (block >= params.blocks) { return; }
/// let i = block * 64u + local;
/// ```
pub(super) fn emit_main(
    module: &mut Module,
    kernel: &Kernel,
    params: &Layout,
    globals: &Globals,
    failing: Option<Failing>,
) -> Function {
    let entry = &kernel.entry;
    let mut code = Code::new(module, MAIN);
    let size = kernel.workgroup.unwrap_or([1; 3]);
    let place = if kernel.axes() == 1 {
        entry::place_on_line(&mut code, params, globals, size[0])
    } else {
        entry::place_in_space(&mut code, params, globals, kernel.axes(), size)
    };
    let locals = variables(&mut code, kernel);
    let passages =
        legality::has_unbounded_loop(kernel).then(|| code.scalar_variable("passages", Type::U32));
    let together = passages.is_some() && has_barrier(&entry.body);
    let passages_together = together.then(|| code.scalar_variable("together", Type::U32));
    let values = vec![None; entry.values.len()];
    let entry::InGroup { id, local, group } = place;
    let mut body = Body {
        kernel,
        params,
        globals,
        failing,
        code,
        id,
        local,
        group,
        locals,
        values,
        passages,
        passages_together,
        begun: loops::hidden(kernel, params),
        stays: has_barrier(&entry.body),
    };
    body.block(&entry.body);
    if !ends(&entry.body) {
        body.give_result();
    }
    body.code.finish()
}

/// Pointers to the kernel's variables.
fn variables(code: &mut Code<'_>, kernel: &Kernel) -> Vec<Node> {
    let locals = kernel.entry.locals.iter();
    locals
        .map(|local| match local.array {
            None => code.scalar_variable(local.name.as_deref().unwrap_or("variable"), local.ty),
            Some(count) => {
                let ty = array(code.module, local.ty, count);
                code.variable(local.name.as_deref().unwrap_or("array"), ty)
            }
        })
        .collect()
}

/// Whether invocations wait for each other in the block.
pub(super) fn has_barrier(block: &Block) -> bool {
    block
        .iter()
        .any(|stmt| matches!(stmt, Stmt::Barrier(_)) || stmt.blocks().into_iter().any(has_barrier))
}

/// Whether a block ends with a jump, after which nothing may stand.
fn ends(block: &Block) -> bool {
    matches!(block.last(), Some(Stmt::Return | Stmt::Break | Stmt::Continue))
}

/// Whether the function gives what four points contribute.
fn gives_four(kernel: &Kernel) -> bool {
    kernel.entry.result.is_some_and(|result| kernel.entry.locals[result.index()].array.is_some())
}

const DEFINED: &str = "a verified kernel defines every value before its use";

struct Body<'k, 'm> {
    kernel: &'k Kernel,
    params: &'k Layout,
    globals: &'k Globals,
    failing: Option<Failing>,
    code: Code<'m>,
    /// The position along x, y and z; 0 along axes that the grid has not.
    id: Vec<Node>,
    /// The position in the workgroup, and the number of the workgroup.
    local: Vec<Node>,
    group: Vec<Node>,
    /// Pointers to the variables.
    locals: Vec<Node>,
    values: Vec<Option<Node>>,
    /// A count of the passages through unbounded loops.
    passages: Option<Node>,
    /// A count of those of loops with barriers alone: it is the same for all of a workgroup.
    passages_together: Option<Node>,
    /// The variables that loops begin as constants, where drivers are not to know.
    begun: HashMap<*const Stmt, Vec<Local>>,
    /// Whether an invocation that fails goes on, since others wait for it at barriers.
    stays: bool,
}

impl Body<'_, '_> {
    fn value(&self, value: Value) -> Node {
        self.values[value.index()].expect(DEFINED)
    }

    fn ty(&self, value: Value) -> Type {
        self.kernel.entry.ty(value)
    }

    fn local(&self, local: Local) -> Node {
        self.locals[local.index()]
    }

    fn block(&mut self, block: &Block) {
        let mut rest = &block[..];
        while let Some((stmt, behind)) = rest.split_first() {
            match quads::at(&self.kernel.entry, rest).filter(|quad| self.is_vector(*quad)) {
                Some(quad) => {
                    self.vector(quad);
                    rest = &rest[quads::POINTS as usize..];
                }
                None => {
                    self.stmt(stmt);
                    rest = behind;
                }
            }
        }
    }

    fn is_vector(&self, quad: Quad) -> bool {
        self.globals.vectors.contains(&quad.buffer)
    }

    /// ```wgsl
    /// let v = x[id];              // v.x, v.y, v.z and v.w; in rows x[first / 4u]
    /// y[id] = vec4<f32>(…);
    /// ```
    fn vector(&mut self, quad: Quad) {
        let Quad { buffer, index, values, is_store } = quad;
        let entry = &self.kernel.entry;
        let buffer = self.code.global(self.globals.buffer(buffer));
        let is_point = matches!(entry.def(index).inst, Inst::Binary(BinaryOp::Mul, own, _)
            if entry.def(own).inst == Inst::Id(Axis::X));
        let at = if is_point { self.id[0] } else { self.which_vector(index) };
        let pointer = self.code.element(buffer, at);
        if is_store {
            let parts = values.map(|value| self.value(value));
            let vector = self.code.vector(self.ty(values[0]), parts);
            return self.code.store(pointer, vector);
        }
        self.code.at(entry.def(values[0]).span);
        let vector = self.code.load(pointer);
        for (at, value) in values.into_iter().enumerate() {
            self.values[value.index()] = Some(self.code.component(vector, at as u32));
        }
    }

    fn which_vector(&mut self, index: Value) -> Node {
        let (first, points) = (self.value(index), self.code.u32(quads::POINTS));
        self.code.binary(Op::Divide, first, points)
    }

    fn stmt(&mut self, stmt: &Stmt) {
        self.begin(stmt);
        match stmt {
            Stmt::Let(value) => {
                self.code.at(self.kernel.entry.def(*value).span);
                let node = self.inst(*value);
                self.values[value.index()] = Some(node);
            }
            Stmt::Set(local, value) => {
                let (pointer, value) = (self.local(*local), self.value(*value));
                self.code.store(pointer, value);
            }
            Stmt::SetElement(local, index, value) => {
                let pointer = self.code.element(self.local(*local), self.value(*index));
                let value = self.value(*value);
                self.code.store(pointer, value);
            }
            Stmt::Store(buffer, index, value) | Stmt::AtomicStore(buffer, index, value) => {
                self.code.at(self.kernel.entry.span_of_store(*index, *value));
                let pointer = self.element(*buffer, *index);
                let value = self.value(*value);
                self.code.store(pointer, value);
            }
            Stmt::Check { condition, site, index } => {
                self.code.at(self.kernel.entry.sites[site.index()].span);
                self.check(*condition, *site, *index);
            }
            Stmt::If { condition, then, otherwise } => {
                let condition = self.value(*condition);
                let accept = self.nested(then);
                let reject = self.nested(otherwise);
                self.code.stmt(Statement::If { condition, accept, reject });
            }
            Stmt::For { counter, start, end, step, body } => {
                self.count(*counter, [*start, *end], *step, body);
            }
            Stmt::Loop(body) => self.repeat(body),
            Stmt::Barrier(_) => self.code.barrier_of_all(),
            Stmt::Each(_) => unreachable!("fission is for devices without workgroups"),
            Stmt::CallVoid(..) => unreachable!("legality refuses calls that are not inlined"),
            Stmt::Break => self.code.stmt(Statement::Break),
            Stmt::Continue => self.code.stmt(Statement::Continue),
            Stmt::Return => self.give_result(),
        }
    }

    fn nested(&mut self, block: &Block) -> naga::Block {
        self.code.open();
        self.block(block);
        self.code.close()
    }

    /// `return;`, with the contribution if there is one, or the four.
    fn give_result(&mut self) {
        let result = self.kernel.entry.result.map(|local| self.local(local));
        let value = match (result, self.kernel.contribution()) {
            (Some(array), Some(ty)) if gives_four(self.kernel) => {
                let parts = [0, 1, 2, 3].map(|at| {
                    let at = self.code.u32(at);
                    let pointer = self.code.element(array, at);
                    self.code.load(pointer)
                });
                Some(self.code.vector(ty, parts))
            }
            (result, _) => result.map(|pointer| self.code.load(pointer)),
        };
        self.code.give(value);
    }

    /// The return of an invocation that failed: what it contributes no longer matters. Those of four points have no
    /// checks.
    fn give_nothing(&mut self) {
        let value = self.kernel.contribution().map(|ty| self.code.constant(Const::zero(ty)));
        self.code.give(value);
    }

    /// ```wgsl
    /// if (!condition) { fail(site, index, id…); return; }
    /// ```
    fn check(&mut self, condition: Value, site: SiteId, index: Option<Value>) {
        let fail = self.failing.expect("a kernel with a check has a status").fail;
        let condition = self.value(condition);
        let broken = self.code.unary(naga::UnaryOperator::LogicalNot, condition);
        self.code.open();
        let site = self.code.u32(site.0);
        let index = match index {
            Some(index) => self.value(index),
            None => self.code.u32(0),
        };
        let arguments = [site, index].into_iter().chain(self.id.iter().copied()).collect();
        self.code.call(fail, arguments);
        if !self.stays {
            self.give_nothing();
        }
        let accept = self.code.close();
        self.code.stmt(Statement::If { condition: broken, accept, reject: naga::Block::new() });
    }

    /// A pointer to an element of a buffer.
    fn element(&mut self, buffer: Param, index: Value) -> Node {
        let pointer = self.code.global(self.globals.buffer(buffer));
        let mut index = self.value(index);
        if self.params.find(Field::First(buffer)).is_some() {
            let first = self.field(Field::First(buffer));
            index = self.code.binary(Op::Subtract, index, first);
        }
        self.code.element(pointer, index)
    }

    fn inst(&mut self, value: Value) -> Node {
        let entry = &self.kernel.entry;
        let def = entry.def(value);
        match def.inst {
            Inst::Const(c) => self.code.constant(c),
            Inst::Param(param) => self.scalar(param, def.ty),
            Inst::Id(axis) => self.id[Axis::index(axis)],
            Inst::Local(axis) => self.local[Axis::index(axis)],
            Inst::Group(axis) => self.group[Axis::index(axis)],
            Inst::Extent(axis) => self.field(Field::Extent(axis)),
            Inst::Len(param) => self.field(Field::Len(param)),
            Inst::Counter => self.value(value),
            Inst::Unary(op, a) => self.code.unary_op(op, def.ty, self.value(a)),
            Inst::Binary(op, a, b) => self.binary(op, a, b),
            Inst::Fma(a, b, c) => {
                let arguments = [self.value(a), self.value(b), self.value(c)];
                self.code.math(MathFunction::Fma, &arguments)
            }
            Inst::Select(condition, a, b) => {
                self.code.select(self.value(condition), self.value(a), self.value(b))
            }
            Inst::Cast(a) => self.code.cast(self.value(a), entry.ty(a), def.ty),
            Inst::Bitcast(a) if entry.ty(a) == def.ty => self.value(a),
            Inst::Bitcast(a) => self.code.bitcast(self.value(a), def.ty),
            Inst::Get(local) => self.code.load(self.local(local)),
            Inst::GetElement(local, index) => {
                let pointer = self.code.element(self.local(local), self.value(index));
                self.code.load(pointer)
            }
            Inst::Load(buffer, index) | Inst::AtomicLoad(buffer, index) => {
                let pointer = self.element(buffer, index);
                self.code.load(pointer)
            }
            Inst::Atomic(op, buffer, index, operand) => {
                let pointer = self.element(buffer, index);
                let operand = self.value(operand);
                self.code.atomic(atomic_function(op), pointer, operand, def.ty)
            }
            Inst::CompareSwap(buffer, index, expected, new) => {
                let pointer = self.element(buffer, index);
                let (expected, new) = (self.value(expected), self.value(new));
                self.code.compare_swap(pointer, expected, new, def.ty)
            }
            Inst::Call(..) => unreachable!("legality refuses calls that are not inlined"),
        }
    }

    fn binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Node {
        let entry = &self.kernel.entry;
        let ty = entry.ty(a);
        // naga refuses a literal 0 as divisor. It stands behind a check that always fails, so any
        // other divisor does.
        let divides = matches!(op, BinaryOp::Div | BinaryOp::Rem) && ty.is_int();
        if divides && entry.as_const(b).is_some_and(|c| c.bits == 0) {
            let one = self.code.constant(Const::one(ty));
            return self.code.binary_op(op, ty, self.value(a), one);
        }
        self.code.binary_op(op, ty, self.value(a), self.value(b))
    }

    fn field(&mut self, field: Field) -> Node {
        let params = self.code.global(self.globals.params);
        let node = entry::field(&mut self.code, params, self.params, field);
        let member = self.params.index(field) as usize;
        self.code.name(node, &self.params.members[member].name);
        node
    }

    fn scalar(&mut self, param: Param, ty: Type) -> Node {
        let node = self.field(Field::Scalar(param));
        if ty == Type::Bool {
            let zero = self.code.u32(0);
            return self.code.binary(Op::NotEqual, node, zero);
        }
        node
    }
}
