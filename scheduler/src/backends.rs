//! The one list of back ends: what can run kernels on this machine.

use std::sync::Arc;

use crossover_kernels::error::RunError;
use crossover_kernels::exec::Executor;
use crossover_kernels::ir::Kernel;
use crossover_shaders::{Gpu, GpuExecutor, GpuOptions};
use crossover_wasm::{WasmExecutor, WasmOptions, Workers};

use crate::config::{GpuUse, Settings};
use crate::error::Error;
use crate::version::Code;

/// Something that makes code of kernels.
#[derive(Clone)]
pub(crate) enum Backend {
    /// Code that works on host memory.
    Host(Arc<dyn Executor>),
    /// Code that works on copies on the GPU.
    Gpu(GpuExecutor),
}

/// The back ends of a runtime.
pub(crate) struct Backends {
    pub(crate) cpu: Backend,
    /// The GPU's, or why there is none.
    pub(crate) gpu: Result<Backend, Arc<str>>,
}

impl Backend {
    pub(crate) fn compile(&self, kernel: &Arc<Kernel>) -> Result<Code, RunError> {
        Ok(match self {
            Backend::Host(executor) => Code::Host(executor.compile(kernel)?),
            Backend::Gpu(executor) => Code::Gpu(executor.prepare(kernel, None)?),
        })
    }
}

impl Backends {
    /// Opens what the settings ask for, but for the sides that have an executor of the caller's.
    pub(crate) fn open(
        settings: &Settings,
        [cpu, gpu]: [Option<Arc<dyn Executor>>; 2],
        workers: Option<Arc<dyn Workers>>,
    ) -> Result<Backends, Error> {
        let cpu = match cpu {
            Some(executor) => Backend::Host(executor),
            None => {
                let options = WasmOptions { cache: settings.cache(), workers };
                Backend::Host(Arc::new(WasmExecutor::with(options)?))
            }
        };
        let gpu = match gpu {
            Some(executor) => Ok(Backend::Host(executor)),
            None => open_gpu(settings),
        };
        if let (GpuUse::Require, Err(why)) = (settings.gpu, &gpu) {
            let message = format!("a GPU is required, but there is none: {why}");
            return Err(Error::Setting { name: "gpu".into(), message });
        }
        Ok(Backends { cpu, gpu })
    }
}

/// The GPU, or why there is none.
fn open_gpu(settings: &Settings) -> Result<Backend, Arc<str>> {
    match settings.gpu {
        GpuUse::Off => Err("the GPU is switched off (setting `gpu`)".into()),
        GpuUse::Auto | GpuUse::Require => {
            let adapter = settings.adapter.clone();
            Gpu::open(&GpuOptions { adapter, ..GpuOptions::default() })
                .map(|gpu| Backend::Gpu(GpuExecutor::new(gpu)))
                .map_err(|error| error.to_string().into())
        }
    }
}
