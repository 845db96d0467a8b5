//! Checks that cannot fail.
//!
//! ```text
//! check c  == nothing      where c follows from constants, intervals and conditions above
//! ```
//!
//! Known at a statement are
//!
//! - an interval for each integer: of constants, `x & c`, `x % c`, `min`, `max`, shifts, sums and
//!   products that cannot wrap, the counter of a `for`, a grid axis of fixed extent;
//! - the conditions of the `if`s around, of the checks before, and the negation of a condition whose
//!   `if` has jumped: `if i >= n { return }` gives `i < n` for what follows;
//! - `x % n < n`, `min(x, y) <= x`, `x / y <= x` and the like, of unsigned numbers.
//!
//! A kernel that is only ever run on its own grid knows more: `id.x < len p` where that is the
//! grid's extent ([`run_with_grid`]). The sites of removed checks stay in their table, so that the
//! others keep their numbers.

mod prover;

use self::prover::{Facts, Interval, Prover};
use super::Pass;
use super::rule::Hits;
use crate::ir::{Const, Extent, Function, Inst, Kernel, Param, Stmt};

/// The pass.
pub const PASS: Pass = Pass { name: "checks", description: "removes checks that cannot fail", run };

/// Removes what holds on any grid.
pub fn run(kernel: &mut Kernel, hits: &mut Hits) {
    run_with_grid(kernel, false, hits);
}

/// Removes checks. With `own_grid`, the caller promises never to run the kernel on another grid
/// than the one its extents give.
pub fn run_with_grid(kernel: &mut Kernel, own_grid: bool, hits: &mut Hits) {
    let grid = if own_grid { kernel.grid.clone() } else { Vec::new() };
    let workgroup = kernel.workgroup;
    run_function(&mut kernel.entry, &grid, workgroup, DEPTH, hits);
    for helper in &mut kernel.helpers {
        run_function(helper, &[], None, DEPTH, hits);
    }
}

/// Whether no check of the entry function can fail in a call with these arguments over this grid: `scalar`
/// and `len` give what is known of them. All kernels that back ends get have but this one function.
pub fn hold(
    kernel: &Kernel,
    scalar: &dyn Fn(Param) -> Option<Const>,
    len: &dyn Fn(Param) -> Option<u32>,
    grid: [u32; 3],
) -> bool {
    let mut entry = known_call(kernel, scalar, len, grid);
    let extents = extents(kernel, grid);
    run_function(&mut entry, &extents, kernel.workgroup, DEPTH_OF_CALL, &mut Hits::ignored());
    let mut checks = false;
    entry.walk(&mut |stmt| checks |= matches!(stmt, Stmt::Check { .. }));
    !checks
}

/// The least and the greatest element of each buffer that a call looks at or changes at some points of its grid, in
/// the order of parameters: from `points[axis].0` up to, not including, `points[axis].1`. `None` for what is
/// not accessed, and for what is no buffer.
pub fn accessed(
    kernel: &Kernel,
    scalar: &dyn Fn(Param) -> Option<Const>,
    len: &dyn Fn(Param) -> Option<u32>,
    grid: [u32; 3],
    points: [(u32, u32); 3],
) -> Vec<Option<(u32, u32)>> {
    let mut entry = known_call(kernel, scalar, len, grid);
    let extents = extents(kernel, grid);
    let body = std::mem::take(&mut entry.body);
    let mut prover = Prover {
        function: &entry,
        grid: &extents,
        points: Some(points.map(|(from, to)| (i128::from(from), i128::from(to) - 1))),
        workgroup: kernel.workgroup,
        depth: DEPTH_OF_CALL,
        accessed: vec![None; entry.params.len()],
        hits: &mut Hits::ignored(),
    };
    prover.block(body, &mut Facts::default());
    // Whatever an index may be, the check before it keeps it within the buffer.
    let within = |(at, found): (usize, Option<Interval>)| {
        let last = len(Param(at as u32))?.checked_sub(1)?;
        let (low, high) = found?;
        let low = u32::try_from(low.max(0)).unwrap_or(last).min(last);
        Some((low, u32::try_from(high.max(0)).unwrap_or(last).min(last)))
    };
    prover.accessed.into_iter().enumerate().map(within).collect()
}

/// The entry function with what is known of a call as constants.
fn known_call(
    kernel: &Kernel,
    scalar: &dyn Fn(Param) -> Option<Const>,
    len: &dyn Fn(Param) -> Option<u32>,
    grid: [u32; 3],
) -> Function {
    let mut entry = kernel.entry.clone();
    for def in &mut entry.values {
        let known = match def.inst {
            Inst::Param(param) => scalar(param).filter(|c| c.ty == def.ty),
            Inst::Len(param) => len(param).map(Const::from),
            Inst::Extent(axis) => Some(Const::from(grid[axis.index()])),
            _ => None,
        };
        if let Some(known) = known {
            def.inst = Inst::Const(known);
        }
    }
    entry
}

fn extents(kernel: &Kernel, grid: [u32; 3]) -> Vec<Extent> {
    grid[..kernel.axes()].iter().map(|&extent| Extent::Fixed(extent)).collect()
}

