//! Running a call on a device: moving what has to be moved, counting it, and measuring.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossover_kernels::error::RunError;
use crossover_kernels::exec::{self, Clock, Deadline, Measurement, Part};
use crossover_kernels::ir::Access;
use crossover_memory::{Claim, Fill};
use crossover_shaders::{DeviceArg, DeviceBuffer, DeviceError, Gpu, GpuVersion, Underway};

use crate::buffer::{Storage, fetch, room};
use crate::call::{Bound, BoundArg, Job};
use crate::device::Device;
use crate::error::Error;
use crate::footprint::Footprint;
use crate::ledger::{Measured, Reason};
use crate::version::{Code, GpuCode};

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

/// What of a call is run, and what that touches.
#[derive(Clone, Copy)]
pub(crate) struct Portion<'f> {
    pub(crate) part: Part,
    pub(crate) footprints: &'f [Footprint],
}

impl<'f> Portion<'f> {
    /// All of it.
    pub(crate) fn whole(job: &'f Job) -> Portion<'f> {
        let (part, footprints) = (Part::all(job.grid), &*job.decision.prior.footprints);
        Portion { part, footprints }
    }
}

/// Runs that of the call to its end, and gives the claim back.
pub(crate) fn run<'k>(
    job: &Job,
    portion: Portion<'_>,
    device: Device,
    mut claim: Claim<'k>,
    times: Times,
) -> (Result<Ran, Error>, Claim<'k>) {
    let version = match device {
        Device::Cpu => {
            let is_late = times.is_late || job.prepared.cpu.get().is_none();
            job.cpu_code().map(|version| (version.clone(), is_late))
        }
        Device::Gpu => match job.compile_gpu() {
            GpuCode::Ready(Code::Host(version)) => Ok((version, true)),
            GpuCode::Ready(Code::Gpu(version)) => {
                return match issue(job, portion, &version, claim, times.deadline) {
                    Ok(flight) => flight.finish(job),
                    Err(stopped) => {
                        let (error, claim) = *stopped;
                        (Err(error), claim)
                    }
                };
            }
            GpuCode::Refused(error, _) => Err(error),
            GpuCode::Unasked | GpuCode::Compiling => {
                let (kernel, why) = (job.prepared.name.to_string(), job.inner.no_gpu().to_string());
                return (Err(Error::NoGpu { kernel, why }), claim);
            }
        },
    };
    let ran = match version {
        Ok((version, is_late)) => {
            run_host(job, portion.part, &*version, &mut claim, Times { is_late, ..times })
        }
        Err(error) => Err(error.into()),
    };
    (ran, claim)
}

fn run_host(
    job: &Job,
    part: Part,
    version: &dyn exec::Version,
    claim: &mut Claim<'_>,
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
    let (args, threads, deadline) = (&job.plain[..], job.decision.threads, times.deadline);
    let (grid, asked) = (job.grid, Some(start));
    let mut call = exec::Call { args, grid, threads, deadline, start: asked, claim };
    let measured = version.run_ready(&mut call, part)?;
    Ok(timed(&measured, times.start, start))
}

/// What a run on the host took that was begun at `start`, in a call that was begun at `begun`.
pub(crate) fn timed(measured: &Measurement, begun: Instant, start: Instant) -> Ran {
    let (took, end) = match measured.clock {
        Clock::Host => {
            let end = measured.end.unwrap_or_else(Instant::now);
            (end - start, end)
        }
        // Nothing but the run has taken time.
        Clock::Own => {
            let took = measured.transfer.saturating_add(measured.kernel);
            (took, begun.checked_add(took).unwrap_or_else(Instant::now))
        }
    };
    let transfer_s = measured.transfer.as_secs_f64();
    let measured = Measured {
        run_s: took.as_secs_f64() - transfer_s,
        device_s: Some(measured.kernel.as_secs_f64()),
        transfer_s,
        total_s: 0.0,
    };
    (measured, end)
}

/// Brings every buffer's newest content to the host. Gives whether any was elsewhere.
pub(crate) fn settle(job: &Job, claim: &Claim<'_>) -> Result<bool, Error> {
    let mut fetched = false;
    for storage in job.storages() {
        fetched |= storage.slot.is_pending();
        storage.slot.settle(claim)?;
        storage.looks.look();
    }
    Ok(fetched)
}

