//! Control flow, memory, grids and errors on the device, against the interpreter.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{assert_same, bits, compile, data, gpu, gpu_with, kernel, over, run_gpu, runs};
use crossover_kernels::error::{Cause, Failure, RunError};
use crossover_kernels::exec::Deadline;
use crossover_kernels::interp::Data;
use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{
    Access, AtomicOp, Axis, BinaryOp, Const, Extent, Inst, Span, Stmt, Type, Value,
};
use crossover_memory::{Slot, Want, claim};
use crossover_shaders::{DeviceArg, DeviceBuffer, GpuOptions, Sharing};

fn add(b: &mut Builder, a: Value, c: Value) -> Value {
    b.binary(BinaryOp::Add, a, c)
}

/// Nested loops with every jump: `break`, `continue` and `return`, inside `for` and `loop`.
#[test]
fn jumps_in_nested_loops() {
    let Some(gpu) = gpu() else { return };
    let mut b = Builder::new("jumps");
    let x = b.buffer("x", Type::U32, Access::Read);
    let y = b.buffer("y", Type::U32, Access::ReadWrite);
    let i = b.id(Axis::X);
    let v = b.checked_load(x, i);
    let total = b.local(Type::U32, None);
    let turns = b.local(Type::U32, None);
    let (zero, one, five, seven) =
        (b.constant(0u32), b.constant(1u32), b.constant(5u32), b.constant(7u32));
    b.for_range(zero, v, 2, |b, k| {
        let rest = b.binary(BinaryOp::Rem, k, five);
        let skip = b.binary(BinaryOp::Eq, rest, one);
        b.if_else(skip, |b| b.stmt(Stmt::Continue), |_| {});
        b.set(turns, zero);
        b.repeat(|b| {
            let t = b.get(turns);
            let t = add(b, t, one);
            b.set(turns, t);
            let past = b.binary(BinaryOp::Gt, t, rest);
            b.if_else(past, |b| b.stmt(Stmt::Break), |_| {});
            let odd = b.binary(BinaryOp::And, t, one);
            let odd = b.binary(BinaryOp::Eq, odd, one);
            b.if_else(odd, |b| b.stmt(Stmt::Continue), |_| {});
            let sum = b.get(total);
            let sum = add(b, sum, t);
            b.set(total, sum);
        });
        let sum = b.get(total);
        let sum = add(b, sum, k);
        b.set(total, sum);
        let limit = b.constant(400u32);
        let much = b.binary(BinaryOp::Gt, sum, limit);
        b.if_else(
            much,
            |b| {
                b.checked_store(y, i, seven);
                b.stmt(Stmt::Return);
            },
            |_| {},
        );
        let many = b.constant(60u32);
        let many = b.binary(BinaryOp::Gt, k, many);
        b.if_else(many, |b| b.stmt(Stmt::Break), |_| {});
    });
    let sum = b.get(total);
    b.checked_store(y, i, sum);
    let k = over(b, y);
    let x: Vec<Const> = (0..300u32).map(|i| (i % 90).into()).collect();
    assert_same(&gpu, &k, &[data(&x), Data::zeroed(Type::U32, 300)], [300, 1, 1]);
}

/// Counters that stop at the largest integer instead of wrapping around, of every integer type.
#[test]
fn counters_do_not_overflow() {
    let Some(gpu) = gpu() else { return };
    let cases: [(Const, Const, u32); 8] = [
        ((u32::MAX - 10).into(), u32::MAX.into(), 4),
        ((i32::MAX - 10).into(), i32::MAX.into(), 7),
        ((-5i32).into(), 6i32.into(), 3),
        (5i32.into(), (-5i32).into(), 2),
        ((i64::MAX - 10).into(), i64::MAX.into(), 4),
        ((u64::MAX - 10).into(), u64::MAX.into(), 4),
        (i32::MIN.into(), (i32::MIN + 9).into(), u32::MAX),
        (0u32.into(), 9u32.into(), u32::MAX),
    ];
    for (start, end, step) in cases.into_iter().filter(|(c, ..)| common::has(&gpu, c.ty)) {
        for constant in [false, true] {
            let mut b = Builder::new("count");
            let ty = start.ty;
            let y = b.buffer("y", ty, Access::ReadWrite);
            let (from, to) = (b.scalar("from", ty), b.scalar("to", ty));
            let i = b.id(Axis::X);
            let total = b.local(ty, None);
            let from = b.argument(from);
            let to = if constant { b.constant(end) } else { b.argument(to) };
            b.for_range(from, to, step, |b, k| {
                let sum = b.get(total);
                let one = b.constant(Const::one(ty));
                let sum = add(b, sum, one);
                let mixed = b.binary(BinaryOp::Mul, sum, k);
                let sum = add(b, sum, mixed);
                b.set(total, sum);
            });
            let sum = b.get(total);
            b.checked_store(y, i, sum);
            let args = [Data::zeroed(ty, 3), Data::Scalar(start), Data::Scalar(end)];
            assert_same(&gpu, &over(b, y), &args, [3, 1, 1]);
        }
    }
}

