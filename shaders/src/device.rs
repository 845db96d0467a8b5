//! The device: finding an adapter, opening it, waiting for it, and learning that it is gone.
//!
//! Nothing here panics for want of a device: no loader, no driver and no adapter are a [`GpuError`],
//! and a device that is lost later says so in the error of the call that notices.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crossover_kernels::error::RunError;
use crossover_kernels::exec::Deadline;
use crossover_memory::Stream;

use crate::buffer::Pool;
use crate::import::Importer;
use crate::kept::Kept;
use crate::legality::Capabilities;
use crate::timeline::{Timeline, Waited};
use crate::underway::Trust;

/// How long a wait by polling spins before it sleeps: a tiny dispatch takes less.
const SPIN: Duration = Duration::from_micros(200);
/// The longest such sleep, and how long it is in parts of the time waited so far.
const SLEEP_MAX: Duration = Duration::from_millis(2);
const SLEEP_PART: u32 = 16;
/// How long a wait sleeps before it looks whether the device is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a device that has failed is waited for before its calls run elsewhere.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How long after its deadline a dispatch may still end before the device is given up for hung.
const GRACE: Duration = Duration::from_millis(500);

/// A device that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// There is no adapter at all, or none that fits.
    #[error("{}", no_adapter(wanted.as_deref(), found))]
    NoAdapter {
        /// The part of a name that was asked for.
        wanted: Option<String>,
        /// The names of the adapters there are.
        found: Vec<String>,
    },
    /// The adapter is there, but its driver gives no device.
    #[error("the driver of {adapter} refuses to open it: {message}")]
    Refused {
        /// The name of the adapter.
        adapter: String,
        /// What the driver says.
        message: String,
    },
}

fn no_adapter(wanted: Option<&str>, found: &[String]) -> String {
    match wanted {
        Some(wanted) if !found.is_empty() => {
            format!("no Vulkan adapter is named like `{wanted}`; there are: {}", found.join(", "))
        }
        _ => "no Vulkan adapter was found: install the driver of the graphics card and the Vulkan \
              loader (Debian: libvulkan1), or the software adapter llvmpipe (Debian: \
              mesa-vulkan-drivers), and see that VK_DRIVER_FILES, if it is set, names a driver"
            .to_owned(),
    }
}

/// Which adapter to open, and what to use of it.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Part of the adapter's name, in any case; without it, the fastest kind there is.
    pub adapter: Option<String>,
    /// Pretend that no buffer can be larger than this.
    pub buffer_bytes_max: Option<u64>,
    /// Pretend that shaders see no more of a buffer at once than this.
    pub binding_bytes_max: Option<u64>,
    /// Pretend that no shader can bind more storage buffers than this.
    pub storage_buffers_max: Option<u32>,
    /// Pretend that no dispatch has more workgroups along an axis.
    pub workgroups_per_axis_max: Option<u32>,
    /// Pretend that there are no 64-bit types.
    pub without_wide_types: bool,
    /// Pretend that the adapter measures no time.
    pub without_timestamps: bool,
    /// Pretend that commands hold no numbers.
    pub without_immediates: bool,
    /// Prove that checks hold at the first call of a shape, and compile the kernel without them at once.
    pub proves_at_once: bool,
    /// Pretend that the driver ends an invocation's loops after so many passages.
    pub loop_passages_max: Option<u32>,
    /// Fail in this way, to see what comes of it.
    pub fault: Option<Fault>,
    /// Share host memory in no better way than this.
    pub sharing: Option<Sharing>,
    /// Take the device for one whose own memory is faster than the host's, or not; what its driver says by
    /// default.
    pub own_memory: Option<bool>,
    /// A folder that keeps compiled pipelines from process to process, and notes of what the driver has
    /// crashed on; none by default.
    pub cache: Option<PathBuf>,
}

/// A failure to be had on purpose: each happens once, at the submission or the allocation of this number, from
/// 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device is lost before the submission.
    LostBefore(u32),
    /// The device is lost behind the submission, whose result nobody knows.
    LostAfter(u32),
    /// The driver reports an error at the submission.
    Invalid(u32),
    /// There is no memory for a buffer.
    Memory(u32),
    /// The driver crashes on the first pipeline of a kernel of this name, and takes the process with it.
    Crash(&'static str),
}

