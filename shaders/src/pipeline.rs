//! A kernel compiled for a device: pipelines, and the buffers that every dispatch of it uses again.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use crossover_kernels::error::RunError;
use crossover_kernels::exec::{Executor, Version};
use crossover_kernels::ir::{CollectiveKind, Kernel};

use crate::device::{DeviceError, Gpu};
use crate::emit::{ADD_SUMS, Binding, FOLD, MAIN, Role, SCAN_SUMS, STATUS_BYTES, Shader, emit};
use crate::schedule::Schedule;

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
        let shader = emit(kernel, caps, &schedule)?;
        GpuVersion::new(self.gpu.clone(), kernel.clone(), shader)
            .map(Arc::new)
            .map_err(|error| error.of_kernel(&kernel.entry.name, &caps.device, "the pipeline"))
    }
}

impl Executor for GpuExecutor {
    fn name(&self) -> &str {
        "gpu"
    }

    fn compile(&self, kernel: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError> {
        Ok(self.prepare(kernel, None)?)
    }
}

/// A kernel compiled for one device.
#[derive(Debug)]
pub struct GpuVersion {
    pub(crate) gpu: Arc<Gpu>,
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) shader: Shader,
    pub(crate) main: Stage,
    pub(crate) tree: Option<Tree>,
    /// Bytes between two blocks of numbers.
    pub(crate) params_stride: u64,
    pub(crate) scratch: Mutex<Scratch>,
}

/// A pipeline and the layout of its bindings.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

/// The further passes of a collective; all bind alike.
#[derive(Debug)]
pub(crate) enum Tree {
    Reduce { fold: Stage },
    Scan { scan_sums: Stage, add_sums: Stage },
}

/// What a dispatch uses and the next one uses again.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Blocks of numbers, one after another.
    pub(crate) params: wgpu::Buffer,
    /// What the blocks hold now.
    pub(crate) params_content: Vec<u8>,
    pub(crate) status: Option<wgpu::Buffer>,
    /// Whether the status still holds an earlier failure.
    pub(crate) status_is_set: bool,
    /// Whether the dispatch at hand has submitted anything.
    pub(crate) has_started: bool,
    /// Status and timestamps on their way to the host.
    pub(crate) readback: wgpu::Buffer,
    pub(crate) timer: Option<Timer>,
    /// The bind group of the last dispatch, and the buffers in it.
    pub(crate) bound: Option<(Vec<(wgpu::Buffer, u64)>, wgpu::BindGroup)>,
}

#[derive(Debug)]
pub(crate) struct Timer {
    pub(crate) queries: wgpu::QuerySet,
    pub(crate) resolved: wgpu::Buffer,
}

/// Bytes of the two timestamps of a pass.
pub(crate) const TIMER_BYTES: u64 = 16;
/// Dispatches of one submission at most: each has a block of numbers.
pub(crate) const PARAMS_BLOCKS: usize = 64;

impl GpuVersion {
    fn new(gpu: Arc<Gpu>, kernel: Arc<Kernel>, shader: Shader) -> Result<GpuVersion, DeviceError> {
        gpu.healthy()?;
        let params_stride = u64::from(shader.params.bytes().max(8))
            .next_multiple_of(u64::from(gpu.capabilities().uniform_alignment.max(16)));
        let module = create_module(&gpu, &shader)?;
        let stage = |entry: &str, uses: &dyn Fn(Role) -> bool| {
            create_stage(&gpu, &module, &shader, entry, uses)
        };
        let in_main = |role| !matches!(role, Role::Data | Role::Level);
        let in_tree = |role| matches!(role, Role::Sums | Role::Data | Role::Level);
        let main = stage(MAIN, &in_main)?;
        let tree = match kernel.collective.map(|c| c.kind) {
            None => None,
            Some(CollectiveKind::Reduce) => Some(Tree::Reduce { fold: stage(FOLD, &in_tree)? }),
            Some(CollectiveKind::Scan) => Some(Tree::Scan {
                scan_sums: stage(SCAN_SUMS, &in_tree)?,
                add_sums: stage(ADD_SUMS, &in_tree)?,
            }),
        };
        let has_status = shader.bindings.iter().any(|b| b.role == Role::Status);
        let scratch = Mutex::new(Scratch::new(&gpu, params_stride, has_status)?);
        Ok(GpuVersion { gpu, kernel, shader, main, tree, params_stride, scratch })
    }

