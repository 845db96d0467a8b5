//! Comparisons and clamps of x, which have one answer in the interior of a row: every operator, at
//! every kind of border, with sums that wrap; and checks that become guards.

mod support;

use std::sync::Arc;

use crossover_kernels::exec::Executor;
use crossover_kernels::interp::Interpreter;
use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{
    Access, AtomicOp, Axis, BinaryOp, Const, Extent, Inst, Kernel, Param, Type, Value,
};
use support::{
    Data, WASM, buffer, check, check_grid, grid_kernel, run, special, values, with_output, zeros,
};

const OPS: [BinaryOp; 8] = [
    BinaryOp::Lt,
    BinaryOp::Le,
    BinaryOp::Gt,
    BinaryOp::Ge,
    BinaryOp::Eq,
    BinaryOp::Ne,
    BinaryOp::Min,
    BinaryOp::Max,
];

/// `out[x] = (x as ty ± by) op bound`, or with the sides swapped.
fn compared(op: BinaryOp, ty: Type, minus: bool, swapped: bool) -> Arc<Kernel> {
    let (mut b, out) = with_output("compared", Type::U32);
    let [by, bound] = ["by", "bound"].map(|name| b.scalar(name, ty));
    let id = b.id(Axis::X);
    let x = if ty == Type::U32 { id } else { b.cast(id, ty) };
    let (by, bound) = (b.argument(by), b.argument(bound));
    let sum = b.binary(if minus { BinaryOp::Sub } else { BinaryOp::Add }, x, by);
    let (left, right) = if swapped { (bound, sum) } else { (sum, bound) };
    let found = b.binary(op, left, right);
    let found = if b.function().ty(found) == Type::U32 { found } else { b.cast(found, Type::U32) };
    b.checked_store(out, id, found);
    grid_kernel(b.finish(), vec![Extent::Len(Param(0))])
}

#[test]
fn every_comparison_at_every_border() {
    for op in OPS {
        for (ty, minus) in [(Type::U32, false), (Type::U32, true), (Type::I32, false)] {
            for swapped in [false, true] {
                let kernel = compared(op, ty, minus, swapped);
                let mut numbers = special(ty);
                numbers.extend([40u64, 90, 99, 100, 101].map(|bits| Const::new(ty, bits)));
                for (at, &by) in numbers.iter().enumerate() {
                    for &bound in numbers.iter().skip(at % 2).step_by(2) {
                        let data = [zeros(Type::U32, 103), Data::Scalar(by), Data::Scalar(bound)];
                        check(&kernel, &data);
                    }
                }
            }
        }
    }
}

/// `out[y w + x] = Σ in[clamp(y + j − 1) w + clamp(x + i − 1)]` for i and j of 0 to 2.
#[test]
fn clamped_neighbours() {
    let (mut b, out) = with_output("clamped", Type::U32);
    let (w, h) = (b.scalar("w", Type::U32), b.scalar("h", Type::U32));
    let input = b.buffer("in", Type::U32, Access::Read);
    let (x, y) = (b.id(Axis::X), b.id(Axis::Y));
    let (width, height) = (b.argument(w), b.argument(h));
    let one = b.constant(1u32);
    let mut sum = b.constant(0u32);
    for j in 0..3u32 {
        let row = clamped(&mut b, y, j, height);
        let first = b.binary(BinaryOp::Mul, row, width);
        for i in 0..3u32 {
            let column = clamped(&mut b, x, i, width);
            let at = b.binary(BinaryOp::Add, first, column);
            let v = b.checked_load(input, at);
            let weighted = b.binary(BinaryOp::Shl, v, one);
            sum = b.binary(BinaryOp::Add, sum, weighted);
        }
    }
    let first = b.binary(BinaryOp::Mul, y, width);
    let at = b.binary(BinaryOp::Add, first, x);
    b.checked_store(out, at, sum);
    let kernel = grid_kernel(b.finish(), vec![Extent::Scalar(w), Extent::Scalar(h)]);
    for (w, h) in [(1u32, 1u32), (3, 5), (16, 2), (37, 9), (70, 4)] {
        let count = (w * h) as usize;
        let data = [
            zeros(Type::U32, count),
            Data::Scalar(w.into()),
            Data::Scalar(h.into()),
            support::buffer(Type::U32, support::values(Type::U32, count, 3)),
        ];
        check(&kernel, &data);
        check_grid(&kernel, &data, Some([w.min(17), h, 1]));
    }
}

