//! A kernel of the GPU: its forms, and the back end that makes it.

use std::sync::Arc;

use crossover_kernels::error::RunError;
use crossover_kernels::exec::{Executor, Version};
use crossover_kernels::ir::Kernel;

use crate::compiled::Compiled;
use crate::device::Gpu;
use crate::emit::Shader;
use crate::lean::Lean;
use crate::schedule::Schedule;
use crate::windows::Windows;

/// The GPU as a back end.
#[derive(Clone, Debug)]
pub struct GpuExecutor {
    gpu: Arc<Gpu>,
}

impl GpuExecutor {
    /// An executor on an open device.
    pub fn new(gpu: Arc<Gpu>) -> GpuExecutor {
        GpuExecutor { gpu }
    }

    /// The device.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Compiles a kernel, as [`Executor::compile`] does, for a schedule if one is given.
    ///
    /// # Errors
    /// As [`Executor::compile`].
    pub fn prepare(
        &self,
        kernel: &Arc<Kernel>,
        schedule: Option<Schedule>,
    ) -> Result<Arc<GpuVersion>, RunError> {
        let caps = self.gpu.capabilities();
        let schedule = schedule.unwrap_or_else(|| Schedule::of(kernel, caps));
        let checked = Arc::new(Compiled::of(&self.gpu, kernel, &schedule)?);
        let lean = Lean::of(kernel, schedule, caps, self.gpu.proves_at_once());
        let windows = Windows::new(schedule);
        Ok(Arc::new(GpuVersion { checked, lean, windows }))
    }
}

impl Executor for GpuExecutor {
    fn name(&self) -> &str {
        "gpu"
    }

    fn compile(&self, kernel: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError> {
        Ok(self.prepare(kernel, None)?)
    }

    fn runs_parts(&self) -> bool {
        true
    }
}

/// A kernel compiled for one device.
#[derive(Debug)]
pub struct GpuVersion {
    pub(crate) checked: Arc<Compiled>,
    pub(crate) lean: Lean,
    pub(crate) windows: Windows,
}

impl GpuVersion {
    /// The kernel.
    pub fn kernel(&self) -> &Arc<Kernel> {
        &self.checked.kernel
    }

    /// The shader that runs it, with its checks.
    pub fn shader(&self) -> &Shader {
        &self.checked.shader
    }

    /// The device that it is compiled for.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.checked.gpu
    }
}
