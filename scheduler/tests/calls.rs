//! Calls as users make them: now, later, awaited, forced, in chains; and where their data goes.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{cpu_only, with_gpu};
use crossover::kernels::error::{Cause, RunError};
use crossover::{Atomic, Device, Error, Id, Job, Limit, Runtime, kernel};
use rayon::iter::ParallelIterator;

#[kernel]
fn axpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] += a * x[id.x];
}

#[kernel]
fn copy(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = x[id.x];
}

#[kernel(reduce = add)]
fn total(id: Id, x: &[f32]) -> f32 {
    x[id.x]
}

#[kernel]
fn spin(id: Id, y: &mut [u32]) {
    let mut n = 1u32;
    while n != 0 {
        n = (n * 3) | 1;
    }
    y[id.x] = n;
}

#[kernel]
fn count(id: Id, x: &[u32], bins: &[Atomic<u32>]) {
    bins[x[id.x] as usize].fetch_add(1);
}

#[test]
fn run_submit_wait_and_await() {
    let rt = cpu_only();
    let x = rt.buffer_from(&[1.0; 5000]).expect("memory");
    let mut y = rt.alloc(5000).expect("memory");
    axpy::on(&rt).args(2.0, &x, &mut y).run().expect("runs");
    axpy::on(&rt).args(2.0, &x, &mut y).submit().wait().expect("runs");
    pollster::block_on(axpy::on(&rt).args(2.0, &x, &mut y).submit()).expect("runs");
    let tokio = tokio::runtime::Builder::new_current_thread().build().expect("tokio starts");
    tokio.block_on(async { axpy::on(&rt).args(2.0, &x, &mut y).submit().await }).expect("runs");
    assert!(y.read().expect("content").iter().all(|&v| v == 8.0));
}

#[test]
fn submitted_calls_run_in_the_order_of_their_data() {
    let rt = with_gpu().unwrap_or_else(cpu_only);
    let n = 10_000;
    let mut a = rt.buffer_from(&vec![1.0; n]).expect("memory");
    let mut b = rt.alloc(n).expect("memory");
    let mut tickets = Vec::new();
    for turn in 0..20 {
        let device = match rt.adapter() {
            Some(_) if turn % 3 == 0 => Device::Gpu,
            _ => Device::Cpu,
        };
        tickets.push(copy::on(&rt).args(&a, &mut b).device(device).submit());
        tickets.push(axpy::on(&rt).args(1.0, &b, &mut a).submit());
    }
    // Doubled twenty times, whatever ran where; reading waits for all of it.
    assert!(a.read().expect("content").iter().all(|&v| v == 1_048_576.0));
    for ticket in tickets {
        ticket.wait().expect("ran");
    }
}

#[test]
fn a_buffer_dropped_in_flight_and_a_runtime_dropped_with_work_lose_nothing() {
    let rt = cpu_only();
    let mut y = rt.alloc(200_000).expect("memory");
    let tickets: Vec<_> = (0..5)
        .map(|_| {
            let x = rt.buffer_from(&vec![1.0; 200_000]).expect("memory");
            axpy::on(&rt).args(1.0, &x, &mut y).submit()
        })
        .collect();
    drop(rt);
    for ticket in tickets {
        ticket.wait().expect("what was submitted runs");
    }
    assert_eq!(y.read().expect("content")[199_999], 5.0);
}

#[test]
fn both_devices_agree_in_a_shadow_run() {
    let Some(rt) = with_gpu() else { return };
    let x = rt.buffer_from(&(0..999).map(|i| i as f32).collect::<Vec<_>>()).expect("memory");
    let mut y = rt.buffer_from(&[0.5; 999]).expect("memory");
    for device in Device::ALL {
        let call = axpy::on(&rt).args(3.0, &x, &mut y).device(device).shadow(1e-6);
        assert_eq!(call.run().expect("they agree").device, device);
    }
    assert_eq!(y.read().expect("content")[10], 60.5);
}

#[test]
fn explain_predicts_without_running() {
    let rt = cpu_only();
    let x = rt.buffer_from(&[1.0; 100]).expect("memory");
    let mut y = rt.alloc(100).expect("memory");
    let explanation = axpy::on(&rt).args(2.0, &x, &mut y).explain().expect("predicted");
    assert_eq!(explanation.chosen, Device::Cpu);
    let text = explanation.to_string();
    assert!(text.contains("axpy over 100") && text.contains("switched off"), "{text}");
    assert!(explanation.estimates[0].run_s > 0.0);
    assert!(explanation.features.iter().count() >= 50, "at least fifty features are told");
    assert!(y.read().expect("content").iter().all(|&v| v == 0.0), "nothing ran");
    assert!(rt.ledger().rows().is_empty());
}

