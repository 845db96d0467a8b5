//! A kernel of a runtime: its optimised form, and what each device made of it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crossover_kernels::error::{KernelError, RunError};
use crossover_kernels::exec::{Arg, Grid, Version, length};
use crossover_kernels::ir::{
    Access, Axis, BinaryOp, Function, Inst, Kernel, Param, Stmt, Type, Value,
};
use crossover_kernels::passes::{self, unroll};
use crossover_kernels::{Def, front};
use crossover_shaders::GpuVersion;
use crossover_wasm::Schedule;

use crate::learned::Learned;

/// Hexadecimal digits of a version's identity: enough to tell any two apart in practice.
const VERSION_DIGITS: usize = 16;

/// The optimisation that is a choice of the CPU's layout alone: several invocations at a time.
pub(crate) const SIMD: &str = "simd";

/// What identifies a kernel: its definition, types and constants.
#[expect(clippy::derived_hash_with_manual_eq, reason = "both look at all elements, in order")]
#[derive(Clone, Debug, Eq, Hash)]
pub(crate) struct Key {
    def: usize,
    types: Vec<Type>,
    consts: Vec<usize>,
}

impl PartialEq for Key {
    /// Element by element: most kernels have neither types nor constants, and for nothing at all the C
    /// library's comparison, which a derived one calls, takes as long as the rest of the look-up.
    fn eq(&self, other: &Key) -> bool {
        self.def == other.def
            && self.types.iter().eq(&other.types)
            && self.consts.iter().eq(&other.consts)
    }
}

impl Key {
    pub(crate) fn of(def: &'static Def, types: &[Type], consts: &[usize]) -> Key {
        let def = std::ptr::from_ref(def) as usize;
        Key { def, types: types.to_vec(), consts: consts.to_vec() }
    }
}

/// Code that is ready to run.
#[derive(Clone)]
pub(crate) enum Code {
    /// Works on host memory.
    Host(Arc<dyn Version>),
    /// Works on copies on the GPU.
    Gpu(Arc<GpuVersion>),
}

/// What has become of a kernel on the GPU.
#[derive(Clone, Default)]
pub(crate) enum GpuCode {
    /// Nobody asked.
    #[default]
    Unasked,
    /// Under way.
    Compiling,
    /// Ready.
    Ready(Code),
    /// The device cannot run it, and why, also in words.
    Refused(RunError, Arc<str>),
}

/// A kernel of a runtime.
pub(crate) struct Prepared {
    /// The kernel and its element types: `scale<f64>`.
    pub(crate) name: Arc<str>,
    /// The version's identity: the start of the content hash of what back ends compile.
    pub(crate) version: Arc<str>,
    /// Before optimisation: what features are counted on.
    pub(crate) source: Kernel,
    /// What back ends compile.
    pub(crate) kernel: Arc<Kernel>,
    /// How the CPU's code is laid out; `None` leaves that to the back end.
    pub(crate) schedule: Option<Schedule>,
    pub(crate) cpu: OnceLock<Result<Code, RunError>>,
    gpu: Mutex<GpuCode>,
    learned: Mutex<Learned>,
}

impl Prepared {
    /// Types, checks and optimises a kernel.
    pub(crate) fn new(
        def: &'static Def,
        types: &[Type],
        consts: &[usize],
    ) -> Result<Prepared, KernelError> {
        let source = front::kernel(def, types, consts)?;
        Ok(Prepared::from_kernel(source, instance_name(def.name, types, consts)))
    }

    /// A kernel that was made otherwise.
    pub(crate) fn from_kernel(source: Kernel, name: String) -> Prepared {
        let kernel = passes::optimize(&source);
        Prepared::of(source, kernel, name, None)
    }

    /// The same with only those optimisations whose names are enabled: passes, and `simd`.
    pub(crate) fn optimized_with(
        source: Kernel,
        name: String,
        enabled: &dyn Fn(&str) -> bool,
    ) -> Prepared {
        let kernel = passes::optimize_with(&source, enabled);
        let mut schedule = Schedule::default_for(&kernel);
        if !enabled(SIMD) {
            schedule = Schedule { vectors: 0, ..Schedule::PLAIN };
        }
        if !enabled(unroll::PASS.name) {
            schedule.unroll = 1;
        }
        Prepared::of(source, kernel, name, Some(schedule))
    }

    fn of(source: Kernel, kernel: Kernel, name: String, schedule: Option<Schedule>) -> Prepared {
        let version = kernel.hash().to_hex();
        Prepared {
            name: name.into(),
            version: version[..VERSION_DIGITS].into(),
            source,
            kernel: Arc::new(kernel),
            schedule,
            cpu: OnceLock::new(),
            gpu: Mutex::default(),
            learned: Mutex::default(),
        }
    }

    pub(crate) fn gpu_code(&self) -> MutexGuard<'_, GpuCode> {
        self.gpu.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_gpu_code(&self, code: GpuCode) {
        *self.gpu_code() = code;
    }

    /// True for the one caller that is to compile for the GPU now.
    pub(crate) fn begin_gpu_compile(&self) -> bool {
        let mut code = self.gpu_code();
        let begin = matches!(*code, GpuCode::Unasked);
        if begin {
            *code = GpuCode::Compiling;
        }
        begin
    }

