//! Statements of an entry point, and of the functions it calls, in place of their calls.

use std::collections::{HashMap, HashSet};

use naga::{AddressSpace, Expression, Handle, Statement, StorageAccess, TypeInner};

use super::expr::Meaning;
use super::layout::{Types, scalar};
use super::place::{Place, Root};
use super::{Module, Refusal, Taken};
use crate::ir::builder::Builder;
use crate::ir::{
    Access, AtomicOp, BinaryOp, Function, Local, ParamDef, ParamKind, Span, Stmt, Type, Value,
};
use crate::verify::WORKGROUP_MAX;

/// How deep functions call each other at most.
const CALLS_MAX: usize = 64;

/// Values of a kernel at most, every function written out at each of its calls.
const VALUES_MAX: usize = 1 << 18;

/// An entry point while it is written.
pub(super) struct Body<'m> {
    pub(super) module: &'m Module,
    pub(super) types: Types<'m>,
    pub(super) b: Builder,
    pub(super) workgroup: [u32; 3],
    globals: HashMap<Handle<naga::GlobalVariable>, Place>,
    /// The function at hand, innermost last.
    pub(super) frames: Vec<Frame<'m>>,
    /// Grid axes whose place is asked for.
    pub(super) axes_used: usize,
    /// The statement before the one at hand, without those that only compute.
    pub(super) before: Option<&'m Statement>,
}

/// A function whose statements are being written.
pub(super) struct Frame<'m> {
    pub(super) function: &'m naga::Function,
    pub(super) info: &'m naga::valid::FunctionInfo,
    pub(super) arguments: Vec<Meaning>,
    /// What emitted expressions are.
    pub(super) known: HashMap<Handle<Expression>, Meaning>,
    pub(super) variables: HashMap<Handle<naga::LocalVariable>, Place>,
    /// What the function gives.
    result: Vec<Local>,
    /// Set when the function has returned inside a loop.
    returned: Option<Local>,
    /// What `continue` runs before the next passage of each loop around.
    continuing: Vec<Continuing<'m>>,
}

/// The end of a loop's passage.
#[derive(Clone, Copy)]
struct Continuing<'m> {
    block: &'m naga::Block,
    break_if: Option<Handle<Expression>>,
}

