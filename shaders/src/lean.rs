//! Kernels without their checks, for calls where none can fail; for large ones, with several points to an
//! invocation where neighbours load the same ([`tile`]), or with memory of each workgroup's own for what lies around
//! its points ([`halo`]) or to count in ([`privatize`]).
//!
//! What the arguments are decides: lengths, whole numbers and the grid of a call are enough to prove the
//! checks of most kernels ([`checks::hold`]). A proof takes longer than a small call, so it is made when a
//! shape of call comes for the second time, and kept; the form of the kernel without checks is compiled in
//! the background when the first proof succeeds. Until then, and where a check may fail, calls run the form
//! that has them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crossover_kernels::exec::{Grid, outer_axis};
use crossover_kernels::ir::{Const, Kernel, Param};
use crossover_kernels::passes::{checks, halo, privatize, quads};

use crate::arg::DeviceArg;
use crate::compiled::Compiled;
use crate::device::Gpu;
use crate::forms::{self, Form, Layout, without_checks};
use crate::legality::Capabilities;
use crate::schedule::Schedule;
use crate::steps::Region;

/// Shapes of calls that are remembered; beyond that all are forgotten.
const SHAPES_MAX: usize = 256;

/// Invocations that a call needs to be left with, for tiles: fewer leave much of a device idle. On software they are
/// worth a trial from a workgroup on.
const INVOCATIONS_MIN: u64 = 1 << 16;
const INVOCATIONS_MIN_SOFTWARE: u64 = 1 << 8;

/// Extents that tiles are made of at most, so that no coordinate wraps.
const EXTENT_MAX: u32 = halo::EXTENT_MAX;

/// What is known of calls without checks.
#[derive(Debug)]
pub(crate) struct Lean {
    has_checks: bool,
    /// Single points, then what is for large calls, where there are such forms.
    forms: Vec<Own>,
    /// The kernel without checks.
    plain: Arc<Kernel>,
    /// Prove the first call of a shape, and compile then and there: for tests.
    at_once: bool,
    shapes: Mutex<HashMap<Vec<u64>, Verdict>>,
}

/// A form of the kernel.
#[derive(Debug)]
struct Own {
    form: Form,
    /// Not there until it is asked for, nor until it is compiled, nor where that fails.
    compiled: OnceLock<Slot>,
}

type Slot = Arc<OnceLock<Option<Arc<Compiled>>>>;

/// A form that a call can run.
pub(crate) struct Fit {
    pub(crate) compiled: Arc<Compiled>,
    layout: Layout,
}

