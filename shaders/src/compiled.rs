//! One form of a kernel compiled for a device: pipelines, and the buffers that every dispatch of it uses again.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossover_kernels::error::RunError;
use crossover_kernels::ir::{CollectiveKind, Kernel};

use crate::device::{DeviceError, Gpu};
use crate::emit::{ADD_SUMS, Binding, FOLD, LEVEL_BYTES, MAIN, Role, SCAN_SUMS, Shader, emit};
use crate::kept::{FormCache, Tried};
use crate::pace::Pace;
use crate::report::Report;
use crate::schedule::Schedule;

/// One compiled form of a kernel: with its checks, or without.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) gpu: Arc<Gpu>,
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) shader: Shader,
    pub(crate) main: Stage,
    pub(crate) tree: Option<Tree>,
    /// Bytes between two blocks of numbers in a buffer.
    pub(crate) numbers_stride: u64,
    /// What no call that is under way uses.
    scratch: Mutex<Vec<Scratch>>,
    /// Submissions so far, and what the last one took, in nanoseconds.
    submissions: AtomicU32,
    last_wall_ns: AtomicU64,
    pub(crate) pace: Pace,
    tried: Tried,
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

/// What a call uses and the next one uses again.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Blocks of numbers, one after another; where they are no immediates.
    pub(crate) numbers: Option<wgpu::Buffer>,
    /// What the blocks hold now.
    numbers_content: Vec<u8>,
    pub(crate) report: Report,
    /// The bind group of the last call, and the buffers in it.
    pub(crate) bound: Option<(Vec<(wgpu::Buffer, u64)>, wgpu::BindGroup)>,
}

/// What is special about a submission.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// No other came before.
    pub(crate) is_first: bool,
    /// The device's clock is looked at.
    pub(crate) is_timed: bool,
}

impl Turn {
    /// Whether the time of the submission says how fast this form is.
    pub(crate) fn tells(self, wall: Duration) -> bool {
        let least = match self {
            Turn { is_first: true, .. } => TELLING_FIRST,
            Turn { is_timed: true, .. } => TIMED_FROM,
            Turn { .. } => Duration::ZERO,
        };
        wall >= least
    }
}

/// Dispatches of one submission at most: each has a block of numbers.
pub(crate) const STEPS_MAX: usize = 64;

/// The device's clock is looked at in the first submission, in one of so many later ones, and in all that
/// take long: looking costs as much as a small dispatch. Where somebody traces, it is looked at in all.
const TIMED_EVERY: u32 = 64;
const TIMED_FROM: Duration = Duration::from_millis(2);

/// Drivers may compile in the first submission, which takes less than this. What takes longer is not run again only to
/// know it better.
const TELLING_FIRST: Duration = Duration::from_millis(250);

impl Compiled {
    /// Compiles a kernel for a device.
    pub(crate) fn of(
        gpu: &Arc<Gpu>,
        kernel: &Arc<Kernel>,
        schedule: &Schedule,
    ) -> Result<Compiled, RunError> {
        let shader = emit(kernel, gpu.capabilities(), schedule)?;
        Compiled::new(gpu.clone(), kernel.clone(), shader, schedule).map_err(|error| {
            error.of_kernel(&kernel.entry.name, &gpu.capabilities().device, "the pipeline")
        })
    }

