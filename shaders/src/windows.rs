//! Calls on buffers that are larger than a binding can be: the grid is cut along one axis, so that each part
//! touches no more of any buffer than one binding holds, and each part's dispatches see that window alone.
//!
//! ```text
//! y[i] = x[i]     points  0 ..= n/2 - 1    n/2 ..= n - 1
//!                 x, y    first half       second half
//! ```
//!
//! What a part touches follows from the intervals of its indices ([`checks::accessed`]). A kernel that may look
//! anywhere cannot be cut, and runs elsewhere.

use std::sync::{Arc, OnceLock};

use crossover_kernels::error::RunError;
use crossover_kernels::exec::{Arg, Grid};
use crossover_kernels::ir::{CollectiveKind, Const, Kernel, Param, ParamKind};
use crossover_kernels::passes::checks;

use crate::arg::DeviceArg;
use crate::compiled::Compiled;
use crate::legality::Capabilities;
use crate::schedule::Schedule;

/// How often the number of parts is doubled before a kernel is said not to be cut, beginning with the least
/// that can do.
const TRIES: u32 = 4;

/// Parts of a call at most; of a collective, whose parts are of one submission.
const PARTS_MAX: u32 = 1 << 12;
const PARTS_MAX_COLLECTIVE: u32 = 24;

/// A part of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The first point of the grid, and how many there are along each axis.
    pub(crate) start: Grid,
    pub(crate) extent: Grid,
    /// What shaders see of each parameter.
    pub(crate) windows: Vec<Window>,
}

/// A part of a buffer, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

/// A call in parts: the form that runs them, and the parts.
pub(crate) type InParts = (Arc<Compiled>, Vec<Cut>);

/// The forms of a kernel that see windows; compiled when they are first asked for.
#[derive(Debug)]
pub(crate) struct Windows {
    schedule: Schedule,
    forms: [OnceLock<Result<Arc<Compiled>, RunError>>; 2],
}

impl Windows {
    pub(crate) fn new(schedule: Schedule) -> Windows {
        let schedule = Schedule { windows: true, single_pass: Some(false), ..schedule };
        Windows { schedule, forms: Default::default() }
    }

    /// The form and the parts of a call; `None` where every buffer can be bound as it is. `stripped` is the
    /// kernel without checks, if those of this call are proved.
    ///
    /// # Errors
    /// [`RunError::Unsupported`] for a call that cannot be cut, and as [`Compiled::of`].
    pub(crate) fn of(
        &self,
        checked: &Compiled,
        stripped: impl FnOnce() -> Option<Arc<Kernel>>,
        args: &[DeviceArg<'_>],
        grid: Grid,
    ) -> Result<Option<InParts>, RunError> {
        let caps = checked.gpu.capabilities();
        let is_large = |arg: &DeviceArg<'_>| match arg {
            DeviceArg::Buffer { buffer, .. } => buffer.bytes() > caps.storage_buffer_bytes_max,
            DeviceArg::Scalar(_) => false,
        };
        if !args.iter().any(is_large) || grid.contains(&0) {
            return Ok(None);
        }
        let kernel = &checked.kernel;
        let call = |param: Param| match args.get(param.index()) {
            Some(DeviceArg::Scalar(c)) => Known::Scalar(*c),
            Some(DeviceArg::Buffer { len, .. }) => Known::Len(*len),
            None => Known::Nothing,
        };
        let cuts = cut(kernel, caps, &self.schedule, &call, grid)?;
        let (form, kernel) = match stripped() {
            Some(stripped) => (&self.forms[0], stripped),
            None => (&self.forms[1], kernel.clone()),
        };
        let compile = || Compiled::of(&checked.gpu, &kernel, &self.schedule).map(Arc::new);
        Ok(Some((form.get_or_init(compile).clone()?, cuts)))
    }
}

/// Checks that a device can run a call: that its buffers can be bound, or the call be cut so that they can.
///
/// # Errors
/// [`RunError::Unsupported`], which names the buffer.
pub fn check_call(
    kernel: &Kernel,
    caps: &Capabilities,
    args: &[Arg],
    grid: Grid,
) -> Result<(), RunError> {
    let call = |param: Param| match args.get(param.index()) {
        Some(Arg::Scalar(c)) => Known::Scalar(*c),
        Some(Arg::Buffer { len, .. }) => Known::Len(*len),
        None => Known::Nothing,
    };
    if largest(kernel, &call).1 <= caps.storage_buffer_bytes_max || grid.contains(&0) {
        return Ok(());
    }
    cut(kernel, caps, &Schedule::of(kernel, caps), &call, grid).map(|_| ())
}

/// What is known of an argument.
#[derive(Clone, Copy)]
enum Known {
    Scalar(Const),
    Len(u32),
    Nothing,
}

