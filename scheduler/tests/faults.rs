//! A GPU that fails: the call completes on the CPU, and the ledger says so.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::quiet;
use crossover::kernels::error::RunError;
use crossover::kernels::exec::{Call, Executor, Measurement, Version};
use crossover::kernels::ir::Kernel;
use crossover::shaders::{self, Gpu, GpuOptions, Sharing};
use crossover::{Device, Error, Id, Runtime, Why, kernel, route};

#[kernel]
fn twice(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = 2.0 * x[id.x];
}

/// What goes wrong.
#[derive(Clone, Copy)]
enum Fault {
    Device,
    Memory,
    Refuses,
}

/// Fails every call.
struct Broken(Fault, Arc<AtomicUsize>);

impl Broken {
    fn error(fault: Fault) -> RunError {
        let (kernel, device) = ("twice".to_owned(), "broken card".to_owned());
        match fault {
            Fault::Device => RunError::Device { kernel, device, message: "it is gone".into() },
            Fault::Memory => {
                RunError::Memory { kernel, device, what: "`y`".into(), needed: 9, limit: 8 }
            }
            Fault::Refuses => RunError::Unsupported { kernel, device, what: "f64".into() },
        }
    }
}

impl Executor for Broken {
    fn name(&self) -> &str {
        "broken"
    }

    fn compile(&self, _: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError> {
        match self.0 {
            Fault::Refuses => Err(Broken::error(self.0)),
            Fault::Device | Fault::Memory => Ok(Arc::new(Broken(self.0, self.1.clone()))),
        }
    }
}

impl Version for Broken {
    fn run(&self, _: &mut Call<'_, '_>) -> Result<Measurement, RunError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Err(Broken::error(self.0))
    }
}

fn runtime(fault: Fault) -> (Runtime, Arc<AtomicUsize>) {
    let tries = Arc::new(AtomicUsize::new(0));
    let rt = Runtime::builder()
        .settings(quiet())
        .executor(Device::Gpu, Arc::new(Broken(fault, tries.clone())))
        .policy(route::by_name("always-gpu").expect("a policy"))
        .build()
        .expect("starts");
    (rt, tries)
}

fn call(rt: &Runtime, device: Option<Device>) -> Result<Vec<f32>, Error> {
    let x = rt.buffer_from(&[1.0, 2.0, 3.0])?;
    let mut y = rt.alloc(3)?;
    let call = twice::on(rt).args(&x, &mut y);
    call.compile()?;
    match device {
        Some(device) => call.device(device).run()?,
        None => call.run()?,
    };
    y.to_vec()
}

#[test]
fn a_device_that_fails_costs_no_call_and_rests() {
    let (rt, tries) = runtime(Fault::Device);
    for _ in 0..5 {
        assert_eq!(call(&rt, None).expect("the CPU takes over"), [2.0, 4.0, 6.0]);
    }
    assert_eq!(tries.load(Ordering::Relaxed), 1, "after a failure the device is left alone");
    let first = &rt.ledger().rows()[0];
    assert_eq!(first.chosen, Device::Cpu);
    assert!(
        matches!(&first.why, Why::FellBack(why) if why.contains("it is gone")),
        "{}",
        first.why
    );
}

#[test]
fn full_memory_costs_no_call() {
    let (rt, tries) = runtime(Fault::Memory);
    for _ in 0..3 {
        assert_eq!(call(&rt, None).expect("the CPU takes over"), [2.0, 4.0, 6.0]);
    }
    assert_eq!(tries.load(Ordering::Relaxed), 3, "a smaller call may fit: the device stays");
}

#[test]
fn a_kernel_that_the_device_refuses_goes_to_the_cpu_and_says_why() {
    let (rt, _) = runtime(Fault::Refuses);
    assert_eq!(call(&rt, None).expect("the CPU runs it"), [2.0, 4.0, 6.0]);
    let row = rt.ledger().last().expect("a row");
    assert!(matches!(&row.why, Why::Only(why) if why.contains("f64")), "{}", row.why);
}

#[test]
fn a_forced_call_reports_the_fault() {
    let (rt, _) = runtime(Fault::Device);
    let error = call(&rt, Some(Device::Gpu)).expect_err("it was forced");
    assert!(matches!(error, Error::Run(RunError::Device { .. })), "{error}");
}

// Faults of a real device, on purpose.

#[kernel]
fn axpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] += a * x[id.x];
}

/// A runtime whose GPU has this fault when it is first opened, and none later; `None` without a GPU.
fn faulty(fault: shaders::Fault, sharing: Sharing) -> Option<(Runtime, Arc<AtomicUsize>)> {
    common::with_gpu()?;
    let opened = Arc::new(AtomicUsize::new(0));
    let times = opened.clone();
    let open = move || {
        let is_first = times.fetch_add(1, Ordering::Relaxed) == 0;
        let (fault, sharing) = (is_first.then_some(fault), Some(sharing));
        Gpu::open(&GpuOptions { fault, sharing, ..GpuOptions::default() })
    };
    let rt = Runtime::builder()
        .settings(quiet())
        .gpu(open)
        .policy(route::by_name("always-gpu").expect("a policy"))
        .build()
        .expect("starts");
    Some((rt, opened))
}

