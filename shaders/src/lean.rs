//! Kernels without their checks, for calls where none can fail; for large ones, with several points to an
//! invocation where neighbours load the same ([`tile`]), or with memory of each workgroup's own to count in
//! ([`privatize`]).
//!
//! What the arguments are decides: lengths, whole numbers and the grid of a call are enough to prove the
//! checks of most kernels ([`checks::hold`]). A proof takes longer than a small call, so it is made when a
//! shape of call comes for the second time, and kept; the form of the kernel without checks is compiled in
//! the background when the first proof succeeds. Until then, and where a check may fail, calls run the form
//! that has them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crossover_kernels::exec::Grid;
use crossover_kernels::ir::{Block, Const, Kernel, Param, Stmt};
use crossover_kernels::passes::rule::Hits;
use crossover_kernels::passes::tile::{self, Size};
use crossover_kernels::passes::{checks, dce, privatize};

use crate::arg::DeviceArg;
use crate::compiled::Compiled;
use crate::device::Gpu;
use crate::schedule::Schedule;

/// Shapes of calls that are remembered; beyond that all are forgotten.
const SHAPES_MAX: usize = 256;

/// Invocations that a call needs to be left with, for tiles: fewer leave much of a device idle.
const INVOCATIONS_MIN: u64 = 1 << 16;
const INVOCATIONS_MIN_SOFTWARE: u64 = 1 << 10;

/// Extents that tiles are made of at most, so that no coordinate wraps.
const EXTENT_MAX: u32 = 1 << 30;

/// What is known of calls without checks.
#[derive(Debug)]
pub(crate) struct Lean {
    has_checks: bool,
    /// Single points, then what is for large calls, where there are such forms.
    forms: Vec<Form>,
    schedule: Schedule,
    /// Prove the first call of a shape, and compile then and there: for tests.
    at_once: bool,
    shapes: Mutex<HashMap<Vec<u64>, Verdict>>,
}

/// A form of the kernel.
#[derive(Debug)]
struct Form {
    kernel: Arc<Kernel>,
    layout: Layout,
    /// Not there until it is asked for, nor until it is compiled, nor where that fails.
    compiled: OnceLock<Slot>,
}

/// How a form covers the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// A point for each invocation.
    Points,
    /// So many points along x and y.
    Tiles(Size),
    /// Workgroups that count in memory of their own, for this buffer.
    Private(Param),
}

type Slot = Arc<OnceLock<Option<Arc<Compiled>>>>;

/// A form that a call can run.
pub(crate) struct Fit {
    pub(crate) compiled: Arc<Compiled>,
    layout: Layout,
}

impl Fit {
    /// The arguments and the grid of the form.
    pub(crate) fn adapt<'a>(
        &self,
        args: &[DeviceArg<'a>],
        grid: Grid,
    ) -> (Vec<DeviceArg<'a>>, Grid) {
        let mut args = args.to_vec();
        let (numbers, grid) = match self.layout {
            Layout::Points => return (args, grid),
            Layout::Tiles(size) => ([grid[0], grid[1]], tile::grid(grid, size)),
            Layout::Private(_) => {
                let (points, rounds) = privatize::grid(grid[0]);
                ([grid[0], rounds], [points, 1, 1])
            }
        };
        args.extend(numbers.map(|number| DeviceArg::Scalar(Const::from(number))));
        (args, grid)
    }
}

/// What is known of a shape of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It has come once.
    Seen,
    /// Whether its checks hold.
    Proved(bool),
}

impl Lean {
    /// For a kernel that back ends get.
    pub(crate) fn of(kernel: &Arc<Kernel>, schedule: Schedule, at_once: bool) -> Lean {
        let stripped = without_checks(kernel).map(Arc::new);
        let has_checks = stripped.is_some();
        let plain = stripped.unwrap_or_else(|| kernel.clone());
        let size = schedule.tile.unwrap_or_else(|| tile::best(&plain));
        let tiled = tile::run(&plain, size).map(|kernel| (kernel, Layout::Tiles(size)));
        let private = || {
            let private = privatize::run(&plain)?;
            Some((private.kernel, Layout::Private(private.bins)))
        };
        let large = tiled.or_else(|| schedule.tile.is_none().then(private)?);
        let form = |kernel, layout| Form { kernel, layout, compiled: OnceLock::new() };
        let mut forms = Vec::new();
        // A schedule that asks for a tile gets no other form, where there is one.
        let only = schedule.tile.is_some() && large.is_some();
        forms.extend((has_checks && !only).then(|| form(plain, Layout::Points)));
        forms.extend(large.map(|(kernel, layout)| form(Arc::new(kernel), layout)));
        Lean { has_checks, forms, schedule, at_once, shapes: Mutex::default() }
    }