/// How a device gets at what is in host memory; the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sharing {
    /// It works on host memory in place (`VK_EXT_external_memory_host`): nothing is copied.
    Imported,
    /// It has copies that the host writes and reads directly: copied once on the way.
    Mapped,
    /// It has copies that are moved through staging memory: copied twice on the way.
    Staged,
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sharing::Imported => "works on host memory in place",
            Sharing::Mapped => "has copies that the host reaches directly",
            Sharing::Staged => "has copies that are moved through staging memory",
        })
    }
}

/// What kind of machine an adapter is; the fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AdapterKind {
    /// A card with memory of its own.
    Discrete,
    /// Shares memory with the CPU.
    Integrated,
    /// A part of a card, given to a virtual machine.
    Virtual,
    /// Unknown.
    Other,
    /// A driver that computes on the CPU.
    Software,
}

impl AdapterKind {
    /// Whether such an adapter has memory of its own.
    fn has_own_memory(self) -> bool {
        !matches!(self, AdapterKind::Integrated | AdapterKind::Software)
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AdapterKind::Discrete => "discrete",
            AdapterKind::Integrated => "integrated",
            AdapterKind::Virtual => "virtual",
            AdapterKind::Other => "unknown kind",
            AdapterKind::Software => "software",
        })
    }
}

/// An adapter, as its driver describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterInfo {
    /// The name of the adapter.
    pub name: String,
    /// The name and the version of the driver.
    pub driver: String,
    /// What kind of machine it is.
    pub kind: AdapterKind,
    /// Whether it measures the time that shaders take.
    pub timestamps: bool,
    /// How it gets at host memory.
    pub sharing: Sharing,
    /// Why not in a better way; empty where there is none.
    pub sharing_why: String,
    /// Whether it has memory of its own, and reaches that of the host across a bus.
    pub own_memory: bool,
    /// Bytes of its memory; `None` where its driver does not tell.
    pub memory_bytes: Option<u64>,
    /// What its shaders can do.
    pub capabilities: Capabilities,
}

impl AdapterInfo {
    fn of(adapter: &wgpu::Adapter) -> AdapterInfo {
        let info = adapter.get_info();
        let (features, limits) = (adapter.features(), adapter.limits());
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
            wgpu::DeviceType::Cpu => AdapterKind::Software,
            wgpu::DeviceType::Other => AdapterKind::Other,
        };
        let capabilities = Capabilities {
            device: info.name.clone(),
            is_software: kind == AdapterKind::Software,
            int64: features.contains(wgpu::Features::SHADER_INT64),
            float64: features.contains(wgpu::Features::SHADER_F64),
            float16: features.contains(wgpu::Features::SHADER_F16),
            subgroup_sizes: features
                .contains(wgpu::Features::SUBGROUP)
                .then_some([info.subgroup_min_size, info.subgroup_max_size]),
            workgroup_invocations_max: limits
                .max_compute_invocations_per_workgroup
                .min(limits.max_compute_workgroup_size_x),
            workgroups_per_axis_max: limits.max_compute_workgroups_per_dimension,
            workgroup_size_max: [
                limits.max_compute_workgroup_size_x,
                limits.max_compute_workgroup_size_y,
                limits.max_compute_workgroup_size_z,
            ],
            workgroup_bytes_max: limits.max_compute_workgroup_storage_size,
            storage_buffers_max: limits.max_storage_buffers_per_shader_stage,
            storage_buffer_bytes_max: limits
                .max_storage_buffer_binding_size
                .min(limits.max_buffer_size),
            buffer_bytes_max: limits.max_buffer_size,
            storage_alignment: limits.min_storage_buffer_offset_alignment,
            uniform_alignment: limits.min_uniform_buffer_offset_alignment,
            loop_passages_max: cuts_loops(&info).then_some(LOOP_PASSAGES_MAX),
            immediate_bytes_max: match features.contains(wgpu::Features::IMMEDIATES) {
                true => limits.max_immediate_size,
                false => 0,
            },
        };
        let (sharing, sharing_why) = best_sharing(adapter, kind);
        AdapterInfo {
            sharing,
            sharing_why: sharing_why.to_owned(),
            own_memory: kind.has_own_memory(),
            memory_bytes: Importer::device_memory_bytes(adapter),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            name: info.name,
            kind,
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            capabilities,
        }
    }

    /// Whether it works on host memory alone, so that nothing is ever copied.
    ///
    /// ```
    /// use crossover_shaders::{Sharing, adapters};
    /// for adapter in adapters().iter().filter(|adapter| adapter.is_in_place()) {
    ///     assert_eq!(adapter.sharing, Sharing::Imported);
    /// }
    /// ```
    pub fn is_in_place(&self) -> bool {
        self.sharing == Sharing::Imported && !self.own_memory
    }

    /// Whether the adapter computes on the CPU.
    ///
    /// ```
    /// use crossover_shaders::{AdapterKind, adapters};
    /// for adapter in adapters().iter().filter(|adapter| adapter.is_software()) {
    ///     assert_ne!(adapter.kind, AdapterKind::Discrete);
    /// }
    /// ```
    pub fn is_software(&self) -> bool {
        self.kind == AdapterKind::Software
    }
}

