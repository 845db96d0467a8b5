//! Atomic operations, on one thread against the interpreter and on many against arithmetic.

mod support;

use std::sync::Arc;

use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{
    Access, AtomicOp, Axis, BinaryOp, Const, Extent, Inst, Kernel, Param, Stmt, Type, Value,
};
use support::{Data, LENGTHS, WASM, buffer, check, grid_kernel, kernel, run, values, zeros};

/// `old[i] = op(cells[cell(i)], operand(i))`, each cell touched by one invocation: nothing is left
/// to chance.
fn each_its_own(op: AtomicOp, ty: Type, masked: bool) -> Arc<Kernel> {
    let mut b = Builder::new("own");
    let old = b.buffer("old", ty, Access::ReadWrite);
    let cells = b.buffer("cells", ty, Access::Atomic);
    let input = b.buffer("input", ty, Access::Read);
    let i = b.id(Axis::X);
    let v = b.checked_load(input, i);
    let (one, zero) = (b.constant(1u32), b.constant(0u32));
    let bit = b.binary(BinaryOp::And, i, one);
    let odd = b.binary(BinaryOp::Ne, bit, zero);
    let body = |b: &mut Builder| {
        b.check_bounds(cells, i);
        let before = b.value(ty, Inst::Atomic(op, cells, i, v));
        let after = b.value(ty, Inst::AtomicLoad(cells, i));
        let mixed = b.binary(BinaryOp::Xor, before, after);
        b.checked_store(old, i, mixed);
    };
    if masked {
        b.if_else(odd, body, |b| {
            b.check_bounds(cells, i);
            b.stmt(Stmt::AtomicStore(cells, i, v));
        });
    } else {
        body(&mut b);
    }
    kernel(b.finish())
}

#[test]
fn every_operator() {
    for &op in AtomicOp::ALL {
        for ty in [Type::I32, Type::U32] {
            for masked in [false, true] {
                let kernel = each_its_own(op, ty, masked);
                for len in LENGTHS {
                    let data = [
                        zeros(ty, len),
                        buffer(ty, values(ty, len, 3)),
                        buffer(ty, values(ty, len, 4)),
                    ];
                    check(&kernel, &data);
                }
            }
        }
    }
}

/// `old[i] = compare_swap(cells[i], expected[i], 7)`, of which every other is held.
#[test]
fn what_is_expected_is_replaced_and_nothing_else() {
    for ty in [Type::I32, Type::U32] {
        for masked in [false, true] {
            let mut b = Builder::new("swap");
            let old = b.buffer("old", ty, Access::ReadWrite);
            let cells = b.buffer("cells", ty, Access::Atomic);
            let expected = b.buffer("expected", ty, Access::Read);
            let (i, one) = (b.id(Axis::X), b.constant(1u32));
            let v = b.checked_load(expected, i);
            let seven = b.constant(Const::new(ty, 7));
            let body = |b: &mut Builder| {
                b.check_bounds(cells, i);
                let before = b.value(ty, Inst::CompareSwap(cells, i, v, seven));
                b.checked_store(old, i, before);
            };
            if masked {
                let third = b.constant(3u32);
                let rest = b.checked_binary(BinaryOp::Rem, i, third);
                let some = b.binary(BinaryOp::Ne, rest, one);
                b.if_else(some, body, |_| {});
            } else {
                body(&mut b);
            }
            let kernel = kernel(b.finish());
            for len in LENGTHS {
                let held = values(ty, len, 3);
                let other = values(ty, len, 4).into_iter().zip(held.clone()).enumerate();
                let expected =
                    other.map(|(at, (other, held))| if at % 2 == 0 { held } else { other });
                let expected: Vec<Const> = expected.collect();
                check(&kernel, &[zeros(ty, len), buffer(ty, held), buffer(ty, expected)]);
            }
        }
    }
}