/// How many operators up the prover looks again: in passes, and for a call.
const DEPTH: u32 = 0;
const DEPTH_OF_CALL: u32 = 6;

fn run_function(
    function: &mut Function,
    grid: &[Extent],
    workgroup: Option<[u32; 3]>,
    depth: u32,
    hits: &mut Hits,
) {
    let body = std::mem::take(&mut function.body);
    let (points, accessed) = (None, Vec::new());
    let mut prover = Prover { function, grid, points, workgroup, depth, accessed, hits };
    let body = prover.block(body, &mut Facts::default());
    function.body = body;
}

#[cfg(test)]
mod tests {
    use super::{PASS, run_with_grid};
    use crate::interp::Data;
    use crate::ir::builder::Builder;
    use crate::ir::{Access, Axis, BinaryOp, Extent, Kernel, Param, Stmt, Trap, Type, Value};
    use crate::passes::rule::Hits;
    use crate::passes::testing::{count, kernel_of, unchanged_by};

    fn checks(kernel: &Kernel) -> usize {
        count(kernel, |s| matches!(s, Stmt::Check { .. }))
    }

    /// How many checks are left of what `f` writes; `y` has 8 elements, `n` is 5.
    fn left(f: impl FnOnce(&mut Builder, Param, Value, Value)) -> usize {
        let mut b = Builder::new("checks");
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let n = b.scalar("n", Type::U32);
        let id = b.id(Axis::X);
        let n = b.argument(n);
        f(&mut b, y, id, n);
        let kernel = kernel_of(b.finish(), 8);
        let args = |n: u32| vec![Data::Narrow(vec![9; 8]), Data::Scalar(n.into())];
        checks(&unchanged_by(&PASS, &kernel, &[args(5), args(0), args(9)]))
    }

    fn check_below(b: &mut Builder, x: Value, bound: Value) {
        let condition = b.binary(BinaryOp::Lt, x, bound);
        b.check(condition, Trap::ArrayBounds(8), Some(x));
    }

    #[test]
    fn intervals_prove() {
        let masked = left(|b, _, id, _| {
            let (seven, eight) = (b.constant(7u32), b.constant(8u32));
            let x = b.binary(BinaryOp::And, id, seven);
            check_below(b, x, eight);
            let x = b.binary(BinaryOp::Rem, id, eight);
            check_below(b, x, eight);
            let x = b.binary(BinaryOp::Min, id, seven);
            check_below(b, x, eight);
            b.for_range(seven, eight, 1, |b, k| check_below(b, k, eight));
        });
        assert_eq!(masked, 0);
        let wrapping = left(|b, _, id, _| {
            let (one, eight) = (b.constant(1u32), b.constant(8u32));
            let x = b.binary(BinaryOp::Sub, id, one);
            check_below(b, x, eight);
        });
        assert_eq!(wrapping, 1);
    }

    #[test]
    fn conditions_prove() {
        let guarded = left(|b, _, id, n| {
            let low = b.binary(BinaryOp::Lt, id, n);
            b.if_else(low, |b| check_below(b, id, n), |_| {});
            let out = b.binary(BinaryOp::Ge, id, n);
            b.if_else(out, |b| b.stmt(Stmt::Return), |_| {});
            check_below(b, id, n);
        });
        assert_eq!(guarded, 0);
        let unguarded = left(|b, _, id, n| {
            let low = b.binary(BinaryOp::Lt, id, n);
            b.if_else(low, |_| {}, |b| check_below(b, id, n));
        });
        assert_eq!(unguarded, 1);
    }

    #[test]
    fn counters_stay_below_their_end() {
        let counted = left(|b, y, _, n| {
            let (zero, len) = (b.constant(0u32), b.len(y));
            let end = b.binary(BinaryOp::Min, n, len);
            b.for_range(zero, end, 1, |b, k| {
                check_below(b, k, len);
                check_below(b, k, n);
            });
        });
        assert_eq!(counted, 0);
    }

    #[test]
    fn divisors_that_cannot_be_zero() {
        let safe = left(|b, _, id, n| {
            let one = b.constant(1u32);
            let x = b.binary(BinaryOp::Or, n, one);
            b.checked_binary(BinaryOp::Div, id, x);
            let x = b.binary(BinaryOp::Max, n, one);
            b.checked_binary(BinaryOp::Rem, id, x);
            b.checked_binary(BinaryOp::Div, id, one);
        });
        assert_eq!(safe, 0);
        let open = left(|b, _, id, n| {
            b.checked_binary(BinaryOp::Div, id, n);
        });
        assert_eq!(open, 1);
    }

    #[test]
    fn the_own_grid_bounds_ids_only_where_it_is_promised() {
        let mut b = Builder::new("grid");
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let id = b.id(Axis::X);
        b.checked_store(y, id, id);
        let mut kernel = kernel_of(b.finish(), 8);
        kernel.grid = vec![Extent::Len(y)];
        let mut free = kernel.clone();
        run_with_grid(&mut free, false, &mut Hits::ignored());
        run_with_grid(&mut kernel, true, &mut Hits::ignored());
        assert_eq!((checks(&free), checks(&kernel)), (1, 0));
    }
}