/// The largest buffer of a call, and its bytes.
fn largest(kernel: &Kernel, call: &dyn Fn(Param) -> Known) -> (Option<Param>, u64) {
    let buffers = kernel.entry.buffers().map(|(param, element, _)| match call(param) {
        Known::Len(len) => (Some(param), u64::from(len) * element.bytes() as u64),
        Known::Scalar(_) | Known::Nothing => (None, 0),
    });
    buffers.max_by_key(|(_, bytes)| *bytes).unwrap_or((None, 0))
}

/// The parts of a call.
fn cut(
    kernel: &Kernel,
    caps: &Capabilities,
    schedule: &Schedule,
    call: &dyn Fn(Param) -> Known,
    grid: Grid,
) -> Result<Vec<Cut>, RunError> {
    let grid = kernel.whole_groups(grid);
    let (param, bytes) = largest(kernel, call);
    let name = param.map_or("?", |param| kernel.entry.params[param.index()].name.as_str());
    let refused = |why: &str| RunError::Unsupported {
        kernel: kernel.entry.name.clone(),
        device: caps.device.clone(),
        what: format!(
            "buffer `{name}` of {bytes} bytes{why}, max_storage_buffer_binding_size is {}",
            caps.storage_buffer_bytes_max
        ),
    };
    if bytes > caps.buffer_bytes_max {
        return Err(refused(&format!(" where no buffer has more than {}", caps.buffer_bytes_max)));
    }
    let least = bytes.div_ceil(caps.storage_buffer_bytes_max.max(1)).next_power_of_two();
    let parts_max = kernel.collective.map_or(PARTS_MAX, |_| PARTS_MAX_COLLECTIVE);
    let cutter = Cutter { kernel, caps, schedule, call, grid };
    for parts in (0..=TRIES).filter_map(|at| u32::try_from(least << at).ok()) {
        let axes = (0..kernel.axes()).rev().filter(|&axis| grid[axis] > 1 || axis == 0);
        for axis in axes {
            if parts <= parts_max.max(least as u32)
                && let Some(cuts) = cutter.along(axis, parts)
            {
                return Ok(cuts);
            }
        }
    }
    Err(refused(", of which no part of the grid touches a part"))
}

struct Cutter<'a> {
    kernel: &'a Kernel,
    caps: &'a Capabilities,
    schedule: &'a Schedule,
    call: &'a dyn Fn(Param) -> Known,
    grid: Grid,
}

impl Cutter<'_> {
    /// So many parts along an axis; `None` where some part touches too much.
    fn along(&self, axis: usize, parts: u32) -> Option<Vec<Cut>> {
        let granule = match (self.kernel.collective, self.kernel.axes()) {
            // Further passes bind what each part gives.
            (Some(_), _) => self.schedule.block().max(self.caps.storage_alignment / 4),
            (None, 1) => self.schedule.block(),
            (None, _) => self.schedule.workgroup[axis],
        };
        let extent = self.grid[axis];
        let step = extent.div_ceil(parts).checked_next_multiple_of(granule)?;
        let starts = (0..extent).step_by(step as usize);
        let part = |from: u32| {
            let (mut start, mut size) = ([0; 3], self.grid);
            (start[axis], size[axis]) = (from, step.min(extent - from));
            Some(Cut { start, extent: size, windows: self.windows(start, size)? })
        };
        starts.map(part).collect()
    }

    /// What shaders see of each parameter; `None` where that is more than can be bound.
    fn windows(&self, start: Grid, size: Grid) -> Option<Vec<Window>> {
        let scalar = |param: Param| match (self.call)(param) {
            Known::Scalar(c) => (!c.ty.is_float()).then_some(c),
            Known::Len(_) | Known::Nothing => None,
        };
        let len = |param: Param| match (self.call)(param) {
            Known::Len(len) => Some(len),
            Known::Scalar(_) | Known::Nothing => None,
        };
        let points = [0, 1, 2].map(|axis| (start[axis], start[axis].saturating_add(size[axis])));
        let mut touched = checks::accessed(self.kernel, &scalar, &len, self.grid, points);
        if let (Some(collective), Some(output)) = (self.kernel.collective, touched.last_mut()) {
            *output = match collective.kind {
                CollectiveKind::Reduce => Some((0, 0)),
                CollectiveKind::Scan => Some((points[0].0, points[0].1 - 1)),
            };
        }
        let params = self.kernel.entry.params.iter().zip(touched);
        params.map(|(param, touched)| self.window(param.kind, touched)).collect()
    }

    fn window(&self, kind: ParamKind, touched: Option<(u32, u32)>) -> Option<Window> {
        let (ParamKind::Buffer { element, .. }, Some((low, high))) = (kind, touched) else {
            return Some(Window::default());
        };
        let aligned = (self.caps.storage_alignment / element.bytes() as u32).max(1);
        let first = low / aligned * aligned;
        let count = high - first + 1;
        let bytes = u64::from(count) * element.bytes() as u64;
        (bytes <= self.caps.storage_buffer_bytes_max).then_some(Window { first, count })
    }
}
