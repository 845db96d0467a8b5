//! A compiled kernel, and the instances of it that wait for the next call.
//!
//! To instantiate a module costs microseconds, to lay a waiting instance over other buffers some ten
//! nanoseconds. An instance that waits holds no buffer: its memories are laid over the next call's
//! before anything runs. What code leaves behind in it does no harm: `partial` and the place of a
//! failure are read only after the call that has written them, and arrays are written before they are
//! read. An instance that has trapped is not used again.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    pub(crate) idle: Mutex<Vec<Seat>>,
}

/// An instance for one worker, and what goes with it.
pub(crate) struct Seat {
    pub(crate) instance: Instance,
    /// Room for the parameters of a call.
    pub(crate) params: Vec<ValRaw>,
    scratch: Option<Arc<Slot>>,
}

impl Program {
    /// What the module walks over: invocations, or workgroups.
    pub(crate) fn grid(&self, grid: Grid) -> Grid {
        let whole = self.kernel.whole_groups(grid);
        let size = self.workgroup.unwrap_or([1; 3]);
        std::array::from_fn(|axis| whole[axis] / size[axis])
    }

    /// What it walks over in a part of a grid.
    pub(crate) fn range(&self, grid: Grid, part: Part) -> Range<u64> {
        let size = self.workgroup.map_or(1, |size| size[outer_axis(grid)]);
        let part = Part { from: part.from / size, to: part.to.div_ceil(size) };
        // A grid of one group along its outermost axis is not cut.
        match part.from == 0 && part.to >= grid[outer_axis(grid)].div_ceil(size) {
            true => 0..points(self.grid(grid)),
            false => range(part, self.grid(grid)),
        }
    }

    /// An instance over these buffers: one that has waited, or a new one.
    pub(crate) fn seat(
        &self,
        buffers: impl Iterator<Item = Arc<Slot>>,
        deadline: Option<Deadline>,
    ) -> Result<Seat, RunError> {
        let interrupt = if self.unbounded { Interrupt::At(deadline) } else { Interrupt::Never };
        let waiting = self.idle().pop();
        let fail = |error: &dyn std::fmt::Display| device(&self.kernel.entry.name, error);
        if let Some(mut seat) = waiting {
            let slots = buffers.chain(seat.scratch.clone());
            seat.instance.bind(slots, interrupt).map_err(|error| fail(&error))?;
            return Ok(seat);
        }
        let scratch = match self.scratch_bytes {
            0 => None,
            bytes => Some(Arc::new(Slot::zeroed(bytes).map_err(|error| fail(&error))?)),
        };
        let slots = buffers.chain(scratch.clone()).collect();
        let instance =
            Instance::new(&self.module, slots, interrupt).map_err(|error| fail(&error))?;
        Ok(Seat { instance, params: Vec::new(), scratch })
    }

    /// Keeps an instance for the next call, without its buffers.
    pub(crate) fn keep(&self, mut seat: Seat) {
        seat.instance.release();
        let mut idle = self.idle();
        let bytes = (idle.len() + 1) * self.scratch_bytes;
        if idle.len() < IDLE_MAX && bytes <= IDLE_BYTES_MAX {
            idle.push(seat);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Seat>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
