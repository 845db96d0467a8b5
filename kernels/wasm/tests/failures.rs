//! What a call says when it cannot complete: failing checks, deadlines, traps.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossover_kernels::error::{Cause, RunError};
use crossover_kernels::exec::Deadline;
use crossover_kernels::interp::Interpreter;
use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{Access, Axis, BinaryOp, Const, Extent, Kernel, Param, Stmt, Type};
use support::{
    Data, REFILLED, Scheduled, WASM, buffer, check, grid_kernel, kernel, run, run_again,
    with_output, zeros,
};

/// The wasm failure is the interpreter's, but for the buffers: which other invocations have run by
/// then is open.
fn check_failure(kernel: &Arc<Kernel>, data: &[Data]) -> RunError {
    let (_, expected) = run(&Interpreter, kernel, data, None, 1, None);
    let expected = expected.expect_err("a failing kernel");
    for threads in [1, 2] {
        let (_, found) = run(&*WASM, kernel, data, None, threads, None);
        assert_eq!(found.expect_err("a failing kernel"), expected);
    }
    for (_, found) in run_again(&*WASM, kernel, data, None, 1) {
        assert_eq!(found.expect_err("a failing kernel"), expected);
    }
    expected
}

#[test]
fn a_linear_index_past_the_end() {
    let (mut b, out) = with_output("linear", Type::F32);
    let input = b.buffer("input", Type::F32, Access::Read);
    let (i, two) = (b.id(Axis::X), b.constant(2u32));
    let at = b.binary(BinaryOp::Add, i, two);
    let v = b.checked_load(input, at);
    b.checked_store(out, i, v);
    let kernel = kernel(b.finish());
    for len in [1, 2, 3, 4, 5, 6, 7, 8, 9, 100, 5000] {
        let data = [zeros(Type::F32, len), zeros(Type::F32, len)];
        let error = check_failure(&kernel, &data);
        let RunError::Failed(failure) = error else { panic!("{error}") };
        let first = len.saturating_sub(2) as u32;
        assert_eq!(failure.invocation, [first, 0, 0]);
        assert_eq!(
            failure.cause,
            Cause::OutOfBounds {
                buffer: "input".into(),
                index: u64::from(first) + 2,
                length: len as u64,
            }
        );
    }
}

#[test]
fn an_index_before_the_begin() {
    let (mut b, out) = with_output("before", Type::U64);
    let (i, three) = (b.id(Axis::X), b.constant(3u32));
    let at = b.binary(BinaryOp::Sub, i, three);
    let v = b.checked_load(out, at);
    b.checked_store(out, i, v);
    let kernel = kernel(b.finish());
    for len in [1, 4, 5, 64] {
        check_failure(&kernel, &[zeros(Type::U64, len)]);
    }
}

#[test]
fn a_loaded_index_or_divisor() {
    let (mut b, out) = with_output("loaded", Type::I32);
    let index = b.buffer("index", Type::U32, Access::Read);
    let i = b.id(Axis::X);
    let at = b.checked_load(index, i);
    let v = b.checked_load(out, at);
    let divisor = b.bitcast(at, Type::I32);
    let q = b.checked_binary(BinaryOp::Div, v, divisor);
    b.checked_store(out, i, q);
    let kernel = kernel(b.finish());
    for len in [1usize, 5, 8, 33] {
        for bad in 0..len {
            for value in [0, len as u32, u32::MAX] {
                let index = (0..len).map(|i| Const::from(if i == bad { value } else { 1 }));
                let data = [zeros(Type::I32, len.max(2)), buffer(Type::U32, index)];
                let args = [zeros(Type::I32, len), data[1].clone()];
                if len > 1 {
                    check_failure(&kernel, &args);
                }
            }
        }
    }
}

#[test]
fn a_check_under_a_mask_names_an_active_lane() {
    let (mut b, out) = with_output("masked", Type::U32);
    let i = b.id(Axis::X);
    let (six, zero) = (b.constant(6u32), b.constant(0u32));
    let late = b.binary(BinaryOp::Ge, i, six);
    b.if_else(
        late,
        |b| {
            let rest = b.binary(BinaryOp::Sub, i, six);
            let never = b.binary(BinaryOp::And, rest, zero);
            b.checked_binary(BinaryOp::Rem, i, never);
        },
        |_| {},
    );
    b.checked_store(out, i, i);
    let kernel = kernel(b.finish());
    check(&kernel, &[zeros(Type::U32, 6)]);
    for len in [7, 8, 9, 30] {
        let error = check_failure(&kernel, &[zeros(Type::U32, len)]);
        let RunError::Failed(failure) = error else { panic!("{error}") };
        assert_eq!((failure.invocation, failure.cause), ([6, 0, 0], Cause::ZeroDivisor));
    }
}

#[test]
fn a_uniform_index_and_an_array_index() {
    let (mut b, out) = with_output("uniform", Type::U32);
    let n = b.scalar("n", Type::U32);
    let array = b.local(Type::U32, Some(4));
    let (i, n) = (b.id(Axis::X), b.argument(n));
    let v = b.checked_load(out, n);
    let e = b.checked_get_element(array, v);
    b.checked_store(out, i, e);
    let kernel = kernel(b.finish());
    let data =
        |n: u32, held: u32| [buffer(Type::U32, [Const::from(held); 9]), Data::Scalar(n.into())];
    check(&kernel, &data(8, 3));
    check_failure(&kernel, &data(9, 3));
    check_failure(&kernel, &data(0, 4));
}

