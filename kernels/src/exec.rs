//! What it means to run a kernel. Every back end is an [`Executor`] that turns an optimised kernel
//! into a [`Version`]; the reference interpreter is an executor like any other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossover_memory::{Claim, Held, Lent, Slot, Stream, Want, claim_in};

use crate::error::RunError;
use crate::ir::{Access, Axis, CollectiveKind, Const, Extent, Kernel, Param, ParamKind};

/// An argument of a call.
#[derive(Clone, Debug)]
pub enum Arg<'c> {
    /// For a scalar parameter.
    Scalar(Const),
    /// For a buffer parameter.
    Buffer {
        /// The memory.
        slot: Lent<'c, Slot>,
        /// Number of elements of the parameter's type.
        len: u32,
    },
}

impl Arg<'_> {
    /// The same for another thread.
    pub fn share<'a>(&self) -> Arg<'a> {
        match self {
            Arg::Scalar(c) => Arg::Scalar(*c),
            Arg::Buffer { slot, len } => Arg::Buffer { slot: slot.share(), len: *len },
        }
    }
}

/// The extents of a grid; unused axes are 1. Any extent may be 0: then nothing runs.
pub type Grid = [u32; 3];

/// The outermost axis along which a grid has more than one point; x where there is none.
pub fn outer_axis(grid: Grid) -> usize {
    (0..grid.len()).rev().find(|&axis| grid[axis] > 1).unwrap_or(0)
}

/// A part of a grid: the points from one position on its outermost axis ([`outer_axis`]) up to, not including,
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it begins.
    pub from: u32,
    /// Where it ends.
    pub to: u32,
}

impl Part {
    /// All of a grid.
    pub fn all(grid: Grid) -> Part {
        Part { from: 0, to: grid[outer_axis(grid)] }
    }

    /// Its first point.
    pub fn start(self, grid: Grid) -> Grid {
        let mut start = [0; 3];
        start[outer_axis(grid)] = self.from;
        start
    }

    /// How many points it has along each axis.
    pub fn extent(self, grid: Grid) -> Grid {
        let mut extent = grid;
        extent[outer_axis(grid)] = self.to.saturating_sub(self.from);
        extent
    }

    /// Which share of the grid's points it has.
    pub fn share(self, grid: Grid) -> f64 {
        f64::from(self.to.saturating_sub(self.from)) / f64::from(Part::all(grid).to.max(1))
    }
}

/// How a back end runs parts of a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Parts begin at multiples of this along the outermost axis.
    pub step: u32,
    /// Whether a whole call may run faster than its parts together: laid out for all of the grid.
    pub is_whole_faster: bool,
}

impl Parts {
    /// Parts that run as fast as the whole.
    pub fn alike(step: u32) -> Parts {
        Parts { step, is_whole_faster: false }
    }
}

/// One call: the arguments in parameter order, and how it is to run.
#[derive(Debug)]
pub struct Call<'a, 'c> {
    /// One argument for each parameter of the entry function.
    pub args: &'a [Arg<'a>],
    /// The grid.
    pub grid: Grid,
    /// How many threads to use, at least 1; back ends with threads of their own ignore it.
    pub threads: usize,
    /// When the call is to be given up.
    pub deadline: Option<Deadline>,
    /// When the caller looked at the clock last, if that was just before: small calls feel another look.
    pub start: Option<Instant>,
    /// The right to touch the buffers, from [`claim_args`]; granted before the call is run.
    pub claim: &'a mut Claim<'c>,
}

/// Queues for the buffers of a call: shared where the kernel only reads, exclusive else. The
/// arguments have passed [`check_args`].
pub fn claim_args<'c>(kernel: &Kernel, args: &[Arg<'c>]) -> Claim<'c> {
    claim_args_in(None, kernel, args)
}

/// The same for a call that is issued in a stream, if in any.
pub fn claim_args_in<'c>(stream: Option<Stream>, kernel: &Kernel, args: &[Arg<'c>]) -> Claim<'c> {
    claim_wanted(stream, wants(kernel, args), args)
}

/// The buffers of a call by the numbers of their parameters, each once, and what is wanted of it.
pub fn wants<'a>(
    kernel: &'a Kernel,
    args: &'a [Arg<'_>],
) -> impl Iterator<Item = (usize, Want)> + 'a {
    let slot = |at: usize| match args.get(at) {
        Some(Arg::Buffer { slot, .. }) => Some(slot),
        Some(Arg::Scalar(_)) | None => None,
    };
    kernel.entry.buffers().filter_map(move |(param, _, access)| {
        let (at, own) = (param.index(), slot(param.index())?);
        let want = if access == Access::Read { Want::Read } else { Want::Write };
        let is_first = !(0..at).filter_map(slot).any(|other| own.is(other));
        is_first.then_some((at, want))
    })
}

/// Queues for what [`wants`] has said.
pub fn claim_wanted<'c>(
    stream: Option<Stream>,
    wants: impl IntoIterator<Item = (usize, Want)>,
    args: &[Arg<'c>],
) -> Claim<'c> {
    let slot = |(at, want): (usize, Want)| match &args[at] {
        Arg::Buffer { slot, .. } => Some((slot.clone(), want)),
        Arg::Scalar(_) => None,
    };
    claim_in(stream, wants.into_iter().filter_map(slot))
}

