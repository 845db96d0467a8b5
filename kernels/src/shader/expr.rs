//! Expressions: each is a row of scalars, or a place that a pointer leads to.

use naga::{
    BinaryOperator, Binding, BuiltIn, Expression, Handle, Literal, ScalarKind, Statement, TypeInner,
};

use super::body::{Body, any, element_type, scalar_type};
use super::layout::scalar;
use super::matrix::is_matrix;
use super::place::Place;
use super::{Refusal, Taken};
use crate::ir::{Axis, BinaryOp, Const, Inst, Type, UnaryOp, Value};

/// The scalars of a value, in the order of its type.
pub(super) type Scalars = Vec<Value>;

/// What an expression is.
#[derive(Clone, Debug)]
pub(super) enum Meaning {
    Scalars(Scalars),
    Place(Place),
}

impl<'m> Body<'m> {
    /// What an expression is: as it was emitted, or made here.
    pub(super) fn value(&mut self, handle: Handle<Expression>) -> Taken<Meaning> {
        match self.frame().known.get(&handle) {
            Some(known) => Ok(known.clone()),
            None => self.expression(handle),
        }
    }

    pub(super) fn scalars(&mut self, handle: Handle<Expression>) -> Taken<Scalars> {
        match self.value(handle)? {
            Meaning::Scalars(scalars) => Ok(scalars),
            Meaning::Place(_) => {
                let message = "a pointer where a value is wanted".to_owned();
                Err(Refusal { message, span: self.span(handle) })
            }
        }
    }

    pub(super) fn scalar(&mut self, handle: Handle<Expression>) -> Taken<Value> {
        match self.scalars(handle)?.as_slice() {
            [one] => Ok(*one),
            _ => {
                let message = "a vector where a scalar is wanted".to_owned();
                Err(Refusal { message, span: self.span(handle) })
            }
        }
    }

    pub(super) fn pointer(&mut self, handle: Handle<Expression>) -> Taken<Place> {
        match self.value(handle)? {
            Meaning::Place(place) => Ok(place),
            Meaning::Scalars(_) => {
                let message = "a value where a pointer is wanted".to_owned();
                Err(Refusal { message, span: self.span(handle) })
            }
        }
    }

    pub(super) fn span(&self, handle: Handle<Expression>) -> naga::Span {
        self.frame().function.expressions.get_span(handle)
    }

    /// The type of an expression.
    pub(super) fn inner(&self, handle: Handle<Expression>) -> TypeInner {
        let inner = self.frame().info[handle].ty.inner_with(&self.module.naga().types);
        self.types.sized(inner.clone())
    }

    pub(super) fn expression(&mut self, handle: Handle<Expression>) -> Taken<Meaning> {
        let function = self.frame().function;
        let span = self.span(handle);
        self.at(span);
        let refuse = |what: &str| Err(Refusal { message: format!("{what} not taken"), span });
        let scalars = match &function.expressions[handle] {
            Expression::GlobalVariable(variable) => {
                return Ok(Meaning::Place(self.global_place(*variable, span)?));
            }
            Expression::LocalVariable(variable) => {
                let place = self.frame().variables.get(variable).cloned();
                let message = "a variable before its declaration".to_owned();
                return place.map(Meaning::Place).ok_or(Refusal { message, span });
            }
            Expression::FunctionArgument(at) => {
                return Ok(self.frame().arguments[*at as usize].clone());
            }
            Expression::Access { base, index } => return self.access(*base, *index, span),
            Expression::AccessIndex { base, index } => {
                return self.access_part(*base, *index, span);
            }
            Expression::Literal(literal) => vec![self.literal(literal, span)?],
            Expression::Constant(constant) => {
                let init = self.module.naga().constants[*constant].init;
                self.constant_expression(init)?
            }
            Expression::ZeroValue(ty) => self.zeros(*ty, span)?,
            Expression::Compose { components, .. } => {
                let mut scalars = Vec::new();
                for component in components {
                    scalars.extend(self.scalars(*component)?);
                }
                scalars
            }
            Expression::Splat { size, value } => vec![self.scalar(*value)?; *size as usize],
            Expression::Swizzle { size, vector, pattern } => {
                let vector = self.scalars(*vector)?;
                pattern[..*size as usize].iter().map(|&lane| vector[lane as usize]).collect()
            }
            Expression::Load { pointer } => {
                let place = self.pointer(*pointer)?;
                self.load(&place, span)?
            }
            Expression::Unary { op, expr } => self.unary(*op, *expr, span)?,
            Expression::Binary { op, left, right } => self.binary(*op, *left, *right, span)?,
            Expression::Select { condition, accept, reject } => {
                let condition = self.scalars(*condition)?;
                let (a, b) = (self.scalars(*accept)?, self.scalars(*reject)?);
                let of = |at: usize| condition[at.min(condition.len() - 1)];
                let pairs = a.into_iter().zip(b).enumerate();
                pairs.map(|(at, (a, b))| self.b.select(of(at), a, b)).collect()
            }
            Expression::Relational { fun, argument } => self.relational(*fun, *argument, span)?,
            Expression::Math { fun, arg, arg1, arg2, arg3 } => {
                let others = [*arg1, *arg2, *arg3];
                self.math(*fun, *arg, others, span)?
            }
            Expression::As { expr, kind, convert } => self.cast(*expr, *kind, *convert, span)?,
            Expression::ArrayLength(pointer) => {
                let place = self.pointer(*pointer)?;
                vec![self.length(&place, span)?]
            }
            // Their statements have said what they are.
            Expression::CallResult(_)
            | Expression::AtomicResult { .. }
            | Expression::WorkGroupUniformLoadResult { .. } => {
                return refuse("a result before its statement is");
            }
            // Module::kernel has put constants in their places.
            Expression::Override(_) => return refuse("constants that a pipeline sets are"),
            Expression::ImageSample { .. }
            | Expression::ImageLoad { .. }
            | Expression::ImageQuery { .. } => return refuse("textures are"),
            Expression::Derivative { .. } => return refuse("derivatives are"),
            Expression::SubgroupBallotResult | Expression::SubgroupOperationResult { .. } => {
                return refuse("subgroup operations are");
            }
            _ => return refuse("this expression is"),
        };
        Ok(Meaning::Scalars(scalars))
    }

