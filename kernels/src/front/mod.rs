//! The front end: from the untyped tree of `#[kernel]` to the IR.
//!
//! ```text
//! Def ─ decode ─► Definition ─ infer ─► typed tree ─ lower ─► ir::Function     (once per signature)
//! ```
//!
//! Typing is a small bidirectional inference: literals and variables start open and are narrowed
//! from both sides; what stays open becomes `i32` or `f64`, as in Rust. Helpers are instantiated for
//! the types of their calls. Complaints are collected, not thrown: one run reports them all.

mod consts;
mod inclusive;
mod infer;
mod lower;
mod method;
#[cfg(feature = "source")]
pub mod source;
mod typed;
mod types;

use std::sync::Arc;

use crossover_syntax::tree::{self, Tree};

use crate::analysis::uniform;
use crate::error::{Diagnostic, KernelError};
use crate::ir::{
    Collective, CollectiveKind, CollectiveOp, Extent, Function, Helper, Inst, Kernel, Param,
    ParamKind, Stmt, Type,
};
use crate::lang::Def;
use crate::verify::verify;

/// A kernel's definition with its tree decoded.
#[derive(Debug)]
pub struct Definition {
    /// The tree.
    pub tree: Tree,
    /// The source file.
    pub file: Arc<str>,
    /// The helpers it calls, in the tree's order.
    pub helpers: Vec<Arc<Definition>>,
}

impl Definition {
    /// Decodes what `#[kernel]` stored.
    ///
    /// # Errors
    /// [`KernelError::Blob`] when the bytes are of another version.
    ///
    /// ```
    /// use crossover_kernels::{front::Definition, library::saxpy::saxpy};
    /// let definition = Definition::decode(saxpy::DEF)?;
    /// assert_eq!((definition.tree.name.as_str(), definition.helpers.len()), ("saxpy", 0));
    /// # Ok::<(), crossover_kernels::error::KernelError>(())
    /// ```
    pub fn decode(def: &Def) -> Result<Arc<Definition>, KernelError> {
        let tree = crossover_syntax::decode(def.tree)
            .map_err(|_| KernelError::Blob { kernel: def.name.to_owned() })?;
        let helpers =
            def.helpers.iter().map(|h| Definition::decode(h)).collect::<Result<_, _>>()?;
        Ok(Arc::new(Definition { tree, file: def.file.into(), helpers }))
    }
}

/// The kernel for these generic types and constants, verified but not optimised.
///
/// # Errors
/// [`KernelError`]: every complaint about the source.
///
/// ```
/// use crossover_kernels::{front, library::saxpy::saxpy};
/// let kernel = front::kernel(saxpy::DEF, &[], &[])?;
/// let names: Vec<&str> = kernel.entry.params.iter().map(|param| param.name.as_str()).collect();
/// assert_eq!(names, ["a", "x", "y"]);
/// # Ok::<(), crossover_kernels::error::KernelError>(())
/// ```
pub fn kernel(def: &Def, types: &[Type], consts: &[usize]) -> Result<Kernel, KernelError> {
    instantiate(&Definition::decode(def)?, types, consts)
}

/// The kernel of a definition for these generic types and constants, verified but not optimised.
///
/// # Errors
/// [`KernelError`]: every complaint about the source.
///
/// ```
/// use crossover_kernels::{front::{self, Definition}, library::saxpy::saxpy};
/// let definition = Definition::decode(saxpy::DEF)?;
/// let kernel = front::instantiate(&definition, &[], &[])?;
/// assert_eq!(kernel.hash(), front::kernel(saxpy::DEF, &[], &[])?.hash());
/// # Ok::<(), crossover_kernels::error::KernelError>(())
/// ```
pub fn instantiate(
    definition: &Arc<Definition>,
    types: &[Type],
    consts: &[usize],
) -> Result<Kernel, KernelError> {
    let mut session = Session::default();
    let request =
        Request { definition: definition.clone(), types: types.to_vec(), consts: consts.to_vec() };
    let built = session.build(&request);
    let kernel = match built {
        Some(entry) if session.diagnostics.is_empty() => session.assemble(&request, entry),
        _ => None,
    };
    let Some(kernel) = kernel else {
        let kernel = definition.tree.name.clone();
        return Err(KernelError::Source { kernel, diagnostics: session.diagnostics });
    };
    refuse_divergent_barrier(&kernel)?;
    verify(&kernel)?;
    Ok(kernel)
}