#[test]
fn arrays_start_at_zero_and_keep_their_elements() {
    let Some(gpu) = gpu() else { return };
    let types = [Type::U32, Type::F32, Type::Bool, Type::F64, Type::I64];
    for ty in types.into_iter().filter(|&ty| common::has(&gpu, ty)) {
        let mut b = Builder::new("arrays");
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let i = b.id(Axis::X);
        let array = b.local(ty, Some(5));
        let (five, one) = (b.constant(5u32), b.constant(1u32));
        let at = b.binary(BinaryOp::Rem, i, five);
        let value = b.constant(Const::one(ty));
        b.checked_set_element(array, at, value);
        let next = add(&mut b, at, one);
        let next = b.binary(BinaryOp::Rem, next, five);
        let held = b.checked_get_element(array, at);
        let other = b.checked_get_element(array, next);
        let (held, other) = (b.cast(held, Type::U32), b.cast(other, Type::U32));
        let two = b.constant(2u32);
        let other = b.binary(BinaryOp::Mul, other, two);
        let both = add(&mut b, held, other);
        b.checked_store(y, i, both);
        assert_same(&gpu, &over(b, y), &[Data::zeroed(Type::U32, 77)], [77, 1, 1]);
    }
}

#[test]
fn atomics_of_every_operator() {
    let Some(gpu) = gpu() else { return };
    for &op in AtomicOp::ALL {
        for ty in [Type::U32, Type::I32] {
            let mut b = Builder::new(format!("atomic_{op}"));
            let bins = b.buffer("bins", ty, Access::Atomic);
            let x = b.buffer("x", ty, Access::Read);
            let i = b.id(Axis::X);
            let v = b.checked_load(x, i);
            let eight = b.constant(8u32);
            let at = b.binary(BinaryOp::Rem, i, eight);
            b.check_bounds(bins, at);
            // The last operand of an exchange is any: give all of a bin the same.
            let operand = if op == AtomicOp::Swap { b.cast(at, ty) } else { v };
            b.value(ty, Inst::Atomic(op, bins, at, operand));
            let k = over(b, x);
            let x: Vec<Const> = (0..1000u32)
                .map(|i| Const::new(ty, u64::from(i.wrapping_mul(2_654_435_761))))
                .collect();
            let bins: Vec<Const> = (0..8).map(|i| Const::new(ty, 0x1234 + i)).collect();
            assert_same(&gpu, &k, &[data(&bins), data(&x)], [1000, 1, 1]);
        }
    }
}

/// Each invocation takes a ticket: all results of an atomic are different.
#[test]
fn atomic_results_loads_and_stores() {
    let Some(gpu) = gpu() else { return };
    let mut b = Builder::new("tickets");
    let counter = b.buffer("counter", Type::U32, Access::Atomic);
    let y = b.buffer("y", Type::U32, Access::ReadWrite);
    let i = b.id(Axis::X);
    let (zero, one) = (b.constant(0u32), b.constant(1u32));
    b.check_bounds(counter, one);
    let ticket = b.value(Type::U32, Inst::Atomic(AtomicOp::Add, counter, zero, one));
    b.stmt(Stmt::AtomicStore(counter, one, one));
    let seen = b.value(Type::U32, Inst::AtomicLoad(counter, one));
    let both = b.binary(BinaryOp::Mul, ticket, seen);
    b.checked_store(y, i, both);
    let k = over(b, y);
    let version = compile(&gpu, &k);
    let mut args = [Data::zeroed(Type::U32, 2), Data::zeroed(Type::U32, 5000)];
    run_gpu(&version, &mut args, [5000, 1, 1], None).expect("it runs");
    let mut tickets = bits(&args[1]);
    tickets.sort_unstable();
    assert!(tickets.iter().copied().eq(0..5000));
    assert_eq!(bits(&args[0]), [5000, 1]);
}

