//! The runtime: devices, model, policy and ledger of one embedding.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossover_kernels::error::RunError;
use crossover_kernels::exec::{Executor, Version};
use crossover_kernels::ir::Type;
use crossover_kernels::{Args, Def, Host, Scalar};
use crossover_ml::learner::{Learner, LearnerOptions};
use crossover_ml::{CostModel, Ensemble};
use crossover_shaders::{Gpu, GpuError, GpuExecutor, Sharing};
use crossover_wasm::Workers;

use crate::backends::{Backends, CpuBackend, GpuBackend, OpenGpu};
use crate::buffer::{Buffer, Element};
use crate::calibration::Calibration;
use crate::call::{Bound, BoundArg, Call};
use crate::config::Settings;
use crate::device::Device;
use crate::error::Error;
use crate::lane::Lane;
use crate::ledger::{Ledger, Reason};
use crate::lent::Lent;
use crate::measure;
use crate::model;
use crate::prepared::Kernels;
use crate::route::{self, Policy};
use crate::transfers::{Copied, Transfers};
use crate::version::{GpuCode, Prepared};

/// How long the GPU rests after its first failure; each further failure doubles it.
const REST_MIN: Duration = Duration::from_secs(1);

/// Calls that the GPU is given ahead.
const UNDERWAY_MAX: usize = 32;

/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(300);

/// Runs kernels. Several can stand side by side; dropping one waits for what was submitted and joins
/// its threads.
///
/// ```
/// use crossover::{Id, Runtime, kernel};
///
/// #[kernel]
/// fn axpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
///     y[id.x] += a * x[id.x];
/// }
///
/// # fn main() -> Result<(), crossover::Error> {
/// let rt = Runtime::new()?;
/// let x = rt.buffer_from(&[1.0, 2.0, 3.0])?;
/// let mut y = rt.buffer_from(&[10.0, 20.0, 30.0])?;
/// axpy::on(&rt).args(2.0, &x, &mut y).run()?;
/// assert_eq!(y.to_vec()?, [12.0, 24.0, 36.0]);
/// # Ok(())
/// # }
/// ```
pub struct Runtime {
    inner: Arc<Inner>,
    lanes: [Lane; 2],
    /// Waits for calls that the GPU has been given, in their order.
    ends: Arc<Lane>,
    compiler: Lane,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("gpu", &self.adapter()).finish_non_exhaustive()
    }
}

/// What a runtime shares with its threads and calls.
pub(crate) struct Inner {
    cpu: CpuBackend,
    gpu: Result<GpuBackend, Arc<str>>,
    kernels: Kernels,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) learner: Option<Learner>,
    /// The model when nothing is learned; else the learner has it.
    fixed_model: Arc<Ensemble>,
    model_name: String,
    calibration: ArcSwap<Calibration>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) transfers: Arc<Transfers>,
    pub(crate) deadline: Duration,
    /// Predicted nanoseconds of the calls that are under way, on each device.
    loads: [AtomicU64; 2],
    order: Mutex<()>,
    rest: Mutex<Rest>,
    /// Whether the GPU has failed since it last worked: most calls need to know no more.
    has_failed: AtomicBool,
    /// When the GPU ended the last call.
    gpu_end: Mutex<Instant>,
    /// Whether a thread is opening the GPU anew.
    reopening: AtomicBool,
}

#[derive(Debug)]
struct Rest {
    until: Option<Instant>,
    next: Duration,
}

/// How to make a runtime.
#[derive(Clone, Default)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    settings: Settings,
    executors: [Option<Arc<dyn Executor>>; 2],
    policy: Option<Arc<dyn Policy>>,
    calibrate: bool,
    model: Option<Vec<u8>>,
    learner: Option<LearnerOptions>,
    workers: Option<Arc<dyn Workers>>,
    open_gpu: Option<OpenGpu>,
}

impl Builder {
    /// Uses these settings.
    pub fn settings(mut self, settings: Settings) -> Builder {
        self.settings = settings;
        self
    }

    /// Changes the settings.
    pub fn with(mut self, change: impl FnOnce(&mut Settings)) -> Builder {
        change(&mut self.settings);
        self
    }

    /// Runs a side by this executor on host memory, instead of the real device: for tests and
    /// simulations.
    pub fn executor(mut self, device: Device, executor: Arc<dyn Executor>) -> Builder {
        self.executors[device as usize] = Some(executor);
        self
    }

