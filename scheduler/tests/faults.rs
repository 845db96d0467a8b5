//! A GPU that fails: the call completes on the CPU, and the ledger says so.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::quiet;
use crossover::kernels::error::RunError;
use crossover::kernels::exec::{Call, Executor, Measurement, Version};
use crossover::kernels::ir::Kernel;
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
    fn run(&self, _: &mut Call<'_>) -> Result<Measurement, RunError> {
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