/// What llvmpipe lets an invocation loop before Mesa 23.
const LOOP_PASSAGES_MAX: u32 = 65_535;

/// Whether the driver ends long loops in silence: Mesa's llvmpipe did before version 23.
fn cuts_loops(info: &wgpu::AdapterInfo) -> bool {
    let version = info.driver_info.strip_prefix("Mesa ").and_then(|text| text.split('.').next());
    let major = version.and_then(|major| major.parse::<u32>().ok());
    info.driver == "llvmpipe" && major.is_some_and(|major| major < 23)
}

/// The best way for an adapter to get at host memory, and why there is no better one.
fn best_sharing(adapter: &wgpu::Adapter, kind: AdapterKind) -> (Sharing, &'static str) {
    if Importer::is_supported(adapter) {
        (Sharing::Imported, "")
    } else if kind.has_own_memory() {
        // What the host could map of the device's memory it reads very slowly.
        (Sharing::Staged, "its driver has no VK_EXT_external_memory_host")
    } else if adapter.features().contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS) {
        (Sharing::Mapped, "its driver has no VK_EXT_external_memory_host")
    } else {
        (Sharing::Staged, "its driver neither imports host memory nor maps that of the device")
    }
}

/// The adapters of this machine; none where there is no loader or no driver.
///
/// ```
/// for adapter in crossover_shaders::adapters() {
///     assert!(!adapter.name.is_empty());
///     println!("{} ({})", adapter.name, adapter.driver);
/// }
/// ```
pub fn adapters() -> Vec<AdapterInfo> {
    enumerate().iter().map(AdapterInfo::of).collect()
}

fn enumerate() -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::VULKAN;
    descriptor.flags = wgpu::InstanceFlags::empty();
    let instance = wgpu::Instance::new(descriptor);
    pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN))
}

/// An open device.
#[derive(Debug)]
pub struct Gpu {
    info: AdapterInfo,
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// Nanoseconds of a timestamp's unit, where there are timestamps.
    timestamp_ns: Option<f64>,
    health: Arc<Health>,
    pool: Mutex<Pool>,
    importer: Option<Importer>,
    kept: Option<Kept>,
    /// Where the driver has them, waits go through this.
    timeline: Option<Timeline>,
    stream: Stream,
    proves_at_once: bool,
    fault: Option<Fault>,
    submissions: AtomicU32,
    allocations: AtomicU32,
    /// Buffers that the host has mapped are in no submission: held for writing while one is.
    mapping: RwLock<()>,
}

/// A submission, to wait for.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    index: wgpu::SubmissionIndex,
    /// What the timeline reaches when it is done.
    value: Option<u64>,
}

/// What the device's callbacks report.
#[derive(Debug, Default)]
struct Health {
    lost: AtomicBool,
    /// Whether it was given up while it worked, and may still be at it.
    abandoned: AtomicBool,
    /// Errors so far.
    failures: AtomicU64,
    /// The first error that no call has been told of.
    error: Mutex<Option<String>>,
}

impl Health {
    fn record(&self, message: String) {
        tracing::warn!(message, "the GPU reports an error");
        self.failures.fetch_add(1, Ordering::AcqRel);
        lock(&self.error).get_or_insert(message);
    }
}

/// Why the device did not do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// There is not enough memory.
    Memory {
        /// Bytes that were needed.
        needed: u64,
        /// Bytes that one buffer can have.
        limit: u64,
    },
    /// The deadline passed; this is the time that was allowed.
    Deadline(Duration),
    /// The device failed, or is gone.
    Failed(String),
    /// It is better not asked to do it.
    Refused(String),
}