/// Numbers are added to a float by compare-and-swap, in one cell by all threads: integers, whose sum is
/// exact in any order.
#[test]
fn floats_are_added_by_compare_and_swap() {
    let mut b = Builder::new("add");
    let cell = b.buffer("cell", Type::U32, Access::Atomic);
    let input = b.buffer("input", Type::F32, Access::Read);
    let (i, zero) = (b.id(Axis::X), b.constant(0u32));
    let v = b.checked_load(input, i);
    b.check_bounds(cell, zero);
    let held = b.local(Type::U32, None);
    let first = b.value(Type::U32, Inst::AtomicLoad(cell, zero));
    b.set(held, first);
    b.repeat(|b| {
        let before = b.get(held);
        let number = b.bitcast(before, Type::F32);
        let sum = b.binary(BinaryOp::Add, number, v);
        let bits = b.bitcast(sum, Type::U32);
        let found = b.value(Type::U32, Inst::CompareSwap(cell, zero, before, bits));
        let done = b.binary(BinaryOp::Eq, found, before);
        b.if_else(done, |b| b.stmt(Stmt::Break), |_| {});
        b.set(held, found);
    });
    let kernel = grid_kernel(b.finish(), vec![Extent::Len(Param(1))]);
    for (threads, len) in [(1, 0), (1, 1), (1, 1003), (2, 100_003), (4, 100_003)] {
        let numbers = (0..len).map(|i| Const::from((i % 5) as f32));
        let sum: usize = (0..len).map(|i| i % 5).sum();
        let data = [zeros(Type::U32, 1), buffer(Type::F32, numbers)];
        let (buffers, outcome) = run(&*WASM, &kernel, &data, None, threads, None);
        outcome.expect("it ends");
        assert_eq!(buffers[0], [u64::from((sum as f32).to_bits())]);
    }
}

/// `histogram[input[i] & 7] += 1`, and extremes: the sums do not depend on the order.
#[test]
fn all_threads_on_few_cells() {
    for op in [AtomicOp::Add, AtomicOp::Max, AtomicOp::Min, AtomicOp::Xor] {
        let mut b = Builder::new("histogram");
        let cells = b.buffer("cells", Type::U32, Access::Atomic);
        let input = b.buffer("input", Type::U32, Access::Read);
        let (i, seven) = (b.id(Axis::X), b.constant(7u32));
        let v = b.checked_load(input, i);
        let at = b.binary(BinaryOp::And, v, seven);
        b.check_bounds(cells, at);
        b.value(Type::U32, Inst::Atomic(op, cells, at, v));
        let kernel = grid_kernel(b.finish(), vec![Extent::Len(Param(1))]);
        for len in [0, 5, 100_000] {
            let numbers = (0..len).map(|i| Const::from((i as u32).wrapping_mul(0x9E37_79B9)));
            let data = [buffer(Type::U32, values(Type::U32, 8, 1)), buffer(Type::U32, numbers)];
            check(&kernel, &data);
        }
    }
}

/// Two and more threads increment one counter, a million times and more each: in copies of their own,
/// and, where the kernel looks at what was there before, in the counter itself.
#[test]
fn increments_are_not_lost_between_threads() {
    for looks in [false, true] {
        let mut b = Builder::new("count");
        let cells = b.buffer("cells", Type::U32, Access::Atomic);
        let extent = b.scalar("n", Type::U32);
        let last = b.buffer("last", Type::U32, Access::Atomic);
        let (zero, one) = (b.constant(0u32), b.constant(1u32));
        b.check_bounds(cells, zero);
        b.check_bounds(last, zero);
        let before = b.value(Type::U32, Inst::Atomic(AtomicOp::Add, cells, zero, one));
        if looks {
            b.value(Type::U32, Inst::Atomic(AtomicOp::Max, last, zero, before));
        }
        let kernel = grid_kernel(b.finish(), vec![Extent::Scalar(extent)]);
        for threads in [1, 2, 4] {
            for count in [1_000_003u32, 4_000_001] {
                let n = Data::Scalar(count.into());
                let data = [zeros(Type::U32, 1), n, zeros(Type::U32, 1)];
                let (buffers, outcome) = run(&*WASM, &kernel, &data, None, threads, None);
                outcome.expect("it runs");
                assert_eq!(buffers[0], [u64::from(count)]);
                assert_eq!(buffers[1], [if looks { u64::from(count) - 1 } else { 0 }]);
            }
        }
    }
}

