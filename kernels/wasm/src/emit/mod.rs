//! IR to WebAssembly. A kernel becomes one module:
//!
//! ```text
//! memory 0, 1, …        one for each buffer parameter, then one for arrays, if any
//! global site, index, x, y, z, fence, partial
//! func run(x0, x1, y0, y1, z0, z1, a scalar or a length for each parameter,
//!          the grid's extents, if the kernel asks for one) -> 0 | 1
//!     for z, y:  while inside        body over tiles of v128, without what only borders need
//!                while x + 4 <= x1   body over v128,  x += 4
//!                while x < x1        body over scalars, x += 1
//! func scan(…, carry)   the same for the second pass of a scan
//! ```
//!
//! A kernel with barriers is cut into pieces first, and its function loops over workgroups
//! ([`group`], [`each`]). All bodies are emitted by the same functions. `run` returns 1 when an invocation
//! fails a check, and says in the globals which one and where; a reduction leaves what it combined
//! in `partial`.

mod affine;
mod atomic;
mod blocks;
mod body;
mod check;
mod code;
mod collective;
mod combine;
mod control;
mod copying;
mod divergence;
mod each;
mod fences;
mod fields;
mod free;
mod grid;
mod group;
mod inside;
mod inst;
mod interior;
mod lanes;
mod layout;
mod low;
mod memory;
mod module;
mod panel;
mod refilled;
mod rows;
mod scalar;
pub(crate) mod shape;
mod steps;
mod stride;
mod tile;
mod unroll;
mod walk;

use crossover_kernels::analysis::is_idempotent;
use crossover_kernels::ir::{CollectiveKind, Function, Inst, Kernel, Span, Stmt, Type, Value};
use crossover_kernels::passes::fission::fission;
use crossover_kernels::passes::refill::{Refilled, refill};

use crate::private::{Merge, privates};
use crate::schedule::Schedule;
use body::{Form, Width};
use divergence::Divergence;
use fences::Fences;
use grid::{Forms, Mode, emit_function};
use group::{GroupForms, Groups, emit_groups};
use interior::Interior;
use layout::Layout;
pub(crate) use module::memory_name;
use module::module;
use panel::Panels;
use refilled::emit_refilled;
use rows::Rows;
use tile::{SIDE_MAX, Tile};

/// The exported globals that say what failed, in order.
pub(crate) const GLOBALS: [&str; 5] = ["site", "index", "x", "y", "z"];

/// The exported global that a collective's chunk leaves its result in.
pub(crate) const PARTIAL_NAME: &str = "partial";

/// The global that is always 0, which the compiler does not know.
const FENCE: u32 = GLOBALS.len() as u32;

/// The global that a reduction leaves its result in.
const PARTIAL: u32 = FENCE + 1;

/// A construct that this back end does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at {location}")]
pub struct Unsupported {
    /// The construct, and what removes it.
    pub what: String,
    /// `file:line:column`, or `<unknown>`.
    pub location: String,
}

/// A kernel as WebAssembly.
#[derive(Clone, Debug)]
pub struct WasmModule {
    /// The module.
    pub bytes: Vec<u8>,
    /// Bytes from the start of the module to the code for a place in the source, in order.
    pub lines: Vec<(usize, Span)>,
    /// Bytes that the memory after those of the buffers needs; without any there is no such memory.
    pub scratch_bytes: usize,
    /// Whether the kernel has loops that no counter bounds.
    pub unbounded: bool,
    /// Rows of the grid that are computed together.
    pub rows: u32,
    /// Invocations of a workgroup along each axis, where `run` takes ranges of groups.
    pub workgroup: Option<[u32; 3]>,
    /// Whether the extents of the grid follow the arguments of `run`.
    pub(crate) has_extents: bool,
    /// For each parameter, how its copies are merged where workers have their own.
    pub(crate) privates: Vec<Option<Merge>>,
}

