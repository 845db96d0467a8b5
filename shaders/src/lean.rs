//! Kernels without their checks, for calls where none can fail.
//!
//! What the arguments are decides: lengths, whole numbers and the grid of a call are enough to prove the
//! checks of most kernels ([`checks::hold`]). A proof takes longer than a small call, so it is made when a
//! shape of call comes for the second time, and kept; the form of the kernel without checks is compiled in
//! the background when the first proof succeeds. Until then, and where a check may fail, calls run the form
//! that has them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crossover_kernels::exec::Grid;
use crossover_kernels::ir::{Block, Kernel, Param, Stmt};
use crossover_kernels::passes::checks;
use crossover_kernels::passes::dce;
use crossover_kernels::passes::rule::Hits;

use crate::device::Gpu;
use crate::pipeline::Compiled;
use crate::run::DeviceArg;
use crate::schedule::Schedule;

/// Shapes of calls that are remembered; beyond that all are forgotten.
const SHAPES_MAX: usize = 256;

/// What is known of calls without checks.
#[derive(Debug)]
pub(crate) struct Lean {
    /// The kernel without checks; `None` where it has none.
    kernel: Option<Arc<Kernel>>,
    schedule: Schedule,
    /// Prove the first call of a shape, and compile then and there: for tests.
    at_once: bool,
    shapes: Mutex<HashMap<Vec<u64>, Verdict>>,
    form: OnceLock<Form>,
}

/// What is known of a shape of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It has come once.
    Seen,
    /// Whether its checks hold.
    Proved(bool),
}

/// The form without checks: not there until it is compiled, nor where that fails.
type Form = Arc<OnceLock<Option<Arc<Compiled>>>>;

impl Lean {
    /// For a kernel that back ends get.
    pub(crate) fn of(kernel: &Arc<Kernel>, schedule: Schedule, at_once: bool) -> Lean {
        let (shapes, form) = (Mutex::default(), OnceLock::new());
        Lean { kernel: without_checks(kernel).map(Arc::new), schedule, at_once, shapes, form }
    }

    /// The form that a call can run, if its checks are known to hold.
    pub(crate) fn form(
        &self,
        checked: &Compiled,
        args: &[DeviceArg<'_>],
        grid: Grid,
    ) -> Option<Arc<Compiled>> {
        let lean = self.kernel.as_ref()?;
        let grid = checked.kernel.whole_groups(grid);
        if !self.holds(&checked.kernel, args, grid) {
            return None;
        }
        let form = self.form.get_or_init(|| {
            let form = Form::default();
            let (into, gpu, lean) = (form.clone(), checked.gpu.clone(), lean.clone());
            let schedule = self.schedule;
            let compile = move || {
                into.get_or_init(|| compile(&gpu, &lean, &schedule));
            };
            if self.at_once {
                compile();
            } else {
                // Without a thread there is no such form: the one with checks does as well.
                let thread = std::thread::Builder::new().name("crossover-lean".to_owned());
                let _ = thread.spawn(compile);
            }
            form
        });
        form.get()?.clone()
    }

    fn holds(&self, kernel: &Kernel, args: &[DeviceArg<'_>], grid: Grid) -> bool {
        let shape = shape(args, grid);
        let mut shapes = self.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        match shapes.get(&shape) {
            Some(Verdict::Proved(holds)) => return *holds,
            None if !self.at_once => {
                if shapes.len() >= SHAPES_MAX {
                    shapes.clear();
                }
                shapes.insert(shape, Verdict::Seen);
                return false;
            }
            Some(Verdict::Seen) | None => {}
        }
        drop(shapes);
        let holds = prove(kernel, args, grid);
        let mut shapes = self.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        shapes.insert(shape, Verdict::Proved(holds));
        holds
    }
}

fn compile(gpu: &Arc<Gpu>, kernel: &Arc<Kernel>, schedule: &Schedule) -> Option<Arc<Compiled>> {
    match Compiled::of(gpu, kernel, schedule) {
        Ok(compiled) => Some(Arc::new(compiled)),
        Err(error) => {
            tracing::debug!(%error, "a kernel without checks does not compile");
            None
        }
    }
}

/// All that a proof may depend on.
fn shape(args: &[DeviceArg<'_>], grid: Grid) -> Vec<u64> {
    let args = args.iter().map(|arg| match arg {
        // No check depends on a float.
        DeviceArg::Scalar(c) if c.ty.is_float() => 0,
        DeviceArg::Scalar(c) => c.bits,
        DeviceArg::Buffer { len, .. } => u64::from(*len),
    });
    grid.into_iter().map(u64::from).chain(args).collect()
}

fn prove(kernel: &Kernel, args: &[DeviceArg<'_>], grid: Grid) -> bool {
    let scalar = |param: Param| match args.get(param.index())? {
        DeviceArg::Scalar(c) => (!c.ty.is_float()).then_some(*c),
        DeviceArg::Buffer { .. } => None,
    };
    let len = |param: Param| match args.get(param.index())? {
        DeviceArg::Buffer { len, .. } => Some(*len),
        DeviceArg::Scalar(_) => None,
    };
    checks::hold(kernel, &scalar, &len, grid)
}

/// The kernel without its checks; `None` where it has none.
fn without_checks(kernel: &Kernel) -> Option<Kernel> {
    let mut found = false;
    let mut kernel = kernel.clone();
    strip(&mut kernel.entry.body, &mut found);
    if !found {
        return None;
    }
    dce::run(&mut kernel, &mut Hits::ignored());
    kernel.entry.compact();
    Some(kernel)
}

fn strip(block: &mut Block, found: &mut bool) {
    let before = block.len();
    block.retain(|stmt| !matches!(stmt, Stmt::Check { .. }));
    *found |= block.len() < before;
    block.iter_mut().flat_map(Stmt::blocks_mut).for_each(|block| strip(block, found));
}