    /// An expression of the module's own, outside of functions.
    pub(super) fn constant_expression(&mut self, handle: Handle<Expression>) -> Taken<Scalars> {
        let expressions = &self.module.naga().global_expressions;
        let span = expressions.get_span(handle);
        Ok(match &expressions[handle] {
            Expression::Literal(literal) => vec![self.literal(literal, span)?],
            Expression::Constant(constant) => {
                let init = self.module.naga().constants[*constant].init;
                self.constant_expression(init)?
            }
            Expression::ZeroValue(ty) => self.zeros(*ty, span)?,
            Expression::Compose { components, .. } => {
                let mut scalars = Vec::new();
                for component in components {
                    scalars.extend(self.constant_expression(*component)?);
                }
                scalars
            }
            Expression::Splat { size, value } => {
                let value = self.constant_expression(*value)?;
                vec![value[0]; *size as usize]
            }
            _ => {
                let message = "this constant expression is not taken".to_owned();
                return Err(Refusal { message, span });
            }
        })
    }

    fn literal(&mut self, literal: &Literal, span: naga::Span) -> Taken<Value> {
        let c: Const = match *literal {
            Literal::Bool(v) => v.into(),
            Literal::I32(v) => v.into(),
            Literal::U32(v) => v.into(),
            Literal::F32(v) => v.into(),
            Literal::I64(v) => v.into(),
            Literal::U64(v) => v.into(),
            Literal::F64(v) => v.into(),
            _ => {
                let message = "a literal of this type is not taken".to_owned();
                return Err(Refusal { message, span });
            }
        };
        Ok(self.b.constant(c))
    }

    pub(super) fn zero(&mut self, ty: Type) -> Value {
        self.b.constant(Const::zero(ty))
    }

    fn zeros(&mut self, ty: Handle<naga::Type>, span: naga::Span) -> Taken<Scalars> {
        let leaves = self.types.leaves(&self.types.inner(ty), span)?;
        Ok(leaves.into_iter().map(|leaf| self.zero(leaf.ty)).collect())
    }

    /// The same number, truth or bits as another type that memory holds them in.
    pub(super) fn as_type(&mut self, value: Value, ty: Type) -> Value {
        let from = self.b.function().ty(value);
        match (from, ty) {
            _ if from == ty => value,
            (Type::Bool, _) => {
                let (one, zero) = (self.b.constant(Const::one(ty)), self.zero(ty));
                self.b.select(value, one, zero)
            }
            (_, Type::Bool) => {
                let zero = self.zero(from);
                self.b.binary(BinaryOp::Ne, value, zero)
            }
            _ => self.b.bitcast(value, ty),
        }
    }