/// Emits a verified kernel whose helpers are inlined and whose transcendental functions are lowered
/// to arithmetic.
///
/// # Errors
/// [`Unsupported`] for a call of a helper, a transcendental function, or arrays beyond a memory.
///
/// ```
/// use crossover_kernels::{front, library::saxpy::saxpy, passes};
/// use crossover_wasm::{Schedule, emit};
/// let kernel = passes::optimize(&front::kernel(saxpy::DEF, &[], &[]).expect("it is right"));
/// assert!(emit(&kernel, Schedule::PLAIN)?.bytes.starts_with(b"\0asm"));
/// # Ok::<(), crossover_wasm::Unsupported>(())
/// ```
pub fn emit(kernel: &Kernel, schedule: Schedule) -> Result<WasmModule, Unsupported> {
    refuse_unlowered(kernel)?;
    let kernel = &fission(kernel);
    match kernel.workgroup.filter(|_| is_in_pieces(&kernel.entry)) {
        Some(size) => emit_pieces(kernel, schedule, size),
        None => match schedule.refill.then(|| refill(kernel)).flatten() {
            Some(refilled) => emit_lanes(kernel, &refilled, schedule),
            None => emit_grid(kernel, schedule),
        },
    }
}

/// A kernel whose invocations have nothing to do with each other.
fn emit_grid(kernel: &Kernel, schedule: Schedule) -> Result<WasmModule, Unsupported> {
    let function = &kernel.entry;
    let privates = privates(kernel);
    let layout = Layout::of(function, &privates);
    let interior = Interior::of(kernel);
    let tile = shape::tile(kernel, &interior, schedule);
    let facts = Facts::of(function, &interior.kernel.entry);
    let unroll = u32::from(schedule.unroll).max(1);
    let mut forms = facts.forms(function, &interior, tile, unroll);
    let panels = Panels::of(forms.interior, &layout, u32::from(schedule.depth));
    forms.panels = panels.as_ref();
    let fences = Fences::of(forms.interior);
    forms.interior.fences = Some(&fences);
    forms.idempotent = kernel.collective.is_none() && is_idempotent(function);
    let scratch_bytes = match &panels {
        Some(panels) => addressable(panels.end)?,
        None => addressable(layout.array_bytes(tile.groups()))?,
    };
    if schedule.vectors == 0 {
        forms.vector = forms.scalar;
        forms.interior = Form {
            facts: &facts.inside_scalar,
            rows: &facts.rows_inside,
            width: Width::Scalar,
            tile: Tile::ONE,
            ..forms.interior
        };
    }
    let modes = Mode::of(kernel);
    let code =
        modes.iter().map(|mode| emit_function(kernel, &layout, forms, *mode)).collect::<Vec<_>>();
    let (bytes, lines) = module(kernel, &layout, scratch_bytes, &modes, &code);
    Ok(WasmModule {
        bytes,
        lines,
        scratch_bytes,
        unbounded: is_unbounded(function),
        rows: tile.rows,
        workgroup: None,
        has_extents: layout.has_extents,
        privates,
    })
}

