//! The GPUs of a runtime: each with what is known of it, what it has been given, and how it fares.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossover_shaders::{Gpu, GpuExecutor, Sharing};
use serde::{Deserialize, Serialize};

use crate::backends::GpuBackend;
use crate::bus::Ways;
use crate::calibration::Calibration;
use crate::ledger::Ledger;
use crate::transfers::Transfers;
use crate::version::{GpuCode, Prepared};

/// GPUs that a runtime uses at most.
pub const ADAPTERS_MAX: usize = 4;

/// How long a GPU rests after its first failure; each further failure doubles it.
const REST_MIN: Duration = Duration::from_secs(1);

/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(300);

/// A GPU that a runtime uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapter {
    /// Its name.
    pub name: String,
    /// Its driver's name and version.
    pub driver: String,
    /// Whether it computes on the CPU.
    pub software: bool,
    /// Whether it works on host memory in place, so that nothing is copied.
    #[serde(default)]
    pub in_place: bool,
    /// How it gets at host memory, and why not in a better way.
    #[serde(default)]
    pub memory: String,
}

/// A GPU of a runtime, or what stands in for it.
pub(crate) struct GpuSide {
    /// Which of the runtime's it is.
    pub(crate) at: usize,
    backend: GpuBackend,
    /// What is known of the machine with this GPU.
    calibration: ArcSwap<Calibration>,
    pub(crate) transfers: Arc<Transfers>,
    /// The calls that it has under way, as that of the CPU.
    pub(crate) load: AtomicU64,
    rest: Mutex<Rest>,
    /// Whether it has failed since it last worked: most calls need to know no more.
    has_failed: AtomicBool,
    /// When it ended the last call.
    end: Mutex<Instant>,
    /// Whether a thread is opening it anew.
    reopening: AtomicBool,
}

#[derive(Debug)]
struct Rest {
    until: Option<Instant>,
    next: Duration,
}

impl GpuSide {
    pub(crate) fn new(
        at: usize,
        backend: GpuBackend,
        threads: usize,
        ledger: &Arc<Ledger>,
    ) -> GpuSide {
        let calibration = match &backend {
            GpuBackend::Gpu(opened) => {
                let gpu = opened.gpu();
                Calibration::assumed(threads, Some(&gpu.info().name), gpu.info().is_software())
            }
            GpuBackend::Host(_) => Calibration::assumed(threads, None, false),
        };
        let (up, down) = (calibration.gpu.upload, calibration.gpu.download);
        GpuSide {
            at,
            backend,
            transfers: Arc::new(Transfers::new(up, down, ledger.clone())),
            calibration: ArcSwap::from_pointee(calibration),
            load: AtomicU64::new(0),
            rest: Mutex::new(Rest { until: None, next: REST_MIN }),
            has_failed: AtomicBool::new(false),
            end: Mutex::new(Instant::now()),
            reopening: AtomicBool::new(false),
        }
    }

    pub(crate) fn adapter(&self) -> Adapter {
        match &self.backend {
            GpuBackend::Gpu(opened) => {
                let gpu = opened.gpu();
                let info = gpu.info();
                let (name, driver) = (info.name.clone(), info.driver.clone());
                let memory = match &info.sharing_why {
                    _ if info.sharing == Sharing::Imported && info.own_memory => {
                        "has memory of its own: works on host memory across the bus, or on copies, \
                         whichever is predicted to be faster for a buffer"
                            .to_owned()
                    }
                    why if why.is_empty() => info.sharing.to_string(),
                    why => format!("{}: {why}", info.sharing),
                };
                let software = info.is_software();
                let in_place = info.is_in_place();
                Adapter { name, driver, software, in_place, memory }
            }
            GpuBackend::Host(executor) => {
                let name = executor.name().to_owned();
                let (driver, memory) = (String::new(), Sharing::Imported.to_string());
                Adapter { name, driver, software: true, in_place: true, memory }
            }
        }
    }

    pub(crate) fn calibration(&self) -> arc_swap::Guard<Arc<Calibration>> {
        self.calibration.load()
    }

    pub(crate) fn calibrate(&self, found: Calibration) {
        self.transfers.set_links(found.gpu.upload, found.gpu.download);
        self.calibration.store(Arc::new(found));
    }

    /// Whether it runs parts of calls.
    pub(crate) fn runs_parts(&self) -> bool {
        self.backend.runs_parts()
    }

