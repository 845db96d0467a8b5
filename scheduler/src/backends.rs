//! The one list of back ends: what can run kernels on this machine.

use std::sync::Arc;

use arc_swap::ArcSwap;
use crossover_kernels::error::RunError;
use crossover_kernels::exec::{Executor, Version};
use crossover_kernels::ir::Kernel;
use crossover_shaders::{Gpu, GpuError, GpuExecutor, GpuOptions, Sharing};
use crossover_wasm::{Schedule, WasmExecutor, WasmOptions, Workers};

use crate::config::{ALL_ADAPTERS, GpuMemory, GpuUse, Settings};
use crate::error::Error;
use crate::gpus::ADAPTERS_MAX;
use crate::layouts::layout_of;
use crate::version::Code;

/// Makes code for the CPU.
#[derive(Clone)]
pub(crate) enum CpuBackend {
    /// WebAssembly.
    Wasm(WasmExecutor),
    /// The caller's.
    Host(Arc<dyn Executor>),
}

impl CpuBackend {
    /// Code of a kernel, laid out in a given way, or as the back end finds best.
    pub(crate) fn compile(
        &self,
        kernel: &Arc<Kernel>,
        schedule: Option<Schedule>,
    ) -> Result<Arc<dyn Version>, RunError> {
        match (self, schedule) {
            (CpuBackend::Wasm(executor), Some(schedule)) => {
                Ok(executor.compile_scheduled(kernel, schedule)?)
            }
            (CpuBackend::Wasm(executor), None) => executor.compile(kernel),
            (CpuBackend::Host(executor), _) => executor.compile(kernel),
        }
    }

    /// The same laid out otherwise than the back end would.
    ///
    /// # Errors
    /// [`RunError::Unsupported`] of the caller's, unless it has layouts.
    pub(crate) fn compile_laid_out(
        &self,
        kernel: &Arc<Kernel>,
        schedule: Schedule,
    ) -> Result<Arc<dyn Version>, RunError> {
        match self {
            CpuBackend::Wasm(executor) => Ok(executor.compile_scheduled(kernel, schedule)?),
            CpuBackend::Host(executor) => {
                executor.compile_laid_out(kernel, &layout_of(schedule).to_string())
            }
        }
    }

    /// Whether it runs parts of calls.
    pub(crate) fn runs_parts(&self) -> bool {
        match self {
            CpuBackend::Wasm(executor) => executor.runs_parts(),
            CpuBackend::Host(executor) => executor.runs_parts(),
        }
    }
}

/// Opens the GPU, at first and again when it was lost.
pub(crate) type OpenGpu = Arc<dyn Fn() -> Result<Arc<Gpu>, GpuError> + Send + Sync>;

/// The GPU, which is opened again where it was lost.
pub(crate) struct OpenedGpu {
    executor: ArcSwap<GpuExecutor>,
    open: OpenGpu,
}

impl OpenedGpu {
    fn open(open: OpenGpu) -> Result<OpenedGpu, GpuError> {
        let executor = ArcSwap::from_pointee(GpuExecutor::new(open()?));
        Ok(OpenedGpu { executor, open })
    }

    /// The device that is in use now.
    pub(crate) fn gpu(&self) -> Arc<Gpu> {
        self.executor().gpu().clone()
    }

    /// The same for as long as a look at it takes.
    pub(crate) fn executor(&self) -> arc_swap::Guard<Arc<GpuExecutor>> {
        self.executor.load()
    }

    /// Opens the device anew, if the one in use is lost.
    pub(crate) fn reopen(&self) -> Result<(), GpuError> {
        if self.gpu().is_lost() {
            self.executor.store(Arc::new(GpuExecutor::new((self.open)()?)));
        }
        Ok(())
    }
}

/// Makes code for the GPU, or what stands in for it.
pub(crate) enum GpuBackend {
    /// Code that works on buffers of the GPU.
    Gpu(OpenedGpu),
    /// The caller's, which works on host memory.
    Host(Arc<dyn Executor>),
}