#[test]
fn grids_of_two_and_three_axes() {
    let Some(gpu) = gpu() else { return };
    for (axes, grid) in [
        (2, [1, 1, 1]),
        (2, [65, 5, 1]),
        (2, [3, 300, 1]),
        (2, [0, 4, 1]),
        (3, [17, 9, 5]),
        (3, [64, 4, 2]),
        (3, [1, 1, 40]),
    ] {
        let mut b = Builder::new("place");
        let (w, h, d) =
            (b.scalar("w", Type::U32), b.scalar("h", Type::U32), b.scalar("d", Type::U32));
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let (width, height) = (b.argument(w), b.argument(h));
        let (ix, iy) = (b.id(Axis::X), b.id(Axis::Y));
        let iz = if axes == 3 { b.id(Axis::Z) } else { b.constant(0u32) };
        let plane = b.binary(BinaryOp::Mul, iz, height);
        let row = add(&mut b, plane, iy);
        let row = b.binary(BinaryOp::Mul, row, width);
        let at = add(&mut b, row, ix);
        let thousand = b.constant(1000u32);
        let mut mark = b.binary(BinaryOp::Mul, iy, thousand);
        mark = add(&mut b, mark, ix);
        mark = b.binary(BinaryOp::Mul, mark, thousand);
        mark = add(&mut b, mark, iz);
        b.checked_store(y, at, mark);
        let extents = [Extent::Scalar(w), Extent::Scalar(h), Extent::Scalar(d)];
        let k = kernel(b, extents[..axes].to_vec(), None);
        let size = grid.iter().product::<u32>() as usize + 3;
        let mut args: Vec<Data> = grid.iter().map(|&n| Data::Scalar(n.into())).collect();
        args.push(Data::zeroed(Type::U32, size));
        assert_same(&gpu, &k, &args, grid);
    }
}

/// 17 million grid points are more than 65,535 workgroups.
#[test]
fn a_grid_beyond_one_axis_of_a_dispatch() {
    let Some(gpu) = gpu() else { return };
    let len = 17_000_003u32;
    let mut b = Builder::new("many");
    let y = b.buffer("y", Type::U32, Access::ReadWrite);
    let i = b.id(Axis::X);
    let one = b.constant(1u32);
    let v = add(&mut b, i, one);
    b.checked_store(y, i, v);
    let k = over(b, y);
    let version = compile(&gpu, &k);
    let mut args = [Data::zeroed(Type::U32, len as usize)];
    let measured = run_gpu(&version, &mut args, [len, 1, 1], None).expect("it runs");
    let Data::Narrow(got) = &args[0] else { panic!("the buffer is narrow") };
    assert!(got.iter().copied().eq(1..=len));
    let copied = if gpu.sharing() == Sharing::Imported { 0 } else { u64::from(len) * 4 };
    assert_eq!((measured.upload_bytes, measured.readback_bytes), (copied, copied));
}

/// More dispatches than one submission takes.
#[test]
fn a_grid_of_many_pieces() {
    let Some(gpu) = gpu() else { return };
    let mut b = Builder::new("pieces");
    let (w, h) = (b.scalar("w", Type::U32), b.scalar("h", Type::U32));
    let y = b.buffer("y", Type::U32, Access::Atomic);
    let (x, row) = (b.id(Axis::X), b.id(Axis::Y));
    let both = b.binary(BinaryOp::Or, x, row);
    let zero = b.constant(0u32);
    let one = b.constant(1u32);
    b.check_bounds(y, zero);
    b.value(Type::U32, Inst::Atomic(AtomicOp::Max, y, zero, both));
    b.check_bounds(y, one);
    b.value(Type::U32, Inst::Atomic(AtomicOp::Add, y, one, one));
    let k = kernel(b, vec![Extent::Scalar(w), Extent::Scalar(h)], None);
    let version = compile(&gpu, &k);
    let grid = [1, 1 << 18, 1];
    let mut args = vec![Data::Scalar(1u32.into()), Data::Scalar((1u32 << 18).into())];
    args.push(Data::zeroed(Type::U32, 2));
    // 4 rows to a workgroup, 65,535 workgroups: two pieces.
    let grid = [grid[0], grid[1] + 7, 1];
    run_gpu(&version, &mut args, grid, None).expect("it runs");
    assert_eq!(bits(&args[2]), [(1 << 18) + 6, (1 << 18) + 7]);
}