    /// An index as a `u32`.
    pub(super) fn as_u32(&mut self, index: Value) -> Value {
        match self.b.function().ty(index) {
            Type::U32 => index,
            // A negative index is out of range, not the first.
            Type::I32 => self.b.bitcast(index, Type::U32),
            _ => self.b.cast(index, Type::U32),
        }
    }

    // Parts

    fn access(
        &mut self,
        base: Handle<Expression>,
        index: Handle<Expression>,
        span: naga::Span,
    ) -> Taken<Meaning> {
        let at = self.scalar(index)?;
        match self.value(base)? {
            Meaning::Place(place) => Ok(Meaning::Place(self.place_element(place, at, span)?)),
            Meaning::Scalars(scalars) => {
                let inner = self.inner(base);
                let (_, leaves, _) = self.types.element(&inner, span)?;
                let at = self.as_u32(at);
                self.check_length(&inner, at);
                let parts: Vec<&[Value]> = scalars.chunks(leaves.max(1) as usize).collect();
                let mut chosen = parts.first().map(|part| part.to_vec()).unwrap_or_default();
                for (number, part) in parts.iter().enumerate().skip(1) {
                    let number = self.b.constant(number as u32);
                    let here = self.b.binary(BinaryOp::Eq, at, number);
                    for (held, &value) in chosen.iter_mut().zip(*part) {
                        *held = self.b.select(here, value, *held);
                    }
                }
                Ok(Meaning::Scalars(chosen))
            }
        }
    }

    fn access_part(
        &mut self,
        base: Handle<Expression>,
        at: u32,
        span: naga::Span,
    ) -> Taken<Meaning> {
        match self.value(base)? {
            Meaning::Place(place) => Ok(Meaning::Place(self.place_part(place, at, span)?)),
            Meaning::Scalars(scalars) => {
                let part = self.types.part(&self.inner(base), at, span)?;
                let count = self.types.leaves(&part.inner, span)?.len();
                let first = part.leaf as usize;
                Ok(Meaning::Scalars(scalars[first..first + count].to_vec()))
            }
        }
    }

    // Operators

    fn unary(
        &mut self,
        op: naga::UnaryOperator,
        expr: Handle<Expression>,
        span: naga::Span,
    ) -> Taken<Scalars> {
        element_type(&self.inner(expr), span)?;
        let op = match op {
            naga::UnaryOperator::Negate => UnaryOp::Neg,
            naga::UnaryOperator::LogicalNot | naga::UnaryOperator::BitwiseNot => UnaryOp::Not,
        };
        Ok(self.scalars(expr)?.into_iter().map(|value| self.b.unary(op, value)).collect())
    }

    fn binary(
        &mut self,
        op: BinaryOperator,
        left: Handle<Expression>,
        right: Handle<Expression>,
        span: naga::Span,
    ) -> Taken<Scalars> {
        for side in [left, right] {
            element_type(&self.inner(side), span)?;
        }
        if [left, right].into_iter().any(|side| is_matrix(&self.inner(side))) {
            return self.matrix_binary(op, left, right, span);
        }
        let op = match op {
            BinaryOperator::Add => BinaryOp::Add,
            BinaryOperator::Subtract => BinaryOp::Sub,
            BinaryOperator::Multiply => BinaryOp::Mul,
            BinaryOperator::Divide => BinaryOp::Div,
            BinaryOperator::Modulo => BinaryOp::Rem,
            BinaryOperator::Equal => BinaryOp::Eq,
            BinaryOperator::NotEqual => BinaryOp::Ne,
            BinaryOperator::Less => BinaryOp::Lt,
            BinaryOperator::LessEqual => BinaryOp::Le,
            BinaryOperator::Greater => BinaryOp::Gt,
            BinaryOperator::GreaterEqual => BinaryOp::Ge,
            BinaryOperator::And | BinaryOperator::LogicalAnd => BinaryOp::And,
            BinaryOperator::InclusiveOr | BinaryOperator::LogicalOr => BinaryOp::Or,
            BinaryOperator::ExclusiveOr => BinaryOp::Xor,
            BinaryOperator::ShiftLeft => BinaryOp::Shl,
            BinaryOperator::ShiftRight => BinaryOp::Shr,
        };
        let (a, b) = (self.scalars(left)?, self.scalars(right)?);
        // One side may be a scalar for all lanes.
        let count = a.len().max(b.len());
        let mut scalars = Vec::with_capacity(count);
        for at in 0..count {
            let (x, mut y) = (a[at.min(a.len() - 1)], b[at.min(b.len() - 1)]);
            let (tx, ty) = (self.b.function().ty(x), self.b.function().ty(y));
            if matches!(op, BinaryOp::Shl | BinaryOp::Shr) && tx != ty {
                y = if tx.bits() == ty.bits() { self.b.bitcast(y, tx) } else { self.b.cast(y, tx) };
            }
            scalars.push(self.b.checked_binary(op, x, y));
        }
        Ok(scalars)
    }

