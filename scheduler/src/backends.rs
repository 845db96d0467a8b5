//! The one list of back ends: what can run kernels on this machine.

use std::sync::Arc;

use arc_swap::ArcSwap;
use crossover_kernels::error::RunError;
use crossover_kernels::exec::{Executor, Version};
use crossover_kernels::ir::Kernel;
use crossover_shaders::{Gpu, GpuError, GpuExecutor, GpuOptions, Sharing};
use crossover_wasm::{Schedule, WasmExecutor, WasmOptions, Workers};

use crate::config::{GpuMemory, GpuUse, Settings};
use crate::error::Error;
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
}

/// The back ends of a runtime.
pub(crate) struct Backends {
    pub(crate) cpu: CpuBackend,
    /// The GPU's, or why there is none.
    pub(crate) gpu: Result<GpuBackend, Arc<str>>,
}

impl Backends {
    /// Opens what the settings ask for, but for the sides that have an executor of the caller's.
    pub(crate) fn open(
        settings: &Settings,
        [cpu, gpu]: [Option<Arc<dyn Executor>>; 2],
        workers: Option<Arc<dyn Workers>>,
        open: Option<OpenGpu>,
    ) -> Result<Backends, Error> {
        let cpu = match cpu {
            Some(executor) => CpuBackend::Host(executor),
            None => {
                let options = WasmOptions { cache: settings.cache(), workers };
                CpuBackend::Wasm(WasmExecutor::with(options)?)
            }
        };
        let gpu = match gpu {
            Some(executor) => Ok(GpuBackend::Host(executor)),
            None => open_gpu(settings, open),
        };
        if let (GpuUse::Require, Err(why)) = (settings.gpu, &gpu) {
            let message = format!("a GPU is required, but there is none: {why}");
            return Err(Error::Setting { name: "gpu".into(), message });
        }
        Ok(Backends { cpu, gpu })
    }
}

/// The GPU, or why there is none.
fn open_gpu(settings: &Settings, open: Option<OpenGpu>) -> Result<GpuBackend, Arc<str>> {
    if settings.gpu == GpuUse::Off {
        return Err("the GPU is switched off (setting `gpu`)".into());
    }
    let open = open.unwrap_or_else(|| {
        let adapter = settings.adapter.clone();
        let sharing = Some(match settings.gpu_memory {
            GpuMemory::Imported => Sharing::Imported,
            GpuMemory::Mapped => Sharing::Mapped,
            GpuMemory::Staged => Sharing::Staged,
        });
        let cache = settings.cache();
        let options = GpuOptions { adapter, sharing, cache, ..GpuOptions::default() };
        Arc::new(move || Gpu::open(&options))
    });
    OpenedGpu::open(open).map(GpuBackend::Gpu).map_err(|error| error.to_string().into())
}
