//! Executors whose speed a test decides, and the GPU of the tests.
//!
//! What such an executor takes passes on a clock of its own: nobody waits, and how busy the machine is
//! changes nothing.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of this module")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossover::kernels::error::RunError;
use crossover::kernels::exec::{Call, Clock, Executor, Grid, Measurement, Part, Parts, Version};
use crossover::kernels::ir::Kernel;
use crossover::{GpuMemory, Runtime, Settings};

/// Held by one test at a time: tests that measure must not take each other's cores.
pub fn turn() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A duration that a test changes while calls run.
#[derive(Clone, Debug, Default)]
pub struct Knob(Arc<AtomicU64>);

impl Knob {
    pub fn new(time: Duration) -> Knob {
        let knob = Knob::default();
        knob.set(time);
        knob
    }

    pub fn set(&self, time: Duration) {
        self.0.store(time.as_nanos() as u64, Ordering::Relaxed);
    }

    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// A run that has taken so long.
    pub fn measurement(&self) -> Measurement {
        Measurement { clock: Clock::Own, kernel: self.time(), ..Measurement::default() }
    }
}

/// Does nothing but take the time that a knob says.
pub struct Controlled(pub Knob);

struct ControlledVersion(Knob);

impl Executor for Controlled {
    fn name(&self) -> &str {
        "controlled"
    }

    fn compile(&self, _: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError> {
        Ok(Arc::new(ControlledVersion(self.0.clone())))
    }
}

impl Version for ControlledVersion {
    fn run(&self, _: &mut Call<'_, '_>) -> Result<Measurement, RunError> {
        Ok(self.0.measurement())
    }
}

/// Another executor, and a delay on top.
pub struct Delayed<E>(pub E, pub Knob);

struct DelayedVersion(Arc<dyn Version>, Knob);

impl<E: Executor> Executor for Delayed<E> {
    fn name(&self) -> &str {
        "delayed"
    }

    fn compile(&self, kernel: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError> {
        Ok(Arc::new(DelayedVersion(self.0.compile(kernel)?, self.1.clone())))
    }
}

impl Version for DelayedVersion {
    fn run(&self, call: &mut Call<'_, '_>) -> Result<Measurement, RunError> {
        let measured = self.0.run(call)?;
        let kernel = measured.kernel + self.1.time();
        Ok(Measurement { clock: Clock::Own, kernel, ..measured })
    }
}

/// A runtime on the real devices; `None`, with the reason said, where there is no GPU. With
/// `CROSSOVER_GPU=require` that is a failure.
pub fn with_gpu() -> Option<Runtime> {
    with_gpu_memory(GpuMemory::Imported)
}

/// The same, sharing host memory in no better way than this.
pub fn with_gpu_memory(gpu_memory: GpuMemory) -> Option<Runtime> {
    let settings = Settings { gpu_memory, ..quiet() };
    let rt = Runtime::builder().settings(settings).build().expect("the CPU side starts");
    if let Some(why) = rt.why_no_gpu() {
        without_gpu(why);
        return None;
    }
    Some(rt)
}

/// Says why a test has no GPU and is skipped. With `CROSSOVER_GPU=require` that is a failure.
pub fn without_gpu(why: impl std::fmt::Display) {
    let required = std::env::var("CROSSOVER_GPU").is_ok_and(|v| v == "require");
    assert!(!required, "a GPU is required: {why}");
    eprintln!("skipped: {why}");
}

/// Settings without background training: nothing but the calls decides what is predicted.
pub fn quiet() -> Settings {
    Settings { learn: false, ..Settings::default() }
}

/// A runtime on the CPU alone.
pub fn cpu_only() -> Runtime {
    let settings = Settings { gpu: crossover::GpuUse::Off, ..quiet() };
    Runtime::builder().settings(settings).build().expect("the CPU side starts")
}

/// Does nothing but take the time that a knob says for a call, for a part its share of that, and for each what
/// beginning it takes.
pub struct Paced {
    pub whole: Knob,
    pub start: Duration,
    pub parts: Parts,
}

impl Executor for Paced {
    fn name(&self) -> &str {
        "paced"
    }

    fn compile(&self, _: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError> {
        Ok(Arc::new(Paced { whole: self.whole.clone(), ..*self }))
    }

    fn runs_parts(&self) -> bool {
        true
    }
}

impl Version for Paced {
    fn run(&self, call: &mut Call<'_, '_>) -> Result<Measurement, RunError> {
        self.run_part(call, Part::all(call.grid))
    }

    fn parts(&self, _: Grid) -> Option<Parts> {
        Some(self.parts)
    }

    fn run_part(&self, call: &mut Call<'_, '_>, part: Part) -> Result<Measurement, RunError> {
        let kernel = self.whole.time().mul_f64(part.share(call.grid)) + self.start;
        Ok(Measurement { clock: Clock::Own, kernel, ..Measurement::default() })
    }
}
