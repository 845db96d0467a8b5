//! From a call to features: what the kernel does, how large the call is, what would be copied, what
//! the machine can do and how it is at the moment, and the roofline times that follow.

use crossover_kernels::analysis::{Profile, profile};
use crossover_kernels::exec::{Arg, Grid};
use crossover_kernels::ir::{Access, Kernel, Param};
use crossover_ml::{Feature, Features};

use crate::calibration::{Calibration, LANES};
use crate::device::Seat;
use crate::gpus::GpuSide;
use crate::place::{Moves, Placing, items};
use crate::terms::Work;
use crate::version::Prepared;

/// What the model is told of a call.
pub(crate) struct Described {
    pub(crate) features: Features,
    /// log2 of the operations of the call.
    pub(crate) log2_work: f64,
    pub(crate) work: Work,
}

/// What a call does on the machine at the moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Measured calls of the kernel so far.
    pub(crate) visits: u64,
    /// Whether the GPU's code is ready.
    pub(crate) is_compiled: bool,
    /// Generation of the model that is asked.
    pub(crate) generation: u64,
}

/// The profile of what runs: the passes have made arithmetic of transcendental functions, and nothing is
/// computed twice.
pub(crate) fn compiled(prepared: &Prepared, args: &[Arg]) -> Profile {
    profile_of(&prepared.kernel, args)
}

fn profile_of(kernel: &Kernel, args: &[Arg]) -> Profile {
    let scalar = |p: Param| match args.get(p.index()) {
        Some(Arg::Scalar(c)) => Some(c.to_f64()),
        Some(Arg::Buffer { .. }) | None => None,
    };
    let length = |p: Param| match args.get(p.index()) {
        Some(Arg::Buffer { len, .. }) => Some(f64::from(*len)),
        Some(Arg::Scalar(_)) | None => None,
    };
    profile(kernel, &scalar, &length)
}

pub(crate) fn featurize(
    call: Placing<'_>,
    at: usize,
    compiled: &Profile,
    moves: &Moves,
    moment: Moment,
) -> Described {
    let Placing { inner, prepared, plain: args, grid, .. } = call;
    let source = profile_of(&prepared.source, args);
    let calibration = inner.calibration_with(at);
    let mut features = calibration.features();
    let bytes = buffer_bytes(prepared, args);
    let n = items(grid) as f64;
    fixed(&mut features, &source, &bytes, n);
    sized(&mut features, &source, &bytes, &calibration, grid);
    if let Some(side) = inner.gpus.get(at) {
        let jobs = inner.jobs(Seat::Gpu(at));
        features.set(Feature::BatchedCalls, 1.0 + jobs as f64);
        features.set(Feature::GpuQueueS, inner.wait_s(Seat::Gpu(at)));
        features.set(Feature::PipelineCached, f64::from(u8::from(moment.is_compiled)));
        on_gpu(&mut features, side, prepared, &bytes, n, moves);
    }
    features.set(Feature::Visits, moment.visits as f64);
    features.set(Feature::OwnJobs, inner.jobs_all() as f64);
    inner.context.features(&mut features, calibration.cpu.cores as f64);
    let ops = compiled.weighted_operations() * n;
    roofline(&mut features, &source, ops, &bytes, &calibration, n);
    let log2_work = (n * source.weighted_operations().max(1.0)).max(1.0).log2();
    let work = Work::new(compiled, &source, [bytes.read, bytes.written], n);
    Described { features, log2_work, work }
}

/// Bytes of the buffers of a call.
struct Bytes {
    read: f64,
    written: f64,
}

impl Bytes {
    fn all(&self) -> f64 {
        self.read + self.written
    }
}

fn buffer_bytes(prepared: &Prepared, args: &[Arg]) -> Bytes {
    let mut bytes = Bytes { read: 0.0, written: 0.0 };
    for (param, ty, access) in prepared.kernel.entry.buffers() {
        if let Some(Arg::Buffer { len, .. }) = args.get(param.index()) {
            let size = f64::from(*len) * ty.bytes() as f64;
            match access {
                Access::Read => bytes.read += size,
                Access::ReadWrite | Access::Atomic => bytes.written += size,
            }
        }
    }
    bytes
}