    fn relational(
        &mut self,
        fun: naga::RelationalFunction,
        argument: Handle<Expression>,
        span: naga::Span,
    ) -> Taken<Scalars> {
        scalar_type(&self.inner(argument), span)?;
        let values = self.scalars(argument)?;
        let fold = |body: &mut Self, op: BinaryOp, values: &[Value]| {
            let (first, rest) = (values[0], &values[1..]);
            rest.iter().fold(first, |all, &value| body.b.binary(op, all, value))
        };
        Ok(match fun {
            naga::RelationalFunction::All => vec![fold(self, BinaryOp::And, &values)],
            naga::RelationalFunction::Any => vec![fold(self, BinaryOp::Or, &values)],
            naga::RelationalFunction::IsNan => {
                values.into_iter().map(|v| self.b.binary(BinaryOp::Ne, v, v)).collect()
            }
            naga::RelationalFunction::IsInf => values
                .into_iter()
                .map(|v| {
                    let size = self.b.unary(UnaryOp::Abs, v);
                    let ty = self.b.function().ty(v);
                    let infinity = crate::eval::cast(Const::from(f64::INFINITY), ty);
                    let infinity = self.b.constant(infinity);
                    self.b.binary(BinaryOp::Eq, size, infinity)
                })
                .collect(),
        })
    }

    fn cast(
        &mut self,
        expr: Handle<Expression>,
        kind: ScalarKind,
        convert: Option<u8>,
        span: naga::Span,
    ) -> Taken<Scalars> {
        let from = element_type(&self.inner(expr), span)?;
        let width = convert.unwrap_or(from.bytes() as u8);
        let to = scalar(naga::Scalar { kind, width }, span)?;
        let values = self.scalars(expr)?;
        let each = |value: Value| match (convert, from, to) {
            (Some(_), Type::Bool, _) | (Some(_), _, Type::Bool) => self.as_type(value, to),
            (None, ..) if from != to => self.b.bitcast(value, to),
            (Some(_), ..) if from != to => self.b.cast(value, to),
            _ => value,
        };
        Ok(values.into_iter().map(each).collect())
    }

    // The invocation's place

    /// The arguments of the entry point: built-in inputs, alone or in structures.
    pub(super) fn entry_arguments(&mut self) -> Taken<()> {
        let function = self.frame().function;
        for argument in &function.arguments {
            let scalars = match &argument.binding {
                Some(binding) => self.builtin(binding)?,
                None => {
                    let TypeInner::Struct { members, .. } = self.types.inner(argument.ty) else {
                        let message = "an argument of an entry point without a binding".to_owned();
                        return Err(Refusal { message, span: naga::Span::UNDEFINED });
                    };
                    let mut scalars = Vec::new();
                    for member in &members {
                        if let Some(binding) = &member.binding {
                            scalars.extend(self.builtin(binding)?);
                        }
                    }
                    scalars
                }
            };
            self.frame_mut().arguments.push(Meaning::Scalars(scalars));
        }
        Ok(())
    }

    fn builtin(&mut self, binding: &Binding) -> Taken<Scalars> {
        let refuse = |what: String| {
            let message = format!("{what} is not taken");
            Err(Refusal { message, span: naga::Span::UNDEFINED })
        };
        let Binding::BuiltIn(builtin) = binding else {
            return refuse("an input at a location".to_owned());
        };
        let axes = Axis::ALL;
        Ok(match builtin {
            BuiltIn::GlobalInvocationId => {
                axes.map(|axis| self.along(axis, Inst::Id(axis))).to_vec()
            }
            BuiltIn::LocalInvocationId => axes.map(|axis| self.local_id(axis)).to_vec(),
            BuiltIn::WorkGroupId => axes.map(|axis| self.along(axis, Inst::Group(axis))).to_vec(),
            BuiltIn::LocalInvocationIndex => {
                let mut number = self.local_id(Axis::X);
                let mut stride = self.workgroup[0];
                for axis in [Axis::Y, Axis::Z] {
                    let (place, by) = (self.local_id(axis), self.b.constant(stride));
                    let above = self.b.binary(BinaryOp::Mul, place, by);
                    number = self.b.binary(BinaryOp::Add, above, number);
                    stride *= self.workgroup[axis.index()];
                }
                vec![number]
            }
            BuiltIn::NumWorkGroups => axes.map(|axis| self.groups_along(axis)).to_vec(),
            BuiltIn::WorkGroupSize => self.workgroup.map(|n| self.b.constant(n)).to_vec(),
            other => return refuse(format!("the input {other:?}")),
        })
    }