pub(crate) fn refuse_divergent_barrier(kernel: &Kernel) -> Result<(), KernelError> {
    let Some(span) = uniform::divergent_barrier(kernel) else { return Ok(()) };
    let diagnostic = Diagnostic {
        location: kernel.location(span),
        message: "not all invocations of a workgroup come to this barrier".to_owned(),
        help: Some(
            "decide the `if` or loop around it, and any `return` before it, by arguments, constants \
             or `id.group` alone"
                .to_owned(),
        ),
    };
    Err(KernelError::Source { kernel: kernel.entry.name.clone(), diagnostics: vec![diagnostic] })
}

/// A function wanted for certain types.
#[derive(Clone, Debug)]
struct Request {
    definition: Arc<Definition>,
    types: Vec<Type>,
    consts: Vec<usize>,
}

impl PartialEq for Request {
    fn eq(&self, other: &Request) -> bool {
        Arc::ptr_eq(&self.definition, &other.definition)
            && self.types == other.types
            && self.consts == other.consts
    }
}

/// What is shared while a kernel and its helpers are built.
#[derive(Default)]
struct Session {
    diagnostics: Vec<Diagnostic>,
    files: Vec<Arc<str>>,
    /// Helper instances in the order in which they were asked for; `None` while under way.
    helpers: Vec<(Request, Option<Function>)>,
}

impl Session {
    /// The index of a source file in the kernel's table.
    fn file(&mut self, file: &Arc<str>) -> u32 {
        let at = self.files.iter().position(|f| f == file).unwrap_or_else(|| {
            self.files.push(file.clone());
            self.files.len() - 1
        });
        at as u32
    }

    fn build(&mut self, request: &Request) -> Option<Function> {
        let typed = infer::infer(self, request)?;
        Some(lower::lower(self, request, typed))
    }

    /// The helper for a call's types, built at the first request.
    fn helper(&mut self, request: &Request) -> Option<Helper> {
        if let Some(at) = self.helpers.iter().position(|(known, _)| known == request) {
            return Some(Helper(at as u32));
        }
        let at = self.helpers.len();
        self.helpers.push((request.clone(), None));
        let function = self.build(request)?;
        self.helpers[at].1 = Some(function);
        Some(Helper(at as u32))
    }

    fn assemble(&mut self, request: &Request, mut entry: Function) -> Option<Kernel> {
        let tree = &request.definition.tree;
        let mut helpers = Vec::new();
        for (_, function) in std::mem::take(&mut self.helpers) {
            helpers.push(function?);
        }
        let order = callers_first(&entry, &helpers);
        let renumber =
            |h: Helper| Helper(order.iter().position(|&o| o == h.index()).unwrap_or(0) as u32);
        for function in helpers.iter_mut().chain([&mut entry]) {
            map_calls(function, &renumber);
        }
        let mut taken: Vec<Option<Function>> = helpers.into_iter().map(Some).collect();
        let helpers = order.iter().filter_map(|&at| taken[at].take()).collect();
        let grid = grid(tree, request);
        let collective = tree.collective.map(collective);
        let files = std::mem::take(&mut self.files);
        let workgroup = workgroup(tree, request);
        let contract = tree.contract;
        Some(Kernel { entry, helpers, grid, workgroup, collective, contract, files })
    }
}

/// The helpers in an order in which each calls only itself and later ones.
fn callers_first(entry: &Function, helpers: &[Function]) -> Vec<usize> {
    fn visit(at: usize, helpers: &[Function], done: &mut Vec<usize>) {
        if done.contains(&at) {
            return;
        }
        for callee in callees(&helpers[at]).into_iter().filter(|callee| *callee != at) {
            visit(callee, helpers, done);
        }
        done.push(at);
    }
    let mut done = Vec::new();
    for callee in callees(entry) {
        visit(callee, helpers, &mut done);
    }
    done.reverse();
    done
}

fn callees(function: &Function) -> Vec<usize> {
    let mut found: Vec<usize> = function
        .values
        .iter()
        .filter_map(|v| match &v.inst {
            Inst::Call(helper, _) => Some(helper.index()),
            _ => None,
        })
        .collect();
    function.walk(&mut |stmt| {
        if let Stmt::CallVoid(helper, ..) = stmt {
            found.push(helper.index());
        }
    });
    found
}

