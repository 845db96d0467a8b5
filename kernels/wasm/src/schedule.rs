//! How a kernel's work is laid out on the machine: the choices that do not change its result, and
//! the space of all of them.

use crossover_kernels::ir::Kernel;

use crate::emit::shape;

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
}

impl Schedule {
    /// One group at a time, nothing unrolled: right for every kernel.
    pub const PLAIN: Schedule = Schedule { vectors: 1, rows: 1, unroll: 1 };

    /// What is taken without further knowledge, from the shape of the kernel alone.
    pub fn default_for(kernel: &Kernel) -> Schedule {
        shape::default_schedule(kernel)
    }

    /// Every schedule worth a try for the kernel, the default first.
    pub fn space(kernel: &Kernel) -> Vec<Schedule> {
        let default = Schedule::default_for(kernel);
        let mut space = vec![default];
        let rows: &[u8] = if shape::has_tiles(kernel) { &[1, 2, 3, 4, 6] } else { &[1] };
        let unrolls: &[u8] = if shape::has_uniform_loops(kernel) { &[1, 2, 4] } else { &[1] };
        for &rows in rows {
            for vectors in [0, 1, 2, 3, 4] {
                for &unroll in unrolls {
                    space.push(Schedule { vectors, rows, unroll });
                }
            }
        }
        space.dedup();
        let first = space[0];
        let mut rest = space.split_off(1);
        rest.retain(|schedule| *schedule != first);
        space.extend(rest);
        space
    }
}