#[test]
fn the_place_in_three_axes() {
    let (mut b, out) = with_output("axes", Type::U32);
    let (x, y, z) = (b.id(Axis::X), b.id(Axis::Y), b.id(Axis::Z));
    let ten = b.constant(10u32);
    let at = b.binary(BinaryOp::Mul, z, ten);
    let at = b.binary(BinaryOp::Add, at, y);
    let at = b.binary(BinaryOp::Mul, at, ten);
    let at = b.binary(BinaryOp::Add, at, x);
    b.checked_store(out, at, x);
    let kernel = grid_kernel(b.finish(), vec![Extent::Fixed(10); 3]);
    check(&kernel, &[zeros(Type::U32, 1000)]);
    for len in [0, 5, 347, 999] {
        check_failure(&kernel, &[zeros(Type::U32, len)]);
    }
}

/// The one that fails is the last; with lanes that take further invocations it is none of the first.
#[test]
fn the_place_of_a_lane_that_was_refilled() {
    let (mut b, out) = with_output("last", Type::U32);
    let counts = b.buffer("counts", Type::U32, Access::Read);
    let x = b.id(Axis::X);
    let sum = b.local(Type::U32, None);
    let (zero, count) = (b.constant(0u32), b.checked_load(counts, x));
    b.for_range(zero, count, 1, |b, k| {
        let old = b.get(sum);
        let new = b.binary(BinaryOp::Add, old, k);
        b.set(sum, new);
    });
    let sum = b.get(sum);
    b.checked_store(out, x, sum);
    let kernel = grid_kernel(b.finish(), vec![Extent::Len(Param(1))]);
    for n in [1usize, 9, 100] {
        let counts = (0..n).map(|at| Const::from((at * 7 % 13) as u32));
        let data = [zeros(Type::U32, n - 1), buffer(Type::U32, counts)];
        let (_, expected) = run(&Interpreter, &kernel, &data, None, 1, None);
        let (_, found) = run(&Scheduled(Some(REFILLED)), &kernel, &data, None, 1, None);
        assert_eq!(found, expected);
        assert!(found.is_err());
    }
}

/// A loop that never ends for invocations from `n` on.
fn endless() -> Arc<Kernel> {
    let (mut b, out) = with_output("endless", Type::U32);
    let n = b.scalar("n", Type::U32);
    let (i, n) = (b.id(Axis::X), b.argument(n));
    let count = b.local(Type::U32, None);
    b.repeat(|b| {
        let (old, one) = (b.get(count), b.constant(1u32));
        let new = b.binary(BinaryOp::Add, old, one);
        b.set(count, new);
        let fine = b.binary(BinaryOp::Lt, i, n);
        b.if_else(fine, |b| b.stmt(Stmt::Break), |_| {});
    });
    let v = b.get(count);
    b.checked_store(out, i, v);
    kernel(b.finish())
}

#[test]
fn an_unbounded_loop_is_stopped_at_the_deadline() {
    let kernel = endless();
    let data = |n: u32| [zeros(Type::U32, 1000), Data::Scalar(n.into())];
    for threads in [1, 2] {
        for _ in 0..3 {
            let limit = Duration::from_millis(60);
            let start = Instant::now();
            let deadline = Some(Deadline::after(limit));
            let (_, outcome) = run(&*WASM, &kernel, &data(998), None, threads, deadline);
            let error = outcome.expect_err("an endless loop");
            assert_eq!(error, RunError::Deadline { kernel: "endless".into(), limit });
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
            // The pool is as good as before, and a deadline that is kept changes nothing.
            let far = Some(Deadline::after(Duration::from_secs(60)));
            let (buffers, outcome) = run(&*WASM, &kernel, &data(1000), None, threads, far);
            outcome.expect("it ends");
            assert!(buffers[0].iter().all(|&v| v == 1));
        }
    }
    check(&kernel, &data(1000));
}

#[test]
fn deadlines_are_seen_between_chunks() {
    let (mut b, out) = with_output("slow", Type::U32);
    let i = b.id(Axis::X);
    let total = b.local(Type::U32, None);
    let (zero, many) = (b.constant(0u32), b.constant(20_000u32));
    b.for_range(zero, many, 1, |b, k| {
        let old = b.get(total);
        let mixed = b.binary(BinaryOp::Xor, old, k);
        let new = b.binary(BinaryOp::Mul, mixed, many);
        b.set(total, new);
    });
    let v = b.get(total);
    b.checked_store(out, i, v);
    let kernel = kernel(b.finish());
    for threads in [1, 2] {
        let start = Instant::now();
        let deadline = Some(Deadline::after(Duration::from_millis(30)));
        let data = [zeros(Type::U32, 4_000_000)];
        let (_, outcome) = run(&*WASM, &kernel, &data, None, threads, deadline);
        assert!(matches!(outcome, Err(RunError::Deadline { .. })), "{outcome:?}");
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }
}

/// An access that nothing checks and that hits no page is an error of the device, not a crash.
#[test]
fn a_trap_is_an_error() {
    let mut b = Builder::new("wild");
    let out = b.buffer("out", Type::U32, Access::ReadWrite);
    let far = b.scalar("far", Type::U32);
    let (i, far) = (b.id(Axis::X), b.argument(far));
    let at = b.binary(BinaryOp::Add, i, far);
    b.stmt(Stmt::Store(out, at, i));
    let kernel = grid_kernel(b.finish(), vec![Extent::Len(Param(0))]);
    for threads in [1, 2] {
        for len in [1, 64] {
            let data = [zeros(Type::U32, len), Data::Scalar((1u32 << 29).into())];
            let (_, outcome) = run(&*WASM, &kernel, &data, None, threads, None);
            assert!(matches!(outcome, Err(RunError::Device { .. })), "{outcome:?}");
        }
    }
}
