//! A kernel of a runtime: its optimised form, and what each device made of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crossover_kernels::error::{KernelError, RunError};
use crossover_kernels::exec::Version;
use crossover_kernels::ir::{Kernel, Type};
use crossover_kernels::passes;
use crossover_kernels::{Def, front};
use crossover_ml::optimise::{Choice, Set};
use crossover_shaders::{Gpu, GpuVersion};
use crossover_wasm::Schedule;

use crate::call::Repeats;
use crate::device::Device;
use crate::gpus::ADAPTERS_MAX;
use crate::layouts::Lays;
use crate::learned::Learned;
use crate::route;

/// Hexadecimal digits of a version's identity: enough to tell any two apart in practice.
const VERSION_DIGITS: usize = 16;

/// Code for the GPU that is ready to run.
#[derive(Clone)]
pub(crate) enum Code {
    /// Of what stands in for the GPU: works on host memory.
    Host(Arc<dyn Version>),
    /// Works on buffers of the GPU.
    Gpu(Arc<GpuVersion>),
}

/// What has become of a kernel on the GPU.
#[derive(Clone, Default)]
pub(crate) enum GpuCode {
    /// Nobody asked.
    #[default]
    Unasked,
    /// Under way.
    Compiling,
    /// Ready.
    Ready(Code),
    /// The device cannot run it, and why, also in words.
    Refused(RunError, Arc<str>),
}

/// A kernel on one of the GPUs.
#[derive(Default)]
struct OnGpu {
    code: Mutex<GpuCode>,
    /// What the CPU and this GPU take.
    learned: Mutex<Learned>,
}

/// A kernel of a runtime.
pub(crate) struct Prepared {
    /// The kernel and its element types: `scale<f64>`.
    pub(crate) name: Arc<str>,
    /// The version's identity: the start of the content hash of what back ends compile.
    pub(crate) version: Arc<str>,
    /// The same as a number, for policies.
    pub(crate) key: u64,
    /// Before optimisation: what features are counted on.
    pub(crate) source: Kernel,
    /// What back ends compile.
    pub(crate) kernel: Arc<Kernel>,
    /// How the CPU's code is laid out; `None` leaves that to the back end.
    pub(crate) schedule: Option<Schedule>,
    pub(crate) cpu: OnceLock<Result<Arc<dyn Version>, RunError>>,
    /// What that code was made with, where its optimisations were chosen.
    pub(crate) chosen: OnceLock<Choice>,
    /// Calls on the CPU since, where these are not all.
    calls: AtomicU64,
    /// Code with all, when there have been calls enough.
    pub(crate) later: OnceLock<Arc<dyn Version>>,
    /// The same code laid out otherwise.
    pub(crate) lays: Lays,
    /// Calls that may be repeated.
    pub(crate) repeats: Repeats,
    /// Whether it has run on each device in this process.
    has_run: [AtomicBool; 2],
    /// Whether a look at it on copies has failed.
    fails_aside: AtomicBool,
    gpus: [OnGpu; ADAPTERS_MAX],
}

impl Prepared {
    /// A look at it on copies has failed.
    pub(crate) fn failed_aside(&self) {
        self.fails_aside.store(true, Ordering::Relaxed);
    }

    pub(crate) fn fails_aside(&self) -> bool {
        self.fails_aside.load(Ordering::Relaxed)
    }

    /// The kernel has run on a device. Gives whether that was the first time in this process, which takes longer: its
    /// code and what it works on are found and mapped.
    pub(crate) fn runs(&self, device: Device) -> bool {
        let has_run = &self.has_run[device as usize];
        !(has_run.load(Ordering::Relaxed) || has_run.swap(true, Ordering::Relaxed))
    }

    /// Types, checks and optimises a kernel.
    pub(crate) fn new(
        def: &'static Def,
        types: &[Type],
        consts: &[usize],
    ) -> Result<Prepared, KernelError> {
        let source = front::kernel(def, types, consts)?;
        Ok(Prepared::from_kernel(source, instance_name(def.name, types, consts)))
    }

    /// A kernel that was made otherwise.
    pub(crate) fn from_kernel(source: Kernel, name: String) -> Prepared {
        let kernel = passes::optimize(&source);
        Prepared::of(source, kernel, name, None)
    }

    /// The same with only those optimisations whose names are enabled: passes, and `simd`.
    pub(crate) fn optimized_with(
        source: Kernel,
        name: String,
        enabled: &dyn Fn(&str) -> bool,
    ) -> Prepared {
        let kernel = passes::optimize_with(&source, enabled);
        let schedule = Schedule::default_with(&kernel, enabled);
        Prepared::of(source, kernel, name, Some(schedule))
    }

    fn of(source: Kernel, kernel: Kernel, name: String, schedule: Option<Schedule>) -> Prepared {
        let version = kernel.hash().to_hex();
        Prepared {
            name: name.into(),
            version: version[..VERSION_DIGITS].into(),
            key: route::kernel_key(&version[..VERSION_DIGITS]),
            source,
            kernel: Arc::new(kernel),
            schedule,
            cpu: OnceLock::new(),
            chosen: OnceLock::new(),
            calls: AtomicU64::new(0),
            later: OnceLock::new(),
            lays: Lays::default(),
            repeats: Repeats::default(),
            has_run: Default::default(),
            fails_aside: AtomicBool::new(false),
            gpus: Default::default(),
        }
    }

    /// Whether the CPU's code is what it will be, but for its layout.
    pub(crate) fn has_settled(&self) -> bool {
        self.later.get().is_some() || self.chosen.get().is_none_or(|choice| choice.set == Set::ALL)
    }

    /// Counts a call on the CPU. True for the one by which all optimisations are due, where some were left out.
    pub(crate) fn outlives_its_choice(&self) -> bool {
        let Some(choice) = self.chosen.get().filter(|choice| choice.set != Set::ALL) else {
            return false;
        };
        self.calls.fetch_add(1, Ordering::Relaxed) == choice.calls_until_all() as u64
    }

    pub(crate) fn gpu_code(&self, gpu: usize) -> MutexGuard<'_, GpuCode> {
        self.gpus[gpu].code.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_gpu_code(&self, gpu: usize, code: GpuCode) {
        *self.gpu_code(gpu) = code;
    }

    /// What has become of it on this device: code of another is of no use.
    pub(crate) fn gpu_code_on(&self, at: usize, gpu: Option<&Arc<Gpu>>) -> MutexGuard<'_, GpuCode> {
        let mut code = self.gpu_code(at);
        if let (GpuCode::Ready(Code::Gpu(version)), Some(gpu)) = (&*code, gpu)
            && !Arc::ptr_eq(version.gpu(), gpu)
        {
            *code = GpuCode::Unasked;
        }
        code
    }

    /// True for the one caller that is to compile for a GPU now.
    pub(crate) fn begin_gpu_compile(&self, gpu: usize) -> bool {
        let mut code = self.gpu_code(gpu);
        let begin = matches!(*code, GpuCode::Unasked);
        if begin {
            *code = GpuCode::Compiling;
        }
        begin
    }

    /// What has been learned of it with a GPU, or with none.
    pub(crate) fn learned(&self, gpu: usize) -> MutexGuard<'_, Learned> {
        self.gpus[gpu].learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn instance_name(name: &str, types: &[Type], consts: &[usize]) -> String {
    let mut parts: Vec<String> = types.iter().map(ToString::to_string).collect();
    parts.extend(consts.iter().map(ToString::to_string));
    if parts.is_empty() { name.to_owned() } else { format!("{name}<{}>", parts.join(", ")) }
}
