//! Names and types: from the untyped tree to the typed one.

use crossover_syntax::tree::{self, BinaryOp, Expr, ExprKind, Name, Pos, UnaryOp};

use super::consts;
use super::method::{Method, Shape};
use super::typed::{
    HelperCall, Place, SharedDef, TArg, TArm, TBlock, TExpr, TKind, Typed, Variable, VariableDef,
    Yield,
};
use super::types::{Class, TypeVar, Types};
use super::{Request, Session, const_generic, named_type};
use crate::error::Diagnostic;
use crate::eval;
use crate::ir::{Access, AtomicOp, Axis, Const, Param, Type};

/// Types the function; `None` after complaints, which the session collects.
pub(super) fn infer(session: &mut Session, request: &Request) -> Option<Typed> {
    let before = session.diagnostics.len();
    let tree = &request.definition.tree;
    let file = session.file(&request.definition.file);
    let mut infer = Infer {
        request,
        types: Types::default(),
        variables: Vec::new(),
        shared: Vec::new(),
        scopes: vec![Vec::new()],
        complaints: Vec::new(),
        result: None,
    };
    let typed = infer.function(tree, file);
    let path = &request.definition.file;
    for complaint in infer.complaints {
        let Complaint { pos, message, help } = complaint;
        let location = format!("{path}:{}:{}", pos.line, pos.column);
        session.diagnostics.push(Diagnostic { location, message, help });
    }
    typed.filter(|_| session.diagnostics.len() == before)
}

#[derive(Clone, Copy, Debug)]
enum Binding {
    Variable(Variable),
    Scalar(Param, TypeVar),
    Buffer(Param, Type, Access),
    Id,
    Const(Const),
}

struct Complaint {
    pos: Pos,
    message: String,
    help: Option<String>,
}

struct Infer<'a> {
    request: &'a Request,
    types: Types,
    variables: Vec<VariableDef>,
    shared: Vec<SharedDef>,
    scopes: Vec<Vec<(String, Binding)>>,
    complaints: Vec<Complaint>,
    result: Option<TypeVar>,
}

