//! The shapes every kernel is made of: maps, grids, scalars, neighbours.

mod support;

use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{Access, Axis, BinaryOp, Const, Extent, Param, Type};
use crossover_wasm::Schedule;
use support::{
    Data, LENGTHS, buffer, check, check_grid, check_layouts, grid_kernel, kernel, values, zeros,
};

#[test]
fn saxpy() {
    let mut b = Builder::new("saxpy");
    let y = b.buffer("y", Type::F32, Access::ReadWrite);
    let x = b.buffer("x", Type::F32, Access::Read);
    let a = b.scalar("a", Type::F32);
    let i = b.id(Axis::X);
    let (a, xi, yi) = (b.argument(a), b.checked_load(x, i), b.checked_load(y, i));
    let product = b.binary(BinaryOp::Mul, a, xi);
    let sum = b.binary(BinaryOp::Add, product, yi);
    b.checked_store(y, i, sum);
    let kernel = kernel(b.finish());
    for len in LENGTHS.into_iter().chain([100_000]) {
        let data = [
            buffer(Type::F32, values(Type::F32, len, 1)),
            buffer(Type::F32, values(Type::F32, len, 2)),
            Data::Scalar(2.5f32.into()),
        ];
        check(&kernel, &data);
    }
}

/// `out[y·w + x] = in[y·w + x − 1] + in[(y − 1)·w + x]` inside, `x + y + z` at the border.
#[test]
fn stencil_on_two_and_three_axes() {
    for axes in [2, 3] {
        let mut b = Builder::new("stencil");
        let out = b.buffer("out", Type::U32, Access::ReadWrite);
        let input = b.buffer("input", Type::U32, Access::Read);
        let (w, h) = (b.scalar("w", Type::U32), b.scalar("h", Type::U32));
        let (x, y) = (b.id(Axis::X), b.id(Axis::Y));
        let z = if axes == 3 { b.id(Axis::Z) } else { b.constant(0u32) };
        let (w, h) = (b.argument(w), b.argument(h));
        let plane = b.binary(BinaryOp::Mul, z, h);
        let row = b.binary(BinaryOp::Add, plane, y);
        let row = b.binary(BinaryOp::Mul, row, w);
        let at = b.binary(BinaryOp::Add, row, x);
        let (zero, one) = (b.constant(0u32), b.constant(1u32));
        let left = b.binary(BinaryOp::Ne, x, zero);
        let top = b.binary(BinaryOp::Ne, y, zero);
        let inside = b.binary(BinaryOp::And, left, top);
        b.if_else(
            inside,
            |b| {
                let before = b.binary(BinaryOp::Sub, at, one);
                let above = b.binary(BinaryOp::Sub, at, w);
                let (l, t) = (b.checked_load(input, before), b.checked_load(input, above));
                let sum = b.binary(BinaryOp::Add, l, t);
                b.checked_store(out, at, sum);
            },
            |b| {
                let sum = b.binary(BinaryOp::Add, x, y);
                let sum = b.binary(BinaryOp::Add, sum, z);
                b.checked_store(out, at, sum);
            },
        );
        let scalars = [Param(2), Param(3)].map(Extent::Scalar);
        let mut grid = scalars.to_vec();
        grid.extend((axes == 3).then_some(Extent::Fixed(3)));
        let kernel = grid_kernel(b.finish(), grid);
        for (w, h) in [(1u32, 1u32), (3, 5), (4, 4), (17, 9), (64, 3), (101, 37), (0, 3)] {
            let len = (w * h * if axes == 3 { 3 } else { 1 }) as usize;
            let data = [
                zeros(Type::U32, len),
                buffer(Type::U32, values(Type::U32, len, 3)),
                Data::Scalar(w.into()),
                Data::Scalar(h.into()),
            ];
            check(&kernel, &data);
        }
    }
}

/// Checks that hold for a part of a row only: offsets on both sides, guarded by their condition.
#[test]
fn guarded_neighbours_with_offsets() {
    let mut b = Builder::new("neighbours");
    let out = b.buffer("out", Type::I64, Access::ReadWrite);
    let input = b.buffer("input", Type::I64, Access::Read);
    let i = b.id(Axis::X);
    let (three, len) = (b.constant(3u32), b.len(input));
    let before = b.binary(BinaryOp::Sub, i, three);
    let after = b.binary(BinaryOp::Add, i, three);
    let total = b.local(Type::I64, None);
    for at in [before, after] {
        let inside = b.binary(BinaryOp::Lt, at, len);
        b.if_else(
            inside,
            |b| {
                let (v, old) = (b.checked_load(input, at), b.get(total));
                let sum = b.binary(BinaryOp::Add, old, v);
                b.set(total, sum);
            },
            |_| {},
        );
    }
    let sum = b.get(total);
    b.checked_store(out, i, sum);
    let kernel = kernel(b.finish());
    for len in LENGTHS {
        let data = [zeros(Type::I64, len), buffer(Type::I64, values(Type::I64, len, 5))];
        check(&kernel, &data);
    }
}