    /// The kernel.
    pub fn kernel(&self) -> &Arc<Kernel> {
        &self.kernel
    }

    /// The shader that runs it.
    pub fn shader(&self) -> &Shader {
        &self.shader
    }

    /// The device that it is compiled for.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }
}

impl Scratch {
    fn new(gpu: &Gpu, params_stride: u64, has_status: bool) -> Result<Scratch, DeviceError> {
        let params = gpu.create_buffer(
            params_stride * PARAMS_BLOCKS as u64,
            wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        )?;
        let status_usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        let status =
            has_status.then(|| gpu.create_buffer(STATUS_BYTES, status_usage)).transpose()?;
        let readback = gpu.create_buffer(
            STATUS_BYTES + TIMER_BYTES,
            wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        )?;
        let timer = gpu.timestamp_ns().map(|_| Timer::new(gpu)).transpose()?;
        Ok(Scratch {
            params,
            params_content: Vec::new(),
            status,
            status_is_set: false,
            has_started: false,
            readback,
            timer,
            bound: None,
        })
    }

    /// Makes the blocks of numbers be these, at most [`PARAMS_BLOCKS`].
    pub(crate) fn write_params(&mut self, gpu: &Gpu, content: Vec<u8>) {
        if self.params_content != content {
            gpu.queue().write_buffer(&self.params, 0, &content);
            self.params_content = content;
        }
    }
}

impl Timer {
    fn new(gpu: &Gpu) -> Result<Timer, DeviceError> {
        let queries = gpu
            .catching(|| {
                gpu.device().create_query_set(&wgpu::QuerySetDescriptor {
                    label: None,
                    ty: wgpu::QueryType::Timestamp,
                    count: 2,
                })
            })
            .map_err(|error| DeviceError::Failed(error.to_string()))?;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        Ok(Timer { queries, resolved: gpu.create_buffer(TIMER_BYTES, usage)? })
    }
}

fn create_module(gpu: &Gpu, shader: &Shader) -> Result<wgpu::ShaderModule, DeviceError> {
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Naga(Cow::Owned(shader.module.clone())),
    };
    // Divisions keep naga's guard for the smallest integer by -1.
    let checks = wgpu::ShaderRuntimeChecks {
        int_div_checks: true,
        bounds_checks: shader.goes_on,
        ..wgpu::ShaderRuntimeChecks::unchecked()
    };
    gpu.catching(|| {
        // SAFETY: every access of a verified, optimised kernel stands behind a check of its index
        // or was proved to need none; where an invocation goes on after its check has failed, naga's
        // bounds checks are on. What the emitter adds itself is guarded by the extents that
        // the host writes. Unbounded loops count their passages and end.
        unsafe { gpu.device().create_shader_module_trusted(descriptor, checks) }
    })
    .map_err(|error| DeviceError::Failed(error.to_string()))
}

fn create_stage(
    gpu: &Gpu,
    module: &wgpu::ShaderModule,
    shader: &Shader,
    entry: &str,
    uses: &dyn Fn(Role) -> bool,
) -> Result<Stage, DeviceError> {
    let entries: Vec<wgpu::BindGroupLayoutEntry> =
        shader.bindings.iter().filter(|b| uses(b.role)).map(layout_entry).collect();
    let create = || {
        let device = gpu.device();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: None,
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&pipeline_layout),
            module,
            entry_point: Some(entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Those of collectives are written before they are read.
                zero_initialize_workgroup_memory: shader.shares,
                ..wgpu::PipelineCompilationOptions::default()
            },
            cache: None,
        });
        Stage { pipeline, layout }
    };
    gpu.catching(create).map_err(|error| DeviceError::Failed(error.to_string()))
}

fn layout_entry(binding: &Binding) -> wgpu::BindGroupLayoutEntry {
    let uniform = matches!(binding.role, Role::Params | Role::Level);
    let ty = if uniform {
        wgpu::BufferBindingType::Uniform
    } else {
        wgpu::BufferBindingType::Storage { read_only: !binding.writable }
    };
    wgpu::BindGroupLayoutEntry {
        binding: binding.index,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: uniform, min_binding_size: None },
        count: None,
    }
}
