//! What must hold of a kernel. Passes run it after every step in debug builds; text and foreign
//! input pass it before anything else sees them. Verified input cannot panic a back end.
//!
//! 1. Every parameter, local, helper and site that is named exists, and is of the right kind.
//! 2. A value is defined once, by a `Let` or as a counter, and its definition dominates its uses.
//! 3. Operands and results have the types the operator table says.
//! 4. Buffers hold storable types; stores go to `ReadWrite`, atomics to `Atomic` buffers of 32-bit
//!    integers, loads come from the others.
//! 5. `Break` and `Continue` stand in a loop; nothing follows them or a `Return` in a block.
//! 6. A helper calls only later ones, or itself as the last thing that it does
//!    ([`crate::passes::tail`]); arguments fit; an `Id` is the entry's alone.
//! 7. Shared arrays, barriers and places in a workgroup belong to entries with workgroups; a barrier
//!    stands where all invocations of a group come together ([`crate::analysis::uniform`]).
//! 8. The grid has one to three extents from `u32` scalars or buffers; a collective has one, a
//!    result that its operator takes, and an output buffer of that type as last parameter.

use crate::analysis::uniform;
use crate::error::KernelError;
use crate::ir::{
    Access, Block, CallArg, Extent, Function, Helper, Inst, Kernel, Local, Param, ParamKind, Stmt,
    Trap, Type, Value,
};
use crate::passes::tail;

/// Invocations of a workgroup at most.
pub const WORKGROUP_MAX: u32 = 1024;

/// Bytes that the invocations of a workgroup can share at most.
pub const SHARED_BYTES_MAX: u64 = 16 << 20;

/// Checks every rule in the head of this file.
///
/// # Errors
/// [`KernelError::Invalid`] with the first rule that is broken.
pub fn verify(kernel: &Kernel) -> Result<(), KernelError> {
    verify_kernel(kernel)
        .map_err(|message| KernelError::Invalid { kernel: kernel.entry.name.clone(), message })
}

fn verify_kernel(kernel: &Kernel) -> Result<(), String> {
    verify_function(kernel, &kernel.entry, None)?;
    for (at, helper) in kernel.helpers.iter().enumerate() {
        verify_function(kernel, helper, Some(Helper(at as u32)))
            .map_err(|message| format!("helper `{}`: {message}", helper.name))?;
    }
    verify_workgroup(kernel)?;
    verify_grid(kernel)
}

fn verify_workgroup(kernel: &Kernel) -> Result<(), String> {
    let Some(size) = kernel.workgroup else { return Ok(()) };
    let invocations = size.iter().fold(1u64, |all, &n| all.saturating_mul(u64::from(n)));
    if !(1..=u64::from(WORKGROUP_MAX)).contains(&invocations) {
        return Err(format!("a workgroup of {invocations}, it can have 1 to {WORKGROUP_MAX}"));
    }
    if size.iter().skip(kernel.grid.len()).any(|&n| n != 1) {
        return Err("the workgroup has more axes than the grid".into());
    }
    if kernel.collective.is_some() {
        return Err("a collective has no workgroups".into());
    }
    match uniform::divergent_barrier(kernel) {
        None => Ok(()),
        Some(span) => {
            Err(format!("{}: not all of a workgroup come to this barrier", kernel.location(span)))
        }
    }
}

fn verify_grid(kernel: &Kernel) -> Result<(), String> {
    let entry = &kernel.entry;
    if !(1..=3).contains(&kernel.grid.len()) {
        return Err(format!("the grid has {} axes, it can have 1 to 3", kernel.grid.len()));
    }
    for extent in &kernel.grid {
        match *extent {
            Extent::Len(p) if entry.element(p).is_some() => {}
            Extent::Scalar(p) if scalar(entry, p) == Some(Type::U32) => {}
            Extent::Fixed(_) | Extent::Given => {}
            Extent::Len(p) | Extent::Scalar(p) => {
                return Err(format!("grid extent {p} is neither a buffer nor a u32"));
            }
        }
    }
    match (kernel.collective, kernel.contribution()) {
        (None, None) => Ok(()),
        (Some(_), None) => Err("a collective has no result".into()),
        (None, Some(_)) => Err("the entry has a result but is no collective".into()),
        (Some(collective), Some(ty)) => {
            if !collective.op.accepts(ty) {
                return Err(format!("collective {} does not take {ty}", collective.op));
            }
            if kernel.grid.len() != 1 {
                return Err("a collective has a grid of one axis".into());
            }
            let output = entry.params.last().map(|p| p.kind);
            if output != Some(ParamKind::Buffer { element: ty, access: Access::ReadWrite }) {
                return Err("a collective's last parameter is its output buffer".into());
            }
            Ok(())
        }
    }
}