impl DeviceError {
    /// The error of a kernel's run that needed `what`.
    pub fn of_kernel(self, kernel: &str, device: &str, what: &str) -> RunError {
        let (kernel, device) = (kernel.to_owned(), device.to_owned());
        match self {
            DeviceError::Memory { needed, limit } => {
                RunError::Memory { kernel, device, what: what.to_owned(), needed, limit }
            }
            DeviceError::Deadline(limit) => RunError::Deadline { kernel, limit },
            DeviceError::Failed(message) => RunError::Device { kernel, device, message },
            DeviceError::Refused(what) => RunError::Unsupported { kernel, device, what },
        }
    }
}

impl Gpu {
    /// Opens an adapter with all its limits.
    ///
    /// # Errors
    /// [`GpuError::NoAdapter`] where none fits, [`GpuError::Refused`] where its driver fails.
    ///
    /// ```
    /// use crossover_shaders::{Gpu, GpuError, GpuOptions};
    /// let none = GpuOptions { adapter: Some("no such card".into()), ..GpuOptions::default() };
    /// let error = Gpu::open(&none).expect_err("no name has this in it");
    /// assert!(matches!(error, GpuError::NoAdapter { .. }), "{error}");
    /// ```
    pub fn open(options: &GpuOptions) -> Result<Arc<Gpu>, GpuError> {
        let adapter = choose(options.adapter.as_deref())?;
        let mut info = AdapterInfo::of(&adapter);
        let wide = wgpu::Features::SHADER_INT64 | wgpu::Features::SHADER_F64;
        let others = wgpu::Features::TIMESTAMP_QUERY
            | wgpu::Features::IMMEDIATES
            | wgpu::Features::SUBGROUP
            | wgpu::Features::PIPELINE_CACHE;
        let mut features = adapter.features() & (wide | others);
        let caps = &mut info.capabilities;
        if options.without_wide_types {
            features.remove(wide);
            (caps.int64, caps.float64) = (false, false);
        }
        if options.without_timestamps {
            features.remove(wgpu::Features::TIMESTAMP_QUERY);
            info.timestamps = false;
        }
        info.own_memory = options.own_memory.unwrap_or(info.own_memory);
        if let Some(limit) = options.sharing.filter(|limit| *limit > info.sharing) {
            (info.sharing, info.sharing_why) = (limit, "the settings want no better".to_owned());
        }
        if info.sharing == Sharing::Mapped {
            features |= adapter.features() & wgpu::Features::MAPPABLE_PRIMARY_BUFFERS;
        }
        caps.loop_passages_max = options.loop_passages_max.or(caps.loop_passages_max);
        if options.without_immediates {
            caps.immediate_bytes_max = 0;
        }
        if let Some(bytes) = options.buffer_bytes_max {
            caps.buffer_bytes_max = caps.buffer_bytes_max.min(bytes);
        }
        let bindable = options.binding_bytes_max.unwrap_or(u64::MAX).min(caps.buffer_bytes_max);
        caps.storage_buffer_bytes_max = caps.storage_buffer_bytes_max.min(bindable);
        if let Some(buffers) = options.storage_buffers_max {
            caps.storage_buffers_max = caps.storage_buffers_max.min(buffers);
        }
        if let Some(workgroups) = options.workgroups_per_axis_max {
            caps.workgroups_per_axis_max = caps.workgroups_per_axis_max.min(workgroups);
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: None,
            required_features: features,
            required_limits: adapter.limits(),
            experimental_features: wgpu::ExperimentalFeatures::disabled(),
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        };
        let (device, queue, importer) = open(&adapter, &descriptor, &mut info)?;
        let health = Arc::new(Health::default());
        let reports = health.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            reports.record(error.to_string());
        }));
        let reports = health.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                reports.lost.store(true, Ordering::Release);
                reports.record(format!("the device is lost: {message}"));
            }
        });
        let timestamp_ns = info.timestamps.then(|| f64::from(queue.get_timestamp_period()));
        tracing::debug!(name = info.name, driver = info.driver, "opened a GPU");
        let pool = Mutex::new(Pool::default());
        let timeline = Timeline::new(&adapter, &device);
        let stream = Stream::new();
        let gives = features.contains(wgpu::Features::PIPELINE_CACHE);
        let kept = options.cache.clone().map(|folder| Kept::new(folder, gives));
        Ok(Arc::new(Gpu {
            info,
            device,
            queue,
            timestamp_ns,
            health,
            pool,
            importer,
            kept,
            timeline,
            stream,
            proves_at_once: options.proves_at_once,
            fault: options.fault,
            submissions: AtomicU32::new(0),
            allocations: AtomicU32::new(0),
            mapping: RwLock::new(()),
        }))
    }

    /// The adapter, with the limits that are in force.
    ///
    /// ```
    /// use crossover_shaders::{Gpu, GpuOptions};
    /// if let Ok(gpu) = Gpu::open(&GpuOptions::default()) {
    ///     println!("{} shares host memory: {}", gpu.info().name, gpu.info().sharing);
    /// #   assert_eq!(gpu.info().sharing, gpu.sharing());
    /// }
    /// ```
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// What its shaders can do.
    ///
    /// ```
    /// use crossover_shaders::{Gpu, GpuOptions};
    /// if let Ok(gpu) = Gpu::open(&GpuOptions::default()) {
    ///     assert!(gpu.capabilities().storage_buffers_max >= 4);
    /// }
    /// ```
    pub fn capabilities(&self) -> &Capabilities {
        &self.info.capabilities
    }

    /// Whether the device is gone: nothing runs on it any more.
    ///
    /// ```
    /// use crossover_shaders::{Gpu, GpuOptions};
    /// if let Ok(gpu) = Gpu::open(&GpuOptions::default()) {
    ///     assert!(!gpu.is_lost(), "it has just been opened");
    /// }
    /// ```
    pub fn is_lost(&self) -> bool {
        self.health.lost.load(Ordering::Acquire)
    }

    /// How it gets at host memory.
    ///
    /// ```
    /// use crossover_shaders::{Gpu, GpuOptions, Sharing};
    /// let staged = GpuOptions { sharing: Some(Sharing::Staged), ..GpuOptions::default() };
    /// if let Ok(gpu) = Gpu::open(&staged) {
    ///     assert_eq!(gpu.sharing(), Sharing::Staged);
    /// }
    ///
    /// ```
    pub fn sharing(&self) -> Sharing {
        self.info.sharing
    }

    pub(crate) fn importer(&self) -> Option<&Importer> {
        self.importer.as_ref()
    }

    /// Pipelines from process to process, where a folder is set.
    pub(crate) fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    /// Crashes, if a kernel of this name is to on purpose.
    pub(crate) fn maybe_crash(&self, kernel: &str) {
        if matches!(self.fault, Some(Fault::Crash(name)) if name == kernel) {
            std::process::abort();
        }
    }

    /// The order in which it works: claims of calls on it are of this stream.
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// Whether calls are proved to need no checks when they come first, not later.
    pub(crate) fn proves_at_once(&self) -> bool {
        self.proves_at_once
    }

    /// How many errors it has reported so far.
    pub(crate) fn failures(&self) -> u64 {
        self.health.failures.load(Ordering::Acquire)
    }

    /// Its state now: taken before a call looks at what it is to work on, for [`crate::Underway::trusts`].
    pub fn trust(&self) -> Trust {
        Trust(self.failures())
    }

    /// Whether it was given up while it worked, and may still be at it.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.health.abandoned.load(Ordering::Acquire)
    }

    /// A call has failed: those that were given to the device before this cannot be trusted.
    pub(crate) fn distrust(&self) {
        self.health.failures.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn mapping(&self) -> &RwLock<()> {
        &self.mapping
    }

    pub(crate) fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// To write buffers; commands go through [`Gpu::submit`].
    pub(crate) fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    pub(crate) fn timestamp_ns(&self) -> Option<f64> {
        self.timestamp_ns
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        lock(&self.pool)
    }

    /// Fails if the device is gone or has reported an error since it was last asked.
    pub(crate) fn healthy(&self) -> Result<(), DeviceError> {
        if let Some(message) = lock(&self.health.error).take() {
            return Err(DeviceError::Failed(message));
        }
        if self.is_lost() {
            return Err(DeviceError::Failed("the device was lost earlier".to_owned()));
        }
        Ok(())
    }

    /// Hands commands to the device, with all that was written to buffers before.
    pub(crate) fn submit(&self, commands: Option<wgpu::CommandBuffer>) -> Submission {
        let at = self.submissions.fetch_add(1, Ordering::Relaxed);
        if self.fault == Some(Fault::LostBefore(at)) {
            self.lose();
        }
        if self.fault == Some(Fault::Invalid(at)) {
            self.health.record("an error on purpose".to_owned());
        }
        let submission = self.hand_over(commands);
        if self.fault == Some(Fault::LostAfter(at)) {
            // A device that is really lost does nothing any more.
            self.drain();
            self.lose();
        }
        submission
    }

    /// Loses the device on purpose.
    fn lose(&self) {
        self.device.destroy();
        self.health.lost.store(true, Ordering::Release);
        self.health.record("the device is lost on purpose".to_owned());
    }

    fn hand_over(&self, commands: Option<wgpu::CommandBuffer>) -> Submission {
        match &self.timeline {
            Some(timeline) => {
                let (index, value) = timeline.submit(&self.queue, commands);
                Submission { index, value: Some(value) }
            }
            None => Submission { index: self.queue.submit(commands), value: None },
        }
    }

    /// Waits until a submission is done and those who wait for mappings have been called. Where that takes
    /// longer than allowed, the call has failed even if the work ends a little later; where it does not, the
    /// device is given up.
    pub(crate) fn wait(
        &self,
        submission: &Submission,
        deadline: Option<Deadline>,
    ) -> Result<(), DeviceError> {
        self.wait_for_work(submission, deadline)?;
        // It is done, or about to be in wgpu's eyes.
        let submission_index = Some(submission.index.clone());
        let done = wgpu::PollType::Wait { submission_index, timeout: None };
        self.device.poll(done).map_err(|error| DeviceError::Failed(error.to_string()))?;
        self.healthy()
    }

    /// The same where nobody waits for a mapping.
    pub(crate) fn wait_for_work(
        &self,
        submission: &Submission,
        deadline: Option<Deadline>,
    ) -> Result<(), DeviceError> {
        // Whatever else has gone wrong: while the device works, nobody may touch what it works on.
        match (&self.timeline, submission.value) {
            (Some(timeline), Some(value)) => self.wait_for_value(timeline, value, deadline)?,
            _ => self.wait_by_polling(deadline)?,
        }
        self.healthy()?;
        match deadline.filter(Deadline::has_passed) {
            Some(deadline) => Err(DeviceError::Deadline(deadline.limit)),
            None => Ok(()),
        }
    }

    /// Waits until the device does nothing any more that it has been given so far.
    pub fn drain(&self) {
        if let Some(timeline) = &self.timeline {
            let deadline = Deadline::after(DRAIN_MAX);
            // A device that fails to is lost, which its next call will see.
            let _ = self.wait_for_value(timeline, timeline.last(), Some(deadline));
        }
    }

    fn wait_for_value(
        &self,
        timeline: &Timeline,
        value: u64,
        deadline: Option<Deadline>,
    ) -> Result<(), DeviceError> {
        loop {
            // A device that was given up in the meantime reaches nothing.
            if self.is_lost() {
                return self.healthy();
            }
            let left = deadline
                .map(|deadline| (deadline.at + GRACE).saturating_duration_since(Instant::now()));
            let slice = left.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN);
            match timeline.wait(value, slice).map_err(DeviceError::Failed)? {
                Waited::Done => return Ok(()),
                Waited::TimedOut => {}
            }
            if let Some(deadline) = deadline
                && left.is_some_and(|left| left <= slice)
            {
                self.abandon();
                return Err(DeviceError::Deadline(deadline.limit));
            }
        }
    }

    /// For drivers without timelines. Not a wait of wgpu's with a timeout, which panics where it times out
    /// while another thread finishes the queue (gfx-rs/wgpu#9958).
    fn wait_by_polling(&self, deadline: Option<Deadline>) -> Result<(), DeviceError> {
        let is_done = Arc::new(AtomicBool::new(false));
        let done = is_done.clone();
        self.queue.on_submitted_work_done(move || done.store(true, Ordering::Release));
        let start = Instant::now();
        while !is_done.load(Ordering::Acquire) {
            let polled = self.device.poll(wgpu::PollType::Poll);
            polled.map_err(|error| DeviceError::Failed(error.to_string()))?;
            self.healthy()?;
            if let Some(deadline) = deadline.filter(Deadline::has_passed)
                && deadline.at.elapsed() > GRACE
            {
                self.abandon();
                return Err(DeviceError::Deadline(deadline.limit));
            }
            match start.elapsed() {
                waited if waited < SPIN => std::thread::yield_now(),
                waited => std::thread::sleep((waited / SLEEP_PART).min(SLEEP_MAX)),
            }
        }
        Ok(())
    }

    /// Gives up a device that does not come back. Dropping it would wait for it, so a handle is
    /// kept for ever.
    fn abandon(&self) {
        self.health.abandoned.store(true, Ordering::Release);
        if !self.health.lost.swap(true, Ordering::AcqRel) {
            tracing::warn!(name = self.info.name, "the GPU did not end in time and is given up");
            std::mem::forget((self.device.clone(), self.queue.clone()));
        }
    }

    /// Runs `create` and gives back the first error that it causes.
    pub(crate) fn catching<T>(&self, create: impl FnOnce() -> T) -> Result<T, wgpu::Error> {
        let scopes = [
            wgpu::ErrorFilter::Internal,
            wgpu::ErrorFilter::OutOfMemory,
            wgpu::ErrorFilter::Validation,
        ]
        .map(|filter| self.device.push_error_scope(filter));
        let created = create();
        let mut error = None;
        // Scopes close in the reverse order.
        for scope in scopes.into_iter().rev() {
            error = error.or(pollster::block_on(scope.pop()));
        }
        error.map_or(Ok(created), Err)
    }

    /// A buffer of the driver.
    pub(crate) fn create_buffer(
        &self,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, DeviceError> {
        let descriptor =
            wgpu::BufferDescriptor { label: None, size: bytes, usage, mapped_at_creation: false };
        let limit = self.info.capabilities.buffer_bytes_max;
        let at = self.allocations.fetch_add(1, Ordering::Relaxed);
        if self.fault == Some(Fault::Memory(at)) {
            return Err(DeviceError::Memory { needed: bytes, limit });
        }
        self.catching(|| self.device.create_buffer(&descriptor)).map_err(|error| match error {
            wgpu::Error::OutOfMemory { .. } => DeviceError::Memory { needed: bytes, limit },
            wgpu::Error::Validation { .. } | wgpu::Error::Internal { .. } => {
                DeviceError::Failed(error.to_string())
            }
        })
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        let Some(mut timeline) = self.timeline.take() else { return };
        if self.is_lost() {
            // Work that still signals it may be under way for ever: it is never freed.
            return;
        }
        // wgpu keeps the device until all is done that was submitted.
        let _ = self.device.poll(wgpu::PollType::wait_indefinitely());
        timeline.destroy();
    }
}