impl Infer<'_> {
    fn function(&mut self, tree: &tree::Tree, file: u32) -> Option<Typed> {
        if let Some(id) = &tree.id {
            self.bind(id, Binding::Id);
        }
        for generic in &tree.generics {
            if generic.kind == tree::GenericKind::Const {
                match const_generic(self.request, &generic.name) {
                    Some(value) => self.bind(&generic.name, Binding::Const(value.into())),
                    None => self.complain(
                        tree.pos,
                        format!("nothing gives `{}` a value", generic.name),
                        Some("pass it as a parameter; helpers take no const parameters"),
                    ),
                }
            }
        }
        let mut param_types = Vec::new();
        let mut mutable_params = Vec::new();
        for (at, param) in tree.params.iter().enumerate() {
            let ty = self.named(&param.ty)?;
            param_types.push(ty);
            self.parameter(Param(at as u32), param, ty, &mut mutable_params);
        }
        let result = match &tree.result {
            Some(name) => Some(self.named(name)?),
            None => None,
        };
        self.result = result.map(|ty| self.types.known(ty));
        self.check_collective(tree, result);
        let expected = self.result;
        let body = self.scope(&tree.body, expected);
        self.check_result(tree, &body);
        Some(Typed {
            types: std::mem::take(&mut self.types),
            variables: std::mem::take(&mut self.variables),
            mutable_params,
            param_types,
            shared: std::mem::take(&mut self.shared),
            result,
            body,
            file,
            pos: tree.pos,
        })
    }

    fn parameter(
        &mut self,
        at: Param,
        param: &tree::Param,
        ty: Type,
        mutable: &mut Vec<(Param, Variable)>,
    ) {
        let binding = match param.kind {
            tree::ParamKind::Scalar if param.mutable => {
                let ty = self.types.known(ty);
                let variable = self.variable(ty, None, true);
                mutable.push((at, variable));
                Binding::Variable(variable)
            }
            tree::ParamKind::Scalar => Binding::Scalar(at, self.types.known(ty)),
            tree::ParamKind::Slice => Binding::Buffer(at, ty, Access::Read),
            tree::ParamKind::SliceMut => Binding::Buffer(at, ty, Access::ReadWrite),
            tree::ParamKind::Atomics => Binding::Buffer(at, ty, Access::Atomic),
        };
        self.bind(&param.name, binding);
    }

    fn check_collective(&mut self, tree: &tree::Tree, result: Option<Type>) {
        if let (Some(collective), Some(ty)) = (tree.collective, result) {
            let op = super::collective(collective).op;
            if !op.accepts(ty) {
                let message = format!("values of type {ty} cannot be combined by `{op}`");
                self.complain(tree.pos, message, Some("and, or and xor combine integers"));
            }
        }
        for extent in &tree.grid {
            let (tree::Extent::Name(name) | tree::Extent::Len(name)) = extent else { continue };
            let binding = self.lookup(&name.text);
            let fits = match (extent, binding) {
                (tree::Extent::Len(_), Some(Binding::Buffer(..))) => true,
                (tree::Extent::Name(_), Some(Binding::Const(_))) => true,
                (tree::Extent::Name(_), Some(Binding::Scalar(_, var))) => {
                    self.types.class(var) == Class::Known(Type::U32)
                }
                _ => false,
            };
            if !fits {
                let message = format!("`{}` is no extent of a grid", name.text);
                self.complain(
                    name.pos,
                    message,
                    Some("name a `u32` or `usize` parameter (not `mut`), or `x.len()` of a slice"),
                );
            }
        }
    }

    fn check_result(&mut self, tree: &tree::Tree, body: &TBlock) {
        let Some(expected) = self.result else { return };
        match &body.tail {
            Some(tail) => {
                if let Yield::Scalar(found) = tail.yields {
                    self.same(tail.pos, expected, found);
                } else if !matches!(tail.yields, Yield::Never | Yield::Error) {
                    self.complain(
                        tail.pos,
                        "this yields no scalar, but the function returns one",
                        None,
                    );
                }
            }
            None if body.stmts.last().is_some_and(|s| s.yields == Yield::Never) => {}
            None => self.complain(
                tree.pos,
                "the function returns a value, but its body ends without one",
                Some("end the body with an expression, without a semicolon"),
            ),
        }
    }

    // Scopes and complaints.

    fn bind(&mut self, name: &str, binding: Binding) {
        if let Binding::Variable(variable) = binding {
            self.variables[variable.0].name.get_or_insert_with(|| name.into());
        }
        let scope = self.scopes.last_mut().expect("the function's scope is open");
        scope.push((name.to_owned(), binding));
    }

    fn lookup(&self, name: &str) -> Option<Binding> {
        let mut scopes = self.scopes.iter().rev();
        scopes.find_map(|s| s.iter().rev().find(|(n, _)| n == name).map(|(_, b)| *b))
    }

    fn variable(&mut self, ty: TypeVar, array: Option<u32>, mutable: bool) -> Variable {
        self.variables.push(VariableDef { ty, array, mutable, name: None });
        Variable(self.variables.len() - 1)
    }

    fn complain(&mut self, pos: Pos, message: impl Into<String>, help: Option<&str>) {
        let complaint =
            Complaint { pos, message: message.into(), help: help.map(ToOwned::to_owned) };
        self.complaints.push(complaint);
    }

    fn named(&mut self, name: &Name) -> Option<Type> {
        let ty = named_type(self.request, &name.text);
        if ty.is_none() {
            let message = format!("`{}` is not a type of the kernel language", name.text);
            self.complain(
                name.pos,
                message,
                Some("use f32, f64, i32, u32, i64, u64, usize or bool"),
            );
        }
        ty
    }

    fn same(&mut self, pos: Pos, expected: TypeVar, found: TypeVar) {
        if !self.types.unify(expected, found) {
            let (a, b) = (self.types.class(expected).name(), self.types.class(found).name());
            self.complain(
                pos,
                format!("expected {a}, found {b}"),
                Some("convert with `as`, or give the number a suffix"),
            );
        }
    }

    fn narrow(&mut self, pos: Pos, var: TypeVar, class: Class) {
        if !self.types.narrow(var, class) {
            let (a, b) = (class.name(), self.types.class(var).name());
            self.complain(
                pos,
                format!("expected {a}, found {b}"),
                Some("convert with `as`, or give the number a suffix"),
            );
        }
    }

    // Blocks and statements.

    fn scope(&mut self, block: &tree::Block, expected: Option<TypeVar>) -> TBlock {
        self.scopes.push(Vec::new());
        let mut stmts = Vec::new();
        for stmt in &block.stmts {
            stmts.extend(self.stmt(stmt));
        }
        let tail = block.tail.as_ref().map(|e| Box::new(self.expr(e, expected)));
        self.scopes.pop();
        TBlock { stmts, tail }
    }

    fn stmt(&mut self, stmt: &tree::Stmt) -> Option<TExpr> {
        match stmt {
            tree::Stmt::Expr(e) => Some(self.expr(e, None)),
            tree::Stmt::Const { name, ty, init } => {
                let ty = self.named(ty)?;
                match self.const_value(init, ty) {
                    Some(value) => self.bind(&name.text, Binding::Const(value)),
                    None => self.complain(
                        init.pos,
                        "this is not known before the kernel runs",
                        Some("use numbers, other constants and arithmetic, or `let`"),
                    ),
                }
                None
            }
            tree::Stmt::Let { name, mutable, ty, init } => self.let_stmt(name, *mutable, ty, init),
        }
    }

    fn let_stmt(
        &mut self,
        name: &Name,
        mutable: bool,
        ty: &Option<tree::Ty>,
        init: &Expr,
    ) -> Option<TExpr> {
        let expected = match ty {
            Some(tree::Ty::Scalar(ty) | tree::Ty::Array(ty, _)) => {
                let ty = self.named(ty)?;
                Some(self.types.known(ty))
            }
            None => None,
        };
        if let ExprKind::Shared { id, ty, atomic, len } = &init.kind {
            return self.shared(name, id, ty, *atomic, len);
        }
        let init = self.expr(init, expected);
        let (var, array) = match init.yields {
            Yield::Scalar(var) => (var, None),
            Yield::Array(var, len) => (var, Some(len)),
            Yield::Never => (self.types.open(Class::Any), None),
            Yield::Buffer(param) if !mutable => {
                let binding = self.buffer_binding(param);
                self.bind(&name.text, binding);
                return None;
            }
            Yield::Error => {
                // Bound all the same: its uses are not to be blamed.
                let open = self.types.open(Class::Any);
                let variable = self.variable(open, None, true);
                self.bind(&name.text, Binding::Variable(variable));
                return None;
            }
            Yield::Unit | Yield::Id | Yield::Buffer(_) => {
                self.complain(init.pos, "a variable holds a scalar or a fixed array", None);
                return None;
            }
        };
        if let Some(expected) = expected {
            self.same(init.pos, expected, var);
        }
        if let Some(tree::Ty::Array(_, len)) = ty {
            let wanted = self.const_value(len, Type::U32).map(|c| c.bits as u32);
            if wanted != array {
                self.complain(init.pos, "the array has another length than its type", None);
            }
        }
        let variable = self.variable(var, array, mutable);
        self.bind(&name.text, Binding::Variable(variable));
        let pos = name.pos;
        Some(TExpr { kind: TKind::Let(variable, Box::new(init)), yields: Yield::Unit, pos })
    }

    /// `let name = id.shared::<ty, len>();`
    fn shared(
        &mut self,
        name: &Name,
        id: &Expr,
        ty: &Name,
        atomic: bool,
        len: &Expr,
    ) -> Option<TExpr> {
        self.in_workgroup(id)?;
        let ty = self.named(ty)?;
        let len = match self.const_value(len, Type::U32).map(|c| c.bits as u32) {
            Some(len) if len > 0 => len,
            Some(_) | None => {
                self.complain(
                    len.pos,
                    "the length of an array is a positive constant",
                    Some("use a number or a `const`"),
                );
                return None;
            }
        };
        let param = Param((self.request.definition.tree.params.len() + self.shared.len()) as u32);
        self.shared.push(SharedDef { name: name.text.clone(), ty, len, atomic });
        let access = if atomic { Access::Atomic } else { Access::ReadWrite };
        self.bind(&name.text, Binding::Buffer(param, ty, access));
        None
    }

    /// Complains unless this is the `Id` of a kernel with workgroups.
    fn in_workgroup(&mut self, id: &Expr) -> Option<()> {
        let typed = self.expr(id, None);
        match typed.yields {
            Yield::Id if !self.request.definition.tree.workgroup.is_empty() => return Some(()),
            Yield::Id => self.complain(
                id.pos,
                "this kernel has no workgroups",
                Some("say how large they are: `#[kernel(workgroup = 256)]`"),
            ),
            Yield::Error => {}
            _ => self.complain(id.pos, "only the `Id` knows the workgroup", None),
        }
        None
    }

    fn buffer_binding(&self, param: Param) -> Binding {
        let params = &self.request.definition.tree.params;
        let Some(def) = params.get(param.index()) else {
            let def = &self.shared[param.index() - params.len()];
            let access = if def.atomic { Access::Atomic } else { Access::ReadWrite };
            return Binding::Buffer(param, def.ty, access);
        };
        self.lookup(&def.name).unwrap_or(Binding::Id)
    }

    /// A constant expression of a known type.
    fn const_value(&mut self, e: &Expr, ty: Type) -> Option<Const> {
        match &e.kind {
            ExprKind::Int { value, .. } if ty.is_int() => Some(Const::new(ty, *value)),
            ExprKind::Int { value, .. } if ty.is_float() => {
                Some(eval::cast(Const::from(*value), ty))
            }
            ExprKind::Float { value, .. } if ty.is_float() => {
                Some(eval::cast(Const::from(*value), ty))
            }
            ExprKind::Bool(b) if ty == Type::Bool => Some((*b).into()),
            ExprKind::Var(name) => match self.lookup(name)? {
                Binding::Const(c) if c.ty == ty => Some(c),
                _ => None,
            },
            ExprKind::Assoc(of, name) => {
                let of = named_type(self.request, of)?;
                consts::associated(of, name).filter(|c| c.ty == ty)
            }
            ExprKind::Unary(UnaryOp::Neg, inner) => {
                let inner = self.const_value(inner, ty)?;
                Some(eval::unary(crate::ir::UnaryOp::Neg, inner))
            }
            ExprKind::Cast(inner, to) => {
                let to = self.named(to)?;
                let value = [Type::U32, Type::I32, Type::F32, Type::U64, Type::I64, Type::F64]
                    .into_iter()
                    .find_map(|from| self.const_value(inner, from))?;
                Some(eval::cast(value, to)).filter(|c| c.ty == ty)
            }
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (self.const_value(a, ty)?, self.const_value(b, ty)?);
                eval::binary(super::lower::binary_op(*op)?, a, b).filter(|c| c.ty == ty)
            }
            _ => None,
        }
    }

    // Expressions.

    fn expr(&mut self, e: &Expr, expected: Option<TypeVar>) -> TExpr {
        let (kind, yields) = self.kind(e, expected);
        TExpr { kind, yields, pos: e.pos }
    }

    /// An expression that has to be a scalar, and its type.
    fn scalar(&mut self, e: &Expr, expected: Option<TypeVar>) -> (TExpr, TypeVar) {
        let typed = self.expr(e, expected);
        let var = match typed.yields {
            Yield::Scalar(var) => var,
            Yield::Never | Yield::Error => self.types.open(Class::Any),
            Yield::Unit | Yield::Array(..) | Yield::Buffer(_) | Yield::Id => {
                self.complain(
                    e.pos,
                    "expected a scalar",
                    Some("index slices and arrays; use `id.x`"),
                );
                self.types.open(Class::Any)
            }
        };
        if let Some(expected) = expected {
            self.same(e.pos, expected, var);
        }
        (typed, var)
    }

    fn typed_scalar(&mut self, e: &Expr, ty: Type) -> Box<TExpr> {
        let expected = self.types.known(ty);
        Box::new(self.scalar(e, Some(expected)).0)
    }

    fn kind(&mut self, e: &Expr, expected: Option<TypeVar>) -> (TKind, Yield) {
        match &e.kind {
            ExprKind::Int { value, suffix } => {
                let var = self.literal(e.pos, suffix, Class::Int);
                (TKind::Int(*value), Yield::Scalar(var))
            }
            ExprKind::Float { value, suffix } => {
                let var = self.literal(e.pos, suffix, Class::Float);
                (TKind::Float(*value), Yield::Scalar(var))
            }
            ExprKind::Bool(b) => (TKind::Bool(*b), Yield::Scalar(self.types.known(Type::Bool))),
            ExprKind::Var(name) => self.name(e.pos, name),
            ExprKind::Assoc(ty, name) => self.associated(e.pos, ty, name),
            ExprKind::Binary(op, a, b) => self.binary(*op, a, b, expected),
            ExprKind::Unary(op, a) => self.unary(*op, a, expected),
            ExprKind::Assign(op, place, value) => self.assign(*op, place, value),
            ExprKind::Index(base, index) => self.index(base, index),
            ExprKind::Field(base, name) => self.field(base, name),
            ExprKind::Cast(value, ty) => self.cast(value, ty),
            ExprKind::Method(receiver, name, args) => self.method(receiver, name, args, expected),
            ExprKind::TypeCall(ty, name, args) => self.type_call(e.pos, ty, name, args),
            ExprKind::Call(helper, args) => self.call(e.pos, *helper as usize, args),
            ExprKind::TailCall(args) => self.tail_call(e.pos, args),
            ExprKind::If(c, then, otherwise) => {
                self.if_expr(c, then, otherwise.as_deref(), expected)
            }
            ExprKind::Match(value, arms) => self.match_expr(value, arms, expected),
            ExprKind::For { name, start, end, inclusive, step, body } => {
                self.for_expr(name, [start, end], *inclusive, *step, body)
            }
            ExprKind::While(c, body) => {
                let c = self.typed_scalar(c, Type::Bool);
                (TKind::While(c, self.scope(body, None)), Yield::Unit)
            }
            ExprKind::Loop(body) => {
                let body = self.scope(body, None);
                let yields = if leaves(&body) { Yield::Unit } else { Yield::Never };
                (TKind::Loop(body), yields)
            }
            ExprKind::Break => (TKind::Break, Yield::Never),
            ExprKind::Continue => (TKind::Continue, Yield::Never),
            ExprKind::Return(value) => self.return_expr(e.pos, value.as_deref()),
            ExprKind::Block(block) => {
                let block = self.scope(block, expected);
                let yields = block_yield(&block);
                (TKind::Block(block), yields)
            }
            ExprKind::Array(items) => self.array(e.pos, items, expected),
            ExprKind::Repeat(value, len) => {
                let (value, var) = self.scalar(value, expected);
                match self.const_value(len, Type::U32) {
                    Some(len) if len.bits > 0 => {
                        let len = len.bits as u32;
                        (TKind::Repeat(Box::new(value), len), Yield::Array(var, len))
                    }
                    _ => {
                        self.complain(
                            len.pos,
                            "the length of an array is a positive constant",
                            Some("use a number or a `const`"),
                        );
                        (TKind::Nothing, Yield::Error)
                    }
                }
            }
            ExprKind::Shared { .. } => {
                self.complain(
                    e.pos,
                    "a shared array needs a name",
                    Some("write `let tile = id.shared::<f32, 256>();`"),
                );
                (TKind::Nothing, Yield::Error)
            }
            ExprKind::Ref(inner) => match self.kind(inner, expected) {
                buffer @ (_, Yield::Buffer(_) | Yield::Error) => buffer,
                _ => {
                    self.complain(
                        e.pos,
                        "only slices are passed by reference",
                        Some("pass scalars by value"),
                    );
                    (TKind::Nothing, Yield::Error)
                }
            },
        }
    }

    fn literal(&mut self, pos: Pos, suffix: &Option<String>, class: Class) -> TypeVar {
        let var = self.types.open(class);
        if let Some(ty) = suffix.as_ref().and_then(|s| Type::from_name(s)) {
            self.narrow(pos, var, Class::Known(ty));
        }
        var
    }

    fn name(&mut self, pos: Pos, name: &str) -> (TKind, Yield) {
        match self.lookup(name) {
            Some(Binding::Variable(v)) => {
                let def = self.variables[v.0].clone();
                let yields = match def.array {
                    Some(len) => Yield::Array(def.ty, len),
                    None => Yield::Scalar(def.ty),
                };
                (TKind::Variable(v), yields)
            }
            Some(Binding::Scalar(param, var)) => (TKind::Param(param), Yield::Scalar(var)),
            Some(Binding::Buffer(param, ..)) => (TKind::Nothing, Yield::Buffer(param)),
            Some(Binding::Id) => (TKind::Nothing, Yield::Id),
            Some(Binding::Const(c)) => (TKind::Const(c), Yield::Scalar(self.types.known(c.ty))),
            None => {
                let message = format!("`{name}` is not known in this kernel");
                self.complain(
                    pos,
                    message,
                    Some("pass it as a parameter, or write a `const` in the kernel"),
                );
                (TKind::Nothing, Yield::Error)
            }
        }
    }

    fn associated(&mut self, pos: Pos, ty: &str, name: &str) -> (TKind, Yield) {
        match named_type(self.request, ty).and_then(|ty| consts::associated(ty, name)) {
            Some(c) => (TKind::Const(c), Yield::Scalar(self.types.known(c.ty))),
            None => {
                self.complain(
                    pos,
                    format!("`{ty}::{name}` is not known"),
                    Some("write its value as a `const`"),
                );
                (TKind::Nothing, Yield::Error)
            }
        }
    }

    fn binary(
        &mut self,
        op: BinaryOp,
        a: &Expr,
        b: &Expr,
        expected: Option<TypeVar>,
    ) -> (TKind, Yield) {
        let result = match op {
            BinaryOp::LazyAnd | BinaryOp::LazyOr => {
                let (a, b) = (self.typed_scalar(a, Type::Bool), self.typed_scalar(b, Type::Bool));
                let var = self.types.known(Type::Bool);
                return (TKind::Binary(op, a, b), Yield::Scalar(var));
            }
            BinaryOp::Shl | BinaryOp::Shr => {
                let (a, var) = self.scalar(a, expected);
                self.narrow(a.pos, var, Class::Int);
                let (b, amount) = self.scalar(b, None);
                self.narrow(b.pos, amount, Class::Int);
                return (TKind::Binary(op, Box::new(a), Box::new(b)), Yield::Scalar(var));
            }
            BinaryOp::Eq
            | BinaryOp::Ne
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Gt
            | BinaryOp::Ge => {
                let (a, var) = self.scalar(a, None);
                let (b, _) = self.scalar(b, Some(var));
                let ordered = !matches!(op, BinaryOp::Eq | BinaryOp::Ne);
                if ordered && self.types.class(var) == Class::Known(Type::Bool) {
                    self.complain(
                        a.pos,
                        "truth values have no order",
                        Some("write `!a && b` for `a < b`, or convert with `as u32`"),
                    );
                }
                let result = self.types.known(Type::Bool);
                return (TKind::Binary(op, Box::new(a), Box::new(b)), Yield::Scalar(result));
            }
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Rem
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor => self.arithmetic(op, a, b, expected),
        };
        let (a, b, var) = result;
        (TKind::Binary(op, Box::new(a), Box::new(b)), Yield::Scalar(var))
    }

    fn arithmetic(
        &mut self,
        op: BinaryOp,
        a: &Expr,
        b: &Expr,
        expected: Option<TypeVar>,
    ) -> (TExpr, TExpr, TypeVar) {
        let (a, var) = self.scalar(a, expected);
        let (b, _) = self.scalar(b, Some(var));
        match op {
            BinaryOp::Rem => {
                self.no_arithmetic_on_bool(a.pos, var);
                if self.types.class(var) == Class::Float
                    || matches!(self.types.class(var), Class::Known(ty) if ty.is_float())
                {
                    self.complain(
                        a.pos,
                        "`%` is not available on floats",
                        Some("write `x - (x / y).trunc() * y`"),
                    );
                }
            }
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => {
                if self.types.class(var) != Class::Known(Type::Bool) {
                    self.narrow(a.pos, var, Class::Int);
                }
            }
            _ => self.no_arithmetic_on_bool(a.pos, var),
        }
        (a, b, var)
    }

    fn no_arithmetic_on_bool(&mut self, pos: Pos, var: TypeVar) {
        if self.types.class(var) == Class::Known(Type::Bool) {
            self.complain(pos, "there is no arithmetic on `bool`", Some("convert with `as u32`"));
        }
    }

    fn unary(&mut self, op: UnaryOp, a: &Expr, expected: Option<TypeVar>) -> (TKind, Yield) {
        let (a, var) = self.scalar(a, expected);
        match op {
            UnaryOp::Neg => {
                let class = self.types.class(var);
                if matches!(class, Class::Known(Type::U32 | Type::U64 | Type::Bool)) {
                    self.complain(
                        a.pos,
                        "this type has no negative values",
                        Some("use `wrapping_neg`, or a signed type"),
                    );
                }
                (TKind::Neg(Box::new(a)), Yield::Scalar(var))
            }
            UnaryOp::Not => {
                if self.types.class(var) != Class::Known(Type::Bool) {
                    self.narrow(a.pos, var, Class::Int);
                }
                (TKind::Not(Box::new(a)), Yield::Scalar(var))
            }
        }
    }

    fn assign(&mut self, op: Option<BinaryOp>, place: &Expr, value: &Expr) -> (TKind, Yield) {
        let Some((place, var)) = self.place(place) else {
            self.expr(value, None);
            return (TKind::Nothing, Yield::Error);
        };
        let shift = matches!(op, Some(BinaryOp::Shl | BinaryOp::Shr));
        let (value, found) = self.scalar(value, if shift { None } else { Some(var) });
        let integer =
            matches!(op, Some(BinaryOp::Rem | BinaryOp::And | BinaryOp::Or | BinaryOp::Xor));
        if shift {
            self.narrow(value.pos, found, Class::Int);
        }
        let bitwise = matches!(op, Some(BinaryOp::And | BinaryOp::Or | BinaryOp::Xor));
        if op.is_some() && !bitwise {
            self.no_arithmetic_on_bool(value.pos, var);
        }
        if shift || (integer && self.types.class(var) != Class::Known(Type::Bool)) {
            self.narrow(value.pos, var, Class::Int);
        }
        (TKind::Assign(op, place, Box::new(value)), Yield::Unit)
    }

    fn place(&mut self, place: &Expr) -> Option<(Place, TypeVar)> {
        match &place.kind {
            ExprKind::Var(name) => match self.lookup(name) {
                Some(Binding::Variable(v)) if self.variables[v.0].array.is_none() => {
                    let def = self.variables[v.0].clone();
                    if !def.mutable {
                        let message = format!("`{name}` is not mutable");
                        self.complain(place.pos, message, Some("declare it with `let mut`"));
                    }
                    Some((Place::Variable(v), def.ty))
                }
                Some(_) => {
                    let message = format!("`{name}` cannot be assigned");
                    self.complain(
                        place.pos,
                        message,
                        Some("assign elements, or a `let mut` variable"),
                    );
                    None
                }
                None => {
                    self.name(place.pos, name);
                    None
                }
            },
            ExprKind::Index(base, index) => {
                let base_typed = self.expr(base, None);
                let index = self.typed_scalar(index, Type::U32);
                match (base_typed.yields, &base_typed.kind) {
                    (Yield::Array(var, _), TKind::Variable(v)) => {
                        if !self.variables[v.0].mutable {
                            self.complain(
                                base.pos,
                                "this array is not mutable",
                                Some("declare it with `let mut`"),
                            );
                        }
                        Some((Place::Element(*v, index), var))
                    }
                    (Yield::Buffer(param), _) => {
                        let (ty, access) = self.buffer(param);
                        if access != Access::ReadWrite {
                            self.complain(base.pos, "this slice cannot be assigned", Some("take it as `&mut [T]`; change atomics with `fetch_add` and the like"));
                        }
                        Some((Place::Buffer(param, index), self.types.known(ty)))
                    }
                    (Yield::Error, _) => None,
                    _ => {
                        self.complain(base.pos, "only slices and arrays have elements", None);
                        None
                    }
                }
            }
            _ => {
                self.complain(
                    place.pos,
                    "this cannot be assigned",
                    Some("assign a variable or an element"),
                );
                None
            }
        }
    }

    fn buffer(&self, param: Param) -> (Type, Access) {
        match self.buffer_binding(param) {
            Binding::Buffer(_, ty, access) => (ty, access),
            // Shadowed by another binding of the name: read it from the signature.
            Binding::Variable(_) | Binding::Scalar(..) | Binding::Id | Binding::Const(_) => {
                let def = &self.request.definition.tree.params[param.index()];
                let ty = named_type(self.request, &def.ty.text).unwrap_or(Type::F32);
                let access = match def.kind {
                    tree::ParamKind::SliceMut => Access::ReadWrite,
                    tree::ParamKind::Atomics => Access::Atomic,
                    tree::ParamKind::Slice | tree::ParamKind::Scalar => Access::Read,
                };
                (ty, access)
            }
        }
    }

    fn index(&mut self, base: &Expr, index: &Expr) -> (TKind, Yield) {
        let typed = self.expr(base, None);
        let index = self.typed_scalar(index, Type::U32);
        match (typed.yields, typed.kind) {
            (Yield::Array(var, _), TKind::Variable(v)) => {
                (TKind::Element(v, index), Yield::Scalar(var))
            }
            (Yield::Buffer(param), _) => {
                let (ty, access) = self.buffer(param);
                if access == Access::Atomic {
                    self.complain(
                        base.pos,
                        "atomics are read with `load()`",
                        Some("write `x[i].load()`"),
                    );
                }
                (TKind::Load(param, index), Yield::Scalar(self.types.known(ty)))
            }
            (Yield::Error, _) => (TKind::Nothing, Yield::Error),
            _ => {
                self.complain(base.pos, "only slices and arrays have elements", None);
                (TKind::Nothing, Yield::Error)
            }
        }
    }

    /// `id.local.x` and `id.group.x`.
    fn place_in_group(&mut self, id: &Expr, of: &str, name: &str) -> (TKind, Yield) {
        let known = self.in_workgroup(id).is_some();
        let axes = self.request.definition.tree.grid.len().max(1);
        match Axis::ALL.into_iter().find(|a| a.name() == name) {
            Some(axis) if known && axis.index() < axes => {
                let kind = if of == "local" { TKind::Local(axis) } else { TKind::Group(axis) };
                return (kind, Yield::Scalar(self.types.known(Type::U32)));
            }
            Some(_) | None if !known => {}
            _ => self.complain(
                id.pos,
                format!("there is no `{of}.{name}`"),
                Some(
                    "a workgroup has the axes of the grid: x, y and z as far as extents are named",
                ),
            ),
        }
        (TKind::Nothing, Yield::Error)
    }

    fn field(&mut self, base: &Expr, name: &str) -> (TKind, Yield) {
        if let ExprKind::Field(id, of) = &base.kind
            && matches!(of.as_str(), "local" | "group")
        {
            return self.place_in_group(id, of, name);
        }
        let typed = self.expr(base, None);
        let axes = self.request.definition.tree.grid.len().max(1);
        let axis = Axis::ALL.into_iter().find(|a| a.name() == name);
        match (typed.yields, axis) {
            (Yield::Id, Some(axis)) if axis.index() < axes => {
                (TKind::Id(axis), Yield::Scalar(self.types.known(Type::U32)))
            }
            (Yield::Id, Some(_)) => {
                let message = format!("the grid has no axis `{name}`");
                self.complain(
                    base.pos,
                    message,
                    Some("name the extents: `#[kernel(grid = (w, h))]`"),
                );
                (TKind::Nothing, Yield::Error)
            }
            (Yield::Error, _) => (TKind::Nothing, Yield::Error),
            _ => {
                self.complain(
                    base.pos,
                    format!("there is no field `{name}`"),
                    Some(
                        "an `Id` has x, y and z, and in workgroups the same of `local` and `group`",
                    ),
                );
                (TKind::Nothing, Yield::Error)
            }
        }
    }

    fn cast(&mut self, value: &Expr, ty: &Name) -> (TKind, Yield) {
        let (value, _) = self.scalar(value, None);
        match self.named(ty) {
            Some(Type::Bool) => {
                self.complain(value.pos, "nothing converts to `bool`", Some("compare with `!= 0`"));
                (TKind::Nothing, Yield::Error)
            }
            Some(ty) => {
                // `1 as f32` is a conversion of an `i32`, but a literal may as well be read as `ty`.
                (TKind::Cast(Box::new(value)), Yield::Scalar(self.types.known(ty)))
            }
            None => (TKind::Nothing, Yield::Error),
        }
    }

    // Methods and calls.

    fn method(
        &mut self,
        receiver: &Expr,
        name: &Name,
        args: &[Expr],
        expected: Option<TypeVar>,
    ) -> (TKind, Yield) {
        if let Some(found) = self.buffer_method(receiver, name, args) {
            return found;
        }
        match Method::from_name(&name.text) {
            Some(method) => {
                let hint = expected.filter(|_| method.result() == Shape::Same);
                let (receiver, var) = self.scalar(receiver, hint);
                self.numeric(method, name, receiver, var, args)
            }
            None => {
                let message = format!("method `{}` is not available here", name.text);
                self.complain(
                    name.pos,
                    message,
                    Some(
                        "`load`, `store`, `swap` and `fetch_…` are for elements of `&[Atomic<T>]`",
                    ),
                );
                (TKind::Nothing, Yield::Error)
            }
        }
    }

    /// `id.barrier()`
    fn barrier(&mut self, id: &Expr) -> (TKind, Yield) {
        match self.in_workgroup(id) {
            Some(()) => (TKind::Barrier, Yield::Unit),
            None => (TKind::Nothing, Yield::Error),
        }
    }

    /// `tile[i].get()` and `tile[i].set(v)`.
    fn shared_element(
        &mut self,
        receiver: &Expr,
        name: &Name,
        args: &[Expr],
    ) -> Option<(TKind, Yield)> {
        let ExprKind::Index(base, index) = &receiver.kind else { return None };
        let Yield::Buffer(param) = self.expr(base, None).yields else { return None };
        let (ty, access) = self.buffer(param);
        let is_shared = param.index() >= self.request.definition.tree.params.len();
        if !is_shared || access != Access::ReadWrite {
            self.complain(
                base.pos,
                "`get` and `set` are for elements of shared arrays",
                Some("index a slice; atomics have `load()` and `store(…)`"),
            );
            return Some((TKind::Nothing, Yield::Error));
        }
        let index = self.typed_scalar(index, Type::U32);
        let var = self.types.known(ty);
        Some(match (name.text.as_str(), args) {
            ("get", []) => (TKind::Load(param, index), Yield::Scalar(var)),
            ("set", [value]) => {
                let value = Box::new(self.scalar(value, Some(var)).0);
                (TKind::Assign(None, Place::Buffer(param, index), value), Yield::Unit)
            }
            _ => {
                self.complain(name.pos, format!("`{}` takes other arguments", name.text), None);
                (TKind::Nothing, Yield::Error)
            }
        })
    }

    /// `len`, `is_empty`, `barrier` and the operations on shared and atomic elements.
    fn buffer_method(
        &mut self,
        receiver: &Expr,
        name: &Name,
        args: &[Expr],
    ) -> Option<(TKind, Yield)> {
        let text = name.text.as_str();
        if matches!(text, "len" | "is_empty") {
            let typed = self.expr(receiver, None);
            let len = match typed.yields {
                Yield::Buffer(param) => TKind::Len(param),
                Yield::Array(_, len) => TKind::Const(len.into()),
                Yield::Error => return Some((TKind::Nothing, Yield::Error)),
                _ => {
                    self.complain(receiver.pos, "only slices and arrays have a length", None);
                    return Some((TKind::Nothing, Yield::Error));
                }
            };
            let var = self.types.known(Type::U32);
            if text == "len" {
                return Some((len, Yield::Scalar(var)));
            }
            let at = |kind| Box::new(TExpr { kind, yields: Yield::Scalar(var), pos: name.pos });
            let kind = TKind::Binary(BinaryOp::Eq, at(len), at(TKind::Const(0u32.into())));
            return Some((kind, Yield::Scalar(self.types.known(Type::Bool))));
        }
        let op = match text {
            "barrier" => return Some(self.barrier(receiver)),
            "get" | "set" => return self.shared_element(receiver, name, args),
            "load" | "store" | "compare_and_swap" => None,
            "swap" => Some(AtomicOp::Swap),
            "fetch_add" => Some(AtomicOp::Add),
            "fetch_sub" => Some(AtomicOp::Sub),
            "fetch_min" => Some(AtomicOp::Min),
            "fetch_max" => Some(AtomicOp::Max),
            "fetch_and" => Some(AtomicOp::And),
            "fetch_or" => Some(AtomicOp::Or),
            "fetch_xor" => Some(AtomicOp::Xor),
            _ => return None,
        };
        let ExprKind::Index(base, index) = &receiver.kind else { return None };
        let Yield::Buffer(param) = self.expr(base, None).yields else { return None };
        let (ty, access) = self.buffer(param);
        if access != Access::Atomic {
            self.complain(
                base.pos,
                "these elements are not atomic",
                Some("take the slice as `&[Atomic<u32>]`"),
            );
            return Some((TKind::Nothing, Yield::Error));
        }
        let wanted = match text {
            "load" => 0,
            "compare_and_swap" => 2,
            _ => 1,
        };
        if args.len() != wanted {
            self.complain(name.pos, format!("`{text}` takes {wanted} arguments"), None);
            return Some((TKind::Nothing, Yield::Error));
        }
        let index = self.typed_scalar(index, Type::U32);
        let var = self.types.known(ty);
        let mut operands = args.iter().map(|e| Box::new(self.scalar(e, Some(var)).0));
        let (first, second) = (operands.next(), operands.next());
        Some(match (op, first, second) {
            (_, Some(expected), Some(new)) => {
                (TKind::CompareSwap(param, index, expected, new), Yield::Scalar(var))
            }
            (Some(op), Some(v), None) => (TKind::Atomic(op, param, index, v), Yield::Scalar(var)),
            (None, Some(v), None) => (TKind::AtomicStore(param, index, v), Yield::Unit),
            (_, None, _) => (TKind::AtomicLoad(param, index), Yield::Scalar(var)),
        })
    }

    fn numeric(
        &mut self,
        method: Method,
        name: &Name,
        receiver: TExpr,
        var: TypeVar,
        args: &[Expr],
    ) -> (TKind, Yield) {
        self.narrow(receiver.pos, var, method.receiver());
        let shapes = method.args();
        if shapes.len() != args.len() {
            let message = format!("`{}` takes {} arguments", name.text, shapes.len());
            self.complain(name.pos, message, None);
            return (TKind::Nothing, Yield::Error);
        }
        let mut operands = vec![receiver];
        for (shape, arg) in shapes.iter().zip(args) {
            let wanted = self.shape(*shape, var);
            operands.push(self.scalar(arg, Some(wanted)).0);
        }
        if matches!(
            method,
            Method::Abs | Method::Signum | Method::Min | Method::Max | Method::Clamp
        ) && matches!(self.types.class(var), Class::Known(Type::Bool))
        {
            self.complain(name.pos, "there is no arithmetic on `bool`", None);
        }
        let result = self.shape(method.result(), var);
        (TKind::Method(method, operands), Yield::Scalar(result))
    }

    fn shape(&mut self, shape: Shape, receiver: TypeVar) -> TypeVar {
        match shape {
            Shape::Same => receiver,
            Shape::Fixed(ty) => self.types.known(ty),
            Shape::Bits => {
                let bits = self.types.resolve(receiver).bit_pattern();
                self.types.known(bits)
            }
        }
    }

    fn type_call(&mut self, pos: Pos, ty: &str, name: &Name, args: &[Expr]) -> (TKind, Yield) {
        let Some(ty) = named_type(self.request, ty) else {
            self.complain(pos, format!("`{ty}` is not a type of the kernel language"), None);
            return (TKind::Nothing, Yield::Error);
        };
        let var = self.types.known(ty);
        match (name.text.as_str(), args) {
            ("lit", [value]) => {
                let value = self.typed_scalar(value, Type::F64);
                (TKind::Cast(value), Yield::Scalar(var))
            }
            ("from", [value]) => {
                let (value, _) = self.scalar(value, None);
                (TKind::Cast(Box::new(value)), Yield::Scalar(var))
            }
            ("from_bits", [bits]) if ty.is_float() => {
                let bits = self.typed_scalar(bits, ty.bit_pattern());
                (TKind::FromBits(bits), Yield::Scalar(var))
            }
            (other, [receiver, rest @ ..]) if Method::from_name(other).is_some() => {
                let method = Method::from_name(other).expect("the guard has looked it up");
                let (receiver, found) = self.scalar(receiver, Some(var));
                self.numeric(method, name, receiver, found, rest)
            }
            (other, _) => {
                self.complain(
                    name.pos,
                    format!("`{ty}::{other}` is not available with these arguments"),
                    None,
                );
                (TKind::Nothing, Yield::Error)
            }
        }
    }

    fn call(&mut self, pos: Pos, helper: usize, args: &[Expr]) -> (TKind, Yield) {
        let Some(callee) = self.request.definition.helpers.get(helper).cloned() else {
            let name =
                self.request.definition.tree.helpers.get(helper).cloned().unwrap_or_default();
            self.complain(
                pos,
                format!("function `{name}` is not a kernel helper"),
                Some("put `#[kernel]` on it"),
            );
            return (TKind::Nothing, Yield::Error);
        };
        let tree = &callee.tree;
        if tree.id.is_some() {
            self.complain(
                pos,
                format!("`{}` is a kernel with a grid of its own", tree.name),
                Some("call functions without `Id`, and pass `id.x` on"),
            );
            return (TKind::Nothing, Yield::Error);
        }
        if tree.params.len() != args.len() {
            let message = format!("`{}` takes {} arguments", tree.name, tree.params.len());
            self.complain(pos, message, None);
            return (TKind::Nothing, Yield::Error);
        }
        let mut generics = Vec::new();
        for generic in &tree.generics {
            let class = match generic.kind {
                tree::GenericKind::Float => Class::Float,
                tree::GenericKind::Int => Class::Int,
                tree::GenericKind::Num | tree::GenericKind::Const => Class::Any,
            };
            generics.push((generic.name.clone(), self.types.open(class)));
        }
        let mut typed = Vec::new();
        for (param, arg) in tree.params.iter().zip(args) {
            let wanted = self.helper_type(&generics, &param.ty);
            typed.push(self.argument(param, wanted, arg));
        }
        let yields = match &tree.result {
            Some(name) => Yield::Scalar(self.helper_type(&generics, name)),
            None => Yield::Unit,
        };
        let types = generics.into_iter().map(|(_, var)| var).collect();
        match typed.into_iter().collect::<Option<Vec<_>>>() {
            Some(args) => (TKind::Call(HelperCall { helper: Some(helper), types }, args), yields),
            None => (TKind::Nothing, Yield::Error),
        }
    }

    /// A call of the function by itself: of the same types, with the same slices.
    fn tail_call(&mut self, pos: Pos, args: &[Expr]) -> (TKind, Yield) {
        let tree = &self.request.definition.clone().tree;
        if tree.params.len() != args.len() {
            let message = format!("`{}` takes {} arguments", tree.name, tree.params.len());
            self.complain(pos, message, None);
            return (TKind::Nothing, Yield::Error);
        }
        let known = |this: &mut Self, name: &Name| match named_type(this.request, &name.text) {
            Some(ty) => this.types.known(ty),
            None => this.types.open(Class::Any),
        };
        let mut typed = Vec::new();
        for (at, (param, arg)) in tree.params.iter().zip(args).enumerate() {
            let wanted = known(self, &param.ty);
            let found = self.argument(param, wanted, arg);
            if matches!(found, Some(TArg::Buffer(other)) if other.index() != at) {
                self.complain(
                    arg.pos,
                    format!("`{}` passes another slice on to itself", tree.name),
                    Some(&format!("pass `{}`, or write a loop", param.name)),
                );
            }
            typed.push(found);
        }
        let yields = match &tree.result {
            Some(name) => Yield::Scalar(known(self, name)),
            None => Yield::Unit,
        };
        match typed.into_iter().collect::<Option<Vec<_>>>() {
            Some(args) => {
                (TKind::Call(HelperCall { helper: None, types: Vec::new() }, args), yields)
            }
            None => (TKind::Nothing, Yield::Error),
        }
    }

    fn helper_type(&mut self, generics: &[(String, TypeVar)], name: &Name) -> TypeVar {
        match generics.iter().find(|(n, _)| *n == name.text) {
            Some((_, var)) => *var,
            None => match Type::from_name(&name.text) {
                Some(ty) => self.types.known(ty),
                None => self.types.open(Class::Any),
            },
        }
    }

    fn argument(&mut self, param: &tree::Param, wanted: TypeVar, arg: &Expr) -> Option<TArg> {
        if param.kind == tree::ParamKind::Scalar {
            return Some(TArg::Value(self.scalar(arg, Some(wanted)).0));
        }
        match self.expr(arg, None).yields {
            Yield::Buffer(buffer) => {
                let (ty, access) = self.buffer(buffer);
                let found = self.types.known(ty);
                self.same(arg.pos, wanted, found);
                let fits = match param.kind {
                    tree::ParamKind::Slice => access != Access::Atomic,
                    tree::ParamKind::SliceMut => access == Access::ReadWrite,
                    tree::ParamKind::Atomics => access == Access::Atomic,
                    tree::ParamKind::Scalar => false,
                };
                if !fits {
                    self.complain(
                        arg.pos,
                        format!("`{}` wants another kind of slice", param.name),
                        None,
                    );
                }
                Some(TArg::Buffer(buffer))
            }
            Yield::Error => None,
            _ => {
                self.complain(
                    arg.pos,
                    format!("`{}` is a slice", param.name),
                    Some("pass one of the kernel's own slices"),
                );
                None
            }
        }
    }

    // Control flow.

    fn if_expr(
        &mut self,
        condition: &Expr,
        then: &tree::Block,
        otherwise: Option<&Expr>,
        expected: Option<TypeVar>,
    ) -> (TKind, Yield) {
        let condition = self.typed_scalar(condition, Type::Bool);
        let then = self.scope(then, expected);
        let then_yields = block_yield(&then);
        let hint = match then_yields {
            Yield::Scalar(var) => Some(var),
            _ => expected,
        };
        let otherwise = otherwise.map(|e| Box::new(self.expr(e, hint)));
        let yields = match &otherwise {
            None => Yield::Unit,
            Some(e) => self.join(e.pos, then_yields, e.yields),
        };
        (TKind::If(condition, then, otherwise), yields)
    }

    fn join(&mut self, pos: Pos, a: Yield, b: Yield) -> Yield {
        match (a, b) {
            (Yield::Never, other) | (other, Yield::Never) => other,
            (Yield::Scalar(x), Yield::Scalar(y)) => {
                self.same(pos, x, y);
                Yield::Scalar(x)
            }
            (Yield::Unit, Yield::Unit) => Yield::Unit,
            (Yield::Error, _) | (_, Yield::Error) => Yield::Error,
            _ => {
                self.complain(pos, "the branches yield different things", None);
                Yield::Error
            }
        }
    }

    fn match_expr(
        &mut self,
        value: &Expr,
        arms: &[tree::Arm],
        expected: Option<TypeVar>,
    ) -> (TKind, Yield) {
        let (value, var) = self.scalar(value, None);
        self.narrow(value.pos, var, Class::Int);
        let mut yields = Yield::Never;
        let mut typed = Vec::new();
        for arm in arms {
            let bool_var = self.types.known(Type::Bool);
            let guard = arm.guard.as_ref().map(|g| self.scalar(g, Some(bool_var)).0);
            let hint = match yields {
                Yield::Scalar(var) => Some(var),
                _ => expected,
            };
            let body = self.expr(&arm.body, hint);
            yields = self.join(body.pos, yields, body.yields);
            typed.push(TArm { patterns: arm.patterns.clone(), guard, body });
        }
        (TKind::Match(Box::new(value), typed), yields)
    }

    fn for_expr(
        &mut self,
        name: &Name,
        [start, end]: [&Expr; 2],
        inclusive: bool,
        step: u32,
        body: &tree::Block,
    ) -> (TKind, Yield) {
        let (start, var) = self.scalar(start, None);
        let (end, _) = self.scalar(end, Some(var));
        self.narrow(start.pos, var, Class::Int);
        let counter = self.variable(var, None, false);
        self.scopes.push(Vec::new());
        self.bind(&name.text, Binding::Variable(counter));
        let body = self.scope(body, None);
        self.scopes.pop();
        let (start, end) = (Box::new(start), Box::new(end));
        (TKind::For { counter, start, end, inclusive, step, body }, Yield::Unit)
    }

    fn return_expr(&mut self, pos: Pos, value: Option<&Expr>) -> (TKind, Yield) {
        match (self.result, value) {
            (Some(result), Some(value)) => {
                let value = self.scalar(value, Some(result)).0;
                (TKind::Return(Some(Box::new(value))), Yield::Never)
            }
            (None, None) => (TKind::Return(None), Yield::Never),
            (Some(_), None) => {
                self.complain(pos, "the function returns a value", Some("write `return value`"));
                (TKind::Nothing, Yield::Never)
            }
            (None, Some(value)) => {
                self.complain(value.pos, "the function returns nothing", None);
                (TKind::Nothing, Yield::Never)
            }
        }
    }

    fn array(&mut self, pos: Pos, items: &[Expr], expected: Option<TypeVar>) -> (TKind, Yield) {
        if items.is_empty() {
            self.complain(pos, "an array has at least one element", None);
            return (TKind::Nothing, Yield::Error);
        }
        let var = expected.unwrap_or_else(|| self.types.open(Class::Any));
        let typed: Vec<TExpr> = items.iter().map(|e| self.scalar(e, Some(var)).0).collect();
        (TKind::Array(typed), Yield::Array(var, items.len() as u32))
    }
}

fn block_yield(block: &TBlock) -> Yield {
    match &block.tail {
        Some(tail) => tail.yields,
        None if block.stmts.iter().any(|s| s.yields == Yield::Never) => Yield::Never,
        None => Yield::Unit,
    }
}

/// Whether a loop's body has a `break` of its own.
fn leaves(body: &TBlock) -> bool {
    body.stmts.iter().chain(body.tail.as_deref()).any(breaks)
}

fn breaks(e: &TExpr) -> bool {
    match &e.kind {
        TKind::Break => true,
        TKind::If(_, then, otherwise) => leaves(then) || otherwise.as_deref().is_some_and(breaks),
        TKind::Match(_, arms) => arms.iter().any(|arm| breaks(&arm.body)),
        TKind::Block(block) => leaves(block),
        TKind::Let(_, init) => breaks(init),
        TKind::Assign(_, _, value) => breaks(value),
        _ => false,
    }
}