    fn new(
        gpu: Arc<Gpu>,
        kernel: Arc<Kernel>,
        shader: Shader,
        schedule: &Schedule,
    ) -> Result<Compiled, DeviceError> {
        gpu.healthy()?;
        let numbers_stride = u64::from(shader.params.bytes().max(8))
            .next_multiple_of(u64::from(gpu.capabilities().uniform_alignment.max(16)));
        let (form, tried) =
            gpu.kept().map(|kept| kept.begin(&gpu, &kernel, schedule)).transpose()?.unzip();
        gpu.maybe_crash(&kernel.entry.name);
        let module = create_module(&gpu, &shader)?;
        let cache = form.as_ref().and_then(FormCache::cache);
        let stage = |entry: &str, uses: &dyn Fn(Role) -> bool| {
            create_stage(&gpu, &module, &shader, entry, cache, uses)
        };
        let in_main = |role| !matches!(role, Role::Data | Role::Level);
        let in_tree = |role| matches!(role, Role::Sums | Role::Data | Role::Level);
        let main = stage(MAIN, &in_main)?;
        let tree = match kernel.collective.map(|c| c.kind) {
            None => None,
            Some(CollectiveKind::Reduce) => Some(Tree::Reduce { fold: stage(FOLD, &in_tree)? }),
            Some(CollectiveKind::Scan) if schedule.single_pass == Some(true) => None,
            Some(CollectiveKind::Scan) => Some(Tree::Scan {
                scan_sums: stage(SCAN_SUMS, &in_tree)?,
                add_sums: stage(ADD_SUMS, &in_tree)?,
            }),
        };
        if let (Some(kept), Some(form)) = (gpu.kept(), &form) {
            kept.end(form);
        }
        let version = Compiled {
            gpu,
            kernel,
            shader,
            main,
            tree,
            numbers_stride,
            scratch: Mutex::default(),
            submissions: AtomicU32::new(0),
            last_wall_ns: AtomicU64::new(0),
            pace: Pace::default(),
            tried: tried.unwrap_or_default(),
        };
        // Memory that cannot be had is better known now.
        version.give_back(Scratch::new(&version)?);
        Ok(version)
    }

    /// What a call uses; its own until it is given back.
    pub(crate) fn take_scratch(&self) -> Result<Scratch, DeviceError> {
        let free = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.map_or_else(|| Scratch::new(self), Ok)
    }

    pub(crate) fn give_back(&self, scratch: Scratch) {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }

    /// Begins the next submission.
    pub(crate) fn next_turn(&self) -> Turn {
        let at = self.submissions.fetch_add(1, Ordering::Relaxed);
        let last = Duration::from_nanos(self.last_wall_ns.load(Ordering::Relaxed));
        let is_due = at.is_multiple_of(TIMED_EVERY) || last >= TIMED_FROM;
        let is_asked = is_due || tracing::enabled!(tracing::Level::TRACE);
        Turn { is_first: at == 0, is_timed: is_asked && self.gpu.timestamp_ns().is_some() }
    }

    /// A submission has ended well: it took this long.
    pub(crate) fn note_wall(&self, wall: Duration) {
        self.tried.passed();
        let nanos = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        self.last_wall_ns.store(nanos, Ordering::Relaxed);
    }
}

impl Scratch {
    fn new(version: &Compiled) -> Result<Scratch, DeviceError> {
        let (gpu, shader) = (&version.gpu, &version.shader);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let bytes = version.numbers_stride * STEPS_MAX as u64;
        let numbers = (!shader.immediates).then(|| gpu.create_buffer(bytes, usage)).transpose()?;
        let has_status = shader.bindings.iter().any(|b| b.role == Role::Status);
        let report = Report::new(gpu, has_status)?;
        Ok(Scratch { numbers, numbers_content: Vec::new(), report, bound: None })
    }

    /// Makes the blocks of numbers be these, at most [`STEPS_MAX`].
    pub(crate) fn write_numbers(&mut self, gpu: &Gpu, content: Vec<u8>) {
        if let Some(numbers) = &self.numbers
            && self.numbers_content != content
        {
            gpu.queue().write_buffer(numbers, 0, &content);
            self.numbers_content = content;
        }
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
        // or was proved to need none, for any call or for those that `lean.rs` gives to it; where an invocation goes on after its check has failed, naga's
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
    cache: Option<&wgpu::PipelineCache>,
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
            immediate_size: if shader.immediates { immediate_bytes(shader) } else { 0 },
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
            cache,
        });
        Stage { pipeline, layout }
    };
    gpu.catching(create).map_err(|error| DeviceError::Failed(error.to_string()))
}

/// Bytes of numbers that the commands hold, whichever the entry point.
fn immediate_bytes(shader: &Shader) -> u32 {
    shader.params.bytes().max(LEVEL_BYTES as u32)
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
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    }
}
