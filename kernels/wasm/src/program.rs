//! A compiled kernel, and the instances of it that wait for the next call.
//!
//! To instantiate a module costs microseconds, to lay a waiting instance over other buffers some ten
//! nanoseconds. An instance that waits holds no buffer: its memories are laid over the next call's
//! before anything runs. What code leaves behind in it does no harm: `partial` and the place of a
//! failure are read only after the call that has written them, and arrays are written before they are
//! read. An instance that has trapped is not used again.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_utils::atomic::AtomicCell;
use crossover_kernels::error::RunError;
use crossover_kernels::exec::{Deadline, Grid, Part, outer_axis};
use crossover_kernels::ir::Kernel;
use crossover_memory::Slot;
use wasmtime::{Module, ValRaw};

use crate::chunk::{Pace, points, range};
use crate::engine::{Instance, Interrupt};
use crate::private::Merge;
use crate::run::device;

/// Instances of a program that wait, at most: as many as calls on a large machine have workers.
const IDLE_MAX: usize = 64;

/// Bytes of arrays that the waiting instances of a program may hold together.
const IDLE_BYTES_MAX: usize = 1 << 26;

/// A compiled kernel.
pub(crate) struct Program {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) module: Module,
    /// Bytes of the memory behind those of the buffers.
    pub(crate) scratch_bytes: usize,
    pub(crate) unbounded: bool,
    /// Whether it has loops of any kind: then nobody knows what a point costs before it has run.
    pub(crate) has_loops: bool,
    /// Rows of the grid that are computed together.
    pub(crate) rows: u32,
    /// The size of workgroups, where the module counts these and not invocations.
    pub(crate) workgroup: Option<[u32; 3]>,
    /// Whether the grid's extents follow the arguments.
    pub(crate) has_extents: bool,
    /// For each buffer, how workers' copies of it are merged.
    pub(crate) privates: Vec<Option<Merge>>,
    /// What its points have cost of late.
    pub(crate) pace: Pace,
    pub(crate) idle: Idle,
}

/// An instance for one worker, and what goes with it.
pub(crate) struct Seat {
    pub(crate) instance: Instance,
    /// Room for the parameters of a call.
    pub(crate) params: Vec<ValRaw>,
    /// The memory behind those of the buffers.
    pub(crate) scratch: Option<Slot>,
}

/// Instances that wait.
#[derive(Default)]
pub(crate) struct Idle {
    /// The one that was used last, for the caller of small calls: it takes no lock.
    last: AtomicCell<Option<Box<Seat>>>,
    others: Mutex<Vec<Seat>>,
}

impl Idle {
    fn take(&self) -> Option<Box<Seat>> {
        self.last.take().or_else(|| self.others().pop().map(Box::new))
    }

    /// Keeps one, unless there are so many others.
    fn keep(&self, seat: Box<Seat>, others_max: usize) {
        if let Some(before) = self.last.swap(Some(seat)) {
            let mut others = self.others();
            if others.len() < others_max {
                others.push(*before);
            }
        }
    }

    fn others(&self) -> MutexGuard<'_, Vec<Seat>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Program {
    /// What the module walks over: invocations, or workgroups.
    pub(crate) fn grid(&self, grid: Grid) -> Grid {
        let whole = self.kernel.whole_groups(grid);
        let Some(size) = self.workgroup else { return whole };
        std::array::from_fn(|axis| whole[axis] / size[axis])
    }

    /// What it walks over in a part of a grid.
    pub(crate) fn range(&self, grid: Grid, part: Part) -> Range<u64> {
        if part == Part::all(grid) {
            return 0..points(self.grid(grid));
        }
        let size = self.workgroup.map_or(1, |size| size[outer_axis(grid)]);
        let part = Part { from: part.from / size, to: part.to.div_ceil(size) };
        // A grid of one group along its outermost axis is not cut.
        match part.from == 0 && part.to >= grid[outer_axis(grid)].div_ceil(size) {
            true => 0..points(self.grid(grid)),
            false => range(part, self.grid(grid)),
        }
    }

    /// An instance: one that has waited, or a new one, whose memories lie over these buffers at first.
    pub(crate) fn seat<'s>(
        &self,
        buffers: impl Iterator<Item = &'s Slot>,
        deadline: Option<Deadline>,
    ) -> Result<Box<Seat>, RunError> {
        let interrupt = if self.unbounded { Interrupt::At(deadline) } else { Interrupt::Never };
        if let Some(mut seat) = self.idle.take() {
            seat.instance.interrupt(interrupt);
            return Ok(seat);
        }
        let fail = |error: &dyn std::fmt::Display| device(&self.kernel.entry.name, error);
        let scratch = match self.scratch_bytes {
            0 => None,
            bytes => Some(Slot::zeroed(bytes).map_err(|error| fail(&error))?),
        };
        let buffers: Vec<&Slot> = buffers.collect();
        let slots = buffers.iter().map(|slot| &**slot).chain(&scratch);
        let instance = Instance::new(&self.module, slots, interrupt);
        let instance = instance.map_err(|error| fail(&error))?;
        Ok(Box::new(Seat { instance, params: Vec::new(), scratch }))
    }

    /// Keeps an instance for the next call.
    pub(crate) fn keep(&self, seat: Box<Seat>) {
        let fit = IDLE_BYTES_MAX.checked_div(self.scratch_bytes).unwrap_or(IDLE_MAX);
        if let Some(others_max) = fit.min(IDLE_MAX).checked_sub(1) {
            self.idle.keep(seat, others_max);
        }
    }
}