fn failing() -> (Builder, crossover_kernels::ir::Param) {
    let mut b = Builder::new("failing");
    let x = b.buffer("x", Type::I32, Access::Read);
    let y = b.buffer("y", Type::I32, Access::ReadWrite);
    let i = b.id(Axis::X);
    b.at(Span { file: 0, line: 4, column: 9 });
    let v = b.checked_load(x, i);
    b.at(Span { file: 0, line: 5, column: 11 });
    let hundred = b.constant(100i32);
    let q = b.checked_binary(BinaryOp::Div, hundred, v);
    b.checked_store(y, i, q);
    (b, y)
}

#[test]
fn failing_checks_name_site_index_and_invocation() {
    let Some(gpu) = gpu() else { return };
    let (b, y) = failing();
    let k = over(b, y);
    let version = compile(&gpu, &k);
    let mut x = vec![Const::from(7i32); 300];
    let mut args = [data(&x[..299]), Data::zeroed(Type::I32, 300)];
    let error = run_gpu(&version, &mut args, [300, 1, 1], None).expect_err("x is too short");
    let out_of_bounds = Cause::OutOfBounds { buffer: "x".into(), index: 299, length: 299 };
    let failure = |location: &str, at: u32, cause| {
        RunError::Failed(Failure {
            kernel: "failing".into(),
            location: location.into(),
            invocation: [at, 0, 0],
            cause,
        })
    };
    assert_eq!(error, failure("test.rs:4:9", 299, out_of_bounds));
    // What the others wrote stays written.
    assert_eq!(bits(&args[1])[298], 14);

    x[123] = 0.into();
    let mut args = [data(&x), Data::zeroed(Type::I32, 300)];
    let error = run_gpu(&version, &mut args, [300, 1, 1], None).expect_err("division by zero");
    assert_eq!(error, failure("test.rs:5:11", 123, Cause::ZeroDivisor));

    // A later call knows nothing of it.
    x[123] = 3.into();
    let mut args = [data(&x), Data::zeroed(Type::I32, 300)];
    run_gpu(&version, &mut args, [300, 1, 1], None).expect("nothing fails");
    assert_eq!(bits(&args[1])[123], 33);
}

#[test]
fn a_check_in_three_axes_reports_the_point() {
    let Some(gpu) = gpu() else { return };
    let mut b = Builder::new("point");
    let y = b.buffer("y", Type::U32, Access::ReadWrite);
    let at = Axis::ALL.map(|axis| b.id(axis));
    let five = b.constant(5u32);
    let mut all = None;
    for id in at {
        let here = b.binary(BinaryOp::Eq, id, five);
        all = Some(all.map_or(here, |before| b.binary(BinaryOp::And, before, here)));
    }
    let ten = b.constant(10u32);
    b.if_else(all.expect("three axes"), |b| b.checked_store(y, ten, five), |_| {});
    let k = kernel(b, vec![Extent::Fixed(7), Extent::Fixed(7), Extent::Fixed(7)], None);
    assert_same(&gpu, &k, &[Data::zeroed(Type::U32, 10)], [7, 7, 7]);
}

#[test]
fn a_loop_without_end_is_a_deadline() {
    let Some(gpu) = gpu() else { return };
    let mut b = Builder::new("endless");
    let y = b.buffer("y", Type::U32, Access::ReadWrite);
    let i = b.id(Axis::X);
    let local = b.local(Type::U32, None);
    b.repeat(|b| {
        let v = b.get(local);
        let one = b.constant(1u32);
        let v = add(b, v, one);
        b.set(local, v);
        let zero = b.constant(0u32);
        let wrapped = b.binary(BinaryOp::Eq, v, zero);
        b.if_else(wrapped, |b| b.stmt(Stmt::Break), |_| {});
    });
    let v = b.get(local);
    b.checked_store(y, i, v);
    let k = over(b, y);
    if !runs(&gpu, &k) {
        return;
    }
    let version = compile(&gpu, &k);
    let mut args = [Data::zeroed(Type::U32, 3)];
    let error = run_gpu(&version, &mut args, [3, 1, 1], None).expect_err("it does not end");
    assert!(matches!(error, RunError::Deadline { .. }), "{error}");
    assert!(!gpu.is_lost());
}

