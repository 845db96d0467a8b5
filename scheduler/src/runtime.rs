//! The runtime: devices, model, policy and ledger of one embedding.

mod builder;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossover_kernels::error::RunError;
use crossover_kernels::exec::Version;
use crossover_kernels::ir::Type;
use crossover_kernels::{Args, Def, Host, Scalar};
use crossover_memory::Lent;
use crossover_ml::learner::Learner;
use crossover_ml::optimise::Set;
use crossover_ml::{CostModel, Ensemble, Spikes};

use crate::arrays::Taken;
use crate::backends::CpuBackend;
use crate::buffer::{Buffer, Element};
use crate::calibration::Calibration;
use crate::call::{Bound, BoundArg, Call};
use crate::config::Settings;
use crate::context::Context;
use crate::device::Seat;
use crate::error::Error;
use crate::experience::{Experience, ExperienceError};
use crate::gpus::{Adapter, GpuSide};
use crate::lane::Lane;
use crate::layouts::LayoutChooser;
use crate::ledger::{Ledger, Reason};
use crate::measure;
use crate::optimise::{self, Chooser};
use crate::place::Decision;
use crate::prepared::Kernels;
use crate::record::{About, Recorder};
use crate::route::Policy;
use crate::transfers::Copied;
use crate::trust::Gates;
use crate::version::Prepared;

pub use builder::Builder;

/// Calls that the GPU is given ahead.
const UNDERWAY_MAX: usize = 32;

/// One call in a device's load, and the most nanoseconds that one call counts for (18 minutes): those of
/// thousands do not reach it.
const LOAD_COUNT: u64 = 1 << 52;
const LOAD_NANOS_MAX: f64 = (1u64 << 40) as f64;

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
    cpu_lane: Lane,
    /// One for each GPU.
    gpu_lanes: Vec<GpuLanes>,
    compiler: Lane,
}

/// The threads of a GPU.
struct GpuLanes {
    /// Gives it calls.
    calls: Lane,
    /// Waits for calls that it has been given, in their order.
    ends: Arc<Lane>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("gpus", &self.adapters()).finish_non_exhaustive()
    }
}

/// What a runtime shares with its threads and calls.
pub(crate) struct Inner {
    /// No other runtime has it, in this process.
    pub(crate) number: u64,
    pub(crate) cpu: CpuBackend,
    /// The best first.
    pub(crate) gpus: Vec<Arc<GpuSide>>,
    /// Why there is none, where there is none.
    no_gpu: Arc<str>,
    kernels: Kernels,
    pub(crate) policy: Arc<dyn Policy>,
    /// Whether calls may be cut.
    pub(crate) cuts: bool,
    /// Where calls are written down, if they are.
    pub(crate) recorder: OnceLock<Recorder>,
    pub(crate) learner: Option<Learner>,
    /// The model when nothing is learned; else the learner has it.
    fixed_model: Arc<Ensemble>,
    /// How far that is believed of what has not run yet.
    pub(crate) gates: Gates,
    /// How often something else has got in the way of a run.
    pub(crate) spikes: Mutex<Spikes>,
    model_name: String,
    /// What is known of the machine without a GPU.
    bare: ArcSwap<Calibration>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) taken: Taken,
    pub(crate) deadline: Duration,
    /// The calls that the CPU has under way: their predicted nanoseconds, and above [`LOAD_COUNT`] their
    /// number, so that one addition counts both. So with the GPUs' loads.
    load: AtomicU64,
    /// Chooses the optimisations of the CPU's code, where that is asked for.
    pub(crate) chooser: Option<Chooser>,
    /// Says what layouts of that code are worth, where they are learned.
    pub(crate) layouts: Option<LayoutChooser>,
    /// What calls have taken in earlier processes, where settings name a file.
    pub(crate) experience: Option<Experience>,
    /// The state of the machine, for features.
    pub(crate) context: Context,
    order: Mutex<()>,
}