    /// A position along an axis, which the grid then has; 0 along one that nobody asks for.
    fn along(&mut self, axis: Axis, inst: Inst) -> Value {
        if axis.index() >= self.axes_used {
            return self.b.constant(0u32);
        }
        self.b.value(Type::U32, inst)
    }

    /// The number of workgroups along an axis.
    fn groups_along(&mut self, axis: Axis) -> Value {
        if axis.index() >= self.axes_used {
            return self.b.constant(1u32);
        }
        let extent = self.b.value(Type::U32, Inst::Extent(axis));
        let size = self.b.constant(self.workgroup[axis.index()]);
        self.b.binary(BinaryOp::Div, extent, size)
    }

    fn local_id(&mut self, axis: Axis) -> Value {
        if self.workgroup[axis.index()] == 1 {
            return self.b.constant(0u32);
        }
        self.b.value(Type::U32, Inst::Local(axis))
    }

    /// How many axes the entry point's inputs are asked for.
    pub(super) fn named_axes(&self) -> usize {
        let function = self.frames[0].function;
        let places = self.position_inputs();
        let mut axes = 0;
        let mut note = |used: Handle<Expression>, count: usize| {
            if places.contains(&used) {
                axes = axes.max(count);
            }
        };
        for (_, expression) in function.expressions.iter() {
            match expression {
                Expression::AccessIndex { base, index } => note(*base, *index as usize + 1),
                Expression::Swizzle { vector, size, pattern } => {
                    let lanes = &pattern[..*size as usize];
                    let last = lanes.iter().map(|&lane| lane as usize).max().unwrap_or(0);
                    note(*vector, last + 1);
                }
                // Used as a whole: any component may be looked at.
                other => operands(other).into_iter().for_each(|used| note(used, 3)),
            }
        }
        let leaves = |stmt: &Statement| match stmt {
            Statement::Store { value, .. } => places.contains(value),
            Statement::Call { arguments, .. } => arguments.iter().any(|a| places.contains(a)),
            _ => false,
        };
        if any(&function.body, &leaves) { 3 } else { axes }
    }

    /// The expressions that are positions in the grid or numbers of workgroups.
    fn position_inputs(&self) -> Vec<Handle<Expression>> {
        let function = self.frames[0].function;
        let is_place = |binding: Option<&Binding>| {
            matches!(
                binding,
                Some(Binding::BuiltIn(
                    BuiltIn::GlobalInvocationId | BuiltIn::WorkGroupId | BuiltIn::NumWorkGroups
                ))
            )
        };
        let expressions = &function.expressions;
        let found = expressions.iter().filter(|(_, expression)| match expression {
            Expression::FunctionArgument(at) => {
                is_place(function.arguments[*at as usize].binding.as_ref())
            }
            Expression::AccessIndex { base, index } => {
                let Expression::FunctionArgument(at) = expressions[*base] else { return false };
                match self.types.inner(function.arguments[at as usize].ty) {
                    TypeInner::Struct { members, .. } => {
                        is_place(members[*index as usize].binding.as_ref())
                    }
                    _ => false,
                }
            }
            _ => false,
        });
        found.map(|(handle, _)| handle).collect()
    }
}

/// The expressions that one is made of, but for parts of vectors and structures.
fn operands(expression: &Expression) -> Vec<Handle<Expression>> {
    match expression {
        Expression::Access { base, .. } => vec![*base],
        Expression::Compose { components, .. } => components.clone(),
        Expression::Splat { value, .. } => vec![*value],
        Expression::Unary { expr, .. } | Expression::As { expr, .. } => vec![*expr],
        Expression::Binary { left, right, .. } => vec![*left, *right],
        Expression::Select { condition, accept, reject } => vec![*condition, *accept, *reject],
        Expression::Relational { argument, .. } => vec![*argument],
        Expression::Math { arg, arg1, arg2, arg3, .. } => {
            [Some(*arg), *arg1, *arg2, *arg3].into_iter().flatten().collect()
        }
        _ => Vec::new(),
    }
}