/// Every way to fail, at every submission or allocation of some calls: each call gives the right result, the
/// ledger says where it fell back, and a lost device is opened again and used.
#[test]
fn faults_of_the_device_cost_no_call() {
    let faults: [fn(u32) -> shaders::Fault; 4] = [
        shaders::Fault::LostBefore,
        shaders::Fault::LostAfter,
        shaders::Fault::Invalid,
        shaders::Fault::Memory,
    ];
    for sharing in [Sharing::Imported, Sharing::Staged] {
        for (kind, fault) in faults.into_iter().enumerate() {
            for at in 0..4 {
                let fault = fault(at);
                let Some((rt, opened)) = faulty(fault, sharing) else { return };
                let mut lost = 0;
                for turn in 0..6 {
                    match call(&rt, None) {
                        Ok(y) => assert_eq!(y, [2.0, 4.0, 6.0], "{fault:?}, {sharing}, {turn}"),
                        // A result that was left on the device goes with it, and whoever looks is told.
                        Err(Error::Memory(_)) if sharing == Sharing::Staged => lost += 1,
                        Err(error) => panic!("{fault:?}, {sharing}, {turn}: {error}"),
                    }
                }
                assert!(lost <= 1, "{fault:?}, {sharing}: {lost} results are lost");
                let fell_back = |row: &crossover::Row| matches!(row.why, Why::FellBack(_));
                let falls = rt.ledger().rows().iter().filter(|row| fell_back(row)).count();
                assert!(falls <= 1, "{fault:?}, {sharing}: {falls} calls fell back");
                if kind < 2 && falls == 1 && at == 0 {
                    // A second's rest, then the device is opened anew.
                    let start = Instant::now();
                    while rt.ledger().last().expect("a row").chosen != Device::Gpu {
                        assert!(start.elapsed() < Duration::from_secs(20), "{fault:?}, {sharing}");
                        std::thread::sleep(Duration::from_millis(20));
                        assert_eq!(call(&rt, None).expect("runs"), [2.0, 4.0, 6.0]);
                    }
                    assert_eq!(opened.load(Ordering::Relaxed), 2);
                }
            }
        }
    }
}

/// What a lost device may have changed in place is not passed off as a result.
#[test]
fn content_that_was_changed_in_place_is_lost_with_the_device() {
    let Some((rt, _)) = faulty(shaders::Fault::LostAfter(0), Sharing::Imported) else { return };
    if !rt.adapter().is_some_and(|adapter| adapter.in_place) {
        return;
    }
    let x = rt.buffer_from(&[1.0f32; 100]).expect("memory");
    let mut y = rt.buffer_from(&[1.0f32; 100]).expect("memory");
    axpy::on(&rt).args(1.0, &x, &mut y).compile().expect("compiles");
    let error = axpy::on(&rt).args(1.0, &x, &mut y).run().expect_err("half of it may be done");
    assert!(error.to_string().contains("axpy"), "{error}");
    assert!(matches!(y.read(), Err(Error::Memory(_))));
    // The input is untouched, and new content ends the loss.
    assert_eq!(x.to_vec().expect("content"), [1.0; 100]);
    y.put(0, &[3.0; 100]).expect("within");
    axpy::on(&rt).args(1.0, &x, &mut y).run().expect("runs");
    assert_eq!(y.to_vec().expect("content"), [4.0; 100]);
}

/// A call that changes what it reads, on copies: the host has what was there before, so that the CPU begins
/// from that, whatever the device has done.
#[test]
fn a_call_that_falls_back_is_not_made_twice() {
    for fault in
        [shaders::Fault::Invalid(0), shaders::Fault::LostAfter(0), shaders::Fault::LostBefore(0)]
    {
        let Some((rt, _)) = faulty(fault, Sharing::Staged) else { return };
        let x = rt.buffer_from(&[1.0f32; 100]).expect("memory");
        let mut y = rt.buffer_from(&[1.0f32; 100]).expect("memory");
        axpy::on(&rt).args(1.0, &x, &mut y).compile().expect("compiles");
        axpy::on(&rt).args(1.0, &x, &mut y).run().unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        assert_eq!(y.to_vec().expect("content"), [2.0; 100], "{fault:?}");
    }
}

/// Calls that were given to a device before it failed, and calls behind them, come out as if it had not.
#[test]
fn a_chain_that_a_fault_breaks_is_right_in_the_end() {
    for at in 0..6 {
        for fault in [shaders::Fault::Invalid(at), shaders::Fault::LostBefore(at)] {
            let Some((rt, _)) = faulty(fault, Sharing::Staged) else { return };
            let x = rt.buffer_from(&[1.0f32; 1000]).expect("memory");
            let mut y = rt.buffer_from(&[0.0f32; 1000]).expect("memory");
            axpy::on(&rt).args(1.0, &x, &mut y).compile().expect("compiles");
            let tickets: Vec<_> =
                (0..6).map(|_| axpy::on(&rt).args(1.0, &x, &mut y).submit()).collect();
            let done = tickets.into_iter().map(|ticket| ticket.wait());
            let failed = done.filter(Result::is_err).count();
            // A result that only the device had goes with it, and every call behind says so: none is wrong.
            match y.to_vec() {
                Ok(found) => assert_eq!((found[0], failed), (6.0, 0), "{fault:?}"),
                Err(error) => assert!(matches!(error, Error::Memory(_)), "{fault:?}: {error}"),
            }
        }
    }
}