    /// Routes by this policy instead of the one that the settings name.
    pub fn policy(mut self, policy: Arc<dyn Policy>) -> Builder {
        self.policy = Some(policy);
        self
    }

    /// Measures the machine first (about a second), unless the settings name a file that already
    /// holds the measurements.
    pub fn calibrated(mut self) -> Builder {
        self.calibrate = true;
        self
    }

    /// Predicts with these weights instead of the shipped or configured ones.
    pub fn model(mut self, weights: Vec<u8>) -> Builder {
        self.model = Some(weights);
        self
    }

    /// Retrains in the background with these options.
    pub fn learner(mut self, options: LearnerOptions) -> Builder {
        self.learner = Some(options);
        self
    }

    /// Lets these threads take part in calls on the CPU, instead of threads of the runtime's own: for
    /// applications that have a pool. A call still works on the thread that makes it, which may be one
    /// of these.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use crossover::{Job, Runtime};
    ///
    /// # fn main() -> Result<(), crossover::Error> {
    /// let rayons = |threads: usize, job: Job| {
    ///     for _ in 0..threads {
    ///         let job = job.clone();
    ///         rayon::spawn(move || job.take_part());
    ///     }
    /// };
    /// let rt = Runtime::builder().workers(Arc::new(rayons)).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn workers(mut self, workers: Arc<dyn Workers>) -> Builder {
        self.workers = Some(workers);
        self
    }

    /// Opens the GPU in this way, at first and again when it was lost, instead of as the settings say: for
    /// applications that choose the device themselves.
    pub fn gpu(
        mut self,
        open: impl Fn() -> Result<Arc<Gpu>, GpuError> + Send + Sync + 'static,
    ) -> Builder {
        self.open_gpu = Some(Arc::new(open));
        self
    }

    /// The runtime.
    ///
    /// # Errors
    /// [`Error::Setting`] for a policy that does not exist or a GPU that is required and missing,
    /// [`Error::File`] for a model that cannot be used, [`Error::Run`] if the CPU side does not
    /// start. A missing GPU is no error otherwise.
    pub fn build(self) -> Result<Runtime, Error> {
        let Builder { settings, executors, policy, calibrate, model, learner, workers, open_gpu } =
            self;
        let is_custom = executors.iter().any(Option::is_some);
        let backends = Backends::open(&settings, executors, workers, open_gpu)?;
        let policy = match policy {
            Some(policy) => policy,
            None => route::by_name(&settings.policy)?,
        };
        let loaded = model::load(&settings, model.as_deref())?;
        let calibration = assumed(&settings, &backends.gpu);
        let ledger = Arc::new(Ledger::default());
        let (up, down) = (calibration.gpu.upload, calibration.gpu.download);
        let transfers = Arc::new(Transfers::new(up, down, ledger.clone()));
        let (learner, fixed_model) = if settings.learn {
            let options = learner.unwrap_or_default();
            (Some(Learner::start(loaded.ensemble, options)), Arc::default())
        } else {
            (None, Arc::new(loaded.ensemble))
        };
        let inner = Arc::new(Inner {
            cpu: backends.cpu,
            gpu: backends.gpu,
            kernels: Kernels::default(),
            policy,
            learner,
            fixed_model,
            model_name: loaded.name,
            calibration: ArcSwap::from_pointee(calibration),
            ledger,
            transfers,
            deadline: settings.deadline(),
            loads: [AtomicU64::new(0), AtomicU64::new(0)],
            order: Mutex::new(()),
            rest: Mutex::new(Rest { until: None, next: REST_MIN }),
            has_failed: AtomicBool::new(false),
            gpu_end: Mutex::new(Instant::now()),
            reopening: AtomicBool::new(false),
        });
        let lanes = [Lane::new("crossover-cpu"), Lane::new("crossover-gpu")];
        let ends = Arc::new(Lane::bounded("crossover-gpu-ends", UNDERWAY_MAX));
        let runtime = Runtime { inner, lanes, ends, compiler: Lane::new("crossover-compile") };
        if calibrate && !is_custom {
            runtime.calibrate(settings.calibration.as_deref())?;
        }
        Ok(runtime)
    }
}

fn assumed(settings: &Settings, gpu: &Result<GpuBackend, Arc<str>>) -> Calibration {
    let (name, is_software) = match gpu {
        Ok(GpuBackend::Gpu(opened)) => {
            let gpu = opened.gpu();
            (Some(gpu.info().name.clone()), gpu.info().is_software())
        }
        Ok(GpuBackend::Host(_)) | Err(_) => (None, false),
    };
    Calibration::assumed(settings.threads(), name.as_deref(), is_software)
}

