//! Running a call on a device: moving what has to be moved, counting it, and measuring.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossover_kernels::error::RunError;
use crossover_kernels::exec::{self, Deadline};
use crossover_kernels::ir::{Access, Param};
use crossover_memory::Claim;
use crossover_shaders::{DeviceArg, DeviceBuffer, DeviceError, GpuVersion};

use crate::buffer::{Residency, fetch, room};
use crate::call::{BoundArg, Job};
use crate::device::Device;
use crate::error::Error;
use crate::ledger::{Measured, Reason};
use crate::version::{Code, GpuCode, overwrites};

/// When a run begins and when it must end.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// Just before, or earlier.
    pub(crate) start: Instant,
    /// Whether something that takes time was done since.
    pub(crate) is_late: bool,
    pub(crate) deadline: Option<Deadline>,
}

/// What a run took, and when it ended.
pub(crate) type Ran = (Measured, Instant);

/// Runs the call to its end. The claim is granted.
pub(crate) fn run(
    job: &Job,
    device: Device,
    claim: &mut Claim,
    times: Times,
) -> Result<Ran, Error> {
    match device {
        Device::Cpu => {
            let is_late = times.is_late || job.prepared.cpu.get().is_none();
            match job.inner.cpu_code(&job.prepared)? {
                Code::Host(version) => run_host(job, &**version, claim, Times { is_late, ..times }),
                Code::Gpu(version) => run_gpu(job, version, claim, times.deadline),
            }
        }
        Device::Gpu => match job.inner.compile_gpu_now(&job.prepared) {
            GpuCode::Ready(Code::Host(version)) => {
                run_host(job, &*version, claim, Times { is_late: true, ..times })
            }
            GpuCode::Ready(Code::Gpu(version)) => run_gpu(job, &version, claim, times.deadline),
            GpuCode::Refused(error, _) => Err(error.into()),
            GpuCode::Unasked | GpuCode::Compiling => {
                let (kernel, why) = (job.prepared.name.to_string(), job.inner.no_gpu().to_string());
                Err(Error::NoGpu { kernel, why })
            }
        },
    }
}

fn run_host(
    job: &Job,
    version: &dyn exec::Version,
    claim: &mut Claim,
    times: Times,
) -> Result<Ran, Error> {
    let fetched = settle(job, claim)?;
    for (param, _, access) in job.prepared.kernel.entry.buffers() {
        if access != Access::Read
            && let Some(storage) = job.storage(param)
        {
            storage.host_changes();
        }
    }
    // Most calls look at the clock twice here, which a small call feels.
    let start = if times.is_late || fetched { Instant::now() } else { times.start };
    let (threads, deadline) = (job.decision.threads, times.deadline);
    let mut call = exec::Call { args: &job.plain, grid: job.grid, threads, deadline, claim };
    let measured = version.run(&mut call)?;
    let end = Instant::now();
    let transfer_s = measured.transfer.as_secs_f64();
    let measured = Measured {
        run_s: (end - start).as_secs_f64() - transfer_s,
        device_s: measured.kernel.as_secs_f64(),
        transfer_s,
        total_s: 0.0,
    };
    Ok((measured, end))
}

/// Brings every buffer's newest content to the host. Gives whether any was elsewhere.
pub(crate) fn settle(job: &Job, claim: &Claim) -> Result<bool, Error> {
    let mut fetched = false;
    for arg in &job.args {
        if let BoundArg::Buffer(storage, _) = arg {
            fetched |= storage.slot.is_pending();
            storage.slot.settle(claim)?;
        }
    }
    Ok(fetched)
}