/// Further than any deadline that matters.
const FAR: Duration = Duration::from_secs(1 << 30);

/// A point in time, and how long it was away when the call began.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// When.
    pub at: Instant,
    /// The time that was allowed in all.
    pub limit: Duration,
}

impl Deadline {
    /// A deadline this far from now.
    pub fn after(limit: Duration) -> Deadline {
        Deadline::from(Instant::now(), limit)
    }

    /// A deadline this far from a start; years away where the clock has no such time.
    pub fn from(start: Instant, limit: Duration) -> Deadline {
        let at = start.checked_add(limit).unwrap_or_else(|| start + FAR);
        Deadline { at, limit }
    }

    /// Whether it has passed.
    pub fn has_passed(&self) -> bool {
        Instant::now() >= self.at
    }
}

/// By whose clock a call is timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The host's: whoever runs the call times it, however long the device itself was at work.
    #[default]
    Host,
    /// The executor's: the call took what its measurement says, whatever went by on the host. For
    /// simulated devices, on which a test of what follows from durations does not depend on how busy the
    /// machine is.
    Own,
}

/// What running a call took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measurement {
    /// By whose clock.
    pub clock: Clock,
    /// Time from the start of the work on the device to its end, without copies.
    pub kernel: Duration,
    /// When the host's clock said so last, if that was just before the end.
    pub end: Option<Instant>,
    /// Time spent copying to and from the device.
    pub transfer: Duration,
    /// Bytes copied to the device.
    pub upload_bytes: u64,
    /// Bytes copied back to the host.
    pub readback_bytes: u64,
}

/// A back end: turns kernels into something it can run.
pub trait Executor: Send + Sync {
    /// A short name, for ledgers and reports: `interp`, `wasm`, `gpu`.
    fn name(&self) -> &str;

    /// Compiles an optimised kernel (helpers inlined, transcendental functions lowered).
    ///
    /// # Errors
    /// [`RunError::Unsupported`] where the device cannot run it, [`RunError::Device`] where the
    /// device fails.
    fn compile(&self, kernel: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError>;

    /// The same laid out in another way, by the name of the layout, with the same results: of several that a back end
    /// has, the fastest is found in calls.
    ///
    /// # Errors
    /// As [`Executor::compile`]; [`RunError::Unsupported`] where it has one layout alone.
    fn compile_laid_out(
        &self,
        kernel: &Arc<Kernel>,
        layout: &str,
    ) -> Result<Arc<dyn Version>, RunError> {
        Err(RunError::Unsupported {
            kernel: kernel.entry.name.clone(),
            device: self.name().to_owned(),
            what: format!("the layout {layout}"),
        })
    }

    /// Whether its versions run parts of calls: [`Version::parts`] is not `None`.
    fn runs_parts(&self) -> bool {
        false
    }
}

/// One compiled form of a kernel.
pub trait Version: Send + Sync {
    /// Runs the call to its end.
    ///
    /// # Errors
    /// [`RunError::Arguments`] where the arguments do not fit, [`RunError::Failed`] where an
    /// invocation fails a check, and what the device runs into.
    fn run(&self, call: &mut Call<'_, '_>) -> Result<Measurement, RunError>;

    /// How it runs parts of this grid; `None` where it runs calls as a whole alone.
    fn parts(&self, _: Grid) -> Option<Parts> {
        None
    }

    /// Runs a part of a call that can be cut ([`crate::analysis::cut()`]); its ends are at steps of
    /// [`Version::parts`], or those of the grid. Parts that cover the grid, one after another on whatever back
    /// ends, leave what the call would.
    ///
    /// # Errors
    /// As [`Version::run`]; [`RunError::Arguments`] where calls are run as a whole alone.
    fn run_part(&self, call: &mut Call<'_, '_>, part: Part) -> Result<Measurement, RunError> {
        if part == Part::all(call.grid) {
            return self.run(call);
        }
        let message = "the back end runs calls as a whole".to_owned();
        Err(RunError::Arguments { kernel: "?".to_owned(), message })
    }

    /// Runs a part of a call, or all of it, that is ready: its arguments fit ([`check_args`]), its claim is granted,
    /// and its buffers hold their newest bytes. For who has seen to that and makes small calls: whoever runs them
    /// need not look again, and may fail in other ways where it is not so.
    ///
    /// # Errors
    /// As [`Version::run_part`].
    fn run_ready(&self, call: &mut Call<'_, '_>, part: Part) -> Result<Measurement, RunError> {
        self.run_part(call, part)
    }

