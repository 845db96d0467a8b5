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

/// Runs the call to its end. The claim is granted.
pub(crate) fn run(
    job: &Job,
    device: Device,
    claim: &mut Claim,
    deadline: Option<Deadline>,
) -> Result<Measured, Error> {
    let code = match device {
        Device::Cpu => job.inner.cpu_code(&job.prepared)?,
        Device::Gpu => match job.inner.compile_gpu_now(&job.prepared) {
            GpuCode::Ready(code) => code,
            GpuCode::Refused(error) => return Err(error.into()),
            GpuCode::Unasked | GpuCode::Compiling => {
                let kernel = job.prepared.name.clone();
                return Err(Error::NoGpu { kernel, why: job.inner.no_gpu() });
            }
        },
    };
    match code {
        Code::Host(version) => {
            settle(job, claim)?;
            for (param, _, access) in job.prepared.kernel.entry.buffers() {
                if access != Access::Read
                    && let Some(storage) = job.storage(param)
                {
                    storage.host_changes();
                }
            }
            let start = Instant::now();
            let threads = job.decision.threads;
            let mut call =
                exec::Call { args: &job.plain, grid: job.grid, threads, deadline, claim };
            let measured = version.run(&mut call)?;
            let transfer_s = measured.transfer.as_secs_f64();
            Ok(Measured {
                run_s: start.elapsed().as_secs_f64() - transfer_s,
                device_s: measured.kernel.as_secs_f64(),
                transfer_s,
                total_s: 0.0,
            })
        }
        Code::Gpu(version) => run_gpu(job, &version, claim, deadline),
    }
}

/// Brings every buffer's newest content to the host.
pub(crate) fn settle(job: &Job, claim: &Claim) -> Result<(), Error> {
    for arg in &job.args {
        if let BoundArg::Buffer(storage, _) = arg {
            storage.slot.settle(claim)?;
        }
    }
    Ok(())
}

fn run_gpu(
    job: &Job,
    version: &Arc<GpuVersion>,
    claim: &mut Claim,
    deadline: Option<Deadline>,
) -> Result<Measured, Error> {
    let (copies, transfer) = upload(job, version, claim)?;
    let mut args = Vec::with_capacity(job.args.len());
    let mut buffers = copies.iter();
    for arg in &job.args {
        match arg {
            BoundArg::Scalar(c) => args.push(DeviceArg::Scalar(*c)),
            BoundArg::Buffer(_, len) => {
                let copy = buffers.next().expect("there is a copy of every buffer");
                args.push(DeviceArg::Buffer { buffer: &copy.buffer, len: *len });
            }
            BoundArg::Unfit(_) => {}
        }
    }
    let start = Instant::now();
    let ran = version.dispatch(&args, job.grid, deadline);
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
    Ok(Measured { run_s, device_s, transfer_s: transfer.as_secs_f64(), total_s: 0.0 })
}

/// A buffer on the GPU.
struct OnGpu {
    buffer: Arc<DeviceBuffer>,
    /// It holds nothing of the buffer's content: the call will overwrite all of it.
    is_blank: bool,
}

/// A copy of every buffer on the GPU, in parameter order, and the time that copying took.
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
        if storage.residency() == Residency::Host && overwrites(kernel, param, &job.plain, job.grid)
        {
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
        if access == Access::Read || (copy.is_blank && !is_complete) {
            continue;
        }
        let (kernel, device) = (job.prepared.name.clone(), device.to_owned());
        let blame =
            move |error: DeviceError| error.of_kernel(&kernel, &device, "a result").to_string();
        let fill = fetch(copy.buffer.clone(), job.inner.transfers.clone(), job.call, blame);
        claim.defer(&storage.slot, fill);
        storage.gpu_is_current();
    }
}