#[test]
fn the_terms_of_a_call_are_told_beside_what_such_calls_took() {
    let rt = cpu_only();
    let x = rt.buffer_from(&vec![1.0; 100_000]).expect("memory");
    let mut y = rt.alloc(100_000).expect("memory");
    let mut explain = |runs: usize| {
        for _ in 0..runs {
            axpy::on(&rt).args(2.0, &x, &mut y).threads(1).run().expect("a valid call");
        }
        axpy::on(&rt).args(2.0, &x, &mut y).threads(1).explain().expect("predicted")
    };
    let before = explain(0);
    assert_eq!(before.terms.len(), before.estimates.len());
    let [terms] = before.terms[..] else { panic!("one candidate: {:?}", before.terms) };
    assert_eq!((terms.past, terms.is_compiled, terms.is_measured), (None, false, false));
    assert!(before.to_string().contains("guesses") && before.to_string().contains("compiled yet"));
    let after = explain(3);
    let terms = after.terms[0];
    assert_eq!((terms.past.map(|past| past.calls), terms.is_compiled), (Some(3), true));
    assert_eq!(terms.bound, Limit::Memory, "two operations for twelve bytes");
    assert!(after.flip.is_none(), "there is no other device");
    let (wide, narrow) = (after.to_string(), format!("{after:40}"));
    assert!(wide.contains("(3 calls)") && wide.contains("bound by"), "{wide}");
    assert!(narrow.contains("(3 calls)") && !narrow.contains("90 % interval"), "{narrow}");
    let longest = narrow.lines().skip(1).filter(|line| line.starts_with("    "));
    assert!(longest.clone().all(|line| line.chars().count() <= 40), "{narrow}");
}

#[test]
fn errors_are_typed_and_nothing_is_lost() {
    let rt = cpu_only();
    let x = rt.buffer_from(&[1.0; 5]).expect("memory");
    let mut y = rt.buffer_from(&[7.0; 8]).expect("memory");
    let error = axpy::on(&rt).args(2.0, &x, &mut y).run().expect_err("x is too short");
    let Error::Run(RunError::Failed(failure)) = &error else { panic!("{error}") };
    let cause = Cause::OutOfBounds { buffer: "x".into(), index: 5, length: 5 };
    assert_eq!((&failure.cause, failure.invocation), (&cause, [5, 0, 0]));
    assert!(error.to_string().contains("tests/calls.rs:"), "{error}");
    let row = rt.ledger().last().expect("a row");
    assert!(row.error.expect("said").contains("index 5"));
    assert_eq!(y.read().expect("content")[7], 7.0, "what was not written stays");
    let mut short = rt.alloc(2).expect("memory");
    let error = total::on(&rt).args(&x, &mut short).run().expect_err("a sum is one element");
    assert!(error.to_string().contains("the result has 1"), "{error}");
    let error = axpy::on(&rt).args(2.0, &x, &mut y).device(Device::Gpu).run();
    assert!(matches!(error, Err(Error::NoGpu { .. })), "{error:?}");
    assert!(matches!(rt.alloc::<f64>(1 << 40), Err(Error::Memory(_))));
    let mut empty = rt.alloc(0).expect("memory");
    axpy::on(&rt).args(2.0, &x, &mut empty).run().expect("an empty grid is a correct result");
    let mut one = rt.buffer_from(&[5.0]).expect("memory");
    total::on(&rt).args(&empty, &mut one).run().expect("an empty sum");
    assert_eq!(one.to_vec().expect("content"), [0.0]);
    let nan = rt.buffer_from(&[f32::NAN; 8]).expect("memory");
    axpy::on(&rt).args(2.0, &nan, &mut y).run().expect("NaN is a number like any other");
    assert!(y.read().expect("content").iter().all(|v| v.is_nan()));
}

#[test]
fn a_failing_check_on_the_gpu_names_the_same() {
    let Some(rt) = with_gpu() else { return };
    let x = rt.buffer_from(&[1u32, 9, 2]).expect("memory");
    let mut bins = rt.alloc::<u32>(4).expect("memory");
    for device in Device::ALL {
        let error = count::on(&rt).args(&x, &mut bins).device(device).run().expect_err("bin 9");
        let Error::Run(RunError::Failed(failure)) = error else { panic!("{error}") };
        let cause = Cause::OutOfBounds { buffer: "bins".into(), index: 9, length: 4 };
        assert_eq!((failure.cause, failure.invocation), (cause, [1, 0, 0]), "{device}");
    }
}

#[test]
fn a_kernel_that_never_ends_is_given_up() {
    let rt = cpu_only();
    let mut y = rt.alloc(10).expect("memory");
    let limit = Duration::from_millis(60);
    let error = spin::on(&rt).args(&mut y).deadline(limit).run().expect_err("it never ends");
    assert!(matches!(error, Error::Run(RunError::Deadline { .. })), "{error}");
    // The runtime goes on.
    let x = rt.buffer_from(&[1.0; 10]).expect("memory");
    let mut z = rt.alloc(10).expect("memory");
    copy::on(&rt).args(&x, &mut z).run().expect("runs");
}