impl<'m> Body<'m> {
    pub(super) fn new(
        module: &'m Module,
        point: &'m naga::EntryPoint,
        at: usize,
    ) -> Taken<Body<'m>> {
        let sizes = point.workgroup_size;
        let refuse = |message: String| Err(Refusal { message, span: naga::Span::UNDEFINED });
        let invocations: u64 = sizes.iter().map(|&n| u64::from(n)).product();
        if invocations > u64::from(WORKGROUP_MAX) {
            return refuse(format!("a workgroup of {sizes:?}, it can have {WORKGROUP_MAX}"));
        }
        let frame = Frame::new(&point.function, module.info.get_entry_point(at), Vec::new());
        let mut body = Body {
            module,
            types: Types(&module.naga),
            b: Builder::new(point.name.clone()),
            workgroup: sizes,
            globals: HashMap::new(),
            frames: vec![frame],
            axes_used: sizes.iter().rposition(|&n| n > 1).map_or(1, |at| at + 1),
            before: None,
        };
        body.axes_used = body.axes_used.max(body.named_axes());
        let used = used_globals(module, at);
        body.buffers(&used)?;
        body.uniforms(&used)?;
        body.variables(&used)?;
        Ok(body)
    }

    /// The buffers that are arrays of scalars.
    pub(super) fn plain_buffers(&self) -> Vec<u32> {
        let plain = |place: &Place| match (&place.root, &place.inner) {
            (Root::Memory(param, _), TypeInner::Array { base, .. }) => {
                let inner = self.types.inner(*base);
                matches!(inner, TypeInner::Scalar(_) | TypeInner::Atomic(_)).then_some(param.0)
            }
            _ => None,
        };
        self.globals.values().filter_map(plain).collect()
    }

    pub(super) fn axes(&self) -> usize {
        self.axes_used
    }

    pub(super) fn finish(self) -> Function {
        let mut entry = self.b.finish();
        entry.compact();
        entry
    }

    // Global variables

    fn buffers(&mut self, used: &[Handle<naga::GlobalVariable>]) -> Taken<()> {
        let indexed = indexed_globals(self.module);
        for &handle in used {
            let (variable, span) = self.global(handle);
            let access = match variable.space {
                AddressSpace::Storage { access } => access,
                // No scalar parameter has an index that is found at run time.
                AddressSpace::Uniform if indexed.contains(&handle) => StorageAccess::LOAD,
                _ => continue,
            };
            let inner = self.types.inner(variable.ty);
            let (element, atomic) = self.element_type(&inner, span)?;
            let access = match (atomic, access.contains(StorageAccess::STORE)) {
                (true, _) => Access::Atomic,
                (false, true) => Access::ReadWrite,
                (false, false) => Access::Read,
            };
            let kind = ParamKind::Buffer { element, access };
            self.memory(handle, kind, element, inner);
        }
        Ok(())
    }

    fn memory(
        &mut self,
        handle: Handle<naga::GlobalVariable>,
        kind: ParamKind,
        element: Type,
        inner: TypeInner,
    ) {
        let (variable, _) = self.global(handle);
        let name = variable.name.clone().unwrap_or_else(|| format!("binding{}", handle.index()));
        let param = self.b.param(ParamDef { name, kind });
        let root = Root::Memory(param, element);
        let place = Place { root, inner, leaf: 0, offset: 0, dynamic: None };
        self.globals.insert(handle, place);
    }

    fn global(
        &self,
        handle: Handle<naga::GlobalVariable>,
    ) -> (&'m naga::GlobalVariable, naga::Span) {
        let globals = &self.module.naga.global_variables;
        (&globals[handle], globals.get_span(handle))
    }

    /// The type that a buffer's elements have: that of its scalars, or `u32` where they differ.
    fn element_type(&self, inner: &TypeInner, span: naga::Span) -> Taken<(Type, bool)> {
        let leaves = self.types.memory_leaves(inner, span)?;
        if leaves.iter().any(|leaf| leaf.ty == Type::Bool) {
            let message = "`bool` in memory that is shared: use `u32`".to_owned();
            return Err(Refusal { message, span });
        }
        let (count, of_all) = atomics(&self.types, inner);
        if count > 0 && !of_all {
            let message = "a buffer of atomics and other things: give it two".to_owned();
            return Err(Refusal { message, span });
        }
        let Some(first) = leaves.first() else {
            return Err(Refusal { message: "an empty buffer".to_owned(), span });
        };
        if leaves.iter().all(|leaf| leaf.ty == first.ty) {
            return Ok((first.ty, count > 0));
        }
        if leaves.iter().any(|leaf| leaf.ty.is_wide()) {
            let message = "a buffer of 64-bit and other numbers: give it two".to_owned();
            return Err(Refusal { message, span });
        }
        Ok((Type::U32, count > 0))
    }

    fn uniforms(&mut self, used: &[Handle<naga::GlobalVariable>]) -> Taken<()> {
        for &handle in used {
            let (variable, span) = self.global(handle);
            let refused = match variable.space {
                AddressSpace::Uniform if self.globals.contains_key(&handle) => continue,
                AddressSpace::Uniform => None,
                AddressSpace::Immediate => None,
                AddressSpace::Handle => Some("textures and samplers are not taken"),
                AddressSpace::Storage { .. } | AddressSpace::WorkGroup | AddressSpace::Private => {
                    continue;
                }
                _ => Some("variables of this address space are not taken"),
            };
            if let Some(message) = refused {
                return Err(Refusal { message: message.to_owned(), span });
            }
            let inner = self.types.inner(variable.ty);
            let base = variable.name.clone().unwrap_or_else(|| "uniform".to_owned());
            let mut params = Vec::new();
            for (at, leaf) in self.types.leaves(&inner, span)?.into_iter().enumerate() {
                let ty = if leaf.ty == Type::Bool { Type::U32 } else { leaf.ty };
                params.push(self.b.scalar(self.leaf_name(&base, &inner, at as u32), ty));
            }
            let root = Root::Uniforms(params);
            let place = Place { root, inner, leaf: 0, offset: 0, dynamic: None };
            self.globals.insert(handle, place);
        }
        Ok(())
    }

    /// `params_n` for the member `n` of `params`.
    fn leaf_name(&self, base: &str, inner: &TypeInner, at: u32) -> String {
        if let TypeInner::Struct { members, .. } = inner {
            let mut before = 0;
            for member in members {
                let inside = self.types.inner(member.ty);
                let span = naga::Span::UNDEFINED;
                let count = self.types.leaves(&inside, span).map_or(0, |l| l.len() as u32);
                if at < before + count {
                    let name = member.name.as_deref().unwrap_or("member");
                    return self.leaf_name(&format!("{base}_{name}"), &inside, at - before);
                }
                before += count;
            }
        }
        match inner {
            TypeInner::Scalar(_) => base.to_owned(),
            _ => format!("{base}_{at}"),
        }
    }

    fn variables(&mut self, used: &[Handle<naga::GlobalVariable>]) -> Taken<()> {
        for &handle in used {
            let (variable, span) = self.global(handle);
            let inner = self.types.inner(variable.ty);
            match variable.space {
                AddressSpace::WorkGroup => {
                    let (element, atomic) = self.element_type(&inner, span)?;
                    let last = self.types.leaves(&inner, span)?.last().copied();
                    let bytes = element.bytes() as u32;
                    let len = last.map_or(0, |leaf| leaf.offset / bytes + 1);
                    let kind = ParamKind::Shared { element, len, atomic };
                    self.memory(handle, kind, element, inner);
                }
                AddressSpace::Private => {
                    let place = self.variable(inner, true, span)?;
                    if let Some(init) = variable.init {
                        let value = self.constant_expression(init)?;
                        self.store(&place, &value, span)?;
                    }
                    self.globals.insert(handle, place);
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn global_place(
        &self,
        handle: Handle<naga::GlobalVariable>,
        span: naga::Span,
    ) -> Taken<Place> {
        self.globals
            .get(&handle)
            .cloned()
            .ok_or_else(|| Refusal { message: "a variable that no binding gives".to_owned(), span })
    }

    // Variables

    /// A variable; `indexed` where an index into it may be found at run time.
    fn variable(&mut self, inner: TypeInner, indexed: bool, span: naga::Span) -> Taken<Place> {
        let leaves = self.types.leaves(&inner, span)?;
        let composite = !matches!(inner, TypeInner::Scalar(_));
        let root = if indexed && composite {
            let first = leaves.first().map_or(Type::U32, |leaf| leaf.ty);
            let same = leaves.iter().all(|leaf| leaf.ty == first);
            if !same && leaves.iter().any(|leaf| leaf.ty.is_wide()) {
                let message = "an indexed variable of 64-bit and other numbers".to_owned();
                return Err(Refusal { message, span });
            }
            let ty = if same { first } else { Type::U32 };
            Root::Array(self.b.local(ty, Some(leaves.len() as u32)))
        } else {
            Root::Locals(leaves.iter().map(|leaf| self.b.local(leaf.ty, None)).collect())
        };
        Ok(Place { root, inner, leaf: 0, offset: 0, dynamic: None })
    }

    fn declare(&mut self) -> Taken<()> {
        let function = self.frame().function;
        let indexed = indexed_variables(function);
        for (handle, variable) in function.local_variables.iter() {
            let span = function.local_variables.get_span(handle);
            let inner = self.types.inner(variable.ty);
            let place = self.variable(inner, indexed.contains(&handle), span)?;
            let leaves = self.types.leaves(&place.inner, span)?;
            if let (Some(name), Root::Locals(locals)) = (&variable.name, &place.root) {
                locals.iter().for_each(|local| self.b.name_local(*local, name));
            } else if let (Some(name), Root::Array(local)) = (&variable.name, &place.root) {
                self.b.name_local(*local, name);
            }
            let value = match variable.init {
                Some(init) => self.scalars(init)?,
                // A function that is called again finds its variables as new.
                None if self.frames.len() == 1 => Vec::new(),
                None => leaves.iter().map(|leaf| self.zero(leaf.ty)).collect(),
            };
            self.store(&place, &value, span)?;
            self.frame_mut().variables.insert(handle, place);
        }
        Ok(())
    }

    pub(super) fn frame(&self) -> &Frame<'m> {
        self.frames.last().expect("a function is being written")
    }

    pub(super) fn frame_mut(&mut self) -> &mut Frame<'m> {
        self.frames.last_mut().expect("a function is being written")
    }

    // Statements

    pub(super) fn run(&mut self) -> Taken<()> {
        self.entry_arguments()?;
        self.declare()?;
        let function = self.frame().function;
        self.block(&function.body)
    }

    pub(super) fn block(&mut self, block: &'m naga::Block) -> Taken<()> {
        self.statements(block, 0..block.len())
    }

    /// Some statements of a block.
    pub(super) fn statements(
        &mut self,
        block: &'m naga::Block,
        range: std::ops::Range<usize>,
    ) -> Taken<()> {
        self.before = None;
        for (stmt, span) in block.span_iter().skip(range.start).take(range.len()) {
            self.at(*span);
            if self.b.function().values.len() > VALUES_MAX {
                let message = format!("more than {VALUES_MAX} values, functions at each call");
                return Err(Refusal { message, span: *span });
            }
            self.stmt(stmt, *span)?;
            if !matches!(stmt, Statement::Emit(_)) {
                self.before = Some(stmt);
            }
        }
        Ok(())
    }

    pub(super) fn at(&mut self, span: naga::Span) {
        if span.is_defined() && !self.module.source.is_empty() {
            let place = span.location(&self.module.source);
            self.b.at(Span { file: 0, line: place.line_number, column: place.line_position });
        }
    }

    fn stmt(&mut self, stmt: &'m Statement, span: naga::Span) -> Taken<()> {
        let refuse = |message: &str| Err(Refusal { message: message.to_owned(), span });
        match stmt {
            Statement::Emit(range) => {
                for handle in range.clone() {
                    let value = self.expression(handle)?;
                    self.frame_mut().known.insert(handle, value);
                }
            }
            Statement::Block(block) => self.block(block)?,
            Statement::If { condition, accept, reject } => {
                let condition = self.scalar(*condition)?;
                let then = self.nested(accept)?;
                let otherwise = self.nested(reject)?;
                self.b.stmt(Stmt::If { condition, then, otherwise });
            }
            Statement::Switch { selector, cases } => self.switch(*selector, cases, span)?,
            Statement::Loop { body, continuing, break_if } => {
                if !self.counted(stmt)? {
                    self.repeat(body, Continuing { block: continuing, break_if: *break_if })?;
                }
            }
            Statement::Break => self.b.stmt(Stmt::Break),
            Statement::Continue => {
                self.end_passage()?;
                self.b.stmt(Stmt::Continue);
            }
            Statement::Return { value } => self.leave(*value, span)?,
            Statement::Store { pointer, value } => {
                let scalars = self.scalars(*value)?;
                let place = self.pointer(*pointer)?;
                self.store(&place, &scalars, span)?;
            }
            Statement::Atomic { pointer, fun, value, result } => {
                let operand = self.scalar(*value)?;
                let place = self.pointer(*pointer)?;
                let scalars = match fun {
                    naga::AtomicFunction::Exchange { compare: Some(expected) } => {
                        let expected = self.scalar(*expected)?;
                        let before = self.compare_swap(&place, [expected, operand], span)?;
                        // What a comparison gives is a structure of both.
                        vec![before, self.b.binary(BinaryOp::Eq, before, expected)]
                    }
                    _ => vec![self.atomic(atomic_op(fun), &place, operand, span)?],
                };
                if let Some(result) = result {
                    self.frame_mut().known.insert(*result, Meaning::Scalars(scalars));
                }
            }
            Statement::ControlBarrier(_) => {
                let at = self.b.span();
                self.b.stmt(Stmt::Barrier(at));
            }
            // What it orders is ordered by the barriers around it.
            Statement::MemoryBarrier(_) => {}
            Statement::WorkGroupUniformLoad { pointer, result } => {
                let at = self.b.span();
                self.b.stmt(Stmt::Barrier(at));
                let place = self.pointer(*pointer)?;
                let scalars = self.load(&place, span)?;
                self.b.stmt(Stmt::Barrier(at));
                self.frame_mut().known.insert(*result, Meaning::Scalars(scalars));
            }
            Statement::Call { function, arguments, result } => {
                self.call(*function, arguments, *result, span)?;
            }
            Statement::Kill => return refuse("`discard` is not for compute shaders"),
            Statement::ImageStore { .. } | Statement::ImageAtomic { .. } => {
                return refuse("textures are not taken: use storage buffers");
            }
            Statement::SubgroupBallot { .. }
            | Statement::SubgroupGather { .. }
            | Statement::SubgroupCollectiveOperation { .. } => {
                return refuse("subgroup operations are not taken: use workgroup memory");
            }
            _ => return refuse("this statement is not taken"),
        }
        Ok(())
    }

    pub(super) fn nested(&mut self, block: &'m naga::Block) -> Taken<crate::ir::Block> {
        self.b.open();
        let done = self.block(block);
        let block = self.b.close();
        done.map(|()| block)
    }

    fn repeat(&mut self, body: &'m naga::Block, continuing: Continuing<'m>) -> Taken<()> {
        self.frame_mut().continuing.push(continuing);
        self.b.open();
        let done = self.block(body).and_then(|()| self.end_passage());
        let block = self.b.close();
        self.frame_mut().continuing.pop();
        done?;
        self.b.stmt(Stmt::Loop(block));
        self.leave_after_loop();
        Ok(())
    }

    /// Enters a loop that counts, whose passages end without statements of their own.
    pub(super) fn count_loop(
        &mut self,
        body: &'m naga::Block,
        range: std::ops::Range<usize>,
    ) -> Taken<()> {
        static NOTHING: naga::Block = naga::Block::new();
        self.frame_mut().continuing.push(Continuing { block: &NOTHING, break_if: None });
        let done = self.statements(body, range);
        self.frame_mut().continuing.pop();
        done
    }

    /// What stands at the end of a passage of the innermost loop.
    fn end_passage(&mut self) -> Taken<()> {
        let Some(continuing) = self.frame().continuing.last().copied() else { return Ok(()) };
        self.block(continuing.block)?;
        if let Some(condition) = continuing.break_if {
            let condition = self.scalar(condition)?;
            self.b.if_else(condition, |b| b.stmt(Stmt::Break), |_| {});
        }
        Ok(())
    }

    fn switch(
        &mut self,
        selector: Handle<Expression>,
        cases: &'m [naga::SwitchCase],
        span: naga::Span,
    ) -> Taken<()> {
        let selector = self.scalar(selector)?;
        // Values of cases without a body of their own.
        let mut pending = Vec::new();
        let mut arms: Vec<(Vec<Value>, bool, &'m naga::Block)> = Vec::new();
        let mut default = false;
        for case in cases {
            match case.value {
                naga::SwitchValue::I32(n) => pending.push(self.equals(selector, n.into())),
                naga::SwitchValue::U32(n) => pending.push(self.equals(selector, n.into())),
                naga::SwitchValue::Default => default = true,
            }
            if case.fall_through {
                if !case.body.is_empty() {
                    let message = "a case that falls through after statements".to_owned();
                    return Err(Refusal { message, span });
                }
                continue;
            }
            arms.push((std::mem::take(&mut pending), std::mem::take(&mut default), &case.body));
        }
        // The default is taken where no other case is, wherever it stands.
        arms.sort_by_key(|(_, default, _)| *default);
        self.arms(&arms, span)
    }

    fn equals(&mut self, selector: Value, c: crate::ir::Const) -> Value {
        let c = self.b.constant(c);
        self.b.binary(BinaryOp::Eq, selector, c)
    }

    fn arms(
        &mut self,
        arms: &[(Vec<Value>, bool, &'m naga::Block)],
        span: naga::Span,
    ) -> Taken<()> {
        let Some(((values, default, block), rest)) = arms.split_first() else { return Ok(()) };
        let count = without_last_break(block);
        if breaks(&block[..count]) {
            let message = "a `break` inside a case: put the rest into an `if`".to_owned();
            return Err(Refusal { message, span });
        }
        if *default {
            return self.statements(block, 0..count);
        }
        let mut any = self.b.constant(false);
        for &value in values {
            any = self.b.binary(BinaryOp::Or, any, value);
        }
        self.b.open();
        let done = self.statements(block, 0..count);
        let then = self.b.close();
        done?;
        self.b.open();
        let done = self.arms(rest, span);
        let otherwise = self.b.close();
        done?;
        self.b.stmt(Stmt::If { condition: any, then, otherwise });
        Ok(())
    }

    // Functions

    fn call(
        &mut self,
        handle: Handle<naga::Function>,
        arguments: &[Handle<Expression>],
        result: Option<Handle<Expression>>,
        span: naga::Span,
    ) -> Taken<()> {
        if self.frames.len() >= CALLS_MAX {
            let message = format!("more than {CALLS_MAX} calls, one in another");
            return Err(Refusal { message, span });
        }
        let mut values = Vec::new();
        for &argument in arguments {
            values.push(self.value(argument)?);
        }
        let function = &self.module.naga.functions[handle];
        let mut frame = Frame::new(function, &self.module.info[handle], values);
        if let Some(result) = &function.result {
            let inner = self.types.inner(result.ty);
            for leaf in self.types.leaves(&inner, span)? {
                frame.result.push(self.b.local(leaf.ty, None));
            }
        }
        let early = returns_early(&function.body);
        if early {
            let returned = self.b.local(Type::Bool, None);
            let no = self.b.constant(false);
            self.b.set(returned, no);
            frame.returned = Some(returned);
        }
        self.frames.push(frame);
        let done = if early { self.once() } else { self.inside() };
        let frame = self.frames.pop();
        done?;
        if let (Some(handle), Some(frame)) = (result, frame) {
            let scalars = frame.result.iter().map(|&local| self.b.get(local)).collect();
            self.frame_mut().known.insert(handle, Meaning::Scalars(scalars));
        }
        Ok(())
    }

    fn inside(&mut self) -> Taken<()> {
        self.declare()?;
        let function = self.frame().function;
        self.block(&function.body)
    }

    /// A body that returns early, as the one passage of a loop: to return is to leave it.
    fn once(&mut self) -> Taken<()> {
        let (start, end) = (self.b.constant(0u32), self.b.constant(1u32));
        let counter = self.b.counter(Type::U32);
        self.b.open();
        let done = self.inside();
        let body = self.b.close();
        done?;
        self.b.stmt(Stmt::For { counter, start, end, step: 1, body });
        Ok(())
    }

    fn leave(&mut self, value: Option<Handle<Expression>>, span: naga::Span) -> Taken<()> {
        if self.frames.len() == 1 {
            self.b.stmt(Stmt::Return);
            return Ok(());
        }
        if let Some(value) = value {
            let scalars = self.scalars(value)?;
            let result = self.frame().result.clone();
            if result.len() != scalars.len() {
                return Err(Refusal { message: "a result of another shape".to_owned(), span });
            }
            for (local, value) in result.into_iter().zip(scalars) {
                self.b.set(local, value);
            }
        }
        if let Some(returned) = self.frame().returned {
            let yes = self.b.constant(true);
            self.b.set(returned, yes);
            self.b.stmt(Stmt::Break);
        }
        Ok(())
    }

    /// Behind a loop in which the function may have returned.
    pub(super) fn leave_after_loop(&mut self) {
        let frame = self.frame();
        let Some(returned) = frame.returned else {
            return;
        };
        let gone = self.b.get(returned);
        self.b.if_else(gone, |b| b.stmt(Stmt::Break), |_| {});
    }
}

impl<'m> Frame<'m> {
    fn new(
        function: &'m naga::Function,
        info: &'m naga::valid::FunctionInfo,
        arguments: Vec<Meaning>,
    ) -> Frame<'m> {
        Frame {
            function,
            info,
            arguments,
            known: HashMap::new(),
            variables: HashMap::new(),
            result: Vec::new(),
            returned: None,
            continuing: Vec::new(),
        }
    }

    /// Whether the statement at hand stands in a loop of the function.
    pub(super) fn is_in_loop(&self) -> bool {
        !self.continuing.is_empty()
    }
}

/// The variables that the entry point uses, in the order of their bindings.
fn used_globals(module: &Module, at: usize) -> Vec<Handle<naga::GlobalVariable>> {
    let info = module.info.get_entry_point(at);
    let variables = module.naga.global_variables.iter();
    let mut used: Vec<_> = variables
        .filter(|(handle, _)| !info[*handle].is_empty())
        .map(|(handle, v)| (v, handle))
        .collect();
    used.sort_by_key(|(variable, handle)| {
        let binding = variable.binding.as_ref().map(|b| (b.group, b.binding));
        (binding.unwrap_or((u32::MAX, u32::MAX)), handle.index())
    });
    used.into_iter().map(|(_, handle)| handle).collect()
}

/// The atomic scalars of a type, and whether all are.
fn atomics(types: &Types<'_>, inner: &TypeInner) -> (usize, bool) {
    match inner {
        TypeInner::Atomic(_) => (1, true),
        TypeInner::Array { base, .. } => atomics(types, &types.inner(*base)),
        TypeInner::Struct { members, .. } => {
            let each: Vec<_> = members.iter().map(|m| atomics(types, &types.inner(m.ty))).collect();
            (each.iter().map(|(n, _)| n).sum(), each.iter().all(|(_, all)| *all))
        }
        _ => (0, false),
    }
}

/// The variables outside of functions into which some index is found at run time.
fn indexed_globals(module: &Module) -> HashSet<Handle<naga::GlobalVariable>> {
    let points = module.naga.entry_points.iter().map(|point| &point.function);
    let functions = module.naga.functions.iter().map(|(_, function)| function).chain(points);
    let roots = functions.flat_map(|function| {
        indexed_roots(function).filter_map(|root| match function.expressions[root] {
            Expression::GlobalVariable(variable) => Some(variable),
            _ => None,
        })
    });
    roots.collect()
}

/// What is indexed by values that are found at run time.
fn indexed_roots(function: &naga::Function) -> impl Iterator<Item = Handle<Expression>> + '_ {
    let root = |mut at: Handle<Expression>| loop {
        match function.expressions[at] {
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => at = base,
            _ => return at,
        }
    };
    function.expressions.iter().filter_map(move |(_, expression)| match expression {
        Expression::Access { base, .. } => Some(root(*base)),
        _ => None,
    })
}

/// The variables of a function into which some index is found at run time.
fn indexed_variables(function: &naga::Function) -> HashSet<Handle<naga::LocalVariable>> {
    let variable = |at: Handle<Expression>| match function.expressions[at] {
        Expression::LocalVariable(variable) => Some(variable),
        _ => None,
    };
    let mut found: HashSet<_> = indexed_roots(function).filter_map(variable).collect();
    // A pointer that is passed on may be indexed there.
    let variables = function.expressions.iter().filter_map(|(at, _)| variable(at));
    found.extend(variables.filter(|variable| is_passed(function, *variable)));
    found
}

fn is_passed(function: &naga::Function, variable: Handle<naga::LocalVariable>) -> bool {
    let is = |handle: &Handle<Expression>| matches!(function.expressions[*handle], Expression::LocalVariable(v) if v == variable);
    any(&function.body, &|stmt| match stmt {
        Statement::Call { arguments, .. } => arguments.iter().any(is),
        _ => false,
    })
}

/// Whether a block has such a statement, inside others too.
pub(super) fn any(block: &[Statement], is: &dyn Fn(&Statement) -> bool) -> bool {
    block.iter().any(|stmt| {
        is(stmt)
            || match stmt {
                Statement::Block(block) => any(block, is),
                Statement::If { accept, reject, .. } => any(accept, is) || any(reject, is),
                Statement::Switch { cases, .. } => cases.iter().any(|case| any(&case.body, is)),
                Statement::Loop { body, continuing, .. } => any(body, is) || any(continuing, is),
                _ => false,
            }
    })
}

/// Whether a function returns elsewhere than at its end.
fn returns_early(body: &naga::Block) -> bool {
    let before = match body.split_last() {
        Some((Statement::Return { .. }, before)) => before,
        _ => &body[..],
    };
    any(before, &|stmt| matches!(stmt, Statement::Return { .. }))
}

/// How many statements a case has, without the `break` at its end.
fn without_last_break(block: &naga::Block) -> usize {
    match block.last() {
        Some(Statement::Break) => block.len() - 1,
        _ => block.len(),
    }
}

/// Whether a `break` in the statements leaves what is around them.
fn breaks(block: &[Statement]) -> bool {
    block.iter().any(|stmt| match stmt {
        Statement::Break => true,
        Statement::Block(block) => breaks(block),
        Statement::If { accept, reject, .. } => breaks(accept) || breaks(reject),
        _ => false,
    })
}

fn atomic_op(fun: &naga::AtomicFunction) -> AtomicOp {
    match fun {
        naga::AtomicFunction::Add => AtomicOp::Add,
        naga::AtomicFunction::Subtract => AtomicOp::Sub,
        naga::AtomicFunction::And => AtomicOp::And,
        naga::AtomicFunction::ExclusiveOr => AtomicOp::Xor,
        naga::AtomicFunction::InclusiveOr => AtomicOp::Or,
        naga::AtomicFunction::Min => AtomicOp::Min,
        naga::AtomicFunction::Max => AtomicOp::Max,
        naga::AtomicFunction::Exchange { .. } => AtomicOp::Swap,
    }
}

/// The type of the elements of a scalar, vector or matrix.
pub(super) fn element_type(inner: &TypeInner, span: naga::Span) -> Taken<Type> {
    match inner {
        TypeInner::Matrix { scalar: s, .. } => scalar(*s, span),
        other => scalar_type(other, span),
    }
}

/// The type of a scalar expression.
pub(super) fn scalar_type(inner: &TypeInner, span: naga::Span) -> Taken<Type> {
    match inner {
        TypeInner::Scalar(s) | TypeInner::Vector { scalar: s, .. } | TypeInner::Atomic(s) => {
            scalar(*s, span)
        }
        other => {
            let message = format!("arithmetic on {}", super::layout::describe(other));
            Err(Refusal { message, span })
        }
    }
}