/// A kernel cut at its barriers.
fn emit_pieces(
    kernel: &Kernel,
    schedule: Schedule,
    size: [u32; 3],
) -> Result<WasmModule, Unsupported> {
    let function = &kernel.entry;
    let privates = privates(kernel);
    let layout = Layout::of(function, &privates);
    let tile = Tile { vectors: each::vectors(size[0], u32::from(schedule.vectors)), rows: 1 };
    let scratch_bytes = addressable(layout.array_bytes(tile.groups()))?;
    let interior = Interior::of(kernel);
    let facts = Facts::of(function, &interior.kernel.entry);
    let unroll = u32::from(schedule.unroll).max(1);
    let forms = facts.forms(function, &interior, tile, unroll);
    let whole = GroupForms { vector: Form { tile, unroll, ..forms.vector }, scalar: forms.scalar };
    // Splits hold in one row: all of the group's.
    let has_interior = !interior.splits.is_empty() || !interior.guards.is_empty();
    let is_row = size[1] == 1 && size[2] == 1;
    let inside = (has_interior && (is_row || !interior.splits_by_row)).then(|| {
        let vector = Form { rows: &facts.rows_inside, ..forms.interior };
        let scalar = Form {
            facts: &facts.inside_scalar,
            width: Width::Scalar,
            tile: Tile::ONE,
            unroll: 1,
            ..vector
        };
        (&interior, GroupForms { vector, scalar })
    });
    let code = [emit_groups(Groups { kernel, layout: &layout, size, whole, inside })];
    let (bytes, lines) = module(kernel, &layout, scratch_bytes, &[Mode::Map], &code);
    Ok(WasmModule {
        bytes,
        lines,
        scratch_bytes,
        unbounded: is_unbounded(function),
        rows: 1,
        workgroup: Some(size),
        has_extents: layout.has_extents,
        privates,
    })
}

/// A kernel whose lanes are refilled.
fn emit_lanes(
    kernel: &Kernel,
    refilled: &Refilled,
    schedule: Schedule,
) -> Result<WasmModule, Unsupported> {
    let function = &refilled.kernel.entry;
    let privates = privates(kernel);
    let layout = Layout::of(function, &privates);
    let vectors = u32::from(schedule.vectors).clamp(1, SIDE_MAX);
    let facts = Facts::of(function, function);
    let vector = Form {
        facts: &facts.vector,
        width: Width::Vector,
        tile: Tile { vectors, rows: 1 },
        ..facts.scalar_form(function)
    };
    let code = [emit_refilled(kernel, refilled, &layout, vector)];
    let (bytes, lines) = module(kernel, &layout, 0, &[Mode::Map], &code);
    Ok(WasmModule {
        bytes,
        lines,
        scratch_bytes: 0,
        unbounded: is_unbounded(&kernel.entry),
        rows: 1,
        workgroup: None,
        has_extents: layout.has_extents,
        privates,
    })
}

fn is_in_pieces(function: &Function) -> bool {
    let mut found = false;
    function.walk(&mut |stmt| found |= matches!(stmt, Stmt::Each(_)));
    found
}

/// Bytes of the memory behind those of the buffers, if it is not too large for one.
fn addressable(bytes: u64) -> Result<usize, Unsupported> {
    if bytes >= 1 << 32 {
        let what = format!("arrays of {bytes} bytes");
        return Err(Unsupported { what, location: "<unknown>".to_owned() });
    }
    Ok(bytes as usize)
}

/// What is known of a kernel, whole and inside.
struct Facts {
    vector: Divergence,
    scalar: Divergence,
    rows: Rows,
    exact: Vec<bool>,
    inside: Divergence,
    inside_scalar: Divergence,
    inside_rows: Rows,
    /// Of the inside, one row at a time.
    rows_inside: Rows,
}

impl Facts {
    fn of(whole: &Function, inside: &Function) -> Facts {
        Facts {
            vector: Divergence::of(whole),
            scalar: Divergence::scalar(whole),
            rows: Rows::none(whole),
            exact: vec![false; whole.values.len()],
            inside: Divergence::of(inside),
            inside_scalar: Divergence::scalar(inside),
            inside_rows: Rows::of(inside),
            rows_inside: Rows::none(inside),
        }
    }

    /// One invocation at a time.
    fn scalar_form<'a>(&'a self, whole: &'a Function) -> Form<'a> {
        Form {
            function: whole,
            facts: &self.scalar,
            rows: &self.rows,
            exact: &self.exact,
            width: Width::Scalar,
            tile: Tile::ONE,
            unroll: 1,
            fences: None,
        }
    }

