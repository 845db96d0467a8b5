//! Running a compiled kernel: from arguments on the device, or from those of the host.

use std::borrow::BorrowMut;
use std::marker::PhantomData;
use std::time::Instant;

use crossover_kernels::error::RunError;
use crossover_kernels::exec::{
    Arg, Call, Deadline, Grid, Measurement, Part, Parts, Version, check_args, outer_axis,
};
use crossover_kernels::ir::{Access, CollectiveKind, Const, ParamKind};
use crossover_memory::{Claim, Want};

use crate::arg::DeviceArg;
use crate::buffer::{DeviceBuffer, Readbacks};
use crate::compiled::Compiled;
use crate::device::DeviceError;
use crate::lean::points;
use crate::steps::{Launch, Region};
use crate::underway::{HostMemory, Running, Stop, Took, Underway};
use crate::version::GpuVersion;

impl GpuVersion {
    /// Runs the kernel over the grid, with all buffers on the device, to its end. The arguments are
    /// distinct where the kernel writes them. The claim covers those that are host memory, and was made in
    /// the device's [`crate::Gpu::stream`] unless it is granted to all; where the device fails while it works
    /// on them, what it may have changed of their content is said to be lost.
    ///
    /// # Errors
    /// As [`Version::run`].
    pub fn dispatch(
        &self,
        args: &[DeviceArg<'_>],
        grid: Grid,
        claim: &mut Claim<'_>,
        deadline: Option<Deadline>,
    ) -> Result<Took, RunError> {
        self.dispatch_part(args, grid, Part::all(grid), claim, deadline)
    }

    fn dispatch_part(
        &self,
        args: &[DeviceArg<'_>],
        grid: Grid,
        part: Part,
        claim: &mut Claim<'_>,
        deadline: Option<Deadline>,
    ) -> Result<Took, RunError> {
        match self.begin(args, grid, part, claim, deadline) {
            Ok(underway) => underway.finish().0,
            Err((error, _)) => Err(error),
        }
    }

    /// The same for a part of the grid, but for waiting for the end. Calls end in the order in which they were
    /// issued.
    ///
    /// # Errors
    /// As [`Version::run`], with the claim back.
    pub fn issue<'c>(
        &self,
        args: &[DeviceArg<'_>],
        grid: Grid,
        part: Part,
        claim: Claim<'c>,
        deadline: Option<Deadline>,
    ) -> Result<Underway<'c, Claim<'c>>, Box<(RunError, Claim<'c>)>> {
        self.begin(args, grid, part, claim, deadline).map_err(Box::new)
    }

    fn begin<'c, C: BorrowMut<Claim<'c>>>(
        &self,
        args: &[DeviceArg<'_>],
        grid: Grid,
        part: Part,
        claim: C,
        deadline: Option<Deadline>,
    ) -> Result<Underway<'c, C>, (RunError, C)> {
        let version = &self.checked;
        if let Err(error) = version.check_device_args(args, claim.borrow()) {
            return Err((error, claim));
        }
        let host_memory = version.host_memory(args);
        let (points, is_part) = (points(part.extent(grid)), part != Part::all(grid));
        let stripped = || self.lean.stripped(version, args, grid);
        let cut = match self.windows.of(version, stripped, args, grid) {
            Ok(cut) => cut,
            Err(error) => return Err((error, claim)),
        };
        let (version, cuts) = match cut {
            Some((form, cuts)) => (form, cuts),
            None => (version.clone(), Vec::new()),
        };
        let lean = || self.lean.form(&self.checked, args, grid, is_part);
        let lean = cuts.is_empty().then(lean).flatten();
        let region = Region::of(part, grid);
        let adapted = lean.as_ref().map(|lean| lean.adapt(args, grid, region));
        let (args, grid, region) = match &adapted {
            Some((args, grid, region)) => (args.as_slice(), *grid, *region),
            None => (args, grid, region),
        };
        let mut underway = Underway {
            version: lean.map_or(version, |lean| lean.compiled),
            claim: Some(claim),
            claimed: PhantomData,
            running: None,
            host_memory,
            lengths: args.iter().map(DeviceArg::len).collect(),
            start: Instant::now(),
            deadline,
            points,
            before: Took::default(),
        };
        match submit(Launch { args, grid, region, cuts: &cuts }, &mut underway) {
            Ok(()) => Ok(underway),
            Err(stop) => match underway.stopped(stop) {
                (Err(error), claim) => Err((error, claim)),
                (Ok(_), _) => unreachable!("what has stopped gives an error"),
            },
        }
    }
}

impl Compiled {
    pub(crate) fn device_error(&self, error: DeviceError, what: &str) -> RunError {
        error.of_kernel(&self.kernel.entry.name, &self.gpu.info().name, what)
    }

    /// The arguments that are host memory.
    fn host_memory(&self, args: &[DeviceArg<'_>]) -> Vec<HostMemory> {
        let buffers = self.kernel.entry.buffers();
        let shared = buffers.filter_map(|(param, _, access)| match args.get(param.index())? {
            DeviceArg::Buffer { buffer, is_blank, .. } => Some(HostMemory {
                slot: buffer.slot()?.clone(),
                buffer: buffer.raw().clone(),
                is_written: access != Access::Read,
                is_blank: *is_blank,
            }),
            DeviceArg::Scalar(_) => None,
        });
        shared.collect()
    }

    fn check_device_args(&self, args: &[DeviceArg<'_>], claim: &Claim<'_>) -> Result<(), RunError> {
        let entry = &self.kernel.entry;
        let stream = self.gpu.stream();
        let fits = |(kind, arg): (ParamKind, &DeviceArg<'_>)| match (kind, arg) {
            (ParamKind::Scalar(ty), DeviceArg::Scalar(c)) => c.ty == ty,
            (ParamKind::Buffer { element, access }, DeviceArg::Buffer { buffer, len, .. }) => {
                let want = if access == Access::Read { Want::Read } else { Want::Write };
                u64::from(*len) * element.bytes() as u64 <= buffer.bytes()
                    && buffer.slot().is_none_or(|slot| claim.covers_in(stream, slot, want))
            }
            (ParamKind::Scalar(_), DeviceArg::Buffer { .. })
            | (ParamKind::Buffer { .. }, DeviceArg::Scalar(_))
            | (ParamKind::Shared { .. }, _) => false,
        };
        let same = entry.arity() == args.len();
        if same && entry.params.iter().map(|param| param.kind).zip(args).all(fits) {
            return Ok(());
        }
        let message = "the arguments on the device do not fit the parameters".to_owned();
        Err(RunError::Arguments { kernel: entry.name.clone(), message })
    }

    /// What a reduction of nothing gives.
    fn identity(&self) -> Option<Const> {
        let collective = self.kernel.collective?;
        (collective.kind == CollectiveKind::Reduce)
            .then(|| Some(collective.op.identity(self.kernel.contribution()?)))?
    }
}

/// Gives a call to the device. Where it takes several submissions, all but the last are waited for.
fn submit<'c, C: BorrowMut<Claim<'c>>>(
    launch: Launch<'_>,
    underway: &mut Underway<'c, C>,
) -> Result<(), Stop> {
    underway.version.gpu.healthy()?;
    if let Some(deadline) = underway.deadline.filter(Deadline::has_passed) {
        return Err(DeviceError::Deadline(deadline.limit).into());
    }
    if launch.grid.contains(&0) {
        let identity = underway.version.identity();
        return Ok(write_identity(identity, launch, underway.claim())?);
    }
    if launch.region.extent.contains(&0) {
        return Ok(());
    }
    let batches = underway.version.batches(launch);
    for at in 0..batches.count {
        if let Some(running) = underway.running.take() {
            let took = running.finish(&underway.version, underway.deadline)?;
            underway.before = underway.before.and(took);
            if let Some(deadline) = underway.deadline.filter(Deadline::has_passed) {
                return Err(Stop::Underway(DeviceError::Deadline(deadline.limit)));
            }
        }
        let version = &*underway.version;
        let batch = version.batch(&batches, at).map_err(|error| match at {
            0 => Stop::Device(error),
            _ => Stop::Underway(error),
        })?;
        underway.running = Some(Running::submit(version, batch, &underway.host_memory));
    }
    Ok(())
}

/// The result of a call over nothing.
fn write_identity(
    identity: Option<Const>,
    launch: Launch<'_>,
    claim: &mut Claim<'_>,
) -> Result<(), DeviceError> {
    if let (Some(identity), Some(DeviceArg::Buffer { buffer, .. })) = (identity, launch.args.last())
    {
        let bytes = &identity.bits.to_le_bytes()[..identity.ty.bytes()];
        match buffer.slot() {
            Some(slot) => claim.slice_mut(slot)[..bytes.len()].copy_from_slice(bytes),
            None => buffer.upload(0, bytes)?,
        }
    }
    Ok(())
}

impl Version for GpuVersion {
    fn run(&self, call: &mut Call<'_, '_>) -> Result<Measurement, RunError> {
        self.run_part(call, Part::all(call.grid))
    }

    fn parts(&self, grid: Grid) -> Option<Parts> {
        let (axis, checked) = (outer_axis(grid), &self.checked);
        let own = checked.shader.schedule.along(axis, checked.kernel.axes());
        let (step, is_whole_faster) = self.lean.parts(axis, own);
        Some(Parts { step, is_whole_faster })
    }

    fn run_part(&self, call: &mut Call<'_, '_>, part: Part) -> Result<Measurement, RunError> {
        check_args(self.kernel(), call.args, call.grid)?;
        let mut measurement = Measurement::default();
        if call.grid.contains(&0) {
            self.checked.write_identity(call);
            return Ok(measurement);
        }
        let start = Instant::now();
        let buffers = self.checked.upload(call, &mut measurement)?;
        measurement.transfer = start.elapsed();

        let args: Vec<DeviceArg<'_>> = call
            .args
            .iter()
            .zip(&buffers)
            .filter_map(|(arg, buffer)| match (arg, buffer) {
                (Arg::Scalar(c), _) => Some(DeviceArg::Scalar(*c)),
                (Arg::Buffer { len, .. }, Some(buffer)) => {
                    Some(DeviceArg::Buffer { buffer, len: *len, is_blank: false })
                }
                (Arg::Buffer { .. }, None) => None,
            })
            .collect();
        let outcome = self.dispatch_part(&args, call.grid, part, call.claim, call.deadline);
        // What invocations wrote before one failed stays written.
        if let Ok(took) = &outcome {
            measurement.kernel = took.kernel();
        } else if !matches!(outcome, Err(RunError::Failed(_))) {
            return outcome.map(|_| measurement);
        }
        let start = Instant::now();
        self.checked.read_back(call, &buffers, &mut measurement)?;
        measurement.transfer += start.elapsed();
        outcome.map(|_| measurement)
    }
}

impl Compiled {
    /// The result of a reduction over nothing.
    fn write_identity(&self, call: &mut Call<'_, '_>) {
        if let (Some(identity), Some(Arg::Buffer { slot, .. })) =
            (self.identity(), call.args.last())
        {
            let bytes = identity.ty.bytes();
            let out = &mut call.claim.slice_mut::<u8>(slot)[..bytes];
            out.copy_from_slice(&identity.bits.to_le_bytes()[..bytes]);
        }
    }

    /// Shares the buffers with the device or copies them there: all but the output of a collective, which
    /// is written whole.
    fn upload(
        &self,
        call: &Call<'_, '_>,
        measurement: &mut Measurement,
    ) -> Result<Vec<Option<DeviceBuffer>>, RunError> {
        let params = &self.kernel.entry.params;
        let mut buffers = Vec::with_capacity(params.len());
        for (at, (param, arg)) in params.iter().zip(call.args).enumerate() {
            let (ParamKind::Buffer { element, .. }, Arg::Buffer { slot, len }) = (param.kind, arg)
            else {
                buffers.push(None);
                continue;
            };
            let bytes = u64::from(*len) * element.bytes() as u64;
            let failed = |error| self.device_error(error, &format!("buffer `{}`", param.name));
            if let Some(shared) =
                DeviceBuffer::over(&self.gpu, slot.arc(), bytes).map_err(failed)?
            {
                // The claim may be the first to look at it.
                let _ = call.claim.slice::<u8>(slot);
                buffers.push(Some(shared));
                continue;
            }
            let buffer = DeviceBuffer::new(&self.gpu, bytes).map_err(failed)?;
            let is_output = self.kernel.collective.is_some() && at + 1 == params.len();
            if !is_output && bytes > 0 {
                let host = &call.claim.slice::<u8>(slot)[..bytes as usize];
                buffer.upload(0, host).map_err(failed)?;
                measurement.upload_bytes += bytes;
            }
            buffers.push(Some(buffer));
        }
        Ok(buffers)
    }

    /// Copies the buffers that the kernel writes back to their slots.
    fn read_back(
        &self,
        call: &mut Call<'_, '_>,
        buffers: &[Option<DeviceBuffer>],
        measurement: &mut Measurement,
    ) -> Result<(), RunError> {
        let failed = |error| self.device_error(error, "a copy back");
        let mut readbacks = Readbacks::new(&self.gpu);
        let mut slots = Vec::new();
        for (param, _, access) in self.kernel.entry.buffers() {
            let (Some(Arg::Buffer { slot, .. }), Some(Some(buffer))) =
                (call.args.get(param.index()), buffers.get(param.index()))
            else {
                continue;
            };
            if access != Access::Read && buffer.bytes() > 0 && buffer.slot().is_none() {
                readbacks.add(buffer, 0, buffer.bytes()).map_err(failed)?;
                slots.push((slot, buffer.bytes()));
            }
        }
        if slots.is_empty() {
            return Ok(());
        }
        readbacks.run(call.deadline).map_err(failed)?;
        for (at, (slot, bytes)) in slots.into_iter().enumerate() {
            let out = &mut call.claim.slice_mut::<u8>(slot)[..bytes as usize];
            readbacks.take(at, out).map_err(failed)?;
            measurement.readback_bytes += bytes;
        }
        Ok(())
    }
}
