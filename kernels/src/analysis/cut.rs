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