/// Opens a device so that it shares host memory as `info` says; where that fails, so that it copies.
fn open(
    adapter: &wgpu::Adapter,
    descriptor: &wgpu::DeviceDescriptor<'_>,
    info: &mut AdapterInfo,
) -> Result<(wgpu::Device, wgpu::Queue, Option<Importer>), GpuError> {
    if info.sharing == Sharing::Imported {
        match Importer::open(adapter, descriptor) {
            Ok((device, queue, importer)) => return Ok((device, queue, Some(importer))),
            Err(message) => {
                tracing::debug!(message, "a device that imports host memory cannot be opened");
                info.sharing = Sharing::Staged;
                info.sharing_why = format!("opening it to import host memory fails: {message}");
            }
        }
    }
    let opened = pollster::block_on(adapter.request_device(descriptor));
    let (device, queue) = opened.map_err(|error| GpuError::Refused {
        adapter: info.name.clone(),
        message: error.to_string(),
    })?;
    Ok((device, queue, None))
}

/// The adapter whose name contains `wanted`; without it, the fastest kind, the first of its kind.
fn choose(wanted: Option<&str>) -> Result<wgpu::Adapter, GpuError> {
    let mut adapters = enumerate();
    adapters.sort_by_key(|adapter| AdapterInfo::of(adapter).kind);
    let found: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
    let fits = |name: &String| {
        wanted.is_none_or(|wanted| name.to_lowercase().contains(&wanted.to_lowercase()))
    };
    match found.iter().position(fits) {
        Some(at) => Ok(adapters.swap_remove(at)),
        None => Err(GpuError::NoAdapter { wanted: wanted.map(str::to_owned), found }),
    }
}

/// Locks a mutex whose content is valid whatever a panicking holder did.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
