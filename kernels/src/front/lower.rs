//! The typed tree to IR. Every index and integer divisor gets its check here; everything else that
//! costs time is left to the passes.

use crossover_syntax::tree::{self, Pattern, Pos};

use super::inclusive::{self, Range};
use super::method::Method;
use super::typed::{Place, SharedDef, TArg, TArm, TBlock, TExpr, TKind, Typed, Variable, Yield};
use super::types::TypeVar;
use super::{Request, Session, param_kind};
use crate::ir::builder::Builder;
use crate::ir::{
    Access, BinaryOp, Block, CallArg, Const, Function, Inst, Local, LocalDef, ParamDef, ParamKind,
    Span, Stmt, Type, UnaryOp, Value,
};

/// At most this many operations are computed on both sides of an `if` to save the branch.
const SELECT_OPS_MAX: usize = 6;

pub(super) fn lower(session: &mut Session, request: &Request, typed: Typed) -> Function {
    let tree = &request.definition.tree;
    let mut lower = Lower {
        session,
        request,
        builder: Builder::new(tree.name.clone()),
        variables: Vec::new(),
        result: None,
        typed: &typed,
    };
    lower.function(tree);
    lower.builder.finish()
}

/// What a variable became.
#[derive(Clone, Copy)]
enum Home {
    /// Never assigned after its `let`: the value itself.
    Value(Value),
    /// A variable or an array.
    Local(Local),
}

struct Lower<'a> {
    session: &'a mut Session,
    request: &'a Request,
    builder: Builder,
    variables: Vec<Option<Home>>,
    result: Option<Local>,
    typed: &'a Typed,
}

const TYPED: &str = "the typed tree holds a value here";