impl GpuBackend {
    pub(crate) fn compile(&self, kernel: &Arc<Kernel>) -> Result<Code, RunError> {
        Ok(match self {
            GpuBackend::Gpu(opened) => Code::Gpu(opened.executor.load().prepare(kernel, None)?),
            GpuBackend::Host(executor) => Code::Host(executor.compile(kernel)?),
        })
    }

    /// Whether it runs parts of calls.
    pub(crate) fn runs_parts(&self) -> bool {
        match self {
            GpuBackend::Gpu(opened) => opened.executor().runs_parts(),
            GpuBackend::Host(executor) => executor.runs_parts(),
        }
    }
}

/// The back ends of a runtime.
pub(crate) struct Backends {
    pub(crate) cpu: CpuBackend,
    /// The GPUs', in the order in which they are asked for.
    pub(crate) gpus: Vec<GpuBackend>,
    /// Why there is no GPU, where there is none.
    pub(crate) no_gpu: Arc<str>,
}

impl Backends {
    /// Opens what the settings ask for, but for the sides that have executors of the caller's.
    pub(crate) fn open(
        settings: &Settings,
        cpu: Option<Arc<dyn Executor>>,
        gpus: Vec<Arc<dyn Executor>>,
        workers: Option<Arc<dyn Workers>>,
        open: Vec<OpenGpu>,
    ) -> Result<Backends, Error> {
        let cpu = match cpu {
            Some(executor) => CpuBackend::Host(executor),
            None => {
                let options = WasmOptions { cache: settings.cache(), workers };
                CpuBackend::Wasm(WasmExecutor::with(options)?)
            }
        };
        let (gpus, no_gpu) = if gpus.is_empty() {
            open_gpus(settings, open)
        } else {
            (gpus.into_iter().map(GpuBackend::Host).collect(), "".into())
        };
        if settings.gpu == GpuUse::Require && gpus.is_empty() {
            let message = format!("a GPU is required, but there is none: {no_gpu}");
            return Err(Error::Setting { name: "gpu".into(), message });
        }
        if gpus.len() > ADAPTERS_MAX {
            let message = format!("{} adapters are more than {ADAPTERS_MAX}", gpus.len());
            return Err(Error::Setting { name: "adapter".into(), message });
        }
        Ok(Backends { cpu, gpus, no_gpu })
    }
}

/// The GPUs, and why there is none.
fn open_gpus(settings: &Settings, mut open: Vec<OpenGpu>) -> (Vec<GpuBackend>, Arc<str>) {
    if settings.gpu == GpuUse::Off {
        return (Vec::new(), "the GPU is switched off (setting `gpu`)".into());
    }
    if open.is_empty() {
        open = asked(settings).into_iter().map(|adapter| opener(settings, adapter)).collect();
    }
    let (mut gpus, mut why) = (Vec::new(), String::new());
    for open in open {
        match OpenedGpu::open(open) {
            Ok(opened) => gpus.push(GpuBackend::Gpu(opened)),
            Err(error) => {
                tracing::warn!(%error, "a GPU cannot be used");
                why = if why.is_empty() { error.to_string() } else { format!("{why}; {error}") };
            }
        }
    }
    (gpus, why.into())
}

/// The names of the adapters that are asked for; no name means the best.
fn asked(settings: &Settings) -> Vec<Option<String>> {
    match settings.adapter.as_deref() {
        None => vec![None],
        Some(ALL_ADAPTERS) => {
            let mut names: Vec<_> = crossover_shaders::adapters()
                .into_iter()
                .map(|found| Some(found.name))
                .take(ADAPTERS_MAX)
                .collect();
            if names.is_empty() {
                names.push(None);
            }
            names
        }
        Some(names) => names.split(';').map(|name| Some(name.trim().to_owned())).collect(),
    }
}

fn opener(settings: &Settings, adapter: Option<String>) -> OpenGpu {
    let sharing = Some(match settings.gpu_memory {
        GpuMemory::Imported => Sharing::Imported,
        GpuMemory::Mapped => Sharing::Mapped,
        GpuMemory::Staged => Sharing::Staged,
    });
    let cache = settings.cache();
    let options = GpuOptions { adapter, sharing, cache, ..GpuOptions::default() };
    Arc::new(move || Gpu::open(&options))
}