/// Shared arrays stand behind the arguments of an entry with workgroups.
fn verify_shared(
    kernel: &Kernel,
    function: &Function,
    helper: Option<Helper>,
) -> Result<(), String> {
    let arity = function.arity();
    let bytes = function.shared().map(|(_, ty, len)| u64::from(len) * ty.bytes() as u64);
    let bytes = bytes.fold(0, u64::saturating_add);
    if bytes > SHARED_BYTES_MAX {
        return Err(format!("{bytes} bytes of shared arrays, the most is {SHARED_BYTES_MAX}"));
    }
    for (param, element, len) in function.shared() {
        let name = &function.params[param.index()].name;
        if helper.is_some() || kernel.workgroup.is_none() || kernel.collective.is_some() {
            return Err(format!("shared array `{name}` in a function without workgroups"));
        }
        if param.index() < arity {
            return Err(format!("shared array `{name}` stands before an argument"));
        }
        if element == Type::Bool || len == 0 {
            return Err(format!("shared array `{name}` of {len} {element}"));
        }
    }
    Ok(())
}

/// Whether the statement, or one inside it, is such a one.
fn contains(stmt: &Stmt, is: &impl Fn(&Stmt) -> bool) -> bool {
    is(stmt) || stmt.blocks().into_iter().flatten().any(|inner| contains(inner, is))
}

fn scalar(function: &Function, param: Param) -> Option<Type> {
    match function.params.get(param.index())?.kind {
        ParamKind::Scalar(ty) => Some(ty),
        ParamKind::Buffer { .. } | ParamKind::Shared { .. } => None,
    }
}

struct Verifier<'a> {
    kernel: &'a Kernel,
    function: &'a Function,
    helper: Option<Helper>,
    /// Whether a value's definition dominates the statement at hand.
    visible: Vec<bool>,
    defined: Vec<bool>,
}

fn verify_function(
    kernel: &Kernel,
    function: &Function,
    helper: Option<Helper>,
) -> Result<(), String> {
    for param in &function.params {
        if let ParamKind::Buffer { element, access } = param.kind {
            if element == Type::Bool {
                return Err(format!("buffer `{}` holds bool", param.name));
            }
            if access == Access::Atomic && !matches!(element, Type::I32 | Type::U32) {
                return Err(format!("atomic buffer `{}` holds {element}", param.name));
            }
        }
    }
    verify_shared(kernel, function, helper)?;
    for local in &function.locals {
        if local.array == Some(0) {
            return Err("an array has no elements".into());
        }
    }
    if let Some(result) = function.result
        && function.locals.get(result.index()).is_none_or(|l| l.array.is_some())
    {
        return Err("the result is not a plain variable".into());
    }
    for site in &function.sites {
        if let Trap::Bounds(p) = site.trap
            && function.element(p).is_none()
        {
            return Err(format!("a site names {p}, which is no buffer"));
        }
    }
    let mut verifier = Verifier {
        kernel,
        function,
        helper,
        visible: vec![false; function.values.len()],
        defined: vec![false; function.values.len()],
    };
    verifier.block(&function.body, 0)
}