/// A call that the GPU has been given.
pub(crate) struct Flight<'k> {
    underway: Underway<'k, Claim<'k>>,
    gpu: Arc<Gpu>,
    /// Those of its results that hold nothing unless it ends well.
    blank: Vec<(Arc<Storage>, Range<usize>)>,
    /// Those of which the host has what they held before.
    kept: Vec<(Arc<Storage>, Range<usize>)>,
    /// Those of which only the GPU had it.
    changed: Vec<Arc<Storage>>,
    /// Whether it did not end well.
    is_void: Arc<AtomicBool>,
    /// Whether that is the device's fault.
    is_undone: Arc<AtomicBool>,
    start: Instant,
    transfer_s: f64,
}

/// Gives that of the call to the GPU, once all that it would wait for has been given to it.
///
/// # Errors
/// With the claim back.
pub(crate) fn issue<'k>(
    job: &Job,
    portion: Portion<'_>,
    version: &Arc<GpuVersion>,
    claim: Claim<'k>,
    deadline: Option<Deadline>,
) -> Result<Flight<'k>, Box<(Error, Claim<'k>)>> {
    let mut trust = version.gpu().trust();
    wait_for(version, &claim);
    while trust != version.gpu().trust() {
        // Those that have failed meanwhile have taken back what they had handed on.
        trust = version.gpu().trust();
        wait_for(version, &claim);
    }
    let (copies, transfer) = match upload(job, portion.footprints, version, &claim) {
        Ok(uploaded) => uploaded,
        Err(error) => return Err(Box::new((error, claim))),
    };
    let mut args = Vec::with_capacity(job.args.len());
    let mut buffers = copies.iter();
    for Bound(arg) in &job.args {
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
    let mut underway = match version.issue(&args, job.grid, portion.part, claim, deadline) {
        Ok(underway) => underway,
        Err(stopped) => {
            let (error, claim) = *stopped;
            forget_if_gone(job, version.gpu(), &error);
            return Err(Box::new((error.into(), claim)));
        }
    };
    underway.trusts(trust);
    let transfer_s = transfer.as_secs_f64();
    let mut flight = Flight {
        underway,
        gpu: version.gpu().clone(),
        blank: Vec::new(),
        kept: Vec::new(),
        changed: Vec::new(),
        is_void: Arc::default(),
        is_undone: Arc::default(),
        start,
        transfer_s,
    };
    leave_results(job, portion.footprints, version.gpu(), &copies, &mut flight);
    // Only now: who goes ahead finds where the results will be.
    if job.shadow.is_none() {
        flight.underway.hand_on(flight.blank.is_empty());
    }
    Ok(flight)
}

/// Waits until the call may be given to the device: not for what the device has been given before, if that is
/// still the one that the claim was made for.
pub(crate) fn wait_for(version: &GpuVersion, claim: &Claim<'_>) {
    if claim.stream() == Some(version.gpu().stream()) {
        claim.wait_in_stream();
    } else {
        claim.wait();
    }
}

impl<'k> Flight<'k> {
    /// Waits for the end. The claim is granted then.
    pub(crate) fn finish(self, job: &Job) -> (Result<Ran, Error>, Claim<'k>) {
        let Flight { mut underway, gpu, blank, kept, changed, .. } = self;
        let Flight { is_void, is_undone, start, transfer_s, .. } = self;
        let side = job.gpu();
        underway.count_from(side.end());
        let (ran, mut claim) = underway.finish();
        let end = Instant::now();
        let free_since = side.ends(end);
        if let Err(error) = &ran {
            // What was blank stays what it was on the host.
            is_void.store(true, Ordering::Release);
            blank.iter().for_each(|(storage, part)| storage.host_is_current(part));
            // What a device that failed was to change on copies is still on the host as it was.
            if matches!(error, RunError::Device { .. } | RunError::Memory { .. }) {
                is_undone.store(true, Ordering::Release);
                kept.iter().for_each(|(storage, part)| storage.host_is_current(part));
                // Of the rest nobody knows how far it was changed.
                changed.iter().for_each(|storage| claim.lose(&storage.slot, error.to_string()));
            }
            forget_if_gone(job, &gpu, error);
        } else {
            side.works();
        }
        let ran = ran.map(|took| {
            let run_s = (end - start.max(free_since)).as_secs_f64();
            let device_s = took.device.map(|time| time.as_secs_f64());
            let (kernel, adapter, call) = (&*job.prepared.name, job.decision.adapter, job.call);
            tracing::trace!(kernel, adapter, call, took_s = run_s, device_s, "gpu");
            (Measured { run_s, device_s, transfer_s, total_s: 0.0 }, end)
        });
        (ran.map_err(Error::from), claim)
    }
}

/// A device that is gone has no content.
fn forget_if_gone(job: &Job, gpu: &Arc<Gpu>, error: &RunError) {
    if !matches!(error, RunError::Device { .. }) {
        return;
    }
    job.storages().for_each(|storage| storage.forget_gpu(gpu));
}

/// A buffer on the GPU: a copy, or the host's memory.
struct OnGpu {
    buffer: Arc<DeviceBuffer>,
    /// The call will overwrite all of it: a copy need not hold the buffer's content before.
    is_blank: bool,
}

/// Every buffer on the GPU, in parameter order, and the time that copying took.
fn upload(
    job: &Job,
    footprints: &[Footprint],
    version: &GpuVersion,
    claim: &Claim<'_>,
) -> Result<(Vec<OnGpu>, Duration), Error> {
    let gpu = version.gpu();
    let kernel = &job.prepared.kernel;
    let mut copies = Vec::new();
    let mut total = Duration::ZERO;
    for (at, Bound(arg)) in job.args.iter().enumerate() {
        let BoundArg::Buffer(storage, _) = arg else { continue };
        let bytes = storage.slot.bytes();
        let name = &kernel.entry.params[at].name;
        let fail = |error: DeviceError| {
            error.of_kernel(&kernel.entry.name, &gpu.info().name, &format!("buffer `{name}`"))
        };
        let footprint = &footprints[at];
        let Footprint { touched, is_blank, .. } = footprint;
        let is_blank = *is_blank;
        let own_memory = gpu.info().own_memory;
        if own_memory && !is_blank {
            storage.looks.go_on();
        }
        if (!own_memory || job.decision.in_place().contains(at))
            && let Some(buffer) = storage.shared(gpu).map_err(fail)?
        {
            if storage.slot.is_pending() {
                // Content that a call before leaves on a copy of the same GPU is there when that has ended.
                claim.wait();
            }
            storage.slot.settle(claim)?;
            if own_memory {
                storage.pay(gpu, job.gpu().ways().bus_s(footprint));
            }
            copies.push(OnGpu { buffer, is_blank });
            continue;
        }
        let needed = if is_blank { 0..0 } else { touched.clone() };
        if storage.stale_bytes(Some(gpu), &needed) > 0 {
            // Before the storage is locked: who waits here waits for others that may want it.
            claim.wait();
        }
        if !needed.is_empty() {
            // What is lost is not used for what it was.
            storage.slot.held()?;
        }
        let copy = storage.on_gpu(
            gpu,
            &needed,
            || room(gpu, bytes),
            |copy, part| {
                let start = Instant::now();
                copy.upload(part.start as u64, claim.slice_part::<u8>(&storage.slot, &part))?;
                let (bytes, time) = (part.len() as u64, start.elapsed());
                total += time;
                job.gpu().transfers.count(Reason::Upload, bytes, time, job.call);
                Ok(())
            },
        );
        copies.push(OnGpu { buffer: copy.map_err(fail)?, is_blank });
    }
    Ok((copies, total))
}

/// Says of every buffer that is written where its newest content will be. After an error that is what the
/// call wrote until then; but what was blank stays what it was on the host.
fn leave_results(
    job: &Job,
    footprints: &[Footprint],
    gpu: &Arc<Gpu>,
    copies: &[OnGpu],
    flight: &mut Flight,
) {
    let buffers = job.prepared.kernel.entry.buffers();
    for ((param, _, access), copy) in buffers.zip(copies) {
        let Some(storage) = job.storage(param) else { continue };
        let is_shared = copy.buffer.slot().is_some();
        let part = footprints[param.index()].touched.clone();
        if access == Access::Read || part.is_empty() {
            continue;
        }
        storage.looks.leave();
        if is_shared {
            storage.changes_in_place(gpu, &part);
            continue;
        }
        let (kernel, device) = (job.prepared.name.to_string(), gpu.info().name.clone());
        let blame =
            move |error: DeviceError| error.of_kernel(&kernel, &device, "a result").to_string();
        let mut fetch = fetch(copy.buffer.clone(), job.gpu().transfers.clone(), job.call, blame);
        if storage.slot.pending_bytes() == 0 {
            flight.kept.push((storage.clone(), part.clone()));
            fetch = unless(flight.is_undone.clone(), fetch);
        } else if !copy.is_blank {
            flight.changed.push(storage.clone());
        }
        if copy.is_blank {
            flight.blank.push((storage.clone(), part.clone()));
            fetch = unless(flight.is_void.clone(), fetch);
        }
        storage.gpu_is_current(gpu, &part);
        flight.underway.leave(&storage.slot, part, fetch, copy.is_blank);
    }
}

/// A fill that does nothing once the flag is set.
fn unless(flag: Arc<AtomicBool>, mut fill: Fill) -> Fill {
    Box::new(move |at, bytes| if flag.load(Ordering::Acquire) { Ok(()) } else { fill(at, bytes) })
}
