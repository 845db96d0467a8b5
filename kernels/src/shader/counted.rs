//! Loops that count: `for (var i = a; i < b; i += c)` as the IR's counted loop, which back ends bound,
//! unroll and stop without looking at the clock.
//!
//! ```text
//! loop {
//!     if !(i < b) { break }        b is the same in every passage
//!     …                            i is read, not assigned
//!     continuing { i = i + c }
//! }                                nobody reads i afterwards
//! ```

use naga::{BinaryOperator, Block, Expression, Handle, Literal, LocalVariable, Statement};

use super::Taken;
use super::body::{Body, any};
use super::place::Root;
use crate::ir::{Const, Stmt, Type};

/// A loop of this form.
struct Counted<'m> {
    variable: Handle<LocalVariable>,
    end: Handle<Expression>,
    step: u32,
    body: &'m Block,
    /// Where in it the test stands, behind what only computes.
    test: usize,
}

impl<'m> Body<'m> {
    /// Writes the loop if it counts; whether it did.
    pub(super) fn counted(&mut self, stmt: &'m Statement) -> Taken<bool> {
        let Some(found) = self.find(stmt) else { return Ok(false) };
        let Some(place) = self.frame().variables.get(&found.variable).cloned() else {
            return Ok(false);
        };
        let Root::Locals(locals) = &place.root else { return Ok(false) };
        let &[local] = locals.as_slice() else { return Ok(false) };
        let ty = self.b.function().locals[local.index()].ty;
        if !matches!(ty, Type::U32 | Type::I32) {
            return Ok(false);
        }
        let start = self.b.get(local);
        // What the test needs, once for the end of the loop, and in every passage for its body.
        self.statements(found.body, 0..found.test)?;
        let end = self.scalar(found.end)?;
        let counter = self.b.counter(ty);
        self.b.open();
        self.b.set(local, counter);
        let done = self
            .statements(found.body, 0..found.test)
            .and_then(|()| self.count_loop(found.body, found.test + 1..found.body.len()));
        let body = self.b.close();
        done?;
        self.b.stmt(Stmt::For { counter, start, end, step: found.step, body });
        self.leave_after_loop();
        Ok(true)
    }