/// The GPU that a runtime uses.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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

impl Runtime {
    /// A runtime with the default settings. It reads no environment variable and no file.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new() -> Result<Runtime, Error> {
        Runtime::builder().build()
    }

    /// How to make one otherwise.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A runtime with the settings of `CROSSOVER_*` variables: see [`Settings::apply_env`].
    ///
    /// # Errors
    /// As [`Builder::build`], and for variables with a value that is none of theirs.
    pub fn from_env() -> Result<Runtime, Error> {
        let mut settings = Settings::default();
        settings.apply_env()?;
        Runtime::builder().settings(settings).build()
    }

    /// A buffer with a copy of these elements.
    ///
    /// # Errors
    /// [`Error::Memory`] when there is none.
    pub fn buffer_from<T: Element>(&self, elements: &[T]) -> Result<Buffer<T>, Error> {
        let mut buffer = Buffer::new(elements.len())?;
        buffer.write()?.copy_from_slice(elements);
        Ok(buffer)
    }

    /// A buffer of so many zero elements.
    ///
    /// # Errors
    /// [`Error::Memory`] when there is no memory for it, or it is beyond 4 GiB.
    pub fn alloc<T: Element>(&self, elements: usize) -> Result<Buffer<T>, Error> {
        Buffer::new(elements)
    }

    /// The ledger of all calls.
    pub fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    /// What has been copied between host and GPU for a reason.
    pub fn copied(&self, reason: Reason) -> Copied {
        self.inner.transfers.copied(reason)
    }

    /// The GPU in use; `None` where there is none.
    pub fn adapter(&self) -> Option<Adapter> {
        match &self.inner.gpu {
            Ok(GpuBackend::Gpu(opened)) => {
                let gpu = opened.gpu();
                let info = gpu.info();
                let (name, driver) = (info.name.clone(), info.driver.clone());
                let memory = match &info.sharing_why {
                    why if why.is_empty() => info.sharing.to_string(),
                    why => format!("{}: {why}", info.sharing),
                };
                let (software, in_place) = (info.is_software(), info.sharing == Sharing::Imported);
                Some(Adapter { name, driver, software, in_place, memory })
            }
            Ok(GpuBackend::Host(executor)) => {
                let name = executor.name().to_owned();
                let (driver, memory) = (String::new(), Sharing::Imported.to_string());
                Some(Adapter { name, driver, software: true, in_place: true, memory })
            }
            Err(_) => None,
        }
    }

    /// Why there is no GPU; `None` where there is one.
    pub fn why_no_gpu(&self) -> Option<&str> {
        self.inner.gpu.as_ref().err().map(|why| &**why)
    }

    /// What is known of the machine's speed.
    pub fn calibration(&self) -> Calibration {
        Calibration::clone(&self.inner.calibration())
    }

    /// The name of the model in use, and how often it has been replaced by retraining.
    pub fn model(&self) -> (String, u64) {
        (self.inner.model_name(), self.inner.generation())
    }

    /// The background trainer; `None` when learning is switched off.
    pub fn learner(&self) -> Option<&Learner> {
        self.inner.learner.as_ref()
    }

    /// Worker threads of the CPU side.
    pub fn threads(&self) -> usize {
        self.inner.calibration().cpu.threads
    }

    /// Measures the machine, or reads what an earlier run of the same machine has kept in the file.
    fn calibrate(&self, file: Option<&std::path::Path>) -> Result<(), Error> {
        let adapter = self.adapter().map(|a| a.name);
        let threads = self.threads();
        let known = file.and_then(|f| Calibration::load(f, threads, adapter.as_deref()));
        let calibration = match known {
            Some(known) => known,
            None => {
                let measured = measure::measure(self)?;
                if let Some(file) = file {
                    measured.save(file)?;
                }
                measured
            }
        };
        self.inner.calibration.store(Arc::new(calibration));
        Ok(())
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(crate) fn lane(&self, device: Device) -> &Lane {
        &self.lanes[device as usize]
    }

    pub(crate) fn ends(&self) -> &Arc<Lane> {
        &self.ends
    }

    /// Has the kernel compiled for the GPU in the background, if nobody has asked yet.
    pub(crate) fn compile_gpu_soon(&self, prepared: &Arc<Prepared>) {
        if self.inner.has_gpu() && prepared.begin_gpu_compile() {
            let (inner, prepared) = (self.inner.clone(), prepared.clone());
            self.compiler.push(move || {
                inner.compile_gpu(&prepared);
            });
        }
    }
}

