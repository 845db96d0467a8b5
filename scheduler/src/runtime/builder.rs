//! How a runtime is made.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;
use crossover_kernels::exec::Executor;
use crossover_ml::learner::{Learner, LearnerOptions};
use crossover_shaders::{Gpu, GpuError};
use crossover_wasm::Workers;

use super::{GpuLanes, Inner, Runtime, UNDERWAY_MAX};
use crate::arrays::Taken;
use crate::backends::{Backends, OpenGpu};
use crate::calibration::Calibration;
use crate::config::{Layouts, Optimise, Settings};
use crate::context::Context;
use crate::device::Device;
use crate::error::Error;
use crate::experience::Experience;
use crate::gpus::GpuSide;
use crate::lane::Lane;
use crate::layouts::LayoutChooser;
use crate::ledger::Ledger;
use crate::model;
use crate::optimise::Chooser;
use crate::prepared::Kernels;
use crate::record::Recorder;
use crate::route::{self, Policy};
use crate::trust::Gates;

/// How to make a runtime.
#[derive(Clone, Default)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    settings: Settings,
    cpu: Option<Arc<dyn Executor>>,
    gpus: Vec<Arc<dyn Executor>>,
    policy: Option<Arc<dyn Policy>>,
    calibrate: bool,
    model: Option<Vec<u8>>,
    learner: Option<LearnerOptions>,
    workers: Option<Arc<dyn Workers>>,
    open_gpus: Vec<OpenGpu>,
}