/// `out[row·n + x] = Σ a[row·n + k] · b[k·n + x]`
#[test]
fn matrix_product() {
    let mut b = Builder::new("matmul");
    let out = b.buffer("out", Type::F32, Access::ReadWrite);
    let (left, right) =
        (b.buffer("a", Type::F32, Access::Read), b.buffer("b", Type::F32, Access::Read));
    let n = b.scalar("n", Type::U32);
    let (x, y, n) = (b.id(Axis::X), b.id(Axis::Y), b.argument(n));
    let (zero, row) = (b.constant(0u32), b.binary(BinaryOp::Mul, y, n));
    let total = b.local(Type::F32, None);
    b.for_range(zero, n, 1, |b, k| {
        let at = b.binary(BinaryOp::Add, row, k);
        let l = b.checked_load(left, at);
        let column = b.binary(BinaryOp::Mul, k, n);
        let at = b.binary(BinaryOp::Add, column, x);
        let r = b.checked_load(right, at);
        let old = b.get(total);
        let product = b.binary(BinaryOp::Mul, l, r);
        let sum = b.binary(BinaryOp::Add, old, product);
        b.set(total, sum);
    });
    let at = b.binary(BinaryOp::Add, row, x);
    let sum = b.get(total);
    b.checked_store(out, at, sum);
    let kernel = grid_kernel(b.finish(), vec![Extent::Scalar(Param(3)); 2]);
    for n in [1u32, 4, 7, 33] {
        let len = (n * n) as usize;
        let numbers = |seed| (0..len).map(move |i| Const::from(((i * seed) % 17) as f32 - 8.0));
        let data = [
            zeros(Type::F32, len),
            buffer(Type::F32, numbers(3)),
            buffer(Type::F32, numbers(5)),
            Data::Scalar(n.into()),
        ];
        check(&kernel, &data);
    }
}

#[test]
fn a_grid_smaller_than_the_buffer_leaves_the_rest_alone() {
    let mut b = Builder::new("fill");
    let out = b.buffer("out", Type::F64, Access::ReadWrite);
    let (i, v) = (b.id(Axis::X), b.constant(1.5f64));
    b.checked_store(out, i, v);
    let kernel = kernel(b.finish());
    for cells in [0, 1, 5, 99] {
        let data = [buffer(Type::F64, values(Type::F64, 100, 9))];
        check_grid(&kernel, &data, Some([cells, 1, 1]));
    }
}

/// `out[i] = Σ a[k] · c + total` for k below `i % m`, halved whenever it is above 128: a variable that is
/// assigned multiply-adds and others, one invocation at a time and several.
#[test]
fn sums_of_one_lane() {
    for ty in [Type::F32, Type::F64] {
        let number =
            |x: f32| -> Const { if ty == Type::F32 { x.into() } else { f64::from(x).into() } };
        let mut b = Builder::new("sums");
        let out = b.buffer("out", ty, Access::ReadWrite);
        let a = b.buffer("a", ty, Access::Read);
        let (m, c) = (b.scalar("m", Type::U32), b.scalar("c", ty));
        let i = b.id(Axis::X);
        let (m, c) = (b.argument(m), b.argument(c));
        let end = b.binary(BinaryOp::Rem, i, m);
        let total = b.local(ty, None);
        let zero = b.constant(0u32);
        let (limit, half) = (b.constant(number(128.0)), b.constant(number(0.5)));
        b.for_range(zero, end, 1, |b, k| {
            let x = b.checked_load(a, k);
            let old = b.get(total);
            let sum = b.fma(x, c, old);
            b.set(total, sum);
            let above = b.binary(BinaryOp::Gt, sum, limit);
            b.if_else(
                above,
                |b| {
                    let half = b.binary(BinaryOp::Mul, sum, half);
                    b.set(total, half);
                },
                |_| {},
            );
        });
        let sum = b.get(total);
        b.checked_store(out, i, sum);
        let kernel = kernel(b.finish());
        // Exact, however often it is rounded.
        let elements = (0..40u8).map(|at| number(f32::from(at % 16)));
        let data = [
            zeros(ty, 203),
            buffer(ty, elements),
            Data::Scalar(40u32.into()),
            Data::Scalar(number(3.0)),
        ];
        let layouts = [(1, None), (2, Some(Schedule { vectors: 0, unroll: 4, ..Schedule::PLAIN }))];
        check_layouts(&kernel, &data, None, &layouts);
    }
}