    fn find(&self, stmt: &'m Statement) -> Option<Counted<'m>> {
        let Statement::Loop { body, continuing, break_if: None } = stmt else { return None };
        let (at, test) = test(body)?;
        let rest = &body[at + 1..];
        let function = self.frame().function;
        let expression = |handle: Handle<Expression>| &function.expressions[handle];
        let Expression::Binary { op: BinaryOperator::Less, left, right } = expression(test) else {
            return None;
        };
        let variable = self.read_of(*left)?;
        let step = self.step(continuing, variable)?;
        let stores = |stmt: &Statement| match stmt {
            Statement::Store { pointer, .. } => self.is_variable(*pointer, variable),
            // Pointers are passed on: anything may be assigned.
            Statement::Call { arguments, .. } => {
                arguments.iter().any(|&argument| self.is_variable(argument, variable))
            }
            _ => false,
        };
        let fixed = self.is_fixed(*right, stmt) && !any(rest, &stores);
        // The variable ends one step short: nobody looks at it afterwards, in no later passage of a
        // loop around either.
        let passed = |stmt: &Statement| match stmt {
            Statement::Call { arguments, .. } => {
                arguments.iter().any(|&argument| self.leads_to(argument, variable))
            }
            _ => false,
        };
        let private = self.reads(&function.body, variable) == self.reads_in(stmt, variable)
            && !any(&function.body, &passed);
        let begins = match self.before {
            Some(Statement::Store { pointer, .. }) => self.is_variable(*pointer, variable),
            _ => !self.frame().is_in_loop(),
        };
        let counted = Counted { variable, end: *right, step, body, test: at };
        (fixed && private && begins).then_some(counted)
    }

    fn is_variable(&self, pointer: Handle<Expression>, variable: Handle<LocalVariable>) -> bool {
        let expressions = &self.frame().function.expressions;
        matches!(expressions[pointer], Expression::LocalVariable(v) if v == variable)
    }

    /// The scalar variable whose value an expression is.
    fn read_of(&self, handle: Handle<Expression>) -> Option<Handle<LocalVariable>> {
        let expressions = &self.frame().function.expressions;
        let Expression::Load { pointer } = expressions[handle] else { return None };
        match expressions[pointer] {
            Expression::LocalVariable(variable) => Some(variable),
            _ => None,
        }
    }

    /// `variable = variable + step`, and nothing else.
    fn step(&self, continuing: &Block, variable: Handle<LocalVariable>) -> Option<u32> {
        let mut step = None;
        for stmt in continuing.iter() {
            match stmt {
                Statement::Emit(_) => {}
                Statement::Block(inner) if step.is_none() => {
                    step = Some(self.step(inner, variable)?);
                }
                Statement::Store { pointer, value } if step.is_none() => {
                    if !self.is_variable(*pointer, variable) {
                        return None;
                    }
                    step = Some(self.added(*value, variable)?);
                }
                _ => return None,
            }
        }
        step
    }

    fn added(&self, value: Handle<Expression>, variable: Handle<LocalVariable>) -> Option<u32> {
        let expressions = &self.frame().function.expressions;
        let Expression::Binary { op: BinaryOperator::Add, left, right } = expressions[value] else {
            return None;
        };
        if self.read_of(left) != Some(variable) {
            return None;
        }
        match expressions[right] {
            Expression::Literal(Literal::I32(n)) => u32::try_from(n).ok().filter(|&n| n > 0),
            Expression::Literal(Literal::U32(n)) => (n > 0).then_some(n),
            Expression::Constant(constant) => {
                let naga = self.module.naga();
                match naga.global_expressions[naga.constants[constant].init] {
                    Expression::Literal(Literal::I32(n)) => {
                        u32::try_from(n).ok().filter(|&n| n > 0)
                    }
                    Expression::Literal(Literal::U32(n)) => (n > 0).then_some(n),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Whether an expression has one value in all passages of a loop: it reads no memory that the
    /// loop may write.
    fn is_fixed(&self, handle: Handle<Expression>, around: &Statement) -> bool {
        let emits = |stmt: &Statement| match stmt {
            Statement::Emit(range) => range.clone().any(|emitted| emitted == handle),
            _ => false,
        };
        let inside = any(std::slice::from_ref(around), &emits);
        if !inside && self.frame().known.contains_key(&handle) {
            return true;
        }
        let function = self.frame().function;
        let fixed = |handle: Handle<Expression>| self.is_fixed(handle, around);
        match &function.expressions[handle] {
            Expression::Literal(_)
            | Expression::Constant(_)
            | Expression::FunctionArgument(_)
            | Expression::ArrayLength(_) => true,
            Expression::Binary { left, right, op } => {
                !matches!(op, BinaryOperator::Divide | BinaryOperator::Modulo)
                    && fixed(*left)
                    && fixed(*right)
            }
            Expression::As { expr, .. } | Expression::Unary { expr, .. } => fixed(*expr),
            Expression::AccessIndex { base, .. } => fixed(*base),
            Expression::Load { pointer } => self.is_constant_place(*pointer, around),
            _ => false,
        }
    }

    /// Whether nobody writes behind a pointer: into a uniform, or into a variable that the loop does
    /// not assign.
    fn is_constant_place(&self, pointer: Handle<Expression>, around: &Statement) -> bool {
        let function = self.frame().function;
        match function.expressions[pointer] {
            Expression::AccessIndex { base, .. } => self.is_constant_place(base, around),
            Expression::GlobalVariable(variable) => matches!(
                self.module.naga().global_variables[variable].space,
                naga::AddressSpace::Uniform | naga::AddressSpace::Immediate
            ),
            Expression::LocalVariable(variable) => {
                let stores = |stmt: &Statement| match stmt {
                    Statement::Store { pointer, .. } => self.leads_to(*pointer, variable),
                    Statement::Call { arguments, .. } => {
                        arguments.iter().any(|&argument| self.leads_to(argument, variable))
                    }
                    _ => false,
                };
                !any(std::slice::from_ref(around), &stores)
            }
            _ => false,
        }
    }

    fn leads_to(&self, pointer: Handle<Expression>, variable: Handle<LocalVariable>) -> bool {
        match self.frame().function.expressions[pointer] {
            Expression::LocalVariable(v) => v == variable,
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => {
                self.leads_to(base, variable)
            }
            _ => false,
        }
    }

    /// Reads of a variable that a block emits.
    fn reads(&self, block: &Block, variable: Handle<LocalVariable>) -> usize {
        block.iter().map(|stmt| self.reads_in(stmt, variable)).sum()
    }

    fn reads_in(&self, stmt: &Statement, variable: Handle<LocalVariable>) -> usize {
        match stmt {
            Statement::Emit(range) => {
                range.clone().filter(|&handle| self.read_of(handle) == Some(variable)).count()
            }
            Statement::Block(block) => self.reads(block, variable),
            Statement::If { accept, reject, .. } => {
                self.reads(accept, variable) + self.reads(reject, variable)
            }
            Statement::Switch { cases, .. } => {
                cases.iter().map(|case| self.reads(&case.body, variable)).sum()
            }
            Statement::Loop { body, continuing, .. } => {
                self.reads(body, variable) + self.reads(continuing, variable)
            }
            _ => 0,
        }
    }

    /// A constant of this type, for a caller that has a number.
    pub(super) fn number(&mut self, ty: Type, value: f64) -> crate::ir::Value {
        let c = crate::eval::cast(Const::from(value), ty);
        self.b.constant(c)
    }
}

/// Where the test at the head of a loop stands, and what is tested.
fn test(body: &Block) -> Option<(usize, Handle<Expression>)> {
    let at = body.iter().position(|stmt| !matches!(stmt, Statement::Emit(_)))?;
    let Statement::If { condition, accept, reject } = &body[at] else { return None };
    let leaves = matches!(&reject[..], [Statement::Break]);
    (accept.is_empty() && leaves).then_some((at, *condition))
}