impl Lower<'_> {
    fn function(&mut self, tree: &tree::Tree) {
        let typed = self.typed;
        self.variables = vec![None; typed.variables.len()];
        for (param, &ty) in tree.params.iter().zip(&typed.param_types) {
            let kind = param_kind(param, ty);
            self.builder.param(ParamDef { name: param.name.clone(), kind });
        }
        for SharedDef { name, ty, len, atomic } in typed.shared.iter().cloned() {
            let kind = ParamKind::Shared { element: ty, len, atomic };
            self.builder.param(ParamDef { name, kind });
        }
        if let Some(ty) = typed.result {
            let local = self.builder.local(ty, None);
            self.result = Some(local);
            self.builder.function_mut().result = Some(local);
            if tree.collective.is_some() {
                self.builder.buffer("out", ty, Access::ReadWrite);
            }
        }
        self.at(typed.pos);
        for &(param, variable) in &typed.mutable_params {
            let value = self.builder.argument(param);
            let local = self.variable_local(variable);
            self.builder.set(local, value);
        }
        let value = self.block(&typed.body);
        if let (Some(local), Some(value)) = (self.result, value) {
            self.builder.set(local, value);
        }
    }

    fn at(&mut self, pos: Pos) {
        let Pos { line, column } = pos;
        self.builder.at(Span { file: self.typed.file, line, column });
    }

    fn ty(&self, var: TypeVar) -> Type {
        self.typed.types.resolve(var)
    }

    fn yielded(&self, e: &TExpr) -> Type {
        match e.yields {
            Yield::Scalar(var) | Yield::Array(var, _) => self.ty(var),
            Yield::Unit | Yield::Never | Yield::Buffer(_) | Yield::Id | Yield::Error => Type::I32,
        }
    }

    fn variable_local(&mut self, variable: Variable) -> Local {
        if let Some(Home::Local(local)) = self.variables[variable.0] {
            return local;
        }
        let def = &self.typed.variables[variable.0];
        let local = self.builder.local(self.ty(def.ty), def.array);
        if let Some(name) = &def.name {
            self.builder.name_local(local, name);
        }
        self.variables[variable.0] = Some(Home::Local(local));
        local
    }

    fn block(&mut self, block: &TBlock) -> Option<Value> {
        for stmt in &block.stmts {
            self.expr(stmt);
        }
        block.tail.as_ref().and_then(|tail| self.expr(tail))
    }

    /// The expression's value. After a jump, any value will do: nothing reaches its use.
    fn value(&mut self, e: &TExpr) -> Value {
        match self.expr(e) {
            Some(value) => value,
            None => {
                let ty = self.yielded(e);
                self.builder.constant(Const::zero(ty))
            }
        }
    }

    fn expr(&mut self, e: &TExpr) -> Option<Value> {
        self.at(e.pos);
        match &e.kind {
            TKind::Int(v) => Some(self.int(*v, self.yielded(e))),
            TKind::Float(v) => {
                let c = crate::eval::cast(Const::from(*v), self.yielded(e));
                Some(self.builder.constant(c))
            }
            TKind::Bool(v) => Some(self.builder.constant(*v)),
            TKind::Const(c) => Some(self.builder.constant(*c)),
            TKind::Param(p) => Some(self.builder.argument(*p)),
            TKind::Id(axis) => Some(self.builder.id(*axis)),
            TKind::Local(axis) => Some(self.builder.value(Type::U32, Inst::Local(*axis))),
            TKind::Group(axis) => Some(self.builder.value(Type::U32, Inst::Group(*axis))),
            TKind::Barrier => {
                let Pos { line, column } = e.pos;
                self.stmt(Stmt::Barrier(Span { file: self.typed.file, line, column }))
            }
            TKind::Len(p) => Some(self.builder.len(*p)),
            TKind::Variable(v) => match self.variables[v.0] {
                Some(Home::Value(value)) => Some(value),
                Some(Home::Local(local)) if self.typed.variables[v.0].array.is_none() => {
                    Some(self.builder.get(local))
                }
                Some(Home::Local(_)) | None => None,
            },
            TKind::Element(v, index) => {
                let index = self.value(index);
                let local = self.variable_local(*v);
                self.at(e.pos);
                Some(self.builder.checked_get_element(local, index))
            }
            TKind::Load(p, index) => {
                let index = self.value(index);
                self.at(e.pos);
                Some(self.builder.checked_load(*p, index))
            }
            TKind::Binary(op, a, b) => Some(self.binary(e.pos, *op, a, b)),
            TKind::Neg(a) => Some(self.neg(a)),
            TKind::Not(a) => {
                let a = self.value(a);
                Some(self.builder.unary(UnaryOp::Not, a))
            }
            TKind::Cast(a) => Some(self.cast(a, self.yielded(e))),
            TKind::FromBits(a) => {
                let (a, ty) = (self.value(a), self.yielded(e));
                Some(self.builder.bitcast(a, ty))
            }
            TKind::Method(method, operands) => {
                let operands: Vec<Value> = operands.iter().map(|o| self.value(o)).collect();
                self.at(e.pos);
                Some(self.method(*method, &operands))
            }
            TKind::AtomicLoad(..)
            | TKind::AtomicStore(..)
            | TKind::Atomic(..)
            | TKind::CompareSwap(..) => self.atomic(e),
            TKind::Call(..) => self.call(e),
            TKind::If(c, then, otherwise) => self.if_expr(e, c, then, otherwise.as_deref()),
            TKind::Match(value, arms) => self.match_expr(e, value, arms),
            TKind::For { .. } => self.for_expr(e),
            TKind::While(c, body) => self.while_expr(c, body),
            TKind::Loop(body) => {
                self.builder.open();
                self.block(body);
                let body = self.builder.close();
                self.stmt(Stmt::Loop(body))
            }
            TKind::Break => self.stmt(Stmt::Break),
            TKind::Continue => self.stmt(Stmt::Continue),
            TKind::Return(value) => {
                if let (Some(value), Some(local)) = (value, self.result) {
                    let value = self.value(value);
                    self.builder.set(local, value);
                }
                self.stmt(Stmt::Return)
            }
            TKind::Block(block) => self.block(block),
            TKind::Let(variable, init) => self.let_stmt(*variable, init),
            TKind::Assign(op, place, value) => self.assign(e.pos, *op, place, value),
            // An array only ever initialises a variable.
            TKind::Array(_) | TKind::Repeat(..) | TKind::Nothing => None,
        }
    }

    fn stmt(&mut self, stmt: Stmt) -> Option<Value> {
        self.builder.stmt(stmt);
        None
    }

    fn int(&mut self, value: u64, ty: Type) -> Value {
        let c = if ty.is_float() {
            crate::eval::cast(Const::from(value), ty)
        } else {
            Const::new(ty, value)
        };
        self.builder.constant(c)
    }

    /// `-1` is one constant, not a negation of another.
    fn neg(&mut self, a: &TExpr) -> Value {
        let a = self.value(a);
        match self.builder.function().as_const(a) {
            Some(c) => self.builder.constant(crate::eval::unary(UnaryOp::Neg, c)),
            None => self.builder.unary(UnaryOp::Neg, a),
        }
    }

    fn cast(&mut self, a: &TExpr, ty: Type) -> Value {
        let a = self.value(a);
        match self.builder.function().as_const(a) {
            Some(c) => self.builder.constant(crate::eval::cast(c, ty)),
            None if self.builder.function().ty(a) == ty => a,
            None => self.builder.cast(a, ty),
        }
    }

    fn binary(&mut self, pos: Pos, op: tree::BinaryOp, a: &TExpr, b: &TExpr) -> Value {
        let a = self.value(a);
        match binary_op(op) {
            Some(op) => {
                let b = self.value(b);
                self.at(pos);
                self.arithmetic(op, a, b)
            }
            None => self.lazy(op == tree::BinaryOp::LazyAnd, a, b),
        }
    }

    fn arithmetic(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        let ty = self.builder.function().ty(a);
        let shift = matches!(op, BinaryOp::Shl | BinaryOp::Shr);
        // Rust takes any integer as the amount of a shift; the IR one of the same type.
        let b =
            if shift && self.builder.function().ty(b) != ty { self.builder.cast(b, ty) } else { b };
        self.builder.checked_binary(op, a, b)
    }

    /// `a && b`, `a || b`: the right side runs only when it decides.
    fn lazy(&mut self, and: bool, a: Value, b: &TExpr) -> Value {
        self.builder.open();
        let right = self.value(b);
        let block = self.builder.close();
        if self.is_cheap(&block) {
            self.splice(block);
            let op = if and { BinaryOp::And } else { BinaryOp::Or };
            return self.builder.binary(op, a, right);
        }
        let local = self.builder.local(Type::Bool, None);
        let mut block = block;
        block.push(Stmt::Set(local, right));
        self.builder.set(local, a);
        let (then, otherwise) = if and { (block, Vec::new()) } else { (Vec::new(), block) };
        self.builder.stmt(Stmt::If { condition: a, then, otherwise });
        self.builder.get(local)
    }

    /// Whether a block may as well be computed when it is not wanted: few pure operations.
    fn is_cheap(&self, block: &Block) -> bool {
        let function = self.builder.function();
        block.len() <= SELECT_OPS_MAX * 2
            && block.iter().all(|stmt| match stmt {
                Stmt::Let(v) => {
                    let inst = &function.def(*v).inst;
                    let divides = matches!(inst, Inst::Binary(BinaryOp::Div | BinaryOp::Rem, ..));
                    let slow = match inst {
                        Inst::Unary(op, _) => op.is_transcendental(),
                        Inst::Binary(op, ..) => op.is_transcendental(),
                        _ => false,
                    };
                    inst.is_pure() && !divides && !slow || matches!(inst, Inst::Get(_))
                }
                _ => false,
            })
    }

    fn splice(&mut self, block: Block) {
        for stmt in block {
            self.builder.stmt(stmt);
        }
    }

    fn let_stmt(&mut self, variable: Variable, init: &TExpr) -> Option<Value> {
        let def = &self.typed.variables[variable.0];
        match &init.kind {
            _ if def.array.is_some() => {
                // A fresh array each time: a loop's body starts with its own.
                self.array(variable, init);
            }
            _ if def.mutable => {
                let value = self.value(init);
                let local = self.variable_local(variable);
                self.builder.set(local, value);
            }
            _ => {
                let value = self.value(init);
                self.variables[variable.0] = Some(Home::Value(value));
            }
        }
        None
    }

    fn array(&mut self, variable: Variable, init: &TExpr) {
        let local = self.variable_local(variable);
        match &init.kind {
            TKind::Array(items) => {
                let values: Vec<Value> = items.iter().map(|item| self.value(item)).collect();
                for (at, value) in values.into_iter().enumerate() {
                    let index = self.builder.constant(at as u32);
                    self.builder.stmt(Stmt::SetElement(local, index, value));
                }
            }
            TKind::Repeat(value, len) => {
                let value = self.value(value);
                let (start, end) = (self.builder.constant(0u32), self.builder.constant(*len));
                self.builder.for_range(start, end, 1, |b, at| {
                    b.stmt(Stmt::SetElement(local, at, value));
                });
            }
            // A copy of another array.
            TKind::Variable(other) => {
                let from = self.variable_local(*other);
                let LocalDef { ty, array, .. } = self.builder.function().locals[from.index()];
                let (start, end) =
                    (self.builder.constant(0u32), self.builder.constant(array.unwrap_or(0)));
                self.builder.for_range(start, end, 1, |b, at| {
                    let element = b.value(ty, Inst::GetElement(from, at));
                    b.stmt(Stmt::SetElement(local, at, element));
                });
            }
            _ => {}
        }
    }

    fn assign(
        &mut self,
        pos: Pos,
        op: Option<tree::BinaryOp>,
        place: &Place,
        value: &TExpr,
    ) -> Option<Value> {
        let op = op.and_then(binary_op);
        // Rust evaluates the right side first, then the place.
        let right = self.value(value);
        match place {
            Place::Variable(v) => {
                let local = self.variable_local(*v);
                let value = self.updated(pos, op, right, |b| b.get(local));
                self.builder.set(local, value);
            }
            Place::Element(v, index) => {
                let (index, local) = (self.value(index), self.variable_local(*v));
                self.at(pos);
                if op.is_none() {
                    self.builder.checked_set_element(local, index, right);
                } else {
                    let value =
                        self.updated(pos, op, right, |b| b.checked_get_element(local, index));
                    self.builder.stmt(Stmt::SetElement(local, index, value));
                }
            }
            Place::Buffer(p, index) => {
                let index = self.value(index);
                self.at(pos);
                if op.is_none() {
                    self.builder.checked_store(*p, index, right);
                } else {
                    let value = self.updated(pos, op, right, |b| b.checked_load(*p, index));
                    self.builder.stmt(Stmt::Store(*p, index, value));
                }
            }
        }
        None
    }

    fn updated(
        &mut self,
        pos: Pos,
        op: Option<BinaryOp>,
        right: Value,
        old: impl FnOnce(&mut Builder) -> Value,
    ) -> Value {
        let Some(op) = op else { return right };
        let old = old(&mut self.builder);
        self.at(pos);
        self.arithmetic(op, old, right)
    }

    fn atomic(&mut self, e: &TExpr) -> Option<Value> {
        let (TKind::AtomicLoad(param, index)
        | TKind::AtomicStore(param, index, _)
        | TKind::Atomic(_, param, index, _)
        | TKind::CompareSwap(param, index, ..)) = &e.kind
        else {
            return None;
        };
        let index = self.value(index);
        let operand = match &e.kind {
            TKind::AtomicStore(_, _, v)
            | TKind::Atomic(_, _, _, v)
            | TKind::CompareSwap(_, _, v, _) => Some(self.value(v)),
            _ => None,
        };
        let new = match &e.kind {
            TKind::CompareSwap(.., new) => Some(self.value(new)),
            _ => None,
        };
        self.at(e.pos);
        self.builder.check_bounds(*param, index);
        let ty = self.builder.function().element(*param).expect("atomics are buffers");
        match (&e.kind, operand, new) {
            (TKind::Atomic(op, ..), Some(v), _) => {
                Some(self.builder.value(ty, Inst::Atomic(*op, *param, index, v)))
            }
            (_, Some(expected), Some(new)) => {
                Some(self.builder.value(ty, Inst::CompareSwap(*param, index, expected, new)))
            }
            (_, Some(v), None) => self.stmt(Stmt::AtomicStore(*param, index, v)),
            (_, None, _) => Some(self.builder.value(ty, Inst::AtomicLoad(*param, index))),
        }
    }

    fn call(&mut self, e: &TExpr) -> Option<Value> {
        let TKind::Call(call, args) = &e.kind else { return None };
        let args: Box<[CallArg]> = args
            .iter()
            .map(|arg| match arg {
                TArg::Value(value) => CallArg::Value(self.value(value)),
                TArg::Buffer(param) => CallArg::Buffer(*param),
            })
            .collect();
        let request = call.request(self.request, &self.typed.types);
        let helper = self.session.helper(&request)?;
        self.at(e.pos);
        match e.yields {
            Yield::Scalar(var) => {
                let ty = self.ty(var);
                Some(self.builder.value(ty, Inst::Call(helper, args)))
            }
            _ => {
                let Pos { line, column } = e.pos;
                let span = Span { file: self.typed.file, line, column };
                self.stmt(Stmt::CallVoid(helper, args, span))
            }
        }
    }

    // Control flow.

    fn if_expr(
        &mut self,
        e: &TExpr,
        condition: &TExpr,
        then: &TBlock,
        otherwise: Option<&TExpr>,
    ) -> Option<Value> {
        let condition = self.value(condition);
        self.builder.open();
        let a = self.block(then);
        let then = self.builder.close();
        self.builder.open();
        let b = otherwise.and_then(|e| self.expr(e));
        let otherwise = self.builder.close();
        self.at(e.pos);
        self.joined(e, condition, (then, a), (otherwise, b))
    }

    /// An `if` from its lowered sides; yields a value where the expression does.
    fn joined(
        &mut self,
        e: &TExpr,
        condition: Value,
        (mut then, a): (Block, Option<Value>),
        (mut otherwise, b): (Block, Option<Value>),
    ) -> Option<Value> {
        let Yield::Scalar(var) = e.yields else {
            return self.stmt(Stmt::If { condition, then, otherwise });
        };
        if let (Some(a), Some(b)) = (a, b)
            && self.is_cheap(&then)
            && self.is_cheap(&otherwise)
        {
            self.splice(then);
            self.splice(otherwise);
            return Some(self.builder.select(condition, a, b));
        }
        let local = self.builder.local(self.ty(var), None);
        let ends = |block: &Block| {
            matches!(block.last(), Some(Stmt::Break | Stmt::Continue | Stmt::Return))
        };
        for (block, value) in [(&mut then, a), (&mut otherwise, b)] {
            if let Some(value) = value
                && !ends(block)
            {
                block.push(Stmt::Set(local, value));
            }
        }
        self.builder.stmt(Stmt::If { condition, then, otherwise });
        Some(self.builder.get(local))
    }

    fn match_expr(&mut self, e: &TExpr, value: &TExpr, arms: &[TArm]) -> Option<Value> {
        let value = self.value(value);
        self.arms(e, value, arms)
    }

    fn arms(&mut self, e: &TExpr, value: Value, arms: &[TArm]) -> Option<Value> {
        let (arm, rest) = arms.split_first()?;
        if arm.patterns.is_empty() && arm.guard.is_none() {
            return self.expr(&arm.body);
        }
        self.at(arm.body.pos);
        let mut condition = self.matches(value, &arm.patterns);
        if let Some(guard) = &arm.guard {
            condition = self.lazy(true, condition, guard);
        }
        self.builder.open();
        let a = self.expr(&arm.body);
        let then = self.builder.close();
        self.builder.open();
        let b = self.arms(e, value, rest);
        let otherwise = self.builder.close();
        self.joined(e, condition, (then, a), (otherwise, b))
    }

    fn matches(&mut self, value: Value, patterns: &[Pattern]) -> Value {
        let ty = self.builder.function().ty(value);
        let mut any = None;
        for pattern in patterns {
            let this = self.matches_one(value, ty, *pattern);
            any = Some(match any {
                Some(before) => self.builder.binary(BinaryOp::Or, before, this),
                None => this,
            });
        }
        any.unwrap_or_else(|| self.builder.constant(true))
    }

    fn matches_one(&mut self, value: Value, ty: Type, pattern: Pattern) -> Value {
        let Pattern { low, high } = pattern;
        let unsigned = !ty.is_signed_int();
        let constant = |v: i64| Const::new(ty, v as u64);
        if low == high {
            let c = self.builder.constant(constant(low));
            return self.builder.binary(BinaryOp::Eq, value, c);
        }
        let mut both = None;
        // An open end of an unsigned or 32-bit type lies outside it: nothing to compare.
        if low != i64::MIN && !(unsigned && low <= 0) {
            let c = self.builder.constant(constant(low));
            both = Some(self.builder.binary(BinaryOp::Ge, value, c));
        }
        if high != i64::MAX {
            let c = self.builder.constant(constant(high));
            let below = self.builder.binary(BinaryOp::Le, value, c);
            both = Some(match both {
                Some(above) => self.builder.binary(BinaryOp::And, above, below),
                None => below,
            });
        }
        both.unwrap_or_else(|| self.builder.constant(true))
    }

    fn for_expr(&mut self, e: &TExpr) -> Option<Value> {
        let TKind::For { counter, start, end, inclusive, step, body } = &e.kind else {
            return None;
        };
        let (start, end) = (self.value(start), self.value(end));
        self.at(e.pos);
        let ty = self.builder.function().ty(start);
        let value = self.builder.counter(ty);
        self.variables[counter.0] = Some(Home::Value(value));
        self.builder.open();
        self.block(body);
        let body = self.builder.close();
        if !*inclusive {
            return self.stmt(Stmt::For { counter: value, start, end, step: *step, body });
        }
        let range = Range { start, end, step: *step };
        inclusive::lower(&mut self.builder, value, range, body);
        None
    }

    fn while_expr(&mut self, condition: &TExpr, body: &TBlock) -> Option<Value> {
        self.builder.open();
        let condition = self.value(condition);
        self.builder.stmt(Stmt::If { condition, then: Vec::new(), otherwise: vec![Stmt::Break] });
        self.block(body);
        let body = self.builder.close();
        self.stmt(Stmt::Loop(body))
    }

    // Methods.

    fn method(&mut self, method: Method, operands: &[Value]) -> Value {
        let a = *operands.first().expect(TYPED);
        let ty = self.builder.function().ty(a);
        let b = &mut self.builder;
        let second = || *operands.get(1).expect(TYPED);
        let third = || *operands.get(2).expect(TYPED);
        match method {
            Method::Abs if ty.is_float() || ty.is_signed_int() => b.unary(UnaryOp::Abs, a),
            Method::Abs => a,
            Method::Sqrt => b.unary(UnaryOp::Sqrt, a),
            Method::Floor => b.unary(UnaryOp::Floor, a),
            Method::Ceil => b.unary(UnaryOp::Ceil, a),
            Method::Trunc => b.unary(UnaryOp::Trunc, a),
            Method::Round => b.unary(UnaryOp::Round, a),
            Method::RoundTiesEven => b.unary(UnaryOp::RoundEven, a),
            Method::Exp => b.unary(UnaryOp::Exp, a),
            Method::Exp2 => b.unary(UnaryOp::Exp2, a),
            Method::Ln => b.unary(UnaryOp::Ln, a),
            Method::Log2 => b.unary(UnaryOp::Log2, a),
            Method::Sin => b.unary(UnaryOp::Sin, a),
            Method::Cos => b.unary(UnaryOp::Cos, a),
            Method::Tan => b.unary(UnaryOp::Tan, a),
            Method::Tanh => b.unary(UnaryOp::Tanh, a),
            Method::Asin => b.unary(UnaryOp::Asin, a),
            Method::Acos => b.unary(UnaryOp::Acos, a),
            Method::Atan => b.unary(UnaryOp::Atan, a),
            Method::Erf => b.unary(UnaryOp::Erf, a),
            Method::Min => b.binary(BinaryOp::Min, a, second()),
            Method::Max => b.binary(BinaryOp::Max, a, second()),
            Method::Powf => b.binary(BinaryOp::Pow, a, second()),
            Method::Atan2 => b.binary(BinaryOp::Atan2, a, second()),
            Method::Copysign => b.binary(BinaryOp::Copysign, a, second()),
            Method::MulAdd => b.fma(a, second(), third()),
            Method::WrappingAdd => b.binary(BinaryOp::Add, a, second()),
            Method::WrappingSub => b.binary(BinaryOp::Sub, a, second()),
            Method::WrappingMul => b.binary(BinaryOp::Mul, a, second()),
            Method::Clamp => {
                // As Rust's: a NaN stays one.
                let (low, high) = (second(), third());
                let below = b.binary(BinaryOp::Lt, a, low);
                let raised = b.select(below, low, a);
                let above = b.binary(BinaryOp::Gt, raised, high);
                b.select(above, high, raised)
            }
            Method::ToBits => b.bitcast(a, ty.bit_pattern()),
            Method::CountOnes => self.count(UnaryOp::CountOnes, a),
            Method::LeadingZeros => self.count(UnaryOp::LeadingZeros, a),
            Method::TrailingZeros => self.count(UnaryOp::TrailingZeros, a),
            Method::Signum
            | Method::Rsqrt
            | Method::Recip
            | Method::Fract
            | Method::Log10
            | Method::ToDegrees
            | Method::ToRadians
            | Method::IsNan
            | Method::IsFinite
            | Method::IsInfinite
            | Method::WrappingNeg => self.derived(method, a, ty),
            Method::Powi => self.powi(a, second(), ty),
            Method::Pow => self.power(a, second(), ty),
            Method::RotateLeft => self.rotate(a, second(), ty, BinaryOp::Shl, BinaryOp::Shr),
            Method::RotateRight => self.rotate(a, second(), ty, BinaryOp::Shr, BinaryOp::Shl),
        }
    }

    fn count(&mut self, op: UnaryOp, a: Value) -> Value {
        let count = self.builder.unary(op, a);
        if self.builder.function().ty(count) == Type::U32 {
            count
        } else {
            self.builder.cast(count, Type::U32)
        }
    }

    /// Methods that are a few operations.
    fn derived(&mut self, method: Method, a: Value, ty: Type) -> Value {
        let b = &mut self.builder;
        let float = |b: &mut Builder, v: f64| b.constant(crate::eval::cast(Const::from(v), ty));
        match method {
            Method::Rsqrt => {
                let root = b.unary(UnaryOp::Sqrt, a);
                let one = float(b, 1.0);
                b.binary(BinaryOp::Div, one, root)
            }
            Method::Recip => {
                let one = float(b, 1.0);
                b.binary(BinaryOp::Div, one, a)
            }
            Method::Fract => {
                let whole = b.unary(UnaryOp::Trunc, a);
                b.binary(BinaryOp::Sub, a, whole)
            }
            Method::Log10 => {
                let log2 = b.unary(UnaryOp::Log2, a);
                let scale = float(b, std::f64::consts::LOG10_2);
                b.binary(BinaryOp::Mul, log2, scale)
            }
            Method::ToDegrees => {
                let scale = float(b, 180.0 / std::f64::consts::PI);
                b.binary(BinaryOp::Mul, a, scale)
            }
            Method::ToRadians => {
                let scale = float(b, std::f64::consts::PI / 180.0);
                b.binary(BinaryOp::Mul, a, scale)
            }
            Method::IsNan => b.binary(BinaryOp::Ne, a, a),
            Method::IsFinite | Method::IsInfinite => {
                let size = b.unary(UnaryOp::Abs, a);
                let infinity = float(b, f64::INFINITY);
                let op = if method == Method::IsFinite { BinaryOp::Lt } else { BinaryOp::Eq };
                b.binary(op, size, infinity)
            }
            Method::WrappingNeg => {
                let zero = b.constant(Const::zero(ty));
                b.binary(BinaryOp::Sub, zero, a)
            }
            _ => self.signum(a, ty),
        }
    }

    fn signum(&mut self, a: Value, ty: Type) -> Value {
        let b = &mut self.builder;
        let one = b.constant(Const::one(ty));
        if ty.is_float() {
            let sign = b.binary(BinaryOp::Copysign, one, a);
            let nan = b.binary(BinaryOp::Ne, a, a);
            return b.select(nan, a, sign);
        }
        let zero = b.constant(Const::zero(ty));
        let positive = b.binary(BinaryOp::Gt, a, zero);
        let sign = b.select(positive, one, zero);
        if !ty.is_signed_int() {
            return sign;
        }
        let minus = b.constant(Const::new(ty, u64::MAX));
        let negative = b.binary(BinaryOp::Lt, a, zero);
        b.select(negative, minus, sign)
    }

    fn rotate(&mut self, a: Value, by: Value, ty: Type, there: BinaryOp, back: BinaryOp) -> Value {
        let b = &mut self.builder;
        // Logical shifts: a signed value is rotated as its bits.
        let bits = ty.bit_pattern();
        let a = if bits == ty { a } else { b.bitcast(a, bits) };
        let by = if bits == Type::U32 { by } else { b.cast(by, bits) };
        let zero = b.constant(Const::zero(bits));
        let rest = b.binary(BinaryOp::Sub, zero, by);
        let high = b.binary(there, a, by);
        let low = b.binary(back, a, rest);
        let rotated = b.binary(BinaryOp::Or, high, low);
        if bits == ty { rotated } else { b.bitcast(rotated, ty) }
    }

    /// A float to an integer power: the reciprocal for negative exponents, as `powi` does.
    fn powi(&mut self, a: Value, exponent: Value, ty: Type) -> Value {
        if let Some(n) = self.builder.function().as_const(exponent).and_then(Const::to_int) {
            let power = self.constant_power(a, n.unsigned_abs() as u32, ty);
            return if n < 0 { self.derived(Method::Recip, power, ty) } else { power };
        }
        let size = self.builder.unary(UnaryOp::Abs, exponent);
        let size = self.builder.bitcast(size, Type::U32);
        let power = self.power(a, size, ty);
        let inverse = self.derived(Method::Recip, power, ty);
        let zero = self.builder.constant(0i32);
        let negative = self.builder.binary(BinaryOp::Lt, exponent, zero);
        self.builder.select(negative, inverse, power)
    }

    /// Powers by repeated squaring; a constant exponent needs no loop.
    fn power(&mut self, a: Value, exponent: Value, ty: Type) -> Value {
        if let Some(n) = self.builder.function().as_const(exponent) {
            return self.constant_power(a, n.bits as u32, ty);
        }
        let b = &mut self.builder;
        let (result, base, left) = (b.local(ty, None), b.local(ty, None), b.local(Type::U32, None));
        let one = b.constant(Const::one(ty));
        b.set(result, one);
        b.set(base, a);
        b.set(left, exponent);
        // 32 bits of exponent: a bounded loop.
        let (start, end) = (b.constant(0u32), b.constant(32u32));
        b.for_range(start, end, 1, |b, _| {
            let rest = b.get(left);
            let zero = b.constant(0u32);
            let done = b.binary(BinaryOp::Eq, rest, zero);
            b.if_else(done, |b| b.stmt(Stmt::Break), |_| {});
            let bit = b.constant(1u32);
            let low = b.binary(BinaryOp::And, rest, bit);
            let odd = b.binary(BinaryOp::Ne, low, zero);
            let (r, f) = (b.get(result), b.get(base));
            let product = b.binary(BinaryOp::Mul, r, f);
            let next = b.select(odd, product, r);
            b.set(result, next);
            let square = b.binary(BinaryOp::Mul, f, f);
            b.set(base, square);
            let half = b.binary(BinaryOp::Shr, rest, bit);
            b.set(left, half);
        });
        b.get(result)
    }

    fn constant_power(&mut self, a: Value, mut n: u32, ty: Type) -> Value {
        let b = &mut self.builder;
        let (mut result, mut base) = (None, a);
        while n > 0 {
            if n & 1 == 1 {
                result = Some(match result {
                    Some(r) => b.binary(BinaryOp::Mul, r, base),
                    None => base,
                });
            }
            n >>= 1;
            if n > 0 {
                base = b.binary(BinaryOp::Mul, base, base);
            }
        }
        result.unwrap_or_else(|| b.constant(Const::one(ty)))
    }
}