impl Inner {
    fn prepared(
        &self,
        def: &'static Def,
        types: &[Type],
        consts: &[usize],
    ) -> Result<&Arc<Prepared>, Error> {
        self.kernels.get(def, types, consts, || Ok(Prepared::new(def, types, consts)?))
    }

    pub(crate) fn cpu_code<'p>(
        &self,
        prepared: &'p Prepared,
    ) -> Result<&'p Arc<dyn Version>, RunError> {
        let compiled =
            prepared.cpu.get_or_init(|| self.cpu.compile(&prepared.kernel, prepared.schedule));
        compiled.as_ref().map_err(RunError::clone)
    }

    /// Sees to it that the kernel's GPU code is ready or refused, compiling it on this thread unless
    /// another is at it.
    pub(crate) fn compile_gpu_now(&self, prepared: &Prepared) -> GpuCode {
        if !self.has_gpu() {
            return GpuCode::Unasked;
        }
        if self.gpu().is_some_and(|gpu| gpu.is_lost()) {
            self.reopen_gpu();
        }
        loop {
            let code = prepared.gpu_code_on(self.gpu().as_ref()).clone();
            match code {
                GpuCode::Ready(_) | GpuCode::Refused(..) => return code,
                GpuCode::Unasked if prepared.begin_gpu_compile() => {
                    return self.compile_gpu(prepared);
                }
                // The background thread is at it; a pipeline takes milliseconds.
                GpuCode::Unasked | GpuCode::Compiling => {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        }
    }

    fn compile_gpu(&self, prepared: &Prepared) -> GpuCode {
        let code = match &self.gpu {
            Ok(backend) => match backend.compile(&prepared.kernel) {
                Ok(code) => GpuCode::Ready(code),
                Err(error) => {
                    let why = error.to_string().into();
                    // A device that is lost meanwhile has said nothing of the kernel.
                    if self.gpu().is_some_and(|gpu| gpu.is_lost()) {
                        prepared.set_gpu_code(GpuCode::Unasked);
                        return GpuCode::Refused(error, why);
                    }
                    GpuCode::Refused(error, why)
                }
            },
            Err(_) => GpuCode::Unasked,
        };
        prepared.set_gpu_code(code.clone());
        code
    }

    pub(crate) fn has_gpu(&self) -> bool {
        self.gpu.is_ok()
    }

    /// The GPU itself; `None` where there is none, or something stands in for it.
    pub(crate) fn gpu(&self) -> Option<Arc<Gpu>> {
        match &self.gpu {
            Ok(GpuBackend::Gpu(opened)) => Some(opened.gpu()),
            Ok(GpuBackend::Host(_)) | Err(_) => None,
        }
    }

    /// The same for as long as a look at it takes.
    pub(crate) fn opened(&self) -> Option<arc_swap::Guard<Arc<GpuExecutor>>> {
        match &self.gpu {
            Ok(GpuBackend::Gpu(opened)) => Some(opened.executor()),
            Ok(GpuBackend::Host(_)) | Err(_) => None,
        }
    }

    /// Opens a GPU that was lost anew, on this thread.
    fn reopen_gpu(&self) {
        if let Ok(GpuBackend::Gpu(opened)) = &self.gpu
            && let Err(error) = opened.reopen()
        {
            tracing::warn!(%error, "the GPU cannot be opened again yet");
            self.rest_gpu();
        }
    }

    /// Whether the GPU is lost. Then it is opened anew in the background, once it has rested.
    pub(crate) fn gpu_is_gone(self: &Arc<Self>) -> bool {
        if !self.gpu().is_some_and(|gpu| gpu.is_lost()) {
            return false;
        }
        if !self.reopening.swap(true, Ordering::AcqRel) {
            let inner = self.clone();
            let thread = std::thread::Builder::new().name("crossover-reopen".to_owned());
            let spawned = thread.spawn(move || {
                inner.reopen_gpu();
                inner.reopening.store(false, Ordering::Release);
            });
            if spawned.is_err() {
                self.reopening.store(false, Ordering::Release);
            }
        }
        true
    }

    /// A call on the GPU has succeeded: the next failure is a first one again.
    pub(crate) fn gpu_works(&self) {
        if self.has_failed.load(Ordering::Acquire) {
            let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
            (rest.until, rest.next) = (None, REST_MIN);
            self.has_failed.store(false, Ordering::Release);
        }
    }

    /// Why there is no GPU; nothing, where there is one.
    pub(crate) fn no_gpu(&self) -> Arc<str> {
        self.gpu.as_ref().err().cloned().unwrap_or_default()
    }

    /// Keeps calls away from a GPU that has failed, longer each time.
    pub(crate) fn rest_gpu(&self) {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.until = Some(Instant::now() + rest.next);
        rest.next = (rest.next * 2).min(REST_MAX);
        self.has_failed.store(true, Ordering::Release);
    }

    pub(crate) fn gpu_rests(&self) -> bool {
        if !self.has_failed.load(Ordering::Acquire) {
            return false;
        }
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.until.is_some_and(|until| Instant::now() < until)
    }

    /// The GPU ends a call now; gives when it ended the one before, since it works on one at a time.
    pub(crate) fn gpu_ends(&self, now: Instant) -> Instant {
        let mut end = self.gpu_end.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *end;
        *end = now.max(before);
        before
    }

    /// When the GPU ended the last call.
    pub(crate) fn gpu_end(&self) -> Instant {
        *self.gpu_end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn order(&self) -> MutexGuard<'_, ()> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn calibration(&self) -> arc_swap::Guard<Arc<Calibration>> {
        self.calibration.load()
    }

    pub(crate) fn model(&self) -> Arc<Ensemble> {
        match &self.learner {
            Some(learner) => learner.model(),
            None => self.fixed_model.clone(),
        }
    }

    pub(crate) fn model_name(&self) -> String {
        format!("{} ({})", self.model_name, self.model().name())
    }

    pub(crate) fn generation(&self) -> u64 {
        self.learner.as_ref().map_or(0, Learner::generation)
    }

    /// Predicted seconds until a device is free.
    pub(crate) fn wait_s(&self, device: Device) -> f64 {
        self.loads[device as usize].load(Ordering::Relaxed) as f64 * 1e-9
    }
}

/// A call that is under way, queued or running, until this is dropped.
pub(crate) struct Load<'c> {
    inner: Lent<'c, Inner>,
    device: Device,
    nanos: u64,
}