fn clamped(b: &mut Builder, at: Value, by: u32, extent: Value) -> Value {
    let (by, one) = (b.constant(by), b.constant(1u32));
    let at = b.binary(BinaryOp::Add, at, by);
    let at = b.binary(BinaryOp::Max, at, one);
    let at = b.binary(BinaryOp::Min, at, extent);
    b.binary(BinaryOp::Sub, at, one)
}

/// An index that wraps into the buffer is no error, and not what a sum without wrapping would be.
#[test]
fn indices_that_wrap() {
    let (mut b, out) = with_output("wraps", Type::U32);
    let by = b.scalar("by", Type::U32);
    let id = b.id(Axis::X);
    let by = b.argument(by);
    let (four, mask) = (b.constant(4u32), b.constant(63u32));
    let sum = b.binary(BinaryOp::Add, id, by);
    let sum = b.binary(BinaryOp::Mul, sum, four);
    let sum = b.binary(BinaryOp::Add, sum, four);
    let at = b.value(Type::U32, Inst::Binary(BinaryOp::And, sum, mask));
    b.checked_store(out, at, id);
    let back = b.binary(BinaryOp::Sub, sum, four);
    let back = b.binary(BinaryOp::And, back, mask);
    let v = b.checked_load(out, back);
    b.checked_store(out, back, v);
    let kernel = grid_kernel(b.finish(), vec![Extent::Fixed(16)]);
    for by in [0u32, 1, 1 << 30, (1 << 30) - 3, u32::MAX, 0u32.wrapping_sub(16)] {
        check(&kernel, &[zeros(Type::U32, 64), Data::Scalar(by.into())]);
    }
}

/// Loops whose counters are in the indices: `out[x] = Σₖ in[k w + x]`, with guards that hold and
/// with a last row that is missing, where the checks say so.
#[test]
fn counters_in_guards() {
    let (mut b, out) = with_output("columns", Type::U32);
    let (w, rows) = (b.scalar("w", Type::U32), b.scalar("rows", Type::U32));
    let input = b.buffer("in", Type::U32, Access::Read);
    let id = b.id(Axis::X);
    let (w, rows) = (b.argument(w), b.argument(rows));
    let sum = b.local(Type::U32, None);
    let zero = b.constant(0u32);
    b.for_range(zero, rows, 1, |b, k| {
        let at = b.binary(BinaryOp::Mul, k, w);
        let at = b.binary(BinaryOp::Add, at, id);
        let v = b.checked_load(input, at);
        let before = b.get(sum);
        let after = b.binary(BinaryOp::Add, before, v);
        b.set(sum, after);
    });
    let total = b.get(sum);
    b.checked_store(out, id, total);
    let kernel = grid_kernel(b.finish(), vec![Extent::Len(Param(0))]);
    for (w, rows) in [(1u32, 0u32), (5, 1), (64, 7), (101, 30)] {
        let count = (w * rows) as usize;
        let of = |missing: usize| {
            let values = support::values(Type::U32, count.saturating_sub(missing), 5);
            [
                zeros(Type::U32, w as usize),
                Data::Scalar(w.into()),
                Data::Scalar(rows.into()),
                support::buffer(Type::U32, values),
            ]
        };
        check(&kernel, &of(0));
        if rows > 0 {
            let (_, outcome) = support::run(&*support::WASM, &kernel, &of(1), None, 1, None);
            let failure = outcome.expect_err("the last element is missing").to_string();
            assert!(failure.contains("columns"), "{failure}");
        }
    }
}

