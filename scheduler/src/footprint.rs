//! What a call touches of its buffers: how much of them has to be on the device, and how much does not.

use std::ops::Range;

use crossover_kernels::analysis::is_own;
use crossover_kernels::exec::{Arg, Grid, Part, length};
use crossover_kernels::ir::{Access, Inst, Kernel, Param, Stmt, Value};

/// What a call touches of a buffer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Footprint {
    /// Bytes that hold all that it looks at or changes.
    pub(crate) touched: Range<usize>,
    /// Whether it changes any.
    pub(crate) is_written: bool,
    /// Whether it certainly stores all of them and loads none: what they held before does not matter.
    pub(crate) is_blank: bool,
    /// Bytes that all its accesses would move without a cache, as far as that is known.
    pub(crate) traffic: f64,
}

/// The footprints of all parameters, empty for scalars.
pub(crate) fn footprints(kernel: &Kernel, args: &[Arg], grid: Grid) -> Vec<Footprint> {
    footprints_of(kernel, args, grid, Part::all(grid))
}

/// The same for a part of the call: of what it touches at its own position alone, that part.
pub(crate) fn footprints_of(
    kernel: &Kernel,
    args: &[Arg],
    grid: Grid,
    part: Part,
) -> Vec<Footprint> {
    let share = part.extent(grid);
    let is_whole = share == grid;
    // What runs is whole workgroups.
    let grid = kernel.whole_groups(grid);
    // The positions of the part's points in row-major order.
    let each = match part.start(grid).iter().position(|&from| from > 0) {
        None | Some(0) => 1,
        Some(1) => grid[0],
        Some(_) => grid[0].saturating_mul(grid[1]),
    };
    let first = part.from.saturating_mul(each);
    let count = kernel.whole_groups(share);
    let mut found = vec![Footprint::default(); args.len()];
    for (param, element, access) in kernel.entry.buffers() {
        let touched = match touched(kernel, param, args, grid, count) {
            Touched::Own(count) => {
                let whole = length(args, param);
                first.min(whole)..first.saturating_add(count).min(whole)
            }
            Touched::Any => 0..length(args, param),
        };
        let is_output =
            kernel.collective.is_some() && param.index() + 1 == kernel.entry.params.len();
        // Stores of one's own element fill no more than one for each invocation.
        let own = count[0].checked_mul(count[1]).filter(|_| grid[2] == 1);
        let is_all = is_whole || touched.start == first;
        let covers = is_all && own.is_some_and(|count| count as usize >= touched.len());
        let is_blank = is_output || (covers && is_overwritten(kernel, param, access, args, grid));
        if let Some(footprint) = found.get_mut(param.index()) {
            *footprint = Footprint {
                touched: touched.start as usize * element.bytes()
                    ..touched.end as usize * element.bytes(),
                is_written: access != Access::Read,
                is_blank,
                traffic: 0.0,
            };
        }
    }
    found
}

/// What a part of a call touches of a buffer.
enum Touched {
    /// The elements at the positions of so many invocations.
    Own(u32),
    /// Nobody knows.
    Any,
}

/// Which elements hold all that so many points touch: seen where each invocation looks at, or stores, the element
/// at its own position alone, `x` or `y * w + x`.
fn touched(kernel: &Kernel, buffer: Param, args: &[Arg], grid: Grid, count: Grid) -> Touched {
    let entry = &kernel.entry;
    let is_output = kernel.collective.is_some() && buffer.index() + 1 == entry.params.len();
    let own = |index: Value| is_own(entry, index, args, grid);
    let mut is_own = !is_output;
    for def in &entry.values {
        match def.inst {
            Inst::Load(p, index) if p == buffer => is_own &= own(index),
            Inst::AtomicLoad(p, _) | Inst::Atomic(_, p, ..) | Inst::CompareSwap(p, ..)
                if p == buffer =>
            {
                is_own = false;
            }
            _ => {}
        }
    }
    entry.walk(&mut |stmt| match stmt {
        Stmt::Store(p, index, _) if *p == buffer => is_own &= own(*index),
        Stmt::AtomicStore(p, ..) if *p == buffer => is_own = false,
        _ => {}
    });
    match count[0].checked_mul(count[1]).filter(|_| is_own && grid[2] == 1) {
        Some(count) => Touched::Own(count),
        None => Touched::Any,
    }
}

/// Whether every element that the call touches is certainly stored, and none loaded.
fn is_overwritten(
    kernel: &Kernel,
    buffer: Param,
    access: Access,
    args: &[Arg],
    grid: Grid,
) -> bool {
    let entry = &kernel.entry;
    let loaded = entry.values.iter().any(|v| matches!(v.inst, Inst::Load(p, _) if p == buffer));
    access == Access::ReadWrite
        && !loaded
        && grid[2] == 1
        && stores_own(kernel, &entry.body, buffer, args, grid) == Some(true)
}

