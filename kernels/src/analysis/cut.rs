//! Which calls can be run in parts, one after another, each on whatever device.
//!
//! A part is a range of positions along the outermost axis of the grid. Each sees what those before have left, so
//! that any call could be cut whose result does not depend on the order of its invocations. Refused are those of
//! which a part could see what another one does in its place: collectives, whose invocations add up to one
//! result; atomic operations, for which two devices would need one memory at one time; and buffers that are both
//! loaded and stored elsewhere than at the invocation's own elements.

use super::has_atomics;
use super::own::own_row;
use crate::exec::{Arg, Grid, outer_axis};
use crate::ir::{Access, Function, Inst, Kernel, Param, Stmt, Value};

/// How a call can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The axis.
    pub axis: usize,
    /// Parts begin at multiples of this: workgroups are not cut.
    pub step: u32,
}

/// Why a call cannot be cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncut {
    /// See above.
    #[error("its invocations add up to one result")]
    Collective,
    /// See above.
    #[error("it has atomic operations")]
    Atomics,
    /// See above.
    #[error("other invocations may load what is stored in `{0}`")]
    Shared(String),
    /// There is nothing to be cut.
    #[error("its grid is one step along its outermost axis")]
    Small,
}

/// How a call of a kernel that back ends get can be cut.
///
/// # Errors
/// [`Uncut`]: it cannot.
pub fn cut(kernel: &Kernel, args: &[Arg], grid: Grid) -> Result<Cut, Uncut> {
    if kernel.collective.is_some() {
        return Err(Uncut::Collective);
    }
    let entry = &kernel.entry;
    if has_atomics(entry) {
        return Err(Uncut::Atomics);
    }
    let axis = outer_axis(grid);
    let step = kernel.workgroup.map_or(1, |size| size[axis]);
    if grid.contains(&0) || grid[axis] <= step {
        return Err(Uncut::Small);
    }
    let whole = kernel.whole_groups(grid);
    let shared = entry.buffers().find(|(param, _, access)| {
        *access != Access::Read && !is_apart(entry, *param, args, whole)
    });
    match shared {
        Some((param, ..)) => Err(Uncut::Shared(entry.params[param.index()].name.clone())),
        None => Ok(Cut { axis, step }),
    }
}

/// Whether no invocation loads what another one stores in a buffer.
fn is_apart(entry: &Function, buffer: Param, args: &[Arg], grid: Grid) -> bool {
    let (mut loads, mut stores) = (Vec::new(), Vec::new());
    entry.walk(&mut |stmt| match stmt {
        Stmt::Store(param, index, _) if *param == buffer => stores.push(*index),
        Stmt::Let(value) => match entry.def(*value).inst {
            Inst::Load(param, index) if param == buffer => loads.push(index),
            _ => {}
        },
        _ => {}
    });
    if loads.is_empty() || stores.is_empty() {
        return true;
    }
    let row = |index: &Value| own_row(entry, *index, args, grid);
    let first = row(&loads[0]);
    first.is_some() && loads.iter().chain(&stores).all(|index| row(index) == first)
}

#[cfg(test)]
mod tests {
    use super::{Cut, Uncut, cut};
    use crate::exec::{Arg, Grid, Part};
    use crate::{Def, Id, front, kernel, passes};
    use crossover_memory::Slot;
    use std::sync::Arc;

    #[kernel]
    fn axpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
        y[id.x] = a * x[x.len() - 1 - id.x] + y[id.x];
    }

    #[kernel]
    fn in_place(id: Id, y: &mut [f32]) {
        y[id.x] = if id.x > 0 { y[id.x - 1] } else { 0.0 };
    }

    #[kernel(grid = n)]
    fn pairs(id: Id, n: usize, y: &mut [f32]) {
        let re = y[2 * id.x];
        let im = y[2 * id.x + 1];
        y[2 * id.x] = re * re - im * im;
        y[2 * id.x + 1] = 2.0 * re * im / n as f32;
    }

    #[kernel(grid = n)]
    fn overlapping(id: Id, n: usize, y: &mut [f32]) {
        y[2 * id.x] = y[2 * id.x + 2] / n as f32;
    }

    #[kernel(grid = (w, h))]
    fn rows(id: Id, w: usize, h: usize, y: &mut [f32]) {
        y[id.y * w + id.x] = y[id.y * w + id.x] + h as f32;
    }

    #[kernel(reduce = add)]
    fn total(id: Id, x: &[f32]) -> f32 {
        x[id.x]
    }

    #[kernel(workgroup = 8, grid = n)]
    fn in_groups(id: Id, n: usize, y: &mut [f32]) {
        y[id.x] = n as f32;
    }

    fn of(def: &'static Def, scalars: &[u32], buffers: usize, grid: Grid) -> Result<Cut, Uncut> {
        let kernel = passes::optimize(&front::kernel(def, &[], &[]).expect("typed"));
        let slot = || Arc::new(Slot::zeroed(4096).expect("memory"));
        let scalars = scalars.iter().map(|&n| Arg::Scalar(n.into()));
        let buffers = (0..buffers).map(|_| Arg::Buffer { slot: slot(), len: 1024 });
        cut(&kernel, &scalars.chain(buffers).collect::<Vec<_>>(), grid)
    }

    #[test]
    fn parts_that_see_nothing_of_each_other_are_cut() {
        let along = |axis, step| Ok(Cut { axis, step });
        assert_eq!(of(axpy::DEF, &[1], 2, [100, 1, 1]), along(0, 1));
        assert_eq!(of(pairs::DEF, &[100], 1, [100, 1, 1]), along(0, 1));
        assert_eq!(of(rows::DEF, &[8, 16], 1, [8, 16, 1]), along(1, 1));
        assert_eq!(of(in_groups::DEF, &[100], 1, [100, 1, 1]), along(0, 8));
        assert_eq!(of(in_groups::DEF, &[8], 1, [8, 1, 1]), Err(Uncut::Small));
        assert_eq!(of(rows::DEF, &[4, 16], 1, [8, 16, 1]), Err(Uncut::Shared("y".into())));
        assert_eq!(of(in_place::DEF, &[], 1, [100, 1, 1]), Err(Uncut::Shared("y".into())));
        assert_eq!(of(overlapping::DEF, &[100], 1, [100, 1, 1]), Err(Uncut::Shared("y".into())));
        assert_eq!(of(total::DEF, &[], 2, [100, 1, 1]), Err(Uncut::Collective));
    }

    #[test]
    fn parts_lie_along_the_outermost_axis() {
        let (part, grid) = (Part { from: 2, to: 5 }, [7, 8, 1]);
        assert_eq!((part.start(grid), part.extent(grid)), ([0, 2, 0], [7, 3, 1]));
        assert_eq!(part.share(grid), 3.0 / 8.0);
        assert_eq!(Part::all([7, 1, 1]), Part { from: 0, to: 7 });
        assert_eq!(Part::all([0, 8, 1]), Part { from: 0, to: 8 });
    }
}
