//! How a kernel's work is laid out on the machine: the choices that do not change its result, and
//! the space of all of them.

use crossover_kernels::ir::Kernel;
use crossover_kernels::passes::unroll;

use crate::emit::shape;
use crate::order;

/// The optimisation that is a choice of layout alone: several invocations at a time.
pub const SIMD: &str = "simd";

/// The choices of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// Groups of four lanes along x that one passage of the body computes, 1 to 8; 0 computes one
    /// invocation at a time, without vectors.
    pub vectors: u8,
    /// Rows along y that one passage computes, 1 to 8. More than one only where the rows of a grid
    /// never part ways.
    pub rows: u8,
    /// Passages of a uniform loop that stand one after another, at least 1.
    pub unroll: u8,
    /// Passages of a tile's loop whose loads are copied before they are used; 0 copies none. Only
    /// where tiles of several rows load the same for each other.
    pub depth: u16,
    /// Whether a lane that is through with its invocation takes the next one, instead of waiting for its
    /// neighbours. Only where the kernel is around one loop. Of several invocations that fail, any may be
    /// the one that is reported.
    pub refill: bool,
}

/// What the shape of a kernel says that bears on how to lay it out: what [`Schedule::default_for`] goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Vector instructions of one group, and those in loops.
    pub instructions: usize,
    /// See above.
    pub in_loops: usize,
    /// Vector registers that a group holds throughout a loop.
    pub held: usize,
    /// Vector loads of one group that are neighbours in memory, and those that are not.
    pub loads: [usize; 2],
    /// Whether lanes part ways.
    pub diverges: bool,
    /// Whether lanes count to different ends.
    pub counts_apart: bool,
    /// Whether most of such loops is loads from all over.
    pub is_scattered: bool,
    /// Whether there are loops whose passages can stand one after another.
    pub has_loops: bool,
    /// Whether tiles of several rows reuse what they load.
    pub has_tiles: bool,
}

impl Outline {
    /// That of an optimised kernel.
    ///
    /// ```
    /// use crossover_kernels::{front, library::{matmul::matmul, saxpy::saxpy}, passes};
    /// use crossover_wasm::Outline;
    /// let outline = |def| Ok::<_, crossover_kernels::error::KernelError>(Outline::of(
    ///     &passes::optimize(&front::kernel(def, &[], &[])?),
    /// ));
    /// assert!(outline(matmul::DEF)?.has_tiles && !outline(saxpy::DEF)?.has_loops);
    /// # Ok::<(), crossover_kernels::error::KernelError>(())
    /// ```
    pub fn of(kernel: &Kernel) -> Outline {
        shape::outline(kernel)
    }
}

/// Passages of a block, where loads are copied: panels of them stay in the first cache.
pub(crate) const DEPTH: u16 = 256;

impl Schedule {
    /// One group at a time, nothing unrolled: right for every kernel.
    pub const PLAIN: Schedule =
        Schedule { vectors: 1, rows: 1, unroll: 1, depth: 0, refill: false };

    /// What is taken without further knowledge, from the shape of the kernel alone.
    ///
    /// ```
    /// use crossover_kernels::{front, library::saxpy::saxpy, passes};
    /// let kernel = passes::optimize(&front::kernel(saxpy::DEF, &[], &[])?);
    /// assert!(crossover_wasm::Schedule::default_for(&kernel).vectors > 1);
    /// # Ok::<(), crossover_kernels::error::KernelError>(())
    /// ```
    pub fn default_for(kernel: &Kernel) -> Schedule {
        shape::default_schedule(kernel)
    }

    /// The same for a kernel that was optimised only in part: without [`SIMD`] one invocation at a time,
    /// without the pass of that name no loop unrolled either.
    ///
    /// ```
    /// use crossover_kernels::{front, library::saxpy::saxpy, passes};
    /// use crossover_wasm::{SIMD, Schedule};
    /// let kernel = passes::optimize(&front::kernel(saxpy::DEF, &[], &[])?);
    /// assert_eq!(Schedule::default_with(&kernel, &|name| name != SIMD).vectors, 0);
    /// # Ok::<(), crossover_kernels::error::KernelError>(())
    /// ```
    pub fn default_with(kernel: &Kernel, enabled: &dyn Fn(&str) -> bool) -> Schedule {
        let mut schedule = Schedule::default_for(kernel);
        if !enabled(SIMD) {
            schedule = Schedule { vectors: 0, ..Schedule::PLAIN };
        }
        if !enabled(unroll::PASS.name) {
            schedule.unroll = 1;
        }
        schedule
    }

    /// Every schedule worth a try for the kernel, the default first.
    ///
    /// ```
    /// use crossover_kernels::{front, library::saxpy::saxpy, passes};
    /// use crossover_wasm::Schedule;
    /// let kernel = passes::optimize(&front::kernel(saxpy::DEF, &[], &[])?);
    /// assert_eq!(Schedule::space(&kernel)[0], Schedule::default_for(&kernel));
    /// # Ok::<(), crossover_kernels::error::KernelError>(())
    /// ```
    pub fn space(kernel: &Kernel) -> Vec<Schedule> {
        let default = Schedule::default_for(kernel);
        let mut space = vec![default];
        let tiles = shape::has_tiles(kernel);
        let unrolls: &[u8] = if shape::has_uniform_loops(kernel) { &[1, 2, 4] } else { &[1] };
        let rows: &[u8] = if tiles { &[1, 2, 3, 4, 5, 6] } else { &[1] };
        for &rows in rows {
            let depths: &[u16] = if rows > 1 { &[0, DEPTH] } else { &[0] };
            for vectors in [0, 1, 2, 3, 4] {
                for (&unroll, &depth) in
                    unrolls.iter().flat_map(|u| depths.iter().map(move |d| (u, d)))
                {
                    space.push(Schedule { vectors, rows, unroll, depth, refill: false });
                }
            }
        }
        if shape::can_refill(kernel) {
            let refilled = |vectors| Schedule { vectors, refill: true, ..Schedule::PLAIN };
            space.extend([1, 2, 3].map(refilled));
        }
        space.dedup();
        let first = space[0];
        let mut rest = space.split_off(1);
        rest.retain(|schedule| *schedule != first);
        space.extend(rest);
        space
    }

    /// Those of [`Schedule::space`] with which every call leaves what it leaves with the default, bit for bit: they
    /// may take its place between calls. All NaNs are the same. Where several invocations fail, the error may
    /// name another one of them.
    ///
    /// ```
    /// use crossover_kernels::{front, library::dot::dot, passes};
    /// use crossover_wasm::Schedule;
    /// let kernel = passes::optimize(&front::kernel(dot::DEF, &[], &[])?);
    /// let default = Schedule::default_for(&kernel);
    /// // A sum of floats depends on how many are added side by side.
    /// let all = Schedule::interchangeable(&kernel);
    /// assert!(all.iter().all(|layout| layout.vectors == default.vectors));
    /// # Ok::<(), crossover_kernels::error::KernelError>(())
    /// ```
    pub fn interchangeable(kernel: &Kernel) -> Vec<Schedule> {
        let mut space = Schedule::space(kernel);
        let default = space[0];
        space.retain(|layout| order::leave_the_same(kernel, default, *layout));
        space
    }
}