#[test]
fn a_kernel_that_never_ends_on_the_gpu_is_given_up() {
    let Some(rt) = with_gpu() else { return };
    let mut y = rt.alloc(2).expect("memory");
    let call = spin::on(&rt).args(&mut y).device(Device::Gpu).deadline(Duration::from_secs(20));
    let error = call.run().expect_err("it never ends");
    let given_up = match &error {
        Error::Run(RunError::Deadline { .. } | RunError::Device { .. }) => true,
        // A driver that cuts long loops in silence is not given any.
        Error::Run(RunError::Unsupported { what, .. }) => what.contains("cuts in silence"),
        _ => false,
    };
    assert!(given_up, "{error}");
}

#[test]
fn a_missing_adapter_is_said_and_everything_works() {
    let rt = Runtime::builder()
        .with(|settings| settings.adapter = Some("no adapter of this name".into()))
        .build()
        .expect("a missing GPU is no error");
    assert!(rt.adapter().is_none() && rt.why_no_gpu().is_some());
    let x = rt.buffer_from(&[1.0; 10]).expect("memory");
    let mut y = rt.alloc(10).expect("memory");
    let outcome = axpy::on(&rt).args(2.0, &x, &mut y).run().expect("the CPU runs it");
    assert_eq!(outcome.device, Device::Cpu);
    assert!(rt.ledger().last().expect("a row").why.to_string().starts_with("the only device"));
    let required = Runtime::builder().with(|settings| {
        settings.adapter = Some("no adapter of this name".into());
        settings.gpu = crossover::GpuUse::Require;
    });
    assert!(matches!(required.build(), Err(Error::Setting { .. })));
}

#[test]
fn a_model_file_that_is_corrupt_or_of_another_version_is_refused() {
    let path = std::env::temp_dir().join(format!("crossover-model-{}", std::process::id()));
    std::fs::write(&path, b"not a model").expect("a writable folder");
    let error = Runtime::builder().with(|s| s.model = Some(path.clone())).build();
    let Err(Error::File { message, .. }) = error else { panic!("{error:?}") };
    assert!(message.contains("shipped model"), "{message}");
    std::fs::remove_file(&path).expect("our own file");
    assert!(matches!(
        Runtime::builder().with(|s| s.model = Some(path.clone())).build(),
        Err(Error::File { .. })
    ));
}

#[test]
fn a_call_that_fails_on_the_gpu_leaves_no_garbage() {
    let Some(rt) = with_gpu() else { return };
    // `copy` overwrites all of `y`, so that `y` is not uploaded; but `x` is too short.
    let x = rt.buffer_from(&[1.0; 100]).expect("memory");
    let mut y = rt.buffer_from(&[7.0; 200]).expect("memory");
    copy::on(&rt).args(&x, &mut y).device(Device::Gpu).run().expect_err("x is too short");
    let content = y.to_vec().expect("content");
    assert!(content.iter().all(|&v| v == 7.0 || v == 1.0), "{content:?}");
    axpy::on(&rt).args(1.0, &x, &mut rt.alloc(100).expect("memory")).run().expect("runs");
}

#[test]
fn an_applications_own_threads_take_part() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let workers = move |threads: usize, job: Job| {
        counter.fetch_add(threads, Ordering::Relaxed);
        for _ in 0..threads {
            let job = job.clone();
            rayon::spawn(move || job.take_part());
        }
    };
    let rt = Runtime::builder()
        .with(|settings| settings.gpu = crossover::GpuUse::Off)
        .workers(Arc::new(workers))
        .build()
        .expect("starts");
    let x = rt.buffer_from(&vec![1.0; 300_000]).expect("memory");
    // From the application's threads as well: nobody waits for a thread that waits for him.
    let sums: Vec<f32> = rayon::iter::repeat_n((), 16)
        .map(|()| {
            let mut y = rt.alloc(300_000).expect("memory");
            let call = axpy::on(&rt).args(2.0, &x, &mut y).device(Device::Cpu).threads(4);
            call.run().expect("runs");
            let mut sum = rt.alloc(1).expect("memory");
            total::on(&rt).args(&y, &mut sum).threads(4).run().expect("runs");
            sum.to_vec().expect("content")[0]
        })
        .collect();
    assert!(sums.iter().all(|&sum| sum == 600_000.0), "{sums:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 16 * 2 * 3);
}

#[test]
fn many_more_threads_than_cores_are_a_call_like_any_other() {
    let rt = cpu_only();
    let x = rt.buffer_from(&vec![1.0; 100_000]).expect("memory");
    let mut y = rt.alloc(100_000).expect("memory");
    for threads in [0, 1, 7, 100, usize::MAX] {
        axpy::on(&rt).args(1.0, &x, &mut y).threads(threads).run().expect("runs");
    }
    assert!(y.read().expect("content").iter().all(|&v| v == 5.0));
}