/// `bins[bits of x] += 1`, for bits that are bytes of memory and others, where x is read in every order, and where
/// something else is computed of it as well.
#[test]
fn counts_of_bits() {
    type Bits = fn(u32) -> u32;
    let shapes: [(u32, u32, Bits); 9] = [
        (0, 0xFF, |x| x & 0xFF),
        (8, 0xFF, |x| x >> 8 & 0xFF),
        (16, 0xFFFF, |x| x >> 16),
        (24, u32::MAX, |x| x >> 24),
        (0, 0xFFFF, |x| x & 0xFFFF),
        (0, 15, |x| x & 15),
        (5, 63, |x| x >> 5 & 63),
        (12, 0xFF, |x| x >> 12 & 0xFF),
        (28, 0xFF, |x| x >> 28),
    ];
    for (shift, mask, bits) in shapes {
        for (first, stride, also) in [(0, 1, false), (0, 1, true), (7, 1, false), (0, 3, false)] {
            let mut b = Builder::new("bits");
            let bins = b.buffer("bins", Type::U32, Access::Atomic);
            let x = b.buffer("x", Type::U32, Access::Read);
            let n = b.scalar("n", Type::U32);
            let sums = b.buffer("sums", Type::U32, Access::Atomic);
            let i = b.id(Axis::X);
            let [first, stride] = [first, stride].map(|by: u32| b.constant(by));
            let at = b.binary(BinaryOp::Mul, i, stride);
            let at = b.binary(BinaryOp::Add, at, first);
            let v = b.checked_load(x, at);
            let [shift, mask, one, zero] = [shift, mask, 1, 0].map(|c: u32| b.constant(c));
            let field = b.binary(BinaryOp::Shr, v, shift);
            let field = b.binary(BinaryOp::And, field, mask);
            b.check_bounds(bins, field);
            b.value(Type::U32, Inst::Atomic(AtomicOp::Add, bins, field, one));
            if also {
                b.check_bounds(sums, zero);
                b.value(Type::U32, Inst::Atomic(AtomicOp::Xor, sums, zero, v));
            }
            let kernel = grid_kernel(b.finish(), vec![Extent::Scalar(n)]);
            for count in [0u32, 1, 3, 4, 17, 1000] {
                let x = values(Type::U32, 3 * count as usize + 7, u64::from(count));
                // All bins that there may be; and no more than there are.
                let most = x.iter().map(|c| bits(c.bits as u32)).max().unwrap_or(0) as usize + 1;
                for len in [1 << 16, most] {
                    let x = buffer(Type::U32, x.clone());
                    let n = Data::Scalar(count.into());
                    check(&kernel, &[zeros(Type::U32, len), x, n, zeros(Type::U32, 1)]);
                }
            }
        }
    }
}

/// `y[x[i] & 4095] = i`, each elsewhere; x is what the kernel writes, too.
#[test]
fn stores_at_bits() {
    for access in [Access::Read, Access::ReadWrite] {
        let mut b = Builder::new("last");
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let x = b.buffer("x", Type::U32, access);
        let i = b.id(Axis::X);
        let (v, mask) = (b.checked_load(x, i), b.constant(4095u32));
        let at = b.binary(BinaryOp::And, v, mask);
        if access == Access::ReadWrite {
            let zero = b.constant(0u32);
            b.checked_store(x, i, zero);
        }
        b.checked_store(y, at, i);
        let kernel = grid_kernel(b.finish(), vec![Extent::Len(Param(1))]);
        for len in [0u32, 1, 4, 37, 4096] {
            let x = (0..len).map(|i| Const::from(i.wrapping_mul(0x9E37_79B1)));
            check(&kernel, &[zeros(Type::U32, 4096), buffer(Type::U32, x)]);
        }
    }
}

