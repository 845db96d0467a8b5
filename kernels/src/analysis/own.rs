//! Which elements of a buffer are an invocation's own.

use crate::exec::{Arg, Grid};
use crate::ir::{Axis, BinaryOp, Const, Function, Inst, Value};

/// Whether an index is the invocation's own position in row-major order, in a call with these arguments: `x`, or
/// `y * w + x`.
pub fn is_own(entry: &Function, index: Value, args: &[Arg], grid: Grid) -> bool {
    let is_id = |v: Value, axis: Axis| entry.def(v).inst == Inst::Id(axis);
    let is_width = |v: Value| match entry.def(v).inst {
        Inst::Extent(Axis::X) => true,
        Inst::Const(c) => c.bits == u64::from(grid[0]),
        Inst::Param(p) => {
            matches!(args.get(p.index()), Some(Arg::Scalar(c)) if c.bits == u64::from(grid[0]))
        }
        _ => false,
    };
    let is_row = |v: Value| match entry.def(v).inst {
        Inst::Binary(BinaryOp::Mul, a, b) => {
            (is_id(a, Axis::Y) && is_width(b)) || (is_id(b, Axis::Y) && is_width(a))
        }
        _ => false,
    };
    match entry.def(index).inst {
        Inst::Id(Axis::X) => grid[1] == 1,
        Inst::Binary(BinaryOp::Add, a, b) => {
            (is_row(a) && is_id(b, Axis::X)) || (is_row(b) && is_id(a, Axis::X))
        }
        _ => false,
    }
}

/// How many elements beside each other are an invocation's own, if the index is one of as many: `2`, for
/// `2 * own` and for `2 * own + 1`.
pub fn own_row(entry: &Function, index: Value, args: &[Arg], grid: Grid) -> Option<u32> {
    let number = |v: Value| match entry.def(v).inst {
        Inst::Const(Const { bits, .. }) => u32::try_from(bits).ok(),
        _ => None,
    };
    let row = |v: Value| match entry.def(v).inst {
        Inst::Binary(BinaryOp::Mul, a, b) if is_own(entry, a, args, grid) => number(b),
        Inst::Binary(BinaryOp::Mul, a, b) if is_own(entry, b, args, grid) => number(a),
        Inst::Binary(BinaryOp::Shl, a, b) if is_own(entry, a, args, grid) => {
            1u32.checked_shl(number(b)?)
        }
        _ => None,
    };
    if is_own(entry, index, args, grid) {
        return Some(1);
    }
    let in_row = |v: Value, offset: Value| {
        let (length, at) = (row(v)?, number(offset)?);
        (at < length).then_some(length)
    };
    let length = row(index).or_else(|| match entry.def(index).inst {
        Inst::Binary(BinaryOp::Add, a, b) => in_row(a, b).or_else(|| in_row(b, a)),
        _ => None,
    })?;
    // An index that has wrapped around is somebody else's.
    let points = grid.iter().try_fold(length, |all, &extent| all.checked_mul(extent));
    points.map(|_| length).filter(|length| *length > 0)
}