fn run_gpu(
    job: &Job,
    version: &Arc<GpuVersion>,
    claim: &mut Claim,
    deadline: Option<Deadline>,
) -> Result<Ran, Error> {
    let (copies, transfer) = upload(job, version, claim)?;
    let mut args = Vec::with_capacity(job.args.len());
    let mut buffers = copies.iter();
    for arg in &job.args {
        match arg {
            BoundArg::Scalar(c) => args.push(DeviceArg::Scalar(*c)),
            BoundArg::Buffer(_, len) => {
                let OnGpu { buffer, is_blank } =
                    buffers.next().expect("there is a buffer on the GPU for each");
                args.push(DeviceArg::Buffer { buffer, len: *len, is_blank: *is_blank });
            }
            BoundArg::Unfit(_) => {}
        }
    }
    let start = Instant::now();
    let ran = version.dispatch(&args, job.grid, claim, deadline);
    let run_s = start.elapsed().as_secs_f64();
    // A device that is gone has no content; after any other error what it wrote is the newest.
    if matches!(ran, Err(RunError::Device { .. })) {
        for arg in &job.args {
            if let BoundArg::Buffer(storage, _) = arg {
                storage.forget_gpu();
            }
        }
    } else {
        leave_results(job, &version.gpu().info().name, &copies, claim, ran.is_ok());
    }
    let device_s = ran?.as_secs_f64();
    let transfer_s = transfer.as_secs_f64();
    Ok((Measured { run_s, device_s, transfer_s, total_s: 0.0 }, Instant::now()))
}

/// A buffer on the GPU: a copy, or the host's memory.
struct OnGpu {
    buffer: Arc<DeviceBuffer>,
    /// The call will overwrite all of it: a copy need not hold the buffer's content before.
    is_blank: bool,
}

/// Every buffer on the GPU, in parameter order, and the time that copying took.
fn upload(job: &Job, version: &GpuVersion, claim: &Claim) -> Result<(Vec<OnGpu>, Duration), Error> {
    let gpu = version.gpu();
    let kernel = &job.prepared.kernel;
    let mut copies = Vec::new();
    let mut total = Duration::ZERO;
    for (at, arg) in job.args.iter().enumerate() {
        let BoundArg::Buffer(storage, _) = arg else { continue };
        let bytes = storage.slot.bytes();
        let name = &kernel.entry.params[at].name;
        let fail = |error: DeviceError| {
            error.of_kernel(&kernel.entry.name, &gpu.info().name, &format!("buffer `{name}`"))
        };
        let param = Param(at as u32);
        let is_overwritten = || overwrites(kernel, param, &job.plain, job.grid);
        if let Some(buffer) = storage.shared(gpu).map_err(fail)? {
            storage.slot.settle(claim)?;
            copies.push(OnGpu { buffer, is_blank: is_overwritten() });
            continue;
        }
        if storage.residency() == Residency::Host && is_overwritten() {
            let buffer = storage.room_on_gpu(|| room(gpu, bytes)).map_err(fail)?;
            copies.push(OnGpu { buffer, is_blank: true });
            continue;
        }
        let copy = storage.on_gpu(
            || room(gpu, bytes),
            |copy| {
                let start = Instant::now();
                copy.upload(0, claim.slice::<u8>(&storage.slot))?;
                total += start.elapsed();
                job.inner.transfers.count(Reason::Upload, bytes as u64, start.elapsed(), job.call);
                Ok(())
            },
        );
        copies.push(OnGpu { buffer: copy.map_err(fail)?, is_blank: false });
    }
    Ok((copies, total))
}

/// Says of every buffer that was written where its newest content is. After an error that is what
/// the call wrote until then; but what was blank stays what it was on the host.
fn leave_results(job: &Job, device: &str, copies: &[OnGpu], claim: &mut Claim, is_complete: bool) {
    let buffers = job.prepared.kernel.entry.buffers();
    for ((param, _, access), copy) in buffers.zip(copies) {
        let Some(storage) = job.storage(param) else { continue };
        let is_shared = copy.buffer.slot().is_some();
        if access == Access::Read || is_shared || (copy.is_blank && !is_complete) {
            continue;
        }
        let (kernel, device) = (job.prepared.name.to_string(), device.to_owned());
        let blame =
            move |error: DeviceError| error.of_kernel(&kernel, &device, "a result").to_string();
        let fill = fetch(copy.buffer.clone(), job.inner.transfers.clone(), job.call, blame);
        claim.defer(&storage.slot, fill);
        storage.gpu_is_current();
    }
}