/// The IR's operator; `None` for the lazy ones.
pub(super) fn binary_op(op: tree::BinaryOp) -> Option<BinaryOp> {
    Some(match op {
        tree::BinaryOp::Add => BinaryOp::Add,
        tree::BinaryOp::Sub => BinaryOp::Sub,
        tree::BinaryOp::Mul => BinaryOp::Mul,
        tree::BinaryOp::Div => BinaryOp::Div,
        tree::BinaryOp::Rem => BinaryOp::Rem,
        tree::BinaryOp::And => BinaryOp::And,
        tree::BinaryOp::Or => BinaryOp::Or,
        tree::BinaryOp::Xor => BinaryOp::Xor,
        tree::BinaryOp::Shl => BinaryOp::Shl,
        tree::BinaryOp::Shr => BinaryOp::Shr,
        tree::BinaryOp::Eq => BinaryOp::Eq,
        tree::BinaryOp::Ne => BinaryOp::Ne,
        tree::BinaryOp::Lt => BinaryOp::Lt,
        tree::BinaryOp::Le => BinaryOp::Le,
        tree::BinaryOp::Gt => BinaryOp::Gt,
        tree::BinaryOp::Ge => BinaryOp::Ge,
        tree::BinaryOp::LazyAnd | tree::BinaryOp::LazyOr => return None,
    })
}