impl Verifier<'_> {
    fn block(&mut self, block: &Block, loops: usize) -> Result<(), String> {
        let mut here = Vec::new();
        for (at, stmt) in block.iter().enumerate() {
            self.stmt(stmt, loops, &mut here)?;
            let ends = matches!(stmt, Stmt::Break | Stmt::Continue | Stmt::Return);
            if ends && at + 1 < block.len() {
                return Err("a statement follows a jump in the same block".into());
            }
        }
        for value in here {
            self.visible[Value::index(value)] = false;
        }
        Ok(())
    }

    fn stmt(&mut self, stmt: &Stmt, loops: usize, here: &mut Vec<Value>) -> Result<(), String> {
        match stmt {
            Stmt::Let(value) => {
                self.let_value(*value)?;
                here.push(*value);
            }
            Stmt::Set(local, value) => {
                let ty = self.variable(*local)?;
                self.expect(*value, ty, "set")?;
            }
            Stmt::SetElement(local, index, value) => {
                let ty = self.array(*local)?;
                self.expect(*index, Type::U32, "array index")?;
                self.expect(*value, ty, "array element")?;
            }
            Stmt::Store(buffer, index, value) => {
                let ty = self.buffer(*buffer, &[Access::ReadWrite])?;
                self.expect(*index, Type::U32, "store index")?;
                self.expect(*value, ty, "stored value")?;
            }
            Stmt::AtomicStore(buffer, index, value) => {
                let ty = self.buffer(*buffer, &[Access::Atomic])?;
                self.expect(*index, Type::U32, "store index")?;
                self.expect(*value, ty, "stored value")?;
            }
            Stmt::Check { condition, site, index } => {
                self.expect(*condition, Type::Bool, "check")?;
                if self.function.sites.get(site.index()).is_none() {
                    return Err(format!("check of {site}, which does not exist"));
                }
                if let Some(index) = index {
                    self.expect(*index, Type::U32, "checked index")?;
                }
            }
            Stmt::If { condition, then, otherwise } => {
                self.expect(*condition, Type::Bool, "if")?;
                self.block(then, loops)?;
                self.block(otherwise, loops)?;
            }
            Stmt::For { counter, start, end, step, body } => {
                self.counter_loop(*counter, *start, *end, *step)?;
                self.visible[counter.index()] = true;
                self.block(body, loops + 1)?;
                self.visible[counter.index()] = false;
            }
            Stmt::Loop(body) => self.block(body, loops + 1)?,
            Stmt::CallVoid(helper, args, _) => {
                self.call(*helper, args)?;
            }
            Stmt::Barrier(_) if self.kernel.workgroup.is_none() || self.helper.is_some() => {
                return Err("a barrier in a function without workgroups".into());
            }
            Stmt::Barrier(_) => {}
            Stmt::Each(body) => self.each(body)?,
            Stmt::Break | Stmt::Continue if loops == 0 => {
                return Err("break or continue outside a loop".into());
            }
            Stmt::Break | Stmt::Continue | Stmt::Return => {}
        }
        Ok(())
    }

    fn each(&mut self, body: &Block) -> Result<(), String> {
        let mut inner = false;
        for stmt in body {
            inner |= contains(stmt, &|stmt| matches!(stmt, Stmt::Each(_) | Stmt::Barrier(_)));
        }
        if inner || self.kernel.workgroup.is_none() || self.helper.is_some() {
            return Err("`each` stands in an entry with workgroups, without barriers inside".into());
        }
        self.block(body, 0)
    }

    fn counter_loop(
        &mut self,
        counter: Value,
        start: Value,
        end: Value,
        step: u32,
    ) -> Result<(), String> {
        self.define(counter)?;
        let def = self.function.def(counter);
        if def.inst != Inst::Counter || !def.ty.is_int() {
            return Err(format!("{counter} counts a loop but is no integer counter"));
        }
        self.expect(start, def.ty, "loop start")?;
        self.expect(end, def.ty, "loop end")?;
        if step == 0 {
            return Err(format!("the loop over {counter} has step 0"));
        }
        Ok(())
    }

    fn define(&mut self, value: Value) -> Result<(), String> {
        match self.defined.get_mut(value.index()) {
            None => Err(format!("{value} does not exist")),
            Some(true) => Err(format!("{value} is defined twice")),
            Some(defined) => {
                *defined = true;
                Ok(())
            }
        }
    }

    fn let_value(&mut self, value: Value) -> Result<(), String> {
        self.define(value)?;
        let def = self.function.def(value);
        let wrong = |what: &str| Err(format!("{value}: {what}"));
        let operand = |at: usize| self.seen(def.inst.operands()[at]);
        match &def.inst {
            Inst::Const(_)
            | Inst::Param(_)
            | Inst::Id(_)
            | Inst::Local(_)
            | Inst::Group(_)
            | Inst::Extent(_)
            | Inst::Len(_) => self.leaf(value)?,
            Inst::Counter => return wrong("a counter is defined by its loop"),
            Inst::Unary(op, _) => {
                if !op.accepts(operand(0)?) || operand(0)? != def.ty {
                    return wrong("operand type");
                }
            }
            Inst::Binary(op, ..) => {
                let ty = operand(0)?;
                if operand(1)? != ty || !op.accepts(ty) || op.result(ty) != def.ty {
                    return wrong("operand types");
                }
            }
            Inst::Fma(..) => {
                let same = operand(0)? == def.ty && operand(1)? == def.ty && operand(2)? == def.ty;
                if !same || !def.ty.is_float() {
                    return wrong("fma of other types");
                }
            }
            Inst::Select(..) => {
                if operand(0)? != Type::Bool || operand(1)? != def.ty || operand(2)? != def.ty {
                    return wrong("select of other types");
                }
            }
            Inst::Cast(_) => {
                operand(0)?;
                if def.ty == Type::Bool {
                    return wrong("cast to bool: compare with zero instead");
                }
            }
            Inst::Bitcast(_) => {
                if operand(0)?.bits() != def.ty.bits() || def.ty == Type::Bool {
                    return wrong("bitcast between widths");
                }
            }
            Inst::Get(local) => {
                if self.variable(*local)? != def.ty {
                    return wrong("variable of another type");
                }
            }
            Inst::GetElement(local, index) => {
                self.expect(*index, Type::U32, "array index")?;
                if self.array(*local)? != def.ty {
                    return wrong("array of another type");
                }
            }
            Inst::Load(buffer, index) => {
                self.expect(*index, Type::U32, "load index")?;
                if self.buffer(*buffer, &[Access::Read, Access::ReadWrite])? != def.ty {
                    return wrong("buffer of another type");
                }
            }
            Inst::AtomicLoad(buffer, index) => {
                self.expect(*index, Type::U32, "load index")?;
                if self.buffer(*buffer, &[Access::Atomic])? != def.ty {
                    return wrong("buffer of another type");
                }
            }
            Inst::Atomic(_, buffer, index, operand) => {
                self.expect(*index, Type::U32, "atomic index")?;
                let ty = self.buffer(*buffer, &[Access::Atomic])?;
                self.expect(*operand, ty, "atomic operand")?;
                if ty != def.ty {
                    return wrong("buffer of another type");
                }
            }
            Inst::CompareSwap(buffer, index, expected, new) => {
                self.expect(*index, Type::U32, "atomic index")?;
                let ty = self.buffer(*buffer, &[Access::Atomic])?;
                self.expect(*expected, ty, "atomic operand")?;
                self.expect(*new, ty, "atomic operand")?;
                if ty != def.ty {
                    return wrong("buffer of another type");
                }
            }
            Inst::Call(helper, args) => {
                if self.call(*helper, args)? != Some(def.ty) {
                    return wrong("helper of another result");
                }
            }
        }
        self.visible[value.index()] = true;
        Ok(())
    }

    /// A value without operands.
    fn leaf(&self, value: Value) -> Result<(), String> {
        let def = self.function.def(value);
        let wrong = |what: &str| Err(format!("{value}: {what}"));
        match &def.inst {
            Inst::Const(c) if c.ty != def.ty => return wrong("constant of another type"),
            Inst::Const(_) => {}
            Inst::Param(p) if scalar(self.function, *p) != Some(def.ty) => {
                return wrong("not a scalar parameter of this type");
            }
            Inst::Param(_) => {}
            Inst::Id(_) | Inst::Extent(_) if self.helper.is_some() || def.ty != Type::U32 => {
                return wrong("id and extent are u32 of the entry");
            }
            Inst::Id(axis) | Inst::Extent(axis) if axis.index() >= self.kernel.grid.len() => {
                return wrong("the grid has no such axis");
            }
            Inst::Id(_) | Inst::Extent(_) => {}
            Inst::Local(_) | Inst::Group(_)
                if self.helper.is_some()
                    || def.ty != Type::U32
                    || self.kernel.workgroup.is_none() =>
            {
                return wrong("a place in a workgroup is a u32 of an entry that has workgroups");
            }
            Inst::Local(_) | Inst::Group(_) => {}
            Inst::Len(p) => {
                let kind = self.function.params.get(p.index()).map(|param| param.kind);
                if !matches!(kind, Some(ParamKind::Buffer { .. })) || def.ty != Type::U32 {
                    return wrong("len is the u32 length of a buffer");
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn call(&self, helper: Helper, args: &[CallArg]) -> Result<Option<Type>, String> {
        if self.helper.is_some_and(|own| helper < own) {
            return Err(format!("call of {helper}: helpers call only those listed after them"));
        }
        if self.helper == Some(helper) && !tail::calls_itself_last(self.function, helper) {
            return Err(format!("{helper} calls itself, and is not done then"));
        }
        let Some(callee) = self.kernel.helpers.get(helper.index()) else {
            return Err(format!("call of {helper}, which does not exist"));
        };
        if callee.params.len() != args.len() {
            return Err(format!("call of `{}` with {} arguments", callee.name, args.len()));
        }
        for (param, arg) in callee.params.iter().zip(args) {
            match (param.kind, arg) {
                (ParamKind::Scalar(ty), CallArg::Value(v)) => self.expect(*v, ty, "argument")?,
                (ParamKind::Buffer { element, access }, CallArg::Buffer(p)) => {
                    let allowed: &[Access] = match access {
                        Access::Read => &[Access::Read, Access::ReadWrite],
                        Access::ReadWrite => &[Access::ReadWrite],
                        Access::Atomic => &[Access::Atomic],
                    };
                    if self.buffer(*p, allowed)? != element {
                        return Err(format!("argument `{}` of another element type", param.name));
                    }
                }
                (ParamKind::Scalar(_), CallArg::Buffer(_))
                | (ParamKind::Buffer { .. }, CallArg::Value(_))
                | (ParamKind::Shared { .. }, _) => {
                    return Err(format!("argument `{}` of another kind", param.name));
                }
            }
        }
        Ok(callee.result.map(|local| callee.locals[local.index()].ty))
    }

    fn seen(&self, value: Value) -> Result<Type, String> {
        match self.visible.get(value.index()) {
            Some(true) => Ok(self.function.ty(value)),
            _ => Err(format!("{value} is used where its definition does not dominate")),
        }
    }

    fn expect(&self, value: Value, ty: Type, what: &str) -> Result<(), String> {
        let found = self.seen(value)?;
        if found == ty { Ok(()) } else { Err(format!("{what}: {value} is {found}, not {ty}")) }
    }

    fn variable(&self, local: Local) -> Result<Type, String> {
        match self.function.locals.get(local.index()) {
            Some(def) if def.array.is_none() => Ok(def.ty),
            _ => Err(format!("{local} is no variable")),
        }
    }

    fn array(&self, local: Local) -> Result<Type, String> {
        match self.function.locals.get(local.index()) {
            Some(def) if def.array.is_some() => Ok(def.ty),
            _ => Err(format!("{local} is no array")),
        }
    }

    fn buffer(&self, param: Param, allowed: &[Access]) -> Result<Type, String> {
        match self.function.params.get(param.index()).map(|p| p.kind) {
            Some(ParamKind::Buffer { element, access }) if allowed.contains(&access) => Ok(element),
            Some(ParamKind::Shared { element, atomic, .. }) => {
                let access = if atomic { Access::Atomic } else { Access::ReadWrite };
                if !allowed.contains(&access) {
                    return Err(format!("{param} is no shared array of access {allowed:?}"));
                }
                Ok(element)
            }
            _ => Err(format!("{param} is no buffer of access {allowed:?}")),
        }
    }
}