impl Fit {
    /// The arguments and the grid of the form, and what of that is to be run.
    pub(crate) fn adapt<'a>(
        &self,
        args: &[DeviceArg<'a>],
        grid: Grid,
        region: Region,
    ) -> (Vec<DeviceArg<'a>>, Grid, Region) {
        let (numbers, adapted) = self.layout.adapt(grid);
        let is_whole = region.extent == grid;
        let region = match is_whole {
            true => Region { start: [0; 3], extent: adapted },
            false => self.layout.region(region),
        };
        let numbers = numbers.into_iter().map(|number| DeviceArg::Scalar(Const::from(number)));
        (args.iter().copied().chain(numbers).collect(), adapted, region)
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
    pub(crate) fn of(
        kernel: &Arc<Kernel>,
        schedule: Schedule,
        caps: &Capabilities,
        at_once: bool,
    ) -> Lean {
        let (plain, has_checks) = without_checks(kernel);
        let forms = forms::of(&plain, has_checks, schedule, caps).into_iter();
        let forms = forms.map(|form| Own { form, compiled: OnceLock::new() }).collect();
        Lean { has_checks, plain, forms, at_once, shapes: Mutex::default() }
    }

    /// The kernel without its checks, if those of a call are known to hold.
    pub(crate) fn stripped(
        &self,
        checked: &Compiled,
        args: &[DeviceArg<'_>],
        grid: Grid,
    ) -> Option<Arc<Kernel>> {
        let grid = checked.kernel.whole_groups(grid);
        let holds = self.has_checks && self.holds(&checked.kernel, args, grid);
        holds.then(|| self.plain.clone())
    }

    /// The step of parts along an axis that is one of all forms that run parts, `own` among them; and whether
    /// there are forms for whole calls alone.
    pub(crate) fn parts(&self, axis: usize, own: u32) -> (u32, bool) {
        let axes = self.plain.axes();
        let steps = self.forms.iter().map(|own| own.form.part_step(axis, axes));
        let step = steps.flatten().fold(own, |a, b| a.max(b));
        let is_whole_faster = self.forms.iter().any(|own| own.form.part_step(axis, axes).is_none());
        (step, is_whole_faster)
    }

    /// The form that a call, or a part of one, can run, if the call's checks are known to hold.
    pub(crate) fn form(
        &self,
        checked: &Compiled,
        args: &[DeviceArg<'_>],
        grid: Grid,
        is_part: bool,
    ) -> Option<Fit> {
        if self.forms.is_empty() || grid.contains(&0) {
            return None;
        }
        let grid = checked.kernel.whole_groups(grid);
        if self.has_checks && !self.holds(&checked.kernel, args, grid) {
            return None;
        }
        // Which form is the fastest depends on the adapter: those that are there take turns until it is
        // known of each how fast it runs at such a size.
        let points = points(grid);
        let fits = self.forms.iter().rev();
        let fits = fits.filter(|own| self.fits(checked, args, grid, &own.form));
        let axis = outer_axis(grid);
        let runs = |form: &Form| !is_part || form.part_step(axis, self.plain.axes()).is_some();
        let fits = fits.filter(|own| runs(&own.form));
        let ready = fits.filter_map(|own| {
            let slot = own.compiled.get_or_init(|| self.start(checked, &own.form));
            Some(Fit { compiled: slot.get()?.clone()?, layout: own.form.layout })
        });
        let judged = ready.map(|fit| (fit.compiled.pace.of(points), fit));
        let mut judged: Vec<(f64, Fit)> = judged.collect();
        let best = (0..judged.len()).min_by(|a, b| judged[*a].0.total_cmp(&judged[*b].0))?;
        let (best_ns, best) = judged.swap_remove(best);
        for (_, other) in judged {
            other.compiled.pace.pass_over(points, best_ns);
        }
        Some(best)
    }

    /// Whether a call is of the size that a form is for.
    fn fits(&self, checked: &Compiled, args: &[DeviceArg<'_>], grid: Grid, form: &Form) -> bool {
        let is_software = checked.gpu.info().is_software();
        let least = match is_software {
            _ if self.at_once => 1,
            true => INVOCATIONS_MIN_SOFTWARE,
            false => INVOCATIONS_MIN,
        };
        let is_large = || {
            let (_, left) = form.layout.adapt(grid);
            grid[0] <= EXTENT_MAX && grid[1] <= EXTENT_MAX && points(left) >= least
        };
        let is_aligned = || {
            let (numbers, _) = form.layout.adapt(grid);
            let number = |param: &Param| match args.get(param.index()) {
                Some(DeviceArg::Scalar(c)) => Some(c.bits as u32),
                Some(DeviceArg::Buffer { .. }) => None,
                None => numbers.get(param.index() - args.len()).copied(),
            };
            let is_multiple = |n: u32| n.is_multiple_of(quads::POINTS);
            form.pitches.iter().all(|param| number(param).is_some_and(is_multiple))
        };
        match form.layout {
            Layout::Points => true,
            Layout::Collective { vectors, single_pass } => {
                // One block has nothing to wait for either way.
                let waits = grid[0] > form.schedule.block();
                let is_whole = grid[0].is_multiple_of(quads::POINTS) && is_aligned() && is_large();
                (waits || !single_pass) && (is_whole || !vectors)
            }
            Layout::Tiles(_) => is_large(),
            Layout::Quads { .. } => {
                grid[0].is_multiple_of(quads::POINTS) && is_aligned() && is_large()
            }
            // Drivers that compute on the CPU have nothing faster to keep loads in.
            Layout::Staged { .. } | Layout::Halo { .. } => {
                is_large() && (form.is_asked_for || !is_software)
            }
            Layout::Private(bins) => match args.get(bins.index()) {
                Some(DeviceArg::Buffer { len, .. }) => {
                    *len <= privatize::BINS_MAX && grid[0] <= EXTENT_MAX && points(grid) >= least
                }
                Some(DeviceArg::Scalar(_)) | None => false,
            },
        }
    }

    /// Begins to compile a form.
    fn start(&self, checked: &Compiled, form: &Form) -> Slot {
        let slot = Slot::default();
        let (into, gpu, kernel) = (slot.clone(), checked.gpu.clone(), form.kernel.clone());
        let schedule = form.schedule;
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
