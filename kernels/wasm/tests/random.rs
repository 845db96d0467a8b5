//! Random kernels against the interpreter: whatever combination nobody thought of.

mod support;

use std::sync::Arc;

use crossover_kernels::interp;
use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{
    Access, AtomicOp, Axis, BinaryOp, Const, Extent, Inst, Kernel, Param, Type, Value,
};
use crossover_kernels::random::{Floats, Options, Random, arguments, kernel};
use support::{Data, buffer, check, check_grid, grid_kernel, zeros};

fn converted(kernel: &Kernel, data: Vec<interp::Data>) -> Vec<Data> {
    let types = kernel.entry.params.iter().map(|param| param.kind.ty());
    let of = |(data, ty): (interp::Data, Type)| match data {
        interp::Data::Scalar(c) => Data::Scalar(c),
        interp::Data::Narrow(v) => Data::Buffer(ty, v.into_iter().map(u64::from).collect()),
        interp::Data::Wide(v) => Data::Buffer(ty, v),
    };
    data.into_iter().zip(types).map(of).collect()
}

fn try_many(seed: u64, count: usize, size: usize) {
    let mut rng = Random::new(seed);
    let options = Options { size, ..Options::default() };
    let mut tried = 0;
    while tried < count {
        let kernel = Arc::new(kernel(&mut rng, &options));
        // Calls are inlined by a pass, which is not what is tested here.
        if !kernel.helpers.is_empty() {
            continue;
        }
        tried += 1;
        for n in [0, 1, 5, 70, 1500] {
            let (data, grid) = arguments(&mut rng, &kernel, n, Floats::Any);
            check_grid(&kernel, &converted(&kernel, data), Some(grid));
        }
    }
}

#[test]
fn small_kernels() {
    try_many(1, 80, 20);
}

#[test]
fn medium_kernels() {
    try_many(2, 40, 60);
}

#[test]
fn large_kernels() {
    try_many(3, 10, 200);
}

/// What becomes of a number that is an index.
type Bits = Vec<(BinaryOp, u32)>;

fn bits(rng: &mut Random) -> Bits {
    let op = |rng: &mut Random| match rng.below(4) {
        0 => (BinaryOp::Shr, *rng.pick(&[8, 16, 24])),
        1 => (BinaryOp::Shr, rng.below(33) as u32),
        2 => (BinaryOp::And, *rng.pick(&[0xFF, 0xFFFF])),
        _ => (BinaryOp::And, *rng.pick(&[0, 1, 15, 63, 255, 4095, 0xF0])),
    };
    if rng.chance(20) {
        // Nothing is left.
        let by = *rng.pick(&[4, 8, 16, 24]);
        let first = *rng.pick(&[(BinaryOp::Shr, 32 - by), (BinaryOp::And, (1 << by) - 1)]);
        return vec![first, (BinaryOp::Shr, by)];
    }
    (0..1 + rng.below(3)).map(|_| op(rng)).collect()
}

fn apply(bits: &Bits, x: u32) -> u32 {
    bits.iter().fold(x, |x, &(op, by)| match op {
        BinaryOp::Shr => x >> (by % u32::BITS),
        _ => x & by,
    })
}

/// `to[bits of x[i]] op= w` a few times, `w` computed from `y[i]` by more or less code, all of it where lanes agree or
/// some under a condition. What is stored instead is the same everywhere.
fn scattered(rng: &mut Random) -> (Arc<Kernel>, Vec<Data>) {
    let len = *rng.pick(&[1, 5, 16, 70, 700]);
    let numbers = |rng: &mut Random| (0..len).map(|_| rng.next_u32()).collect::<Vec<_>>();
    let (counts, xs) = (rng.chance(60), [numbers(rng), numbers(rng)]);
    let op = *rng.pick(&[AtomicOp::Add, AtomicOp::Xor, AtomicOp::Or, AtomicOp::Max]);
    let mut b = Builder::new("scattered");
    let loaded = ["x", "z"].map(|name| b.buffer(name, Type::U32, Access::Read));
    let y = b.buffer("y", Type::U32, Access::Read);
    let access = if counts { Access::Atomic } else { Access::ReadWrite };
    let to = b.buffer("to", Type::U32, access);
    let i = b.id(Axis::X);
    let (xs, loaded) =
        if rng.chance(50) { (&xs[..], &loaded[..]) } else { (&xs[..1], &loaded[..1]) };
    let values: Vec<Value> = loaded.iter().map(|x| b.checked_load(*x, i)).collect();
    let mut w = b.checked_load(y, i);
    let mut most = 0;
    for _ in 0..1 + rng.below(3) {
        let (from, mut bits) = (rng.below(xs.len()), bits(rng));
        let greatest = |bits: &Bits| xs[from].iter().map(|x| apply(bits, *x)).max().unwrap_or(0);
        if greatest(&bits) >= 1 << 16 {
            bits.push((BinaryOp::And, 0xFFFF));
        }
        most = most.max(greatest(&bits));
        let mut at = values[from];
        for &(op, by) in &bits {
            let by = b.constant(by);
            at = b.binary(op, at, by);
        }
        for _ in 0..rng.below(30) {
            let op = *rng.pick(&[BinaryOp::Xor, BinaryOp::Add, BinaryOp::Shl, BinaryOp::Shr]);
            let by = b.constant(1 + rng.below(20) as u32);
            let by = if rng.chance(30) { b.binary(BinaryOp::Shl, w, by) } else { by };
            w = b.binary(op, w, by);
        }
        let write = |b: &mut Builder| {
            if counts {
                b.check_bounds(to, at);
                b.value(Type::U32, Inst::Atomic(op, to, at, w));
            } else {
                let one = b.constant(1u32);
                b.checked_store(to, at, one);
            }
        };
        if rng.chance(20) {
            let (limit, low) = (b.constant(rng.next_u32()), values[0]);
            let some = b.binary(BinaryOp::Lt, low, limit);
            b.if_else(some, write, |_| {});
        } else {
            write(&mut b);
        }
    }
    let kernel = grid_kernel(b.finish(), vec![Extent::Len(Param(0))]);
    let room = if rng.chance(50) { 1 << 16 } else { most as usize + 1 };
    let ys = numbers(rng);
    let [x, z, y] = [&xs[0], xs.last().unwrap_or(&xs[0]), &ys]
        .map(|numbers| buffer(Type::U32, numbers.iter().map(|x| Const::from(*x))));
    (kernel, vec![x, z, y, zeros(Type::U32, room)])
}

/// Kernels whose lanes write elsewhere each, at bits of numbers in memory, among more or less other code.
fn scatter_many(seed: u64, count: usize) {
    let mut rng = Random::new(seed);
    for _ in 0..count {
        let (kernel, data) = scattered(&mut rng);
        check(&kernel, &data);
    }
}

#[test]
fn scattering_kernels() {
    scatter_many(4, 60);
}