    pub(crate) fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn instance_name(name: &str, types: &[Type], consts: &[usize]) -> String {
    let mut parts: Vec<String> = types.iter().map(ToString::to_string).collect();
    parts.extend(consts.iter().map(ToString::to_string));
    if parts.is_empty() { name.to_owned() } else { format!("{name}<{}>", parts.join(", ")) }
}

/// Whether the call certainly stores every element of the buffer and loads none: what it held before
/// then does not matter. Seen where each invocation stores the element at its own position, `x` or
/// `y * w + x`, on every path.
pub(crate) fn overwrites(kernel: &Kernel, buffer: Param, args: &[Arg], grid: Grid) -> bool {
    if kernel.collective.is_some() && buffer.index() + 1 == kernel.entry.params.len() {
        return true;
    }
    let entry = &kernel.entry;
    let access = entry.buffers().find(|(p, ..)| *p == buffer).map(|(_, _, access)| access);
    let loaded = entry.values.iter().any(|v| matches!(v.inst, Inst::Load(p, _) if p == buffer));
    let covers = grid[0].checked_mul(grid[1]) == Some(length(args, buffer)) && grid[2] == 1;
    access == Some(Access::ReadWrite)
        && !loaded
        && covers
        && stores_own(kernel, &entry.body, buffer, args, grid) == Some(true)
}

/// Whether a block stores the invocation's own element on every path; `None` when it may go on
/// behind the block without, `Some(false)` when it may end without.
fn stores_own(
    kernel: &Kernel,
    block: &[Stmt],
    buffer: Param,
    args: &[Arg],
    grid: Grid,
) -> Option<bool> {
    for stmt in block {
        let inside = |b: &[Stmt]| stores_own(kernel, b, buffer, args, grid);
        match stmt {
            Stmt::Store(p, index, _)
                if *p == buffer && is_own(&kernel.entry, *index, args, grid) =>
            {
                return Some(true);
            }
            Stmt::If { then, otherwise, .. } => match (inside(then), inside(otherwise)) {
                (Some(true), Some(true)) => return Some(true),
                (Some(false), _) | (_, Some(false)) => return Some(false),
                _ => {}
            },
            Stmt::Return => return Some(false),
            Stmt::For { .. } | Stmt::Loop(_) if returns(stmt) => return Some(false),
            _ => {}
        }
    }
    None
}

/// Whether an index is the invocation's own position in row-major order.
fn is_own(entry: &Function, index: Value, args: &[Arg], grid: Grid) -> bool {
    let is_id = |v: Value, axis: Axis| entry.def(v).inst == Inst::Id(axis);
    let is_width = |v: Value| match entry.def(v).inst {
        Inst::Const(c) => c.bits == u64::from(grid[0]),
        Inst::Param(p) => {
            matches!(args.get(p.index()), Some(Arg::Scalar(c)) if c.bits == u64::from(grid[0]))
        }
        _ => false,
    };
    let is_row = |v: Value| match entry.def(v).inst {
        Inst::Binary(BinaryOp::Mul, a, b) => {
            (is_id(a, Axis::Y) && is_width(b)) || (is_id(b, Axis::Y) && is_width(a))
        }
        _ => false,
    };
    match entry.def(index).inst {
        Inst::Id(Axis::X) => grid[1] == 1,
        Inst::Binary(BinaryOp::Add, a, b) => {
            (is_row(a) && is_id(b, Axis::X)) || (is_row(b) && is_id(a, Axis::X))
        }
        _ => false,
    }
}

fn returns(stmt: &Stmt) -> bool {
    matches!(stmt, Stmt::Return) || stmt.blocks().into_iter().flatten().any(returns)
}

#[cfg(test)]
mod tests {
    use super::overwrites;
    use crossover_kernels::exec::Arg;
    use crossover_kernels::ir::Param;
    use crossover_kernels::{Id, front, kernel, passes};
    use crossover_memory::Slot;
    use std::sync::Arc;

    #[kernel(grid = (w, h))]
    fn whole(id: Id, w: usize, h: usize, x: &[f32], y: &mut [f32]) {
        let at = id.y * w + id.x;
        if id.x == 0 || id.y == h {
            y[at] = 0.0;
        } else {
            y[at] = x[at];
        }
    }

    #[kernel(grid = (w, h))]
    fn some(id: Id, w: usize, h: usize, x: &[f32], y: &mut [f32]) {
        let at = id.y * w + id.x;
        if x[at] > 0.0 {
            y[at] = x[at];
        }
    }

    fn is_overwritten(def: &'static crossover_kernels::Def, w: u32, len: u32) -> bool {
        let kernel = passes::optimize(&front::kernel(def, &[], &[]).expect("typed"));
        let slot = Arc::new(Slot::zeroed(4 * len as usize).expect("memory"));
        let buffer = Arg::Buffer { slot, len };
        let args = [Arg::Scalar(w.into()), Arg::Scalar(3u32.into()), buffer.clone(), buffer];
        overwrites(&kernel, Param(3), &args, [w, 3, 1])
    }

    #[test]
    fn only_what_is_wholly_stored_need_not_be_uploaded() {
        assert!(is_overwritten(whole::DEF, 4, 12));
        assert!(!is_overwritten(whole::DEF, 4, 13), "the last element keeps its content");
        assert!(!is_overwritten(some::DEF, 4, 12), "some elements keep their content");
    }
}