    fn forms<'a>(
        &'a self,
        whole: &'a Function,
        inside: &'a Interior,
        tile: Tile,
        unroll: u32,
    ) -> Forms<'a> {
        let scalar = self.scalar_form(whole);
        let vector = Form { facts: &self.vector, width: Width::Vector, ..scalar };
        let interior = Form {
            function: &inside.kernel.entry,
            facts: &self.inside,
            rows: &self.inside_rows,
            exact: &inside.exact,
            tile,
            unroll,
            ..vector
        };
        Forms { interior, vector, scalar, inside, panels: None, idempotent: false }
    }
}

fn refuse_unlowered(kernel: &Kernel) -> Result<(), Unsupported> {
    let function = &kernel.entry;
    let mut refused = None;
    function.walk(&mut |stmt| {
        let found = match stmt {
            Stmt::Let(value) => unlowered(function, *value),
            Stmt::CallVoid(_, _, span) => Some(("a call: helpers are inlined before", *span)),
            Stmt::Set(..)
            | Stmt::SetElement(..)
            | Stmt::Store(..)
            | Stmt::AtomicStore(..)
            | Stmt::Check { .. }
            | Stmt::If { .. }
            | Stmt::For { .. }
            | Stmt::Loop(_)
            | Stmt::Barrier(_)
            | Stmt::Each(_)
            | Stmt::Break
            | Stmt::Continue
            | Stmt::Return => None,
        };
        refused = refused.take().or(found);
    });
    match refused {
        None => Ok(()),
        Some((what, span)) => {
            Err(Unsupported { what: what.to_owned(), location: kernel.location(span) })
        }
    }
}

const TRANSCENDENTAL: &str = "a transcendental function: it is lowered to arithmetic before";

fn unlowered(
    function: &Function,
    value: Value,
) -> Option<(&'static str, crossover_kernels::ir::Span)> {
    let def = function.def(value);
    let what = match &def.inst {
        Inst::Call(..) => "a call: helpers are inlined before",
        Inst::Unary(op, _) if op.is_transcendental() => TRANSCENDENTAL,
        Inst::Binary(op, ..) if op.is_transcendental() => TRANSCENDENTAL,
        Inst::Const(_)
        | Inst::Param(_)
        | Inst::Id(_)
        | Inst::Local(_)
        | Inst::Group(_)
        | Inst::Extent(_)
        | Inst::Len(_)
        | Inst::Counter
        | Inst::Unary(..)
        | Inst::Binary(..)
        | Inst::Fma(..)
        | Inst::Select(..)
        | Inst::Cast(_)
        | Inst::Bitcast(_)
        | Inst::Get(_)
        | Inst::GetElement(..)
        | Inst::Load(..)
        | Inst::AtomicLoad(..)
        | Inst::Atomic(..)
        | Inst::CompareSwap(..) => return None,
    };
    Some((what, def.span))
}

fn is_unbounded(function: &Function) -> bool {
    let mut found = false;
    function.walk(&mut |stmt| found |= matches!(stmt, Stmt::Loop(_)));
    found
}

/// Whether a scan's body can run twice: once for the sums of chunks, once for the prefixes.
pub(crate) fn is_repeatable(function: &Function) -> bool {
    let mut repeatable = true;
    function.walk(&mut |stmt| {
        repeatable &= match stmt {
            Stmt::Store(..) | Stmt::AtomicStore(..) => false,
            Stmt::Let(value) => !function.def(*value).inst.has_effect(),
            Stmt::Set(..)
            | Stmt::SetElement(..)
            | Stmt::Check { .. }
            | Stmt::If { .. }
            | Stmt::For { .. }
            | Stmt::Loop(_)
            | Stmt::CallVoid(..)
            | Stmt::Barrier(_)
            | Stmt::Each(_)
            | Stmt::Break
            | Stmt::Continue
            | Stmt::Return => true,
        };
    });
    repeatable
}

/// The kind of collective, and the type it combines.
fn collective(kernel: &Kernel) -> Option<(CollectiveKind, Type)> {
    kernel.collective.map(|c| c.kind).zip(kernel.contribution())
}