/// `out[f(in[x], m)] += x`, atomically, where f keeps the index small whatever was loaded.
#[test]
fn indices_that_are_cut_to_a_range() {
    type Cut = fn(&mut Builder, Value, Value) -> Value;
    let cuts: [Cut; 7] = [
        |b, v, m| b.binary(BinaryOp::And, v, m),
        |b, v, m| b.binary(BinaryOp::And, m, v),
        |b, v, m| b.binary(BinaryOp::Min, v, m),
        |b, v, m| {
            let one = b.constant(1u32);
            let past = b.binary(BinaryOp::Add, m, one);
            let past = b.binary(BinaryOp::Max, past, one);
            b.binary(BinaryOp::Rem, v, past)
        },
        |b, v, _| {
            let by = b.constant(27u32);
            b.binary(BinaryOp::Shr, v, by)
        },
        // A product that wraps, and is cut.
        |b, _, m| {
            let (x, odd) = (b.id(Axis::X), b.constant(2_654_435_761u32));
            let hash = b.binary(BinaryOp::Mul, x, odd);
            b.binary(BinaryOp::And, hash, m)
        },
        |b, v, m| {
            let masked = b.binary(BinaryOp::And, v, m);
            let one = b.constant(1u32);
            b.binary(BinaryOp::Add, masked, one)
        },
    ];
    for (at, cut) in cuts.into_iter().enumerate() {
        let mut b = Builder::new("cut");
        let out = b.buffer("out", Type::U32, Access::Atomic);
        let input = b.buffer("input", Type::U32, Access::Read);
        let m = b.scalar("m", Type::U32);
        let (x, m) = (b.id(Axis::X), b.argument(m));
        let loaded = b.checked_load(input, x);
        let index = cut(&mut b, loaded, m);
        b.check_bounds(out, index);
        b.value(Type::U32, Inst::Atomic(AtomicOp::Add, out, index, x));
        let kernel = grid_kernel(b.finish(), vec![Extent::Len(Param(1))]);
        for (len, m) in [(32usize, 15u64), (32, 30), (33, 31), (1, 0)] {
            // It would fail, which has a test of its own.
            if at == 4 && len < 32 {
                continue;
            }
            let input = values(Type::U32, 103, m);
            let m = Data::Scalar(Const::new(Type::U32, m));
            let len = len + usize::from(at == 6);
            check(&kernel, &[zeros(Type::U32, len), buffer(Type::U32, input), m]);
        }
    }
}

#[test]
fn a_range_that_is_too_large_fails_where_it_is() {
    let (mut b, out) = with_output("cut", Type::U32);
    let m = b.scalar("m", Type::U32);
    let (x, m) = (b.id(Axis::X), b.argument(m));
    let index = b.binary(BinaryOp::And, x, m);
    b.checked_store(out, index, x);
    let kernel = grid_kernel(b.finish(), vec![Extent::Scalar(Param(1))]);
    let data = [zeros(Type::U32, 40), Data::Scalar(63u32.into())];
    let outcome = |executor: &dyn Executor| {
        run(executor, &kernel, &data, None, 1, None).1.expect_err("it is out of range")
    };
    let expected = outcome(&Interpreter).to_string();
    assert!(expected.contains("index 40"), "{expected}");
    assert_eq!(outcome(&*WASM).to_string(), expected);
}

/// `out[y · extent.x + x] = in[y · extent.x + x] + extent.y`: what the call says of the grid bounds an index, too.
#[test]
fn an_index_by_the_extent_of_the_grid() {
    let (mut b, out) = with_output("rows", Type::U32);
    let input = b.buffer("in", Type::U32, Access::Read);
    let (w, h) = (b.scalar("w", Type::U32), b.scalar("h", Type::U32));
    let (x, y) = (b.id(Axis::X), b.id(Axis::Y));
    let [width, height] = [Axis::X, Axis::Y].map(|axis| b.value(Type::U32, Inst::Extent(axis)));
    let first = b.binary(BinaryOp::Mul, y, width);
    let at = b.binary(BinaryOp::Add, first, x);
    let v = b.checked_load(input, at);
    let v = b.binary(BinaryOp::Add, v, height);
    b.checked_store(out, at, v);
    let kernel = grid_kernel(b.finish(), vec![Extent::Scalar(w), Extent::Scalar(h)]);
    for (w, h) in [(0usize, 3u32), (1, 1), (5, 0), (4, 3), (37, 5), (130, 2)] {
        let len = w * h as usize;
        let input = buffer(Type::U32, values(Type::U32, len, 2));
        let sides = [w as u32, h].map(|side| Data::Scalar(side.into()));
        let [w, h] = sides;
        check(&kernel, &[zeros(Type::U32, len), input, w, h]);
    }
}