impl Builder {
    /// Uses these settings.
    ///
    /// ```
    /// use crossover::{GpuUse, Runtime, Settings};
    /// let settings = Settings { gpu: GpuUse::Off, threads: 1, ..Settings::default() };
    /// let rt = Runtime::builder().settings(settings).build()?;
    /// assert_eq!((rt.threads(), rt.adapters().len()), (1, 0));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn settings(mut self, settings: Settings) -> Builder {
        self.settings = settings;
        self
    }

    /// Changes the settings.
    ///
    /// ```
    /// # use crossover::Runtime;
    /// let rt = Runtime::builder().with(|settings| settings.learn = false).build()?;
    /// assert!(rt.learner().is_none());
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn with(mut self, change: impl FnOnce(&mut Settings)) -> Builder {
        change(&mut self.settings);
        self
    }

    /// Runs a side by this executor on host memory, instead of the real device: for tests and
    /// simulations. Each one for the GPU is a further GPU.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use crossover::Runtime;
    /// use crossover::{Device, kernels::interp::Interpreter};
    /// let rt = Runtime::builder().executor(Device::Gpu, Arc::new(Interpreter)).build()?;
    /// assert_eq!(rt.adapters()[0].name, "interp");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn executor(mut self, device: Device, executor: Arc<dyn Executor>) -> Builder {
        match device {
            Device::Cpu => self.cpu = Some(executor),
            Device::Gpu => self.gpus.push(executor),
        }
        self
    }

    /// Routes by this policy instead of the one that the settings name.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use crossover::{Device, Runtime, Why};
    /// use crossover::route::{Policy, Question};
    ///
    /// struct BySize;
    ///
    /// impl Policy for BySize {
    ///     fn name(&self) -> &str {
    ///         "by-size"
    ///     }
    ///
    ///     fn choose(&self, call: &Question<'_>) -> (Device, Why) {
    ///         let device = if call.items < 10_000 { Device::Cpu } else { Device::Gpu };
    ///         (device, Why::Policy(self.name().into()))
    ///     }
    /// }
    ///
    /// let rt = Runtime::builder().policy(Arc::new(BySize)).build()?;
    /// assert_eq!(rt.about("this program").policy, "by-size");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn policy(mut self, policy: Arc<dyn Policy>) -> Builder {
        self.policy = Some(policy);
        self
    }

    /// Measures the machine first (about a second), unless the settings name a file that already
    /// holds the measurements.
    ///
    /// ```
    /// # use crossover::{GpuUse, Runtime};
    /// let rt = Runtime::builder().with(|set| set.gpu = GpuUse::Off).calibrated().build()?;
    /// assert!(rt.calibration().is_measured);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn calibrated(mut self) -> Builder {
        self.calibrate = true;
        self
    }

    /// Predicts with these weights instead of the shipped or configured ones.
    ///
    /// ```
    /// # use crossover::Runtime;
    /// // None at all: the roofline predicts, until calls have taught better.
    /// let rt = Runtime::builder().model(Vec::new()).build()?;
    /// assert!(rt.model().0.starts_with("roofline"));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn model(mut self, weights: Vec<u8>) -> Builder {
        self.model = Some(weights);
        self
    }

    /// Retrains in the background with these options.
    ///
    /// ```
    /// # use crossover::Runtime;
    /// use crossover::ml::LearnerOptions;
    /// let half_a_core = LearnerOptions { duty: 0.5, ..LearnerOptions::default() };
    /// let rt = Runtime::builder().learner(half_a_core).build()?;
    /// assert!(rt.learner().is_some());
    /// # Ok::<(), crossover::Error>(())
    /// ```
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
    /// assert_eq!(rt.threads(), std::thread::available_parallelism().map_or(1, usize::from));
    /// # Ok(())
    /// # }
    /// ```
    pub fn workers(mut self, workers: Arc<dyn Workers>) -> Builder {
        self.workers = Some(workers);
        self
    }

    /// Opens a GPU in this way, at first and again when it was lost, instead of as the settings say: for
    /// applications that choose the device themselves. Each further one is a further GPU.
    ///
    /// ```
    /// # use crossover::Runtime;
    /// use crossover::shaders::{Gpu, GpuOptions};
    /// let rt = Runtime::builder().gpu(|| Gpu::open(&GpuOptions::default())).build()?;
    /// assert_eq!(rt.adapters().len(), usize::from(rt.why_no_gpu().is_none()));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn gpu(
        mut self,
        open: impl Fn() -> Result<Arc<Gpu>, GpuError> + Send + Sync + 'static,
    ) -> Builder {
        self.open_gpus.push(Arc::new(open));
        self
    }

    /// The runtime.
    ///
    /// # Errors
    /// [`Error::Setting`] for a policy that does not exist or a GPU that is required and missing,
    /// [`Error::File`] for a model that cannot be used, [`Error::Run`] if the CPU side does not
    /// start. A missing GPU is no error otherwise.
    ///
    /// ```
    /// # use crossover::Runtime;
    /// let refused = Runtime::builder().with(|settings| settings.policy = "best".into()).build();
    /// let message = refused.expect_err("there is none").to_string();
    /// assert!(message.contains("there is no policy `best`; there are learned,"));
    /// ```
    pub fn build(self) -> Result<Runtime, Error> {
        let Builder { settings, cpu, gpus, policy, calibrate, model, learner, workers, open_gpus } =
            self;
        let is_custom = cpu.is_some() || !gpus.is_empty();
        let backends = Backends::open(&settings, cpu, gpus, workers, open_gpus)?;
        let policy = match policy {
            Some(policy) => policy,
            None => route::by_settings(&settings)?,
        };
        let loaded = model::load(&settings, model.as_deref())?;
        let (ledger, threads) = (Arc::new(Ledger::default()), settings.threads());
        let side = |(at, gpu)| Arc::new(GpuSide::new(at, gpu, threads, &ledger));
        let gpus: Vec<_> = backends.gpus.into_iter().enumerate().map(side).collect();
        let (learner, fixed_model) = if settings.learn {
            let options = learner.unwrap_or_default();
            (Some(Learner::start(loaded.ensemble, options)), Arc::default())
        } else {
            (None, Arc::new(loaded.ensemble))
        };
        let open = |path| Experience::open(path, threads, &gpus);
        let experience = settings.experience.clone().map(open);
        if let (Some(learner), Some(experience)) = (&learner, &experience) {
            experience.rows().for_each(|row| learner.record(row));
        }
        let cuts = settings.cut && backends.cpu.runs_parts();
        let cuts = cuts && gpus.iter().all(|gpu| gpu.runs_parts());
        let chooser = match settings.optimise {
            Optimise::All => None,
            Optimise::Chosen => Some(Chooser::new(settings.optimise_budget_s)?),
        };
        let layouts = match settings.layouts {
            Layouts::Rule => None,
            Layouts::Learned => Some(LayoutChooser::new()),
        };
        let gates = Gates::new(gpus.len());
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let inner = Arc::new(Inner {
            number,
            chooser,
            layouts,
            cpu: backends.cpu,
            gpus,
            no_gpu: backends.no_gpu,
            kernels: Kernels::default(),
            policy,
            cuts,
            recorder: OnceLock::new(),
            learner,
            fixed_model,
            gates,
            spikes: Mutex::default(),
            model_name: loaded.name,
            bare: ArcSwap::from_pointee(Calibration::assumed(threads, None, false)),
            ledger,
            taken: Taken::default(),
            deadline: settings.deadline(),
            load: AtomicU64::new(0),
            context: Context::default(),
            experience,
            order: Mutex::new(()),
        });
        let lanes = |gpu: &Arc<GpuSide>| GpuLanes {
            calls: Lane::new(&format!("crossover-gpu-{}", gpu.at)),
            ends: Arc::new(Lane::bounded(&format!("crossover-ends-{}", gpu.at), UNDERWAY_MAX)),
        };
        let gpu_lanes = inner.gpus.iter().map(lanes).collect();
        let (cpu_lane, compiler) = (Lane::new("crossover-cpu"), Lane::new("crossover-compile"));
        let runtime = Runtime { inner, cpu_lane, gpu_lanes, compiler };
        if calibrate && !is_custom {
            runtime.calibrate(settings.calibration.as_deref())?;
        }
        if let Some(path) = &settings.record {
            let recorder = Recorder::create(path, runtime.about("runtime"))?;
            // It is the first: nobody has the runtime yet.
            let _ = runtime.inner.recorder.set(recorder);
        }
        Ok(runtime)
    }
}
