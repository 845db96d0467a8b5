//! One version, many calls: instances are kept between calls, and nothing of a call is left in them.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossover_kernels::error::RunError;
use crossover_kernels::exec::{Arg, Call, Deadline, Executor, Version, claim_args, default_grid};
use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{Access, Axis, BinaryOp, Kernel, Stmt, Type};
use crossover_memory::Slot;
use support::{WASM, kernel, with_output};

fn buffer(values: &[u32]) -> Arg<'static> {
    let slot = Arc::new(Slot::zeroed(values.len() * 4).expect("memory"));
    slot.write::<u32>().copy_from_slice(values);
    Arg::Buffer { slot: slot.into(), len: values.len() as u32 }
}

fn slot<'a>(arg: &'a Arg<'_>) -> &'a Arc<Slot> {
    match arg {
        Arg::Buffer { slot, .. } => slot.arc(),
        Arg::Scalar(_) => panic!("a buffer"),
    }
}

fn call(
    version: &Arc<dyn Version>,
    kernel: &Arc<Kernel>,
    args: &[Arg],
    threads: usize,
    limit: Duration,
) -> Result<(), RunError> {
    let mut claim = claim_args(kernel, args);
    let (grid, deadline) = (default_grid(kernel, args), Some(Deadline::after(limit)));
    let mut call = Call { args, grid, threads, deadline, start: None, claim: &mut claim };
    version.run(&mut call).map(|_| ())
}

const LONG: Duration = Duration::from_secs(60);

/// `out[i] = 10 / input[i]`, which fails for 0.
fn tenths() -> Arc<Kernel> {
    let (mut b, out) = with_output("tenths", Type::U32);
    let input = b.buffer("input", Type::U32, Access::Read);
    let (i, ten) = (b.id(Axis::X), b.constant(10u32));
    let v = b.checked_load(input, i);
    let q = b.checked_binary(BinaryOp::Div, ten, v);
    b.checked_store(out, i, q);
    kernel(b.finish())
}

#[test]
fn calls_see_their_own_buffers_and_let_them_go() {
    let kernel = tenths();
    let version = WASM.compile(&kernel).expect("compiles");
    for threads in [1, 2, 1] {
        for round in 0..50u32 {
            let (divisor, len) = (1 + round % 5, 4 + 300 * (round as usize % 7));
            let args = [buffer(&vec![0; len]), buffer(&vec![divisor; len])];
            call(&version, &kernel, &args, threads, LONG).expect("runs");
            assert!(slot(&args[0]).read::<u32>().iter().all(|&v| v == 10 / divisor));
            // Another thread may just be about to let go.
            let held = args.each_ref().map(|arg| Arc::strong_count(slot(arg)));
            assert!(threads > 1 || held == [1, 1], "a waiting instance holds no buffer");
        }
    }
}

#[test]
fn the_same_buffers_in_another_order() {
    let kernel = tenths();
    let version = WASM.compile(&kernel).expect("compiles");
    let (a, b) = (buffer(&[0; 9]), buffer(&[5; 9]));
    call(&version, &kernel, &[a.clone(), b.clone()], 1, LONG).expect("runs");
    assert_eq!(*slot(&a).read::<u32>(), [2; 9]);
    call(&version, &kernel, &[b.clone(), a.clone()], 1, LONG).expect("runs");
    assert_eq!((*slot(&a).read::<u32>()).to_vec(), [2; 9]);
    assert_eq!(*slot(&b).read::<u32>(), [5; 9]);
}

#[test]
fn a_call_after_one_that_failed() {
    let kernel = tenths();
    let version = WASM.compile(&kernel).expect("compiles");
    for at in [0, 3, 8] {
        let mut divisors = [2; 9];
        divisors[at] = 0;
        let bad = [buffer(&[0; 9]), buffer(&divisors)];
        let error = call(&version, &kernel, &bad, 1, LONG).expect_err("a division by zero");
        let RunError::Failed(failure) = error else { panic!("{error}") };
        assert_eq!(failure.invocation, [at as u32, 0, 0]);
        let good = [buffer(&[0; 9]), buffer(&[2; 9])];
        call(&version, &kernel, &good, 1, LONG).expect("runs");
        assert_eq!(*slot(&good[0]).read::<u32>(), [5; 9]);
    }
}