/// `w ^= w << 13; w ^= w >> 17; w ^= w << 5`, three times: code long enough to have fences.
fn scrambled(b: &mut Builder, mut w: Value) -> Value {
    for _ in 0..3 {
        for (op, by) in [(BinaryOp::Shl, 13u32), (BinaryOp::Shr, 17), (BinaryOp::Shl, 5)] {
            let by = b.constant(by);
            let shifted = b.binary(op, w, by);
            w = b.binary(BinaryOp::Xor, w, shifted);
        }
    }
    w
}

/// `bins[x[i] >> 3 & 255] += w` and `z[x[i] >> 3 & 255] = w`, where a fence stands between the index, which every lane
/// loads where it uses it, and its use.
#[test]
fn bits_that_are_used_behind_a_fence() {
    for (shift, counts) in [(0u32, true), (0, false), (3, true), (3, false)] {
        let mut b = Builder::new("scattered");
        let x = b.buffer("x", Type::U32, Access::Read);
        let y = b.buffer("y", Type::U32, Access::Read);
        let access = if counts { Access::Atomic } else { Access::ReadWrite };
        let to = b.buffer("to", Type::U32, access);
        let i = b.id(Axis::X);
        let v = b.checked_load(x, i);
        let [by, mask] = [shift, 255].map(|c| b.constant(c));
        let v = if shift > 0 { b.binary(BinaryOp::Shr, v, by) } else { v };
        let at = b.binary(BinaryOp::And, v, mask);
        let w = b.checked_load(y, i);
        let w = scrambled(&mut b, w);
        if counts {
            b.check_bounds(to, at);
            b.value(Type::U32, Inst::Atomic(AtomicOp::Add, to, at, w));
        } else {
            b.checked_store(to, at, w);
        }
        let kernel = kernel(b.finish());
        for len in LENGTHS {
            // Of stores each goes elsewhere.
            let len = if counts { len } else { len.min(256) };
            let x = (0..len as u32).map(|i| Const::from(i.wrapping_mul(77) << shift));
            let y = buffer(Type::U32, values(Type::U32, len, 5));
            check(&kernel, &[buffer(Type::U32, x), y, zeros(Type::U32, 256)]);
        }
    }
}

/// `bins[x[i] >> 16 >> 16] += 1` and the like: nothing is left of the number.
#[test]
fn bits_that_are_none() {
    let shapes: [&[(BinaryOp, u32)]; 4] = [
        &[(BinaryOp::Shr, 16), (BinaryOp::Shr, 16)],
        &[(BinaryOp::Shr, 24), (BinaryOp::Shr, 8)],
        &[(BinaryOp::And, 0xFF), (BinaryOp::Shr, 8)],
        &[(BinaryOp::And, 0)],
    ];
    for shape in shapes {
        let mut b = Builder::new("none");
        let bins = b.buffer("bins", Type::U32, Access::Atomic);
        let x = b.buffer("x", Type::U32, Access::Read);
        let n = b.scalar("n", Type::U32);
        let i = b.id(Axis::X);
        let mut at = b.checked_load(x, i);
        for &(op, by) in shape {
            let by = b.constant(by);
            at = b.binary(op, at, by);
        }
        b.check_bounds(bins, at);
        let one = b.constant(1u32);
        b.value(Type::U32, Inst::Atomic(AtomicOp::Add, bins, at, one));
        let kernel = grid_kernel(b.finish(), vec![Extent::Scalar(n)]);
        for len in LENGTHS {
            let x = buffer(Type::U32, (0..len as u32).map(|i| Const::from(i % 5)));
            check(&kernel, &[zeros(Type::U32, 9), x, Data::Scalar((len as u32).into())]);
        }
    }
}