/// Whether a block stores the invocation's own element on every path; `None` when it may go on
/// behind the block without, `Some(false)` when it may end without.
fn stores_own(
    kernel: &Kernel,
    block: &[Stmt],
    buffer: Param,
    args: &[Arg],
    grid: Grid,
) -> Option<bool> {
    for stmt in block {
        let inside = |b: &[Stmt]| stores_own(kernel, b, buffer, args, grid);
        match stmt {
            Stmt::Store(p, index, _)
                if *p == buffer && is_own(&kernel.entry, *index, args, grid) =>
            {
                return Some(true);
            }
            Stmt::If { then, otherwise, .. } => match (inside(then), inside(otherwise)) {
                (Some(true), Some(true)) => return Some(true),
                (Some(false), _) | (_, Some(false)) => return Some(false),
                _ => {}
            },
            Stmt::Return => return Some(false),
            Stmt::For { .. } | Stmt::Loop(_) if returns(stmt) => return Some(false),
            _ => {}
        }
    }
    None
}

fn returns(stmt: &Stmt) -> bool {
    matches!(stmt, Stmt::Return) || stmt.blocks().into_iter().flatten().any(returns)
}

#[cfg(test)]
mod tests {
    use super::footprints;
    use crossover_kernels::exec::Arg;
    use crossover_kernels::{Id, front, kernel, passes};
    use crossover_memory::Slot;
    use std::sync::Arc;

    #[kernel(grid = (w, h))]
    fn whole(id: Id, w: usize, h: usize, x: &[f32], y: &mut [f32]) {
        let at = id.y * w + id.x;
        if id.x == 0 || id.y == h {
            y[at] = 0.0;
        } else {
            y[at] = x[at];
        }
    }

    #[kernel(grid = (w, h))]
    fn some(id: Id, w: usize, h: usize, x: &[f32], y: &mut [f32]) {
        let at = id.y * w + id.x;
        if x[at] > 0.0 {
            y[at] = x[at];
        }
    }

    fn footprint(
        def: &'static crossover_kernels::Def,
        w: u32,
        len: u32,
    ) -> (std::ops::Range<usize>, bool) {
        let kernel = passes::optimize(&front::kernel(def, &[], &[]).expect("typed"));
        let slot = Arc::new(Slot::zeroed(4 * len as usize).expect("memory"));
        let buffer = Arg::Buffer { slot: slot.into(), len };
        let args = [Arg::Scalar(w.into()), Arg::Scalar(3u32.into()), buffer.clone(), buffer];
        let found = footprints(&kernel, &args, [w, 3, 1]).remove(3);
        (found.touched, found.is_blank)
    }

    #[kernel]
    fn turned(id: Id, x: &[f32], y: &mut [f32]) {
        y[id.x] = x[x.len() - 1 - id.x];
    }

    #[kernel(grid = n)]
    fn twice_as_many(id: Id, n: usize, y: &mut [f32]) {
        y[id.x] = 1.0;
        y[id.x + n] = 2.0;
    }

    #[kernel(workgroup = 8, grid = n)]
    fn in_groups(id: Id, n: usize, y: &mut [f32]) {
        y[id.x] = n as f32;
    }

    #[test]
    fn what_lies_beyond_the_grid_counts() {
        let found = |def, len: u32| {
            let kernel = passes::optimize(&front::kernel(def, &[], &[]).expect("typed"));
            let slot = Arc::new(Slot::zeroed(4 * len as usize).expect("memory"));
            let args = [Arg::Scalar(10u32.into()), Arg::Buffer { slot: slot.into(), len }];
            let found = footprints(&kernel, &args, [10, 1, 1]).remove(1);
            (found.touched, found.is_blank)
        };
        assert_eq!(found(twice_as_many::DEF, 30), (0..120, false), "ten are never stored");
        assert_eq!(found(in_groups::DEF, 30), (0..64, true), "two whole groups run");
    }

    #[test]
    fn only_what_is_touched_and_not_wholly_stored_need_be_uploaded() {
        assert_eq!(footprint(whole::DEF, 4, 12), (0..48, true));
        assert_eq!(footprint(whole::DEF, 4, 13), (0..48, true), "the last element is not touched");
        assert_eq!(footprint(whole::DEF, 4, 11).0, 0..44, "the first invocation beyond it fails");
        assert_eq!(footprint(some::DEF, 4, 12), (0..48, false), "some elements keep their content");
        let kernel = passes::optimize(&front::kernel(turned::DEF, &[], &[]).expect("typed"));
        let slot = Arc::new(Slot::zeroed(80).expect("memory"));
        let args = [20, 10].map(|len| Arg::Buffer { slot: slot.clone().into(), len });
        let found = footprints(&kernel, &args, [10, 1, 1]);
        assert_eq!(found[0].touched, 0..80, "not its own");
        assert_eq!((found[1].touched.clone(), found[1].is_blank), (0..40, true));
    }
}