fn map_calls(function: &mut Function, f: &impl Fn(Helper) -> Helper) {
    fn block(stmts: &mut [Stmt], f: &impl Fn(Helper) -> Helper) {
        for stmt in stmts {
            if let Stmt::CallVoid(helper, ..) = stmt {
                *helper = f(*helper);
            }
            for inner in stmt.blocks_mut() {
                block(inner, f);
            }
        }
    }
    for value in &mut function.values {
        if let Inst::Call(helper, _) = &mut value.inst {
            *helper = f(*helper);
        }
    }
    block(&mut function.body, f);
}

/// The grid that the attribute names, else the length of the first `&mut` slice, else of the first
/// slice.
fn grid(tree: &Tree, request: &Request) -> Vec<Extent> {
    let position =
        |name: &str| tree.params.iter().position(|p| p.name == name).map(|at| Param(at as u32));
    if tree.grid.is_empty() {
        let find = |kind: &dyn Fn(tree::ParamKind) -> bool| {
            tree.params.iter().position(|p| kind(p.kind)).map(|at| Extent::Len(Param(at as u32)))
        };
        let default = find(&|k| k == tree::ParamKind::SliceMut)
            .or_else(|| find(&|k| k != tree::ParamKind::Scalar))
            .unwrap_or(Extent::Fixed(1));
        return vec![default];
    }
    let extent = |e: &tree::Extent| match e {
        tree::Extent::Fixed(n) => Extent::Fixed(*n),
        tree::Extent::Len(name) => position(&name.text).map_or(Extent::Fixed(0), Extent::Len),
        tree::Extent::Name(name) => match position(&name.text) {
            Some(param) => Extent::Scalar(param),
            None => Extent::Fixed(const_generic(request, &name.text).unwrap_or(0)),
        },
    };
    tree.grid.iter().map(extent).collect()
}

/// The sizes that the attribute names; unused axes are 1.
fn workgroup(tree: &Tree, request: &Request) -> Option<[u32; 3]> {
    if tree.workgroup.is_empty() {
        return None;
    }
    let mut sizes = [1; 3];
    for (extent, size) in tree.workgroup.iter().zip(&mut sizes) {
        *size = match extent {
            tree::Extent::Fixed(n) => *n,
            tree::Extent::Name(name) => const_generic(request, &name.text).unwrap_or(0),
            tree::Extent::Len(_) => 0,
        };
    }
    Some(sizes)
}

/// The value of a const parameter.
fn const_generic(request: &Request, name: &str) -> Option<u32> {
    let generics = &request.definition.tree.generics;
    let at = generics
        .iter()
        .filter(|g| g.kind == tree::GenericKind::Const)
        .position(|g| g.name == name)?;
    u32::try_from(*request.consts.get(at)?).ok()
}

/// The type that a name stands for: a scalar's, or a type parameter's argument.
fn named_type(request: &Request, name: &str) -> Option<Type> {
    let generics = &request.definition.tree.generics;
    let at =
        generics.iter().filter(|g| g.kind != tree::GenericKind::Const).position(|g| g.name == name);
    match at {
        Some(at) => request.types.get(at).copied(),
        None => Type::from_name(name),
    }
}

fn collective(c: tree::Collective) -> Collective {
    let kind = if c.scan { CollectiveKind::Scan } else { CollectiveKind::Reduce };
    let op = match c.op {
        tree::CollectiveOp::Add => CollectiveOp::Add,
        tree::CollectiveOp::Mul => CollectiveOp::Mul,
        tree::CollectiveOp::Min => CollectiveOp::Min,
        tree::CollectiveOp::Max => CollectiveOp::Max,
        tree::CollectiveOp::And => CollectiveOp::And,
        tree::CollectiveOp::Or => CollectiveOp::Or,
        tree::CollectiveOp::Xor => CollectiveOp::Xor,
    };
    Collective { kind, op }
}

/// The kind of a parameter, for these generic types.
fn param_kind(param: &tree::Param, ty: Type) -> ParamKind {
    use crate::ir::Access;
    let buffer = |access| ParamKind::Buffer { element: ty, access };
    match param.kind {
        tree::ParamKind::Scalar => ParamKind::Scalar(ty),
        tree::ParamKind::Slice => buffer(Access::Read),
        tree::ParamKind::SliceMut => buffer(Access::ReadWrite),
        tree::ParamKind::Atomics => buffer(Access::Atomic),
    }
}