/// The features that follow from the kernel's code.
fn fixed(features: &mut Features, p: &Profile, bytes: &Bytes, items: f64) {
    let (ops, accesses) = (p.operations().max(1e-9), p.accesses().max(1e-9));
    let accessed = p.load_bytes + p.store_bytes;
    for (feature, value) in [
        (Feature::OpsFloatAddMul, p.float_add_mul),
        (Feature::OpsDivSqrt, p.div_sqrt),
        (Feature::OpsTranscendental, p.transcendental),
        (Feature::OpsIntAddLogic, p.int_add_logic),
        (Feature::OpsIntMulDiv, p.int_mul_div),
        (Feature::OpsCompareSelect, p.compare_select),
        (Feature::OpsCastShuffle, p.casts),
        (Feature::Loads, p.loads),
        (Feature::Stores, p.stores),
        (Feature::LoadBytes, p.load_bytes),
        (Feature::StoreBytes, p.store_bytes),
        (Feature::UnitStrideFraction, p.unit_stride / accesses),
        (Feature::StridedFraction, p.strided / accesses),
        (Feature::GatherFraction, p.gather / accesses),
        (Feature::UniformFraction, p.uniform / accesses),
        (Feature::FlopsPerByte, p.flops() / accessed.max(1.0)),
        (Feature::AccessedPerUniqueByte, accessed * items / bytes.all().max(1.0)),
        (Feature::BranchesPer100Ops, 100.0 * p.branches / ops),
        (Feature::DivergentFraction, p.divergent / (ops + accesses)),
        (Feature::LoopDepth, f64::from(p.loop_depth)),
        (Feature::LoopsCount, f64::from(p.loops)),
        (
            Feature::DataDependentTripsFraction,
            f64::from(p.unknown_loops) / f64::from(p.loops.max(1)),
        ),
        (Feature::ReductionOrScan, f64::from(u8::from(p.is_collective))),
        (Feature::Atomics, p.atomics),
        (Feature::Barriers, p.barriers),
        (Feature::SharedBytes, p.shared_bytes),
        (Feature::LiveValues, p.live_values),
        (Feature::OpsOverCriticalPath, p.block_ops / p.critical_path.max(1.0)),
        (Feature::SimdFraction, 1.0 - (p.gather + p.atomics) / (ops + accesses)),
        (Feature::Wide64Fraction, p.wide / (ops + accesses)),
    ] {
        features.set(feature, value);
    }
}

/// The features that follow from the arguments.
fn sized(
    features: &mut Features,
    p: &Profile,
    bytes: &Bytes,
    calibration: &Calibration,
    grid: Grid,
) {
    let n = items(grid) as f64;
    for (feature, value) in [
        (Feature::Items, n),
        (Feature::ExtentX, f64::from(grid[0])),
        (Feature::ExtentY, f64::from(grid[1])),
        (Feature::ExtentZ, f64::from(grid[2])),
        (Feature::TripProduct, p.trip_product),
        (Feature::Flops, p.flops() * n),
        (Feature::Bytes, (p.load_bytes + p.store_bytes) * n),
        (Feature::BytesIn, bytes.read),
        (Feature::BytesOut, bytes.written),
        (Feature::WorkingSetOverL1, bytes.all() / calibration.cpu.l1_bytes),
        (Feature::WorkingSetOverLlc, bytes.all() / calibration.cpu.llc_bytes),
        (Feature::ExtentModuloLanes, f64::from(grid[0] % LANES as u32)),
        (Feature::SizeBucket, n.max(1.0).log2().floor()),
    ] {
        features.set(feature, value);
    }
}

/// What the call would be on the GPU.
fn on_gpu(
    features: &mut Features,
    side: &GpuSide,
    prepared: &Prepared,
    bytes: &Bytes,
    n: f64,
    moves: &Moves,
) {
    let gpu = side.calibration().gpu;
    let resident = 1.0 - moves.upload as f64 / bytes.all().max(1.0);
    let waves = n / gpu.width;
    for (feature, value) in [
        (Feature::UploadBytes, moves.upload as f64),
        (Feature::ReadbackBytes, moves.results as f64),
        (Feature::ResidentFraction, resident.clamp(0.0, 1.0)),
        (Feature::Waves, waves),
        (Feature::TailEfficiency, waves / waves.ceil().max(1.0)),
        (Feature::SinceSubmitS, side.end().elapsed().as_secs_f64()),
    ] {
        features.set(feature, value);
    }
    if let Some(memory) = gpu.memory_bytes {
        features.set(Feature::WorkingSetOverDeviceMemory, bytes.all() / memory);
    }
    if let Some(opened) = side.opened() {
        let gpu = opened.gpu();
        let schedule = crossover_shaders::Schedule::of(&prepared.kernel, gpu.capabilities());
        features.set(Feature::WorkgroupSize, f64::from(schedule.workgroup.iter().product::<u32>()));
    }
}

/// The roofline terms: the longer of arithmetic and memory, and what starting costs.
fn roofline(
    features: &mut Features,
    p: &Profile,
    ops: f64,
    bytes: &Bytes,
    c: &Calibration,
    n: f64,
) {
    // What is accessed again soon comes from a cache: each buffer moves at least once, and gathers
    // and strided accesses move lines.
    let accessed = (p.load_bytes + p.store_bytes) * n;
    let scattered = (p.gather + p.strided) * 16.0 * n;
    let moved = bytes.all().min(accessed) + scattered.min(accessed);
    let threads = c.cpu.threads;
    let cpu_compute = ops / c.cpu_flops(threads);
    let cpu_memory = moved / c.cpu_bandwidth(threads, bytes.all());
    let parallel = cpu_compute.max(cpu_memory) + c.cpu.wake_s;
    let alone =
        (ops / c.cpu_flops(1)).max(moved / c.cpu_bandwidth(1, bytes.all())) + c.cpu.inline_s;
    let gpu_compute = ops / c.gpu.flops;
    let gpu_memory = moved / c.gpu.bandwidth;
    for (feature, value) in [
        (Feature::CpuComputeS, cpu_compute),
        (Feature::CpuMemoryS, cpu_memory),
        (Feature::CpuTimeS, parallel.min(alone)),
        (Feature::GpuComputeS, gpu_compute),
        (Feature::GpuMemoryS, gpu_memory),
        (Feature::GpuTimeS, gpu_compute.max(gpu_memory) + c.gpu.dispatch_s),
    ] {
        features.set(feature, value);
    }
}