/// An access that nothing checks and that hits no page.
#[test]
fn a_call_after_one_that_trapped() {
    let mut b = Builder::new("wild");
    let out = b.buffer("out", Type::U32, Access::ReadWrite);
    let far = b.scalar("far", Type::U32);
    let (i, far) = (b.id(Axis::X), b.argument(far));
    let at = b.binary(BinaryOp::Add, i, far);
    b.stmt(Stmt::Store(out, at, i));
    let kernel = kernel(b.finish());
    let version = WASM.compile(&kernel).expect("compiles");
    for threads in [1, 2] {
        for round in 0..5 {
            // Whether the instance is new or was laid over other memory before.
            for far in [0u32, 1 << 29, 0] {
                let args = [buffer(&[7; 3]), Arg::Scalar(far.into())];
                let outcome = call(&version, &kernel, &args, threads, LONG);
                let values = slot(&args[0]).read::<u32>().to_vec();
                match far {
                    0 => assert_eq!((outcome, values), (Ok(()), vec![0, 1, 2]), "round {round}"),
                    _ => assert!(matches!(outcome, Err(RunError::Device { .. })), "{outcome:?}"),
                }
            }
        }
    }
}

#[test]
fn arrays_are_zero_at_every_call() {
    let (mut b, out) = with_output("arrays", Type::U32);
    let array = b.local(Type::U32, Some(8));
    let (i, seven, one) = (b.id(Axis::X), b.constant(7u32), b.constant(1u32));
    let v = b.checked_load(out, i);
    let at = b.binary(BinaryOp::And, v, seven);
    let old = b.checked_get_element(array, at);
    let new = b.binary(BinaryOp::Add, old, one);
    b.checked_set_element(array, at, new);
    let again = b.checked_get_element(array, at);
    b.checked_store(out, i, again);
    let kernel = kernel(b.finish());
    let version = WASM.compile(&kernel).expect("compiles");
    for _ in 0..3 {
        let args = [buffer(&[3; 13])];
        call(&version, &kernel, &args, 1, LONG).expect("runs");
        assert_eq!(*slot(&args[0]).read::<u32>(), [1; 13]);
    }
}

/// Spins at elements that are not 0, and then does not end.
fn spins() -> Arc<Kernel> {
    let (mut b, out) = with_output("spins", Type::U32);
    let (i, zero) = (b.id(Axis::X), b.constant(0u32));
    b.repeat(|b| {
        let v = b.checked_load(out, i);
        let over = b.binary(BinaryOp::Eq, v, zero);
        b.if_else(over, |b| b.stmt(Stmt::Break), |_| {});
    });
    let one = b.constant(1u32);
    b.checked_store(out, i, one);
    kernel(b.finish())
}

#[test]
fn a_call_after_one_that_was_given_up() {
    let kernel = spins();
    let version = WASM.compile(&kernel).expect("compiles");
    for threads in [1, 3] {
        for round in 0..6 {
            let (limit, start) = (Duration::from_millis(20), Instant::now());
            let args = [buffer(&[7; 3000])];
            let error = call(&version, &kernel, &args, threads, limit).expect_err("never ends");
            assert!(matches!(error, RunError::Deadline { .. }), "{error}");
            assert!(start.elapsed() < Duration::from_secs(10), "given up in time");
            let args = [buffer(&[0; 3000])];
            call(&version, &kernel, &args, threads, LONG).expect("runs");
            assert!(slot(&args[0]).read::<u32>().iter().all(|&v| v == 1), "round {round}");
        }
    }
}

#[test]
fn a_deadline_among_later_ones_is_kept() {
    let kernel = spins();
    let version = WASM.compile(&kernel).expect("compiles");
    std::thread::scope(|scope| {
        for limit in [400, 30, 200, 60] {
            let (version, kernel) = (&version, &kernel);
            scope.spawn(move || {
                let (limit, start) = (Duration::from_millis(limit), Instant::now());
                let args = [buffer(&[1; 8])];
                let error = call(version, kernel, &args, 1, limit).expect_err("never ends");
                assert!(matches!(error, RunError::Deadline { .. }), "{error}");
                assert!(start.elapsed() >= limit, "not before its own deadline");
            });
        }
    });
}

#[test]
fn many_threads_share_a_version() {
    let kernel = tenths();
    let version = WASM.compile(&kernel).expect("compiles");
    std::thread::scope(|scope| {
        for divisor in 1..6u32 {
            let (version, kernel) = (&version, &kernel);
            scope.spawn(move || {
                for _ in 0..200 {
                    let args = [buffer(&[0; 65]), buffer(&[divisor; 65])];
                    call(version, kernel, &args, 1, LONG).expect("runs");
                    assert!(slot(&args[0]).read::<u32>().iter().all(|&v| v == 10 / divisor));
                }
            });
        }
    });
}