    /// The call, which fits ([`check_args`]) and is allowed so many threads, to be made again by the caller's alone;
    /// `None` where it has to be looked at each time, makes use of more, or may last.
    fn rerun(&self, _args: &[Arg<'_>], _grid: Grid, _threads: usize) -> Option<Box<dyn Rerun>> {
        None
    }
}

/// A call that is made again over the same grid, with buffers of the same lengths and the same numbers, but for floats.
pub trait Rerun: Send {
    /// Makes it, on the calling thread, to its end; the seconds that it took. `float` gives the arguments that are floats, by their place;
    /// `held` has the buffers in the order of [`wants`]. After an error it is not made again.
    ///
    /// # Errors
    /// As [`Version::run`].
    ///
    /// # Panics
    /// When the buffers are others or not held as they are wanted.
    fn rerun(
        &mut self,
        float: &dyn Fn(usize) -> Const,
        held: &mut Held<'_>,
    ) -> Result<f64, RunError>;
}

/// Checks the arguments against the kernel's parameters.
///
/// # Errors
/// [`RunError::Arguments`]: wrong number, wrong kind, a slot too small for its length, a wrong
/// output length of a collective, or a buffer that is passed twice and written.
pub fn check_args(kernel: &Kernel, args: &[Arg], grid: Grid) -> Result<(), RunError> {
    let fail =
        |message: String| Err(RunError::Arguments { kernel: kernel.entry.name.clone(), message });
    let params = &kernel.entry.params[..kernel.entry.arity()];
    if params.len() != args.len() {
        return fail(format!("takes {} arguments, {} were given", params.len(), args.len()));
    }
    for (param, arg) in params.iter().zip(args) {
        let name = &param.name;
        match (param.kind, arg) {
            (ParamKind::Scalar(ty), Arg::Scalar(c)) if c.ty == ty => {}
            (ParamKind::Buffer { element, .. }, Arg::Buffer { slot, len }) => {
                let bytes = *len as usize * element.bytes();
                if slot.bytes() < bytes {
                    let has = slot.bytes();
                    return fail(format!("`{name}` needs {bytes} bytes, its memory has {has}"));
                }
            }
            (ParamKind::Scalar(ty), _) => {
                return fail(format!("`{name}` is a scalar of type {ty}"));
            }
            (ParamKind::Buffer { .. } | ParamKind::Shared { .. }, _) => {
                return fail(format!("`{name}` is a buffer"));
            }
        }
    }
    for axis in Axis::ALL {
        let size = grid[axis.index()];
        let (extent, axis) = (kernel.grid.get(axis.index()), axis.name());
        // Passes rely on extents that are fixed.
        match extent {
            Some(Extent::Fixed(n)) if *n != size => {
                return fail(format!("the grid's {axis} extent is always {n}, not {size}"));
            }
            None if size > 1 => return fail(format!("the grid has no axis {axis}")),
            Some(_) | None => {}
        }
    }
    if let Some(size) = kernel.workgroup
        && (0..3).any(|at| grid[at].div_ceil(size[at]).checked_mul(size[at]).is_none())
    {
        return fail(format!(
            "the grid {grid:?} in whole workgroups of {size:?} is beyond 32 bits"
        ));
    }
    if let Some((a, b)) = aliased(kernel, args) {
        let (a, b) = (&params[a].name, &params[b].name);
        return fail(format!("`{a}` and `{b}` are the same buffer, and one of them is written"));
    }
    if let Some(collective) = kernel.collective {
        let needed = match collective.kind {
            CollectiveKind::Reduce => 1,
            CollectiveKind::Scan => grid.iter().product::<u32>(),
        };
        if let (Some(Arg::Buffer { len, .. }), Some(param)) = (args.last(), params.last())
            && *len != needed
        {
            let name = &param.name;
            return fail(format!("`{name}` has {len} elements, the result has {needed}"));
        }
    }
    Ok(())
}

/// Two parameters that are the same buffer, one of them written.
fn aliased(kernel: &Kernel, args: &[Arg]) -> Option<(usize, usize)> {
    let buffer = |at: usize| match (kernel.entry.params.get(at)?.kind, &args[at]) {
        (ParamKind::Buffer { access, .. }, Arg::Buffer { slot, .. }) => Some((slot, access)),
        _ => None,
    };
    for a in 0..args.len() {
        let Some((slot_a, access_a)) = buffer(a) else { continue };
        for b in a + 1..args.len() {
            if let Some((slot_b, access_b)) = buffer(b)
                && slot_a.is(slot_b)
                && (access_a, access_b) != (Access::Read, Access::Read)
            {
                return Some((a, b));
            }
        }
    }
    None
}

/// The grid that the kernel's own extents give for these arguments.
pub fn default_grid(kernel: &Kernel, args: &[Arg]) -> Grid {
    let mut grid = [1; 3];
    for (extent, size) in kernel.grid.iter().zip(&mut grid) {
        *size = match *extent {
            Extent::Len(param) => length(args, param),
            Extent::Scalar(param) => match args.get(param.index()) {
                Some(Arg::Scalar(c)) => c.bits as u32,
                Some(Arg::Buffer { .. }) | None => 0,
            },
            Extent::Fixed(size) => size,
            Extent::Given => 1,
        };
    }
    grid
}

/// The number of elements of a buffer argument; 0 for a scalar.
pub fn length(args: &[Arg], param: Param) -> u32 {
    match args.get(param.index()) {
        Some(Arg::Buffer { len, .. }) => *len,
        Some(Arg::Scalar(_)) | None => 0,
    }
}