    /// The ways between its memory and that of the host.
    pub(crate) fn ways(&self) -> Ways {
        Ways::new(self.transfers.links(), &self.calibration().gpu)
    }

    /// The GPU itself; `None` where something stands in for it.
    pub(crate) fn gpu(&self) -> Option<Arc<Gpu>> {
        self.opened().map(|opened| opened.gpu().clone())
    }

    /// The same for as long as a look at it takes.
    pub(crate) fn opened(&self) -> Option<arc_swap::Guard<Arc<GpuExecutor>>> {
        match &self.backend {
            GpuBackend::Gpu(opened) => Some(opened.executor()),
            GpuBackend::Host(_) => None,
        }
    }

    fn is_lost(&self) -> bool {
        self.opened().is_some_and(|opened| opened.gpu().is_lost())
    }

    /// Sees to it that the kernel's code is ready or refused, compiling it on this thread unless another
    /// is at it.
    pub(crate) fn compile_now(&self, prepared: &Prepared) -> GpuCode {
        if self.is_lost() {
            self.reopen();
        }
        loop {
            let code = prepared.gpu_code_on(self.at, self.gpu().as_ref()).clone();
            match code {
                GpuCode::Ready(_) | GpuCode::Refused(..) => return code,
                GpuCode::Unasked if prepared.begin_gpu_compile(self.at) => {
                    return self.compile(prepared);
                }
                // The background thread is at it; a pipeline takes milliseconds.
                GpuCode::Unasked | GpuCode::Compiling => {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        }
    }

    /// Compiles the kernel, for the one caller that has begun to.
    pub(crate) fn compile(&self, prepared: &Prepared) -> GpuCode {
        let (kernel, adapter) = (&*prepared.name, self.at);
        let _span = tracing::debug_span!("compile", kernel, device = "gpu", adapter).entered();
        let code = match self.backend.compile(&prepared.kernel) {
            Ok(code) => GpuCode::Ready(code),
            Err(error) => {
                let why = error.to_string().into();
                // A device that is lost meanwhile has said nothing of the kernel.
                if self.is_lost() {
                    prepared.set_gpu_code(self.at, GpuCode::Unasked);
                    return GpuCode::Refused(error, why);
                }
                GpuCode::Refused(error, why)
            }
        };
        prepared.set_gpu_code(self.at, code.clone());
        code
    }

    /// Opens a GPU that was lost anew, on this thread.
    fn reopen(&self) {
        if let GpuBackend::Gpu(opened) = &self.backend
            && let Err(error) = opened.reopen()
        {
            tracing::warn!(%error, "the GPU cannot be opened again yet");
            self.rest();
        }
    }

    /// Whether it is lost. Then it is opened anew in the background, once it has rested.
    pub(crate) fn is_gone(self: &Arc<Self>) -> bool {
        if !self.is_lost() {
            return false;
        }
        if !self.reopening.swap(true, Ordering::AcqRel) {
            let side = self.clone();
            let thread = std::thread::Builder::new().name("crossover-reopen".to_owned());
            let spawned = thread.spawn(move || {
                side.reopen();
                side.reopening.store(false, Ordering::Release);
            });
            if spawned.is_err() {
                self.reopening.store(false, Ordering::Release);
            }
        }
        true
    }

    /// A call on it has succeeded: the next failure is a first one again.
    pub(crate) fn works(&self) {
        if self.has_failed.load(Ordering::Acquire) {
            let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
            (rest.until, rest.next) = (None, REST_MIN);
            self.has_failed.store(false, Ordering::Release);
        }
    }

    /// Keeps calls away from it after a failure, longer each time.
    pub(crate) fn rest(&self) {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.until = Some(Instant::now() + rest.next);
        rest.next = (rest.next * 2).min(REST_MAX);
        self.has_failed.store(true, Ordering::Release);
    }

    pub(crate) fn rests(&self) -> bool {
        if !self.has_failed.load(Ordering::Acquire) {
            return false;
        }
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.until.is_some_and(|until| Instant::now() < until)
    }

    /// It ends a call now; gives when it ended the one before, since it works on one at a time.
    pub(crate) fn ends(&self, now: Instant) -> Instant {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *end;
        *end = now.max(before);
        before
    }

    /// When it ended the last call.
    pub(crate) fn end(&self) -> Instant {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
