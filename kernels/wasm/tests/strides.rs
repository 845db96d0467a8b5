//! Indices that are multiples of x: forwards, backwards, by steps, with constants on every side.

mod support;

use std::sync::Arc;

use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{Access, Axis, BinaryOp, Const, Extent, Kernel, Param, Type, Value};
use support::{Data, buffer, check, check_grid, grid_kernel, values, with_output, zeros};

/// `out[out_at(x)] = in[in_at(x)]`
fn moved(
    ty: Type,
    from: impl FnOnce(&mut Builder, Value) -> Value,
    to: impl FnOnce(&mut Builder, Value) -> Value,
) -> Arc<Kernel> {
    let (mut b, out) = with_output("moved", ty);
    let input = b.buffer("in", ty, Access::Read);
    let n = b.scalar("n", Type::U32);
    let x = b.id(Axis::X);
    let at = from(&mut b, x);
    let v = b.checked_load(input, at);
    let one = b.constant(Const::one(ty));
    let v = b.binary(BinaryOp::Add, v, one);
    let at = to(&mut b, x);
    b.checked_store(out, at, v);
    grid_kernel(b.finish(), vec![Extent::Scalar(n)])
}

fn scaled(by: u32, plus: u32) -> impl Fn(&mut Builder, Value) -> Value {
    move |b, x| {
        let (by, plus) = (b.constant(by), b.constant(plus));
        let at = b.binary(BinaryOp::Mul, x, by);
        b.binary(BinaryOp::Add, at, plus)
    }
}

fn reversed(by: u32) -> impl Fn(&mut Builder, Value) -> Value {
    move |b, x| {
        let (n, by, one) = (b.argument(Param(2)), b.constant(by), b.constant(1u32));
        let last = b.binary(BinaryOp::Sub, n, one);
        let at = b.binary(BinaryOp::Sub, last, x);
        b.binary(BinaryOp::Mul, at, by)
    }
}

const TYPES: [Type; 4] = [Type::U32, Type::F32, Type::I64, Type::F64];

#[test]
fn loads_and_stores_by_every_step() {
    for ty in TYPES {
        for by in [1u32, 2, 3, 4, 5, 16] {
            for n in [1u32, 3, 4, 5, 31, 130] {
                let far = (n * by + 2) as usize;
                let near = (n + 2) as usize;
                let data = |out: usize, input: usize| {
                    let input = buffer(ty, values(ty, input, 3));
                    [buffer(ty, values(ty, out, 5)), input, Data::Scalar(n.into())]
                };
                // The last element that is touched is the last there is.
                let exact = ((n - 1) * by + 1) as usize;
                check(&moved(ty, scaled(by, 0), scaled(1, 2)), &data(near, exact));
                check(&moved(ty, scaled(1, 2), scaled(by, 0)), &data(exact, near));
                check(&moved(ty, scaled(by, 2), scaled(by, 1)), &data(far, far + 1));
                check(&moved(ty, reversed(by), scaled(1, 0)), &data(n as usize, exact));
                check(&moved(ty, scaled(1, 0), reversed(by)), &data(exact, n as usize));
                check(&moved(ty, reversed(by), reversed(by)), &data(exact, exact));
            }
        }
    }
}

/// The sum of two multiples of x, and their difference, which does not depend on x at all.
#[test]
fn sums_of_multiples() {
    let both = |op: BinaryOp| {
        move |b: &mut Builder, x: Value| {
            let (two, three) = (b.constant(2u32), b.constant(1u32));
            let (two, shift) = (b.binary(BinaryOp::Mul, x, two), three);
            let four = b.binary(BinaryOp::Shl, two, shift);
            b.binary(op, four, two)
        }
    };
    let kernel = moved(Type::U32, both(BinaryOp::Add), scaled(1, 0));
    let other = moved(Type::U32, both(BinaryOp::Sub), scaled(1, 0));
    for n in [1u32, 6, 70] {
        let input = buffer(Type::U32, values(Type::U32, 6 * n as usize, 7));
        let data = [zeros(Type::U32, n as usize), input, Data::Scalar(n.into())];
        check(&kernel, &data);
        check(&other, &data);
    }
}

/// Constants that are added before something is taken away: what is left without them is negative.
#[test]
fn constants_before_a_difference() {
    let (mut b, out) = with_output("differences", Type::U32);
    let input = b.buffer("in", Type::U32, Access::Read);
    let (n, u) = (b.scalar("n", Type::U32), b.scalar("u", Type::U32));
    let (x, by) = (b.id(Axis::X), b.argument(u));
    let (seven, two) = (b.constant(7u32), b.constant(2u32));
    let sum = b.binary(BinaryOp::Add, x, seven);
    let at = b.binary(BinaryOp::Sub, sum, by);
    let near = b.checked_load(input, at);
    let double = b.binary(BinaryOp::Mul, at, two);
    let far = b.checked_load(input, double);
    let v = b.binary(BinaryOp::Xor, near, far);
    b.checked_store(out, x, v);
    let kernel = grid_kernel(b.finish(), vec![Extent::Scalar(n)]);
    for u in [0u32, 1, 5, 7] {
        for n in [1u32, 9, 64] {
            let input = buffer(Type::U32, values(Type::U32, 2 * (n as usize + 7), 2));
            let data = [
                zeros(Type::U32, n as usize),
                input,
                Data::Scalar(n.into()),
                Data::Scalar(u.into()),
            ];
            check(&kernel, &data);
        }
    }
}

/// Every third element of three interleaved channels, under a mask.
#[test]
fn channels_under_a_mask() {
    let (mut b, out) = with_output("gray", Type::F32);
    let input = b.buffer("rgb", Type::F32, Access::Read);
    let x = b.id(Axis::X);
    let (three, mask, zero) = (b.constant(3u32), b.constant(5u32), b.constant(0u32));
    let first = b.binary(BinaryOp::Mul, x, three);
    let bits = b.binary(BinaryOp::And, x, mask);
    let some = b.binary(BinaryOp::Ne, bits, zero);
    b.if_else(
        some,
        |b| {
            let mut sum = b.checked_load(input, first);
            for channel in 1..3u32 {
                let by = b.constant(channel);
                let at = b.binary(BinaryOp::Add, first, by);
                let v = b.checked_load(input, at);
                sum = b.binary(BinaryOp::Add, sum, v);
            }
            b.checked_store(out, x, sum);
        },
        |_| {},
    );
    let kernel = grid_kernel(b.finish(), vec![Extent::Len(Param(0))]);
    for n in [1usize, 5, 8, 100] {
        let numbers = (0..3 * n).map(|at| Const::from((at * 7 % 31) as f32));
        let data = [zeros(Type::F32, n), buffer(Type::F32, numbers)];
        check(&kernel, &data);
        check_grid(&kernel, &data, Some([n as u32 / 2, 1, 1]));
    }
}