impl Runtime {
    /// A runtime with the default settings. It reads no environment variable, and no file but those in
    /// which the system tells of its load.
    ///
    /// # Errors
    /// As [`Builder::build`].
    ///
    /// ```
    /// # use crossover::{Runtime, kernels::library::saxpy::saxpy};
    /// let (one, other) = (Runtime::new()?, Runtime::new()?);
    /// let (x, mut y) = (one.buffer_from(&[1.0])?, one.alloc(1)?);
    /// saxpy::on(&one).args(2.0, &x, &mut y).run()?;
    /// assert_eq!([&one, &other].map(|rt| rt.ledger().rows().len()), [1, 0]);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn new() -> Result<Runtime, Error> {
        Runtime::builder().build()
    }

    /// How to make one otherwise.
    ///
    /// ```
    /// let rt = crossover::Runtime::builder().with(|settings| settings.threads = 2).build()?;
    /// assert_eq!(rt.threads(), 2);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A runtime with the settings of `crossover.toml` and `CROSSOVER_*` variables: see
    /// [`Settings::from_env`].
    ///
    /// # Errors
    /// As [`Builder::build`] and [`Settings::from_env`].
    ///
    /// ```
    /// use crossover::{Runtime, Settings};
    /// let rt = Runtime::from_env()?;
    /// assert_eq!(rt.threads(), Settings::from_env()?.0.threads());
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn from_env() -> Result<Runtime, Error> {
        let (settings, _) = Settings::from_env()?;
        Runtime::builder().settings(settings).build()
    }

    /// A buffer with a copy of these elements.
    ///
    /// # Errors
    /// [`Error::Memory`] when there is none.
    ///
    /// ```
    /// # let rt = crossover::Runtime::new()?;
    /// let x = rt.buffer_from(&[1u32, 2, 3])?;
    /// assert_eq!((x.len(), x.read()?[2]), (3, 3));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn buffer_from<T: Element>(&self, elements: &[T]) -> Result<Buffer<T>, Error> {
        let began = Instant::now();
        let mut buffer = Buffer::new(elements.len())?;
        buffer.write()?.copy_from_slice(elements);
        self.inner.taken.count(size_of_val(elements), began);
        Ok(buffer)
    }

    /// A buffer of so many zero elements.
    ///
    /// # Errors
    /// [`Error::Memory`] when there is no memory for it, or it is beyond 4 GiB.
    ///
    /// ```
    /// # let rt = crossover::Runtime::new()?;
    /// assert_eq!(rt.alloc::<f32>(3)?.to_vec()?, [0.0; 3]);
    /// assert!(rt.alloc::<f64>(1 << 30).is_err(), "eight gibibytes are too many for a kernel");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn alloc<T: Element>(&self, elements: usize) -> Result<Buffer<T>, Error> {
        Buffer::new(elements)
    }

    /// The ledger of all calls.
    ///
    /// ```
    /// # use crossover::kernels::library::saxpy::saxpy;
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0])?, rt.alloc(1)?);
    /// saxpy::on(&rt).args(2.0, &x, &mut y).run()?;
    /// for row in rt.ledger().rows() {
    ///     println!("{} ran on the {}: {}", row.kernel, row.chosen, row.why);
    /// }
    /// # assert_eq!(rt.ledger().rows().len(), 1);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    /// What has been copied from slices and arrays into new buffers.
    ///
    /// ```
    /// # let rt = crossover::Runtime::new()?;
    /// rt.buffer_from(&[1.0f32; 100])?;
    /// assert_eq!((rt.copied_in().bytes, rt.copied_in().count), (400, 1));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn copied_in(&self) -> Copied {
        self.inner.taken.copied()
    }

    /// What has been copied between host and GPU for a reason.
    ///
    /// ```
    /// # use crossover::kernels::library::saxpy::saxpy;
    /// use crossover::{Device, Reason};
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0])?, rt.alloc(1)?);
    /// saxpy::on(&rt).args(2.0, &x, &mut y).device(Device::Cpu).run()?;
    /// assert_eq!(rt.copied(Reason::Upload).bytes, 0, "the CPU works on the buffers themselves");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn copied(&self, reason: Reason) -> Copied {
        let each = self.inner.gpus.iter().map(|gpu| gpu.transfers.copied(reason));
        each.fold(Copied::default(), Copied::and)
    }

    /// The best GPU in use; `None` where there is none.
    ///
    /// ```
    /// # let rt = crossover::Runtime::new()?;
    /// match (rt.adapter(), rt.why_no_gpu()) {
    ///     (Some(gpu), None) => println!("{}, which {}", gpu.name, gpu.memory),
    ///     (None, Some(why)) => println!("no GPU: {why}"),
    ///     _ => unreachable!("there is one, or a reason"),
    /// }
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn adapter(&self) -> Option<Adapter> {
        self.inner.gpus.first().map(|gpu| gpu.adapter())
    }

    /// All GPUs in use, the one that is opened first before the others. [`Call::adapter`] and the ledger
    /// count them so, from 0.
    ///
    /// ```
    /// use crossover::{ALL_ADAPTERS, Runtime};
    /// let rt = Runtime::builder().with(|set| set.adapter = Some(ALL_ADAPTERS.into())).build()?;
    /// assert_eq!(rt.adapters().first(), rt.adapter().as_ref());
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn adapters(&self) -> Vec<Adapter> {
        self.inner.gpus.iter().map(|gpu| gpu.adapter()).collect()
    }

    /// What a recorded run says of where it was recorded.
    ///
    /// ```
    /// # let rt = crossover::Runtime::new()?;
    /// let about = rt.about("this program");
    /// assert_eq!((about.by.as_str(), about.threads), ("this program", rt.threads()));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn about(&self, by: &str) -> About {
        let adapter = self.adapter();
        About {
            by: by.to_owned(),
            policy: self.inner.policy.name().to_owned(),
            model: self.inner.model_name(),
            is_software: adapter.as_ref().is_some_and(|adapter| adapter.software),
            adapter: adapter.map(|a| format!("{} {}", a.name, a.driver).trim().to_owned()),
            threads: self.threads(),
        }
    }

    /// Has every call on disk that has been recorded, if the settings name a file.
    ///
    /// # Errors
    /// [`Error::File`] for what went wrong first, then or before: nothing is recorded after that.
    ///
    /// ```
    /// # use crossover::{Runtime, kernels::library::saxpy::saxpy, record::Recording};
    /// # let path = std::env::temp_dir().join(format!("crossover-flushed-{}", std::process::id()));
    /// let rt = Runtime::builder().with(|settings| settings.record = Some(path.clone())).build()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0])?, rt.alloc(1)?);
    /// saxpy::on(&rt).args(2.0, &x, &mut y).run()?;
    /// rt.flush_record()?;
    /// assert_eq!(Recording::load(&path)?.calls.len(), 1);
    /// # std::fs::remove_file(path).expect("our own file");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn flush_record(&self) -> Result<(), Error> {
        self.inner.recorder.get().map_or(Ok(()), Recorder::flush)
    }

    /// Why there is no GPU; `None` where there is one.
    ///
    /// ```
    /// use crossover::{GpuUse, Runtime};
    /// let rt = Runtime::builder().with(|settings| settings.gpu = GpuUse::Off).build()?;
    /// assert!(rt.why_no_gpu().is_some_and(|why| why.contains("switched off")));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn why_no_gpu(&self) -> Option<&str> {
        Some(&*self.inner.no_gpu).filter(|_| self.inner.gpus.is_empty())
    }

    /// What is known of the machine's speed, with its best GPU.
    ///
    /// ```
    /// # let rt = crossover::Runtime::new()?;
    /// let machine = rt.calibration();
    /// assert!(!machine.is_measured, "nobody has asked for it");
    /// assert_eq!(machine.cpu.threads, rt.threads());
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn calibration(&self) -> Calibration {
        Calibration::clone(&self.inner.calibration())
    }

    /// The name of the model in use, and how often it has been replaced by retraining.
    ///
    /// ```
    /// # let rt = crossover::Runtime::new()?;
    /// let (name, generation) = rt.model();
    /// assert!(name.starts_with("shipped model"));
    /// assert_eq!(generation, 0, "nothing has been learned yet");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn model(&self) -> (String, u64) {
        (self.inner.model_name(), self.inner.generation())
    }

    /// How far the model is believed, beside one of [`Runtime::adapters`], of kernels that have not run yet: what the
    /// first runs of others have shown. Of a number that is no adapter's what is believed at first.
    ///
    /// ```
    /// use crossover::{GpuUse, Runtime};
    ///
    /// let rt = Runtime::builder().with(|settings| settings.gpu = GpuUse::Off).build()?;
    /// let [model, shifted, flat] = rt.trust(0).weights();
    /// assert!(model > 0.9 && shifted + flat < 0.1);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn trust(&self, adapter: usize) -> crossover_ml::Trust {
        self.inner.gates.trust(adapter, self.inner.generation())
    }

    /// The background trainer; `None` when learning is switched off.
    ///
    /// ```
    /// # let rt = crossover::Runtime::new()?;
    /// let learner = rt.learner().expect("it learns unless it is told not to");
    /// assert_eq!(learner.dropped(), 0);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn learner(&self) -> Option<&Learner> {
        self.inner.learner.as_ref()
    }

    /// How many calls of earlier processes this begins with, or why the file that settings name was refused.
    ///
    /// # Errors
    /// What is wrong with the file. The runtime works without it, or has begun it anew.
    ///
    /// ```
    /// # use crossover::Runtime;
    /// # let path = std::env::temp_dir().join(format!("crossover-none-{}", std::process::id()));
    /// let rt = Runtime::builder().with(|settings| settings.experience = Some(path)).build()?;
    /// assert_eq!(rt.experience(), Ok(0), "there is no such file yet");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn experience(&self) -> Result<usize, ExperienceError> {
        match &self.inner.experience {
            Some(experience) => match experience.error() {
                Some(error) => Err(error.clone()),
                None => Ok(experience.count()),
            },
            None => Ok(0),
        }
    }

    /// Worker threads of the CPU side.
    ///
    /// ```
    /// # let rt = crossover::Runtime::new()?;
    /// let cores = std::thread::available_parallelism().map_or(1, usize::from);
    /// assert_eq!(rt.threads(), cores);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn threads(&self) -> usize {
        self.inner.calibration().cpu.threads
    }

    /// Measures the machine, or reads what an earlier run of the same machine has kept in the file, and in
    /// files beside it for further GPUs.
    fn calibrate(&self, file: Option<&std::path::Path>) -> Result<(), Error> {
        for at in 0..self.inner.gpus.len().max(1) {
            let gpu = self.inner.gpus.get(at);
            let file = file.map(|file| match at {
                0 => file.to_owned(),
                _ => file.with_extension(format!("{at}.json")),
            });
            let (threads, adapter) = (self.threads(), gpu.map(|gpu| gpu.adapter().name));
            let load = |file: &PathBuf| Calibration::load(file, threads, adapter.as_deref());
            let calibration = match file.as_ref().and_then(load) {
                Some(known) => known,
                None => {
                    let measured = measure::measure(self, at)?;
                    if let Some(file) = &file {
                        measured.save(file)?;
                    }
                    measured
                }
            };
            match gpu {
                Some(gpu) => gpu.calibrate(calibration),
                None => self.inner.bare.store(Arc::new(calibration)),
            }
        }
        Ok(())
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Where calls of a device wait for it.
    pub(crate) fn lane(&self, seat: Seat) -> &Lane {
        match seat {
            Seat::Cpu => &self.cpu_lane,
            Seat::Gpu(at) => &self.gpu_lanes[at].calls,
        }
    }

    /// Where calls that a GPU has been given wait for their end; `None` for the CPU.
    pub(crate) fn ends(&self, seat: Seat) -> Option<&Arc<Lane>> {
        match seat {
            Seat::Cpu => None,
            Seat::Gpu(at) => Some(&self.gpu_lanes[at].ends),
        }
    }

    /// Has the kernel compiled for a GPU in the background, if nobody has asked yet.
    /// Compiles with all optimisations on the thread for compilations.
    pub(crate) fn optimise_soon(&self, prepared: &Arc<Prepared>) {
        let (inner, prepared) = (self.inner.clone(), prepared.clone());
        self.compiler.push(move || inner.optimise_further(&prepared));
    }

    /// Does what a kernel's layouts want, on the same thread.
    pub(crate) fn lay_out_soon(&self, prepared: &Arc<Prepared>) {
        let (inner, prepared) = (self.inner.clone(), prepared.clone());
        self.compiler.push(move || inner.lay_out(&prepared));
    }

    pub(crate) fn compile_gpu_soon(&self, gpu: &Arc<GpuSide>, prepared: &Arc<Prepared>) {
        if prepared.begin_gpu_compile(gpu.at) {
            let (gpu, prepared) = (gpu.clone(), prepared.clone());
            self.compiler.push(move || {
                gpu.compile(&prepared);
            });
        }
    }
}