    /// The kernel without its checks, if those of a call are known to hold.
    pub(crate) fn stripped(
        &self,
        checked: &Compiled,
        args: &[DeviceArg<'_>],
        grid: Grid,
    ) -> Option<Arc<Kernel>> {
        let grid = checked.kernel.whole_groups(grid);
        let form = self.forms.iter().find(|form| form.layout == Layout::Points)?;
        self.holds(&checked.kernel, args, grid).then(|| form.kernel.clone())
    }

    /// The form that a call can run, if its checks are known to hold.
    pub(crate) fn form(
        &self,
        checked: &Compiled,
        args: &[DeviceArg<'_>],
        grid: Grid,
    ) -> Option<Fit> {
        if self.forms.is_empty() || grid.contains(&0) {
            return None;
        }
        let grid = checked.kernel.whole_groups(grid);
        if self.has_checks && !self.holds(&checked.kernel, args, grid) {
            return None;
        }
        // Which form is the fastest depends on the adapter: those that are there take turns until each has
        // run some times at such a size.
        let points = points(grid);
        let fits = self.forms.iter().rev();
        let fits = fits.filter(|form| self.fits(checked, args, grid, form.layout));
        let ready = fits.filter_map(|form| {
            let slot = form.compiled.get_or_init(|| self.start(checked, form));
            Some(Fit { compiled: slot.get()?.clone()?, layout: form.layout })
        });
        let ready: Vec<Fit> = ready.collect();
        let pace = |at: &usize| ready[*at].compiled.pace.of(points).unwrap_or(0.0);
        let best = (0..ready.len()).min_by(|a, b| pace(a).total_cmp(&pace(b)))?;
        for (at, fit) in ready.iter().enumerate() {
            if at != best {
                fit.compiled.pace.pass_over(points);
            }
        }
        ready.into_iter().nth(best)
    }

    /// Whether a call is of the size that a layout is for.
    fn fits(&self, checked: &Compiled, args: &[DeviceArg<'_>], grid: Grid, layout: Layout) -> bool {
        let grid_left = match layout {
            Layout::Points => return true,
            Layout::Tiles(size) => tile::grid(grid, size),
            Layout::Private(bins) => match args.get(bins.index()) {
                Some(DeviceArg::Buffer { len, .. }) if *len <= privatize::BINS_MAX => grid,
                Some(_) | None => return false,
            },
        };
        let least = match checked.gpu.info().is_software() {
            _ if self.at_once => 1,
            true => INVOCATIONS_MIN_SOFTWARE,
            false => INVOCATIONS_MIN,
        };
        grid[0] <= EXTENT_MAX && grid[1] <= EXTENT_MAX && points(grid_left) >= least
    }

    /// Begins to compile a form.
    fn start(&self, checked: &Compiled, form: &Form) -> Slot {
        let slot = Slot::default();
        let (into, gpu, kernel) = (slot.clone(), checked.gpu.clone(), form.kernel.clone());
        let mut schedule = self.schedule;
        if let Layout::Private(_) = form.layout {
            schedule.workgroup = [privatize::WORKGROUP, 1, 1];
        }
        let compile = move || {
            into.get_or_init(|| compile(&gpu, &kernel, &schedule));
        };
        if self.at_once {
            compile();
        } else {
            // Without a thread there is no such form: the one with checks does as well.
            let thread = std::thread::Builder::new().name("crossover-lean".to_owned());
            let _ = thread.spawn(compile);
        }
        slot
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

/// Points of a grid.
pub(crate) fn points(grid: Grid) -> u64 {
    grid.map(u64::from).into_iter().fold(1, u64::saturating_mul)
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