impl<'c> Load<'c> {
    pub(crate) fn count(inner: Lent<'c, Inner>, device: Device, seconds: f64) -> Load<'c> {
        let nanos = (seconds * 1e9).clamp(0.0, 1e15) as u64;
        if nanos > 0 {
            inner.loads[device as usize].fetch_add(nanos, Ordering::Relaxed);
        }
        Load { inner, device, nanos }
    }

    pub(crate) fn share(mut self) -> Load<'static> {
        let nanos = std::mem::take(&mut self.nanos);
        Load { inner: self.inner.share(), device: self.device, nanos }
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        if self.nanos > 0 {
            self.inner.loads[self.device as usize].fetch_sub(self.nanos, Ordering::Relaxed);
        }
    }
}

impl Host for Runtime {
    type Buffer<T: Scalar> = Buffer<T>;
    type Arg<'b> = Bound<'b>;
    type Call<'b> = Call<'b>;

    fn scalar<'b, T: Scalar>(&'b self, value: T) -> Bound<'b> {
        Bound(match value.to_const() {
            Some(c) => BoundArg::Scalar(c),
            None => BoundArg::Unfit("needs more than 32 bits; kernels count in 32 bits".into()),
        })
    }

    fn read<'b, T: Scalar>(&'b self, buffer: &'b Buffer<T>) -> Bound<'b> {
        bound(buffer)
    }

    fn write<'b, T: Scalar>(&'b self, buffer: &'b mut Buffer<T>) -> Bound<'b> {
        bound(buffer)
    }

    fn call<'b>(
        &'b self,
        def: &'static Def,
        types: &[Type],
        consts: &[usize],
        args: Args<Bound<'b>>,
    ) -> Call<'b> {
        Call::new(self, self.inner.prepared(def, types, consts).map(Lent::Lent), args)
    }
}

pub(crate) fn bound<T>(buffer: &Buffer<T>) -> Bound<'_> {
    Bound(match u32::try_from(buffer.len()) {
        Ok(len) => BoundArg::Buffer(Lent::Lent(&buffer.storage), len),
        Err(_) => BoundArg::Unfit("has more elements than 32 bits can count".into()),
    })
}