impl Inner {
    pub(crate) fn prepared(
        &self,
        def: &'static Def,
        types: &[Type],
        consts: &[usize],
    ) -> Result<&Arc<Prepared>, Error> {
        self.kernels.get(def, types, consts, || Ok(Prepared::new(def, types, consts)?))
    }

    /// The CPU's code, compiled now if there is none. What a call is expected to take says which optimisations
    /// it gets, where they are chosen.
    pub(crate) fn cpu_code<'p>(
        &self,
        prepared: &'p Prepared,
        decision: Option<&Decision>,
    ) -> Result<&'p Arc<dyn Version>, RunError> {
        if let Some(later) = prepared.later.get() {
            return Ok(later);
        }
        let compiled = prepared.cpu.get_or_init(|| {
            let kernel = &*prepared.name;
            let _span = tracing::debug_span!("compile", kernel, device = "cpu").entered();
            let Some(choice) = decision.and_then(|decision| self.choice(prepared, decision)) else {
                return self.cpu.compile(&prepared.kernel, prepared.schedule);
            };
            let set = choice.set;
            tracing::debug!(kernel, %set, confidence = choice.confidence, "chosen");
            // Nobody else is here.
            let _ = prepared.chosen.set(choice);
            if set == Set::ALL {
                return self.cpu.compile(&prepared.kernel, prepared.schedule);
            }
            let (kernel, schedule) = optimise::optimized(&prepared.source, set);
            self.cpu.compile(&kernel, Some(schedule))
        });
        compiled.as_ref().map_err(RunError::clone)
    }

    /// Why there is no GPU; nothing, where there is one.
    pub(crate) fn no_gpu(&self) -> &Arc<str> {
        &self.no_gpu
    }

    pub(crate) fn order(&self) -> MutexGuard<'_, ()> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn calibration(&self) -> arc_swap::Guard<Arc<Calibration>> {
        self.calibration_with(0)
    }

    /// What is known of the machine with one of the GPUs.
    pub(crate) fn calibration_with(&self, gpu: usize) -> arc_swap::Guard<Arc<Calibration>> {
        self.gpus.get(gpu).map_or_else(|| self.bare.load(), |gpu| gpu.calibration())
    }

    /// Seconds that beginning a run, or a part of one, takes on the CPU and on this one of the GPUs.
    pub(crate) fn start_s(&self, gpu: usize) -> [f64; 2] {
        let known = self.calibration_with(gpu);
        [known.cpu.wake_s, known.gpu.dispatch_s]
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
    pub(crate) fn wait_s(&self, seat: Seat) -> f64 {
        (self.load(seat).load(Ordering::Relaxed) % LOAD_COUNT) as f64 * 1e-9
    }

    /// Calls that a device has under way.
    pub(crate) fn jobs(&self, seat: Seat) -> u64 {
        self.load(seat).load(Ordering::Relaxed) / LOAD_COUNT
    }

    /// Calls that all devices have under way.
    pub(crate) fn jobs_all(&self) -> u64 {
        let gpus = (0..self.gpus.len()).map(Seat::Gpu);
        gpus.chain([Seat::Cpu]).map(|seat| self.jobs(seat)).sum()
    }

    /// Whether any device has calls under way that others would wait for.
    pub(crate) fn is_busy(&self) -> bool {
        let loads = self.gpus.iter().map(|gpu| &gpu.load).chain([&self.load]);
        loads.fold(0, |all, load| all | load.load(Ordering::Relaxed)) != 0
    }

    fn load(&self, seat: Seat) -> &AtomicU64 {
        match seat {
            Seat::Cpu => &self.load,
            Seat::Gpu(at) => &self.gpus[at].load,
        }
    }
}

/// A call that is under way, queued or running, until this is dropped.
pub(crate) struct Load<'c> {
    inner: Lent<'c, Inner>,
    seat: Seat,
    /// What it adds to the device's load; nothing where it is over at once.
    load: u64,
}

impl<'c> Load<'c> {
    pub(crate) fn count(inner: Lent<'c, Inner>, seat: Seat, seconds: f64) -> Load<'c> {
        let load = match (seconds * 1e9).clamp(0.0, LOAD_NANOS_MAX) as u64 {
            0 => 0,
            nanos => LOAD_COUNT + nanos,
        };
        if load > 0 {
            inner.load(seat).fetch_add(load, Ordering::Relaxed);
        }
        Load { inner, seat, load }
    }

    pub(crate) fn share(mut self) -> Load<'static> {
        let load = std::mem::take(&mut self.load);
        Load { inner: self.inner.share(), seat: self.seat, load }
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        if self.load > 0 {
            self.inner.load(self.seat).fetch_sub(self.load, Ordering::Relaxed);
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