#[test]
fn a_passed_deadline_runs_nothing_and_harms_nothing() {
    let Some(gpu) = gpu() else { return };
    let (b, y) = failing();
    let k = over(b, y);
    let version = compile(&gpu, &k);
    let ones = vec![Const::from(1i32); 8];
    let mut args = [data(&ones), Data::zeroed(Type::I32, 8)];
    let passed = Deadline::after(Duration::ZERO);
    let error = run_gpu(&version, &mut args, [8, 1, 1], Some(passed)).expect_err("too late");
    assert_eq!(error, RunError::Deadline { kernel: "failing".into(), limit: Duration::ZERO });
    run_gpu(&version, &mut args, [8, 1, 1], Some(Deadline::after(Duration::from_secs(60))))
        .expect("in time");
    assert_eq!(bits(&args[1]), [100; 8]);
}

/// A dispatch that outlasts its deadline: the device is given up, and says so from then on.
#[test]
fn a_hung_device_is_given_up() {
    let Some(gpu) = gpu_with(&GpuOptions { without_timestamps: true, ..GpuOptions::default() })
    else {
        return;
    };
    let mut b = Builder::new("long");
    let y = b.buffer("y", Type::U32, Access::ReadWrite);
    let n = b.scalar("n", Type::U32);
    let i = b.id(Axis::X);
    let n = b.argument(n);
    let local = b.local(Type::U32, None);
    let zero = b.constant(0u32);
    b.for_range(zero, n, 1, |b, j| {
        b.for_range(zero, n, 1, |b, k| {
            let v = b.get(local);
            let v = b.binary(BinaryOp::Xor, v, k);
            let three = b.constant(3u32);
            let v = b.binary(BinaryOp::Mul, v, three);
            let v = add(b, v, j);
            b.set(local, v);
        });
    });
    let v = b.get(local);
    b.checked_store(y, i, v);
    let k = over(b, y);
    if !runs(&gpu, &k) {
        return;
    }
    let version = compile(&gpu, &k);
    let mut args = [Data::zeroed(Type::U32, 64), Data::Scalar(1000u32.into())];
    let short = run_gpu(&version, &mut args, [64, 1, 1], None).expect("it ends").kernel;
    // Some seconds on any device, but not for ever: the process has to end.
    let n = 1000.0 * (4.0 / short.as_secs_f64()).sqrt();
    args[1] = Data::Scalar((n.min(1e7) as u32).into());
    let deadline = Deadline::after(Duration::from_millis(50));
    let start = std::time::Instant::now();
    let error = run_gpu(&version, &mut args, [64, 1, 1], Some(deadline)).expect_err("too long");
    assert!(matches!(error, RunError::Deadline { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(gpu.is_lost());
    let error = run_gpu(&version, &mut args, [64, 1, 1], None).expect_err("the device is gone");
    assert!(matches!(error, RunError::Device { .. }), "{error}");
}

#[test]
fn buffers_beyond_a_limit_are_an_error_with_numbers() {
    let Some(gpu) = gpu_with(&GpuOptions { buffer_bytes_max: Some(4096), ..GpuOptions::default() })
    else {
        return;
    };
    let (b, y) = failing();
    let k = over(b, y);
    let version = compile(&gpu, &k);
    let ones = vec![Const::from(1i32); 1025];
    let mut args = [data(&ones), Data::zeroed(Type::I32, 1025)];
    let error = run_gpu(&version, &mut args, [1025, 1, 1], None).expect_err("too large");
    let RunError::Memory { what, needed, limit, .. } = error else { panic!("{error}") };
    assert_eq!((what.as_str(), needed, limit), ("buffer `x`", 4100, 4096));
    let mut args = [data(&ones[..1024]), Data::zeroed(Type::I32, 1024)];
    run_gpu(&version, &mut args, [1024, 1, 1], None).expect("it fits");
}

/// Data stays on the device between dispatches, and zero-length buffers are bound like others.
#[test]
fn dispatches_share_buffers_on_the_device() {
    let Some(gpu) = gpu() else { return };
    let mut b = Builder::new("step");
    let y = b.buffer("y", Type::F32, Access::ReadWrite);
    let none = b.buffer("none", Type::F32, Access::Read);
    let by = b.scalar("by", Type::F32);
    let i = b.id(Axis::X);
    b.len(none);
    let v = b.checked_load(y, i);
    let by = b.argument(by);
    let v = add(&mut b, v, by);
    b.checked_store(y, i, v);
    let version = compile(&gpu, &over(b, y));
    let buffer = DeviceBuffer::new(&gpu, 4000).expect("memory");
    let empty = DeviceBuffer::new(&gpu, 0).expect("memory");
    buffer.upload(0, bytemuck::cast_slice(&[1.0f32; 1000])).expect("it uploads");
    buffer.upload(400, bytemuck::cast_slice(&[2.0f32; 10])).expect("it uploads");
    for _ in 0..10 {
        let args = [
            DeviceArg::Buffer { buffer: &buffer, len: 1000, is_blank: false },
            DeviceArg::Buffer { buffer: &empty, len: 0, is_blank: false },
            DeviceArg::Scalar(0.5f32.into()),
        ];
        version
            .dispatch(&args, [1000, 1, 1], &mut claim([] as [(Arc<Slot>, Want); 0]), None)
            .expect("it runs");
    }
    let mut out = vec![0f32; 500];
    buffer.read(200, bytemuck::cast_slice_mut(&mut out), None).expect("it reads");
    assert!(out[..50].iter().all(|&v| v == 6.0));
    assert!(out[50..60].iter().all(|&v| v == 7.0));
}

/// Every way in which a device gets at host memory gives the same, moves the bytes that it says, and
/// touches none without a claim.
#[test]
fn host_memory_is_shared_in_every_way_there_is() {
    for limit in [Sharing::Imported, Sharing::Mapped, Sharing::Staged] {
        let options = GpuOptions { sharing: Some(limit), ..GpuOptions::default() };
        let Some(gpu) = gpu_with(&options) else { return };
        assert!(gpu.sharing() >= limit, "{limit} was the best that was asked for");
        let (b, y) = failing();
        let version = compile(&gpu, &over(b, y));
        for n in [1usize, 7, 1000, 70_001] {
            let ones = vec![Const::from(-3i32); n];
            let mut args = [data(&ones), Data::zeroed(Type::I32, n)];
            let moved = run_gpu(&version, &mut args, [n as u32, 1, 1], None).expect("it runs");
            assert_eq!(bits(&args[1]), vec![u64::from(-33i32 as u32); n], "{limit}, {n} elements");
            let copied = if gpu.sharing() == Sharing::Imported { 0 } else { 4 * n as u64 };
            assert_eq!((moved.upload_bytes, moved.readback_bytes), (2 * copied, copied));
        }
    }
}

#[test]
fn host_memory_is_not_touched_without_a_claim() {
    let Some(gpu) = gpu() else { return };
    let slots = [(); 2].map(|()| Arc::new(Slot::zeroed(4000).expect("memory")));
    let [Some(x), Some(y)] =
        slots.each_ref().map(|slot| DeviceBuffer::over(&gpu, slot, 4000).expect("a device"))
    else {
        return eprintln!("skipped: {}", gpu.info().sharing_why);
    };
    let (b, param) = failing();
    let version = compile(&gpu, &over(b, param));
    let [x, y] = [&x, &y].map(|buffer| DeviceArg::Buffer { buffer, len: 1000, is_blank: false });
    slots[0].write::<i32>().fill(5);
    let mut only_read = claim(slots.iter().map(|slot| (slot.clone(), Want::Read)));
    let refused = version.dispatch(&[x, y], [1000, 1, 1], &mut only_read, None);
    assert!(matches!(refused, Err(RunError::Arguments { .. })), "{refused:?}");
    drop(only_read);
    let mut right = claim(slots.iter().map(|slot| (slot.clone(), Want::Write)));
    version.dispatch(&[x, y], [1000, 1, 1], &mut right, None).expect("it runs");
    drop(right);
    assert!(slots[1].read::<i32>().iter().all(|&v| v == 20));
}

/// Many threads, one version.
#[test]
fn versions_can_be_shared_between_threads() {
    let Some(gpu) = gpu() else { return };
    let (b, y) = failing();
    let k = over(b, y);
    let version = compile(&gpu, &k);
    std::thread::scope(|scope| {
        for thread in 1..5i32 {
            let version = &version;
            scope.spawn(move || {
                let x = vec![Const::from(thread); 500];
                for _ in 0..20 {
                    let mut args = [data(&x), Data::zeroed(Type::I32, 500)];
                    run_gpu(version, &mut args, [500, 1, 1], None).expect("it runs");
                    assert_eq!(bits(&args[1]), [(100 / thread) as u64; 500]);
                }
            });
        }
    });
}
