//! Running a compiled kernel: which dispatches a call becomes, and what comes back from them.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crossover_kernels::error::{Failure, RunError};
use crossover_kernels::exec::{Arg, Call, Deadline, Grid, Measurement, Version, check_args};
use crossover_kernels::ir::{Access, CollectiveKind, Const, Param, ParamKind, SiteId, Type};
use crossover_memory::{Claim, Slot, Want};

use crate::buffer::{DeviceBuffer, Mapped, Readbacks};
use crate::device::DeviceError;
use crate::emit::{Field, Role, SITE_NO_END, STATUS_BYTES};
use crate::pipeline::{GpuVersion, PARAMS_BLOCKS, Scratch, Stage, TIMER_BYTES, Tree};

/// An argument of a dispatch, already on the device.
#[derive(Clone, Copy, Debug)]
pub enum DeviceArg<'a> {
    /// For a scalar parameter.
    Scalar(Const),
    /// For a buffer parameter.
    Buffer {
        /// The copy on the device.
        buffer: &'a DeviceBuffer,
        /// Number of elements of the parameter's type.
        len: u32,
        /// Whether the call overwrites all of it and reads none: what it holds before does not matter.
        is_blank: bool,
    },
}

/// One dispatch of a batch.
struct Step<'a> {
    stage: &'a Stage,
    bind_group: wgpu::BindGroup,
    /// The block of numbers.
    params: Vec<u8>,
    workgroups: [u32; 3],
}

/// What a call of a kernel runs on.
#[derive(Clone, Copy)]
struct Launch<'a> {
    args: &'a [DeviceArg<'a>],
    grid: Grid,
    deadline: Option<Deadline>,
}

/// Why a dispatch did not do its work, without the names.
enum Stop {
    /// Before the device touched anything.
    Device(DeviceError),
    /// When it may have.
    Underway(DeviceError),
    /// A check failed: site, index, invocation.
    Failed(SiteId, u64, [u32; 3]),
    /// A loop did not end.
    NoEnd,
}

impl From<DeviceError> for Stop {
    fn from(error: DeviceError) -> Stop {
        Stop::Device(error)
    }
}

impl GpuVersion {
    /// Runs the kernel over the grid, with all buffers on the device, to its end. Gives the time
    /// that the device took. The arguments are distinct where the kernel writes them. The claim covers
    /// those that are host memory; where the device fails while it works on them, what it may have
    /// changed of their content is said to be lost.
    ///
    /// # Errors
    /// As [`Version::run`].
    pub fn dispatch(
        &self,
        args: &[DeviceArg<'_>],
        grid: Grid,
        claim: &mut Claim,
        deadline: Option<Deadline>,
    ) -> Result<Duration, RunError> {
        self.check_device_args(args, claim)?;
        let start = Instant::now();
        let ran = self.run_grid(Launch { args, grid, deadline }, claim);
        if let Err(Stop::Underway(error)) = &ran {
            self.quarantine(args, claim, error);
        }
        ran.map_err(|stop| match stop {
            Stop::Device(error) | Stop::Underway(error) => {
                self.device_error(error, "a partial result")
            }
            Stop::Failed(site, index, invocation) => {
                let length = |param: Param| u64::from(length(args, param));
                RunError::Failed(Failure::at(&self.kernel, site, invocation, index, length))
            }
            Stop::NoEnd => RunError::Deadline {
                kernel: self.kernel.entry.name.clone(),
                limit: deadline.map_or_else(|| start.elapsed(), |deadline| deadline.limit),
            },
        })
    }

    fn device_error(&self, error: DeviceError, what: &str) -> RunError {
        error.of_kernel(&self.kernel.entry.name, &self.gpu.info().name, what)
    }

    /// The arguments that are host memory, and whether the kernel changes them.
    fn host_memory<'a>(
        &self,
        args: &'a [DeviceArg<'_>],
    ) -> impl Iterator<Item = (&'a DeviceBuffer, &'a Arc<Slot>, bool, bool)> {
        self.kernel.entry.buffers().filter_map(|(param, _, access)| {
            match args.get(param.index())? {
                DeviceArg::Buffer { buffer, is_blank, .. } => {
                    Some((*buffer, buffer.slot()?, access != Access::Read, *is_blank))
                }
                DeviceArg::Scalar(_) => None,
            }
        })
    }

    /// After a failure of the device: what it may have changed in host memory is lost, unless it was to be
    /// overwritten anyway, and what a device that hangs may still touch is never used again.
    fn quarantine(&self, args: &[DeviceArg<'_>], claim: &mut Claim, error: &DeviceError) {
        let hangs = matches!(error, DeviceError::Deadline(_)) && self.gpu.is_lost();
        let failed = matches!(error, DeviceError::Failed(_));
        for (_, slot, is_written, is_blank) in self.host_memory(args) {
            if is_written && (hangs || (failed && !is_blank)) {
                let (kernel, device) = (&self.kernel.entry.name, &self.gpu.info().name);
                claim.lose(slot, format!("{device} failed while `{kernel}` changed it in place"));
            }
            if hangs {
                std::mem::forget(slot.clone());
            }
        }
    }

    fn check_device_args(&self, args: &[DeviceArg<'_>], claim: &Claim) -> Result<(), RunError> {
        let entry = &self.kernel.entry;
        let fits = |(kind, arg): (ParamKind, &DeviceArg<'_>)| match (kind, arg) {
            (ParamKind::Scalar(ty), DeviceArg::Scalar(c)) => c.ty == ty,
            (ParamKind::Buffer { element, access }, DeviceArg::Buffer { buffer, len, .. }) => {
                let want = if access == Access::Read { Want::Read } else { Want::Write };
                u64::from(*len) * element.bytes() as u64 <= buffer.bytes()
                    && buffer.slot().is_none_or(|slot| claim.covers(slot, want))
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

    fn run_grid(&self, launch: Launch<'_>, claim: &mut Claim) -> Result<Duration, Stop> {
        let Launch { args, grid, deadline } = launch;
        self.gpu.healthy()?;
        if let Some(deadline) = deadline.filter(Deadline::has_passed) {
            return Err(DeviceError::Deadline(deadline.limit).into());
        }
        let collective = self.kernel.collective;
        if grid.contains(&0) {
            if let Some(identity) = self.identity()
                && let Some(DeviceArg::Buffer { buffer, .. }) = args.last()
            {
                let bytes = &identity.bits.to_le_bytes()[..identity.ty.bytes()];
                match buffer.slot() {
                    Some(slot) => claim.slice_mut(slot)[..bytes.len()].copy_from_slice(bytes),
                    None => buffer.upload(0, bytes)?,
                }
            }
            return Ok(Duration::ZERO);
        }
        let launch = Launch { grid: self.kernel.whole_groups(grid), ..launch };
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        scratch.has_started = false;
        let ran = match collective.map(|c| c.kind) {
            None => self.run_map(&mut scratch, launch),
            Some(CollectiveKind::Reduce) => self.run_reduce(&mut scratch, launch),
            Some(CollectiveKind::Scan) => self.run_scan(&mut scratch, launch),
        };
        match ran {
            Err(Stop::Device(error)) if scratch.has_started => Err(Stop::Underway(error)),
            other => other,
        }
    }

    /// What a reduction of nothing gives.
    fn identity(&self) -> Option<Const> {
        let collective = self.kernel.collective?;
        (collective.kind == CollectiveKind::Reduce)
            .then(|| Some(collective.op.identity(self.kernel.contribution()?)))?
    }

    fn run_map(&self, scratch: &mut Scratch, launch: Launch<'_>) -> Result<Duration, Stop> {
        let Launch { args, grid, deadline } = launch;
        let bind_group = self.bind_main(scratch, args, None);
        let limit = self.gpu.capabilities().workgroups_per_axis_max;
        let parts: &mut dyn Iterator<Item = Piece> = if self.kernel.axes() == 1 {
            let blocks = grid[0].div_ceil(self.shader.schedule.block());
            &mut std::iter::once(Piece { origin: [0; 3], workgroups: fold(blocks, limit) })
        } else {
            &mut pieces(grid, self.shader.schedule.workgroup, limit)
        };
        let mut total = Duration::ZERO;
        loop {
            let steps: Vec<Step<'_>> = (&mut *parts)
                .take(PARAMS_BLOCKS)
                .map(|piece| Step {
                    stage: &self.main,
                    bind_group: bind_group.clone(),
                    params: self.params(args, grid, piece.origin),
                    workgroups: piece.workgroups,
                })
                .collect();
            if steps.is_empty() {
                return Ok(total);
            }
            if let Some(deadline) = deadline.filter(Deadline::has_passed) {
                return Err(DeviceError::Deadline(deadline.limit).into());
            }
            total += self.run_steps(scratch, &steps, launch)?;
        }
    }

    fn run_reduce(&self, scratch: &mut Scratch, launch: Launch<'_>) -> Result<Duration, Stop> {
        let Launch { args, grid, .. } = launch;
        let (Some(Tree::Reduce { fold }), Some(DeviceArg::Buffer { buffer: output, .. })) =
            (&self.tree, args.last())
        else {
            unreachable!("a reduction has its second pass and an output");
        };
        let schedule = &self.shader.schedule;
        let blocks = grid[0].div_ceil(schedule.block()).min(schedule.reduce_workgroups_max);
        let sums = self.sums(blocks)?;
        let main = self.main_step(scratch, args, grid, &sums, [blocks, 1, 1], blocks);
        let second = Step {
            stage: fold,
            bind_group: self.bind_tree(scratch, fold, &sums, output),
            params: level(blocks, 1),
            workgroups: [1, 1, 1],
        };
        self.run_steps(scratch, &[main, second], launch)
    }

    fn run_scan(&self, scratch: &mut Scratch, launch: Launch<'_>) -> Result<Duration, Stop> {
        let Launch { args, grid, .. } = launch;
        let (
            Some(Tree::Scan { scan_sums, add_sums }),
            Some(DeviceArg::Buffer { buffer: output, .. }),
        ) = (&self.tree, args.last())
        else {
            unreachable!("a scan has its further passes and an output");
        };
        let limit = self.gpu.capabilities().workgroups_per_axis_max;
        let block = self.shader.schedule.block();
        // counts[0] is the grid, counts[k + 1] the number of workgroups that scan counts[k].
        let mut counts = vec![grid[0], grid[0].div_ceil(block)];
        while counts.last().is_some_and(|&count| count > 1) {
            counts.push(counts[counts.len() - 1].div_ceil(block));
        }
        let sums: Vec<DeviceBuffer> =
            counts[1..].iter().map(|&count| self.sums(count)).collect::<Result<_, _>>()?;
        let mut steps =
            vec![self.main_step(scratch, args, grid, &sums[0], fold(counts[1], limit), counts[1])];
        for k in 1..sums.len() {
            steps.push(Step {
                stage: scan_sums,
                bind_group: self.bind_tree(scratch, scan_sums, &sums[k - 1], &sums[k]),
                params: level(counts[k], counts[k + 1]),
                workgroups: fold(counts[k + 1], limit),
            });
        }
        for k in (0..sums.len()).rev().filter(|&k| counts[k + 1] > 1) {
            let data = if k == 0 { output } else { &sums[k - 1] };
            steps.push(Step {
                stage: add_sums,
                bind_group: self.bind_tree(scratch, add_sums, data, &sums[k]),
                params: level(counts[k], counts[k + 1]),
                workgroups: fold(counts[k + 1], limit),
            });
        }
        self.run_steps(scratch, &steps, launch)
    }

    /// Memory for partial results.
    fn sums(&self, count: u32) -> Result<DeviceBuffer, DeviceError> {
        let ty = self.shader.contribution.unwrap_or(Type::U32);
        DeviceBuffer::new(&self.gpu, u64::from(count) * ty.bytes() as u64)
    }

    fn main_step(
        &self,
        scratch: &mut Scratch,
        args: &[DeviceArg<'_>],
        grid: Grid,
        sums: &DeviceBuffer,
        workgroups: [u32; 3],
        blocks: u32,
    ) -> Step<'_> {
        let bind_group = self.bind_main(scratch, args, Some(sums));
        let mut params = self.params(args, grid, [0; 3]);
        // A reduction may have fewer workgroups than blocks of the grid.
        self.shader.params.write_field(&mut params, Field::Blocks, u64::from(blocks));
        Step { stage: &self.main, bind_group, params, workgroups }
    }

    /// The block of numbers of a dispatch.
    fn params(&self, args: &[DeviceArg<'_>], grid: Grid, origin: [u32; 3]) -> Vec<u8> {
        let layout = &self.shader.params;
        let mut out = vec![0; layout.bytes() as usize];
        layout.write(&mut out, |field| match field {
            Field::Extent(axis) => u64::from(grid[axis.index()]),
            Field::Origin(axis) => u64::from(origin[axis.index()]),
            Field::Blocks => u64::from(grid[0].div_ceil(self.shader.schedule.block())),
            Field::Len(param) => u64::from(length(args, param)),
            Field::Scalar(param) => match args.get(param.index()) {
                Some(DeviceArg::Scalar(c)) => c.bits,
                Some(DeviceArg::Buffer { .. }) | None => 0,
            },
        });
        out
    }

    /// The bind group of the kernel's own entry point: the last one, if the buffers are the same.
    fn bind_main(
        &self,
        scratch: &mut Scratch,
        args: &[DeviceArg<'_>],
        sums: Option<&DeviceBuffer>,
    ) -> wgpu::BindGroup {
        let buffers = args.iter().filter_map(|arg| match arg {
            DeviceArg::Buffer { buffer, .. } => Some(*buffer),
            DeviceArg::Scalar(_) => None,
        });
        let key: Vec<(wgpu::Buffer, u64)> =
            buffers.chain(sums).map(|buffer| (buffer.raw().clone(), buffer.bytes())).collect();
        if let Some((bound, group)) = &scratch.bound
            && *bound == key
        {
            return group.clone();
        }
        let group = self.create_main(scratch, args, sums);
        scratch.bound = Some((key, group.clone()));
        group
    }

    fn create_main(
        &self,
        scratch: &Scratch,
        args: &[DeviceArg<'_>],
        sums: Option<&DeviceBuffer>,
    ) -> wgpu::BindGroup {
        let entries: Vec<wgpu::BindGroupEntry<'_>> = self
            .shader
            .bindings
            .iter()
            .filter_map(|binding| {
                let resource = match binding.role {
                    Role::Buffer(param) => match args.get(param.index())? {
                        DeviceArg::Buffer { buffer, .. } => buffer.binding(),
                        DeviceArg::Scalar(_) => return None,
                    },
                    Role::Params => part(&scratch.params, u64::from(self.shader.params.bytes())),
                    Role::Status => part(scratch.status.as_ref()?, STATUS_BYTES),
                    Role::Sums => sums?.binding(),
                    Role::Data | Role::Level => return None,
                };
                Some(wgpu::BindGroupEntry { binding: binding.index, resource })
            })
            .collect();
        self.gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.main.layout,
            entries: &entries,
        })
    }

    /// The bind group of a further pass of a collective.
    fn bind_tree(
        &self,
        scratch: &Scratch,
        stage: &Stage,
        data: &DeviceBuffer,
        sums: &DeviceBuffer,
    ) -> wgpu::BindGroup {
        let entries: Vec<wgpu::BindGroupEntry<'_>> = self
            .shader
            .bindings
            .iter()
            .filter_map(|binding| {
                let resource = match binding.role {
                    Role::Data => data.binding(),
                    Role::Sums => sums.binding(),
                    Role::Level => part(&scratch.params, LEVEL_BYTES),
                    Role::Buffer(_) | Role::Params | Role::Status => return None,
                };
                Some(wgpu::BindGroupEntry { binding: binding.index, resource })
            })
            .collect();
        self.gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &stage.layout,
            entries: &entries,
        })
    }

    /// Runs dispatches one after another, in one submission, and waits for them.
    fn run_steps(
        &self,
        scratch: &mut Scratch,
        steps: &[Step<'_>],
        launch: Launch<'_>,
    ) -> Result<Duration, Stop> {
        let deadline = launch.deadline;
        let (gpu, queue) = (&self.gpu, self.gpu.queue());
        let stride = self.params_stride as usize;
        let mut content = vec![0; stride * steps.len()];
        for (block, step) in content.chunks_mut(stride).zip(steps) {
            block[..step.params.len()].copy_from_slice(&step.params);
        }
        scratch.write_params(gpu, content);
        if scratch.timer.is_none() {
            // Uploads that are still under way would count as time of the kernel.
            gpu.wait(&queue.submit([]), deadline)?;
        }
        let encoder = self.encode(scratch, steps, launch.args);
        let start = Instant::now();
        scratch.has_started = true;
        let submission = queue.submit([encoder.finish()]);
        let reports = scratch.timer.is_some() || scratch.status.is_some();
        let mapped = reports.then(|| Mapped::read(&scratch.readback, REPORT_BYTES));
        let waited = gpu.wait(&submission, deadline);
        let wall = start.elapsed();
        let Some(mapped) = mapped else {
            waited?;
            return Ok(wall);
        };
        let report = waited.and_then(|()| mapped.check()).and_then(|()| scratch.report());
        if !gpu.is_lost() {
            scratch.readback.unmap();
        }
        // Of a call that did not end well nobody knows what the status holds.
        scratch.status_is_set = report.as_ref().map_or(true, |report| report.failed);
        let report = report?;
        if report.failed {
            return Err(match report.site {
                SITE_NO_END => Stop::NoEnd,
                site => Stop::Failed(SiteId(site), u64::from(report.index), report.invocation),
            });
        }
        // A driver that measures nonsense is not believed.
        let measured =
            gpu.timestamp_ns().map(|ns| Duration::from_nanos((report.ticks as f64 * ns) as u64));
        Ok(measured.filter(|time| !time.is_zero() && *time <= wall).unwrap_or(wall))
    }

    fn encode(
        &self,
        scratch: &Scratch,
        steps: &[Step<'_>],
        args: &[DeviceArg<'_>],
    ) -> wgpu::CommandEncoder {
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        if let Some(status) = scratch.status.as_ref().filter(|_| scratch.status_is_set) {
            encoder.clear_buffer(status, 0, None);
        }
        let timestamp_writes =
            scratch.timer.as_ref().map(|timer| wgpu::ComputePassTimestampWrites {
                query_set: &timer.queries,
                beginning_of_pass_write_index: Some(0),
                end_of_pass_write_index: Some(1),
            });
        let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        for (at, step) in steps.iter().enumerate() {
            let offset = at as u32 * self.params_stride as u32;
            let [x, y, z] = step.workgroups;
            pass.set_pipeline(&step.stage.pipeline);
            pass.set_bind_group(0, &step.bind_group, &[offset]);
            pass.dispatch_workgroups(x, y, z);
        }
        drop(pass);
        // What is written to host memory becomes visible to the host.
        let written = self.host_memory(args).filter(|(_, _, is_written, _)| *is_written);
        encoder.transition_resources(
            written.map(|(buffer, ..)| wgpu::BufferTransition {
                buffer: buffer.raw(),
                state: wgpu::BufferUses::MAP_READ,
            }),
            std::iter::empty(),
        );
        let readback = &scratch.readback;
        if let Some(timer) = &scratch.timer {
            encoder.resolve_query_set(&timer.queries, 0..2, &timer.resolved, 0);
            encoder.copy_buffer_to_buffer(&timer.resolved, 0, readback, STATUS_BYTES, TIMER_BYTES);
        }
        if let Some(status) = &scratch.status {
            encoder.copy_buffer_to_buffer(status, 0, readback, 0, STATUS_BYTES);
        }
        encoder
    }
}

/// What a submission says when it is done.
struct Report {
    failed: bool,
    site: u32,
    index: u32,
    invocation: [u32; 3],
    /// The time between the timestamps, in the device's unit.
    ticks: u64,
}

const REPORT_BYTES: u64 = STATUS_BYTES + TIMER_BYTES;

impl Scratch {
    fn report(&self) -> Result<Report, DeviceError> {
        let view = self
            .readback
            .get_mapped_range(..REPORT_BYTES)
            .map_err(|error| DeviceError::Failed(error.to_string()))?;
        let word = |at: usize| {
            u32::from_le_bytes([view[at * 4], view[at * 4 + 1], view[at * 4 + 2], view[at * 4 + 3]])
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 1)) << 32;
        let timer = STATUS_BYTES as usize / 4;
        Ok(Report {
            failed: self.status.is_some() && word(0) != 0,
            site: word(1),
            index: word(2),
            invocation: [word(3), word(4), word(5)],
            ticks: long(timer + 2).saturating_sub(long(timer)),
        })
    }
}

const LEVEL_BYTES: u64 = 8;

/// The block of numbers of a further pass.
fn level(count: u32, blocks: u32) -> Vec<u8> {
    [count.to_le_bytes(), blocks.to_le_bytes()].concat()
}

fn part(buffer: &wgpu::Buffer, bytes: u64) -> wgpu::BindingResource<'_> {
    let size = wgpu::BufferSize::new(bytes);
    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: 0, size })
}

fn length(args: &[DeviceArg<'_>], param: Param) -> u32 {
    match args.get(param.index()) {
        Some(DeviceArg::Buffer { len, .. }) => *len,
        Some(DeviceArg::Scalar(_)) | None => 0,
    }
}

/// Workgroups in rows, where they are more than one axis of a dispatch takes.
fn fold(blocks: u32, limit: u32) -> [u32; 3] {
    let rows = blocks.div_ceil(limit);
    [blocks.div_ceil(rows.max(1)), rows, 1]
}

/// A part of a grid of several axes that one dispatch can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    origin: [u32; 3],
    workgroups: [u32; 3],
}

/// The parts of a grid, x fastest.
fn pieces(grid: Grid, workgroup: [u32; 3], limit: u32) -> impl Iterator<Item = Piece> {
    // The workgroups of each axis, cut into runs of at most `limit`.
    let along = move |axis: usize| {
        let groups = grid[axis].div_ceil(workgroup[axis]);
        let starts = (0..groups).step_by(limit as usize);
        starts.map(move |start| (start * workgroup[axis], limit.min(groups - start)))
    };
    along(2).flat_map(move |z| {
        along(1).flat_map(move |y| {
            along(0).map(move |x| Piece { origin: [x.0, y.0, z.0], workgroups: [x.1, y.1, z.1] })
        })
    })
}

impl Version for GpuVersion {
    fn run(&self, call: &mut Call<'_>) -> Result<Measurement, RunError> {
        check_args(&self.kernel, call.args, call.grid)?;
        let mut measurement = Measurement::default();
        if call.grid.contains(&0) {
            self.write_identity(call);
            return Ok(measurement);
        }
        let start = Instant::now();
        let buffers = self.upload(call, &mut measurement)?;
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
        let outcome = self.dispatch(&args, call.grid, call.claim, call.deadline);
        // What invocations wrote before one failed stays written.
        if let Ok(kernel) = &outcome {
            measurement.kernel = *kernel;
        } else if !matches!(outcome, Err(RunError::Failed(_))) {
            return outcome.map(|_| measurement);
        }
        let start = Instant::now();
        self.read_back(call, &buffers, &mut measurement)?;
        measurement.transfer += start.elapsed();
        outcome.map(|_| measurement)
    }
}

impl GpuVersion {
    /// The result of a reduction over nothing.
    fn write_identity(&self, call: &mut Call<'_>) {
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
        call: &Call<'_>,
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
            if let Some(shared) = DeviceBuffer::over(&self.gpu, slot, bytes).map_err(failed)? {
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
        call: &mut Call<'_>,
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

#[cfg(test)]
mod tests {
    use super::{Piece, fold, pieces};

    #[test]
    fn rows_hold_all_workgroups() {
        for blocks in [1, 2, 65_535, 65_536, 70_000, 1 << 24] {
            let [columns, rows, _] = fold(blocks, 65_535);
            assert!(columns <= 65_535 && rows <= 65_535);
            assert!(columns * rows >= blocks && columns * rows - blocks < rows.max(1));
        }
    }

    #[test]
    fn large_grids_fall_into_pieces() {
        let small: Vec<Piece> = pieces([100, 7, 1], [64, 4, 1], 65_535).collect();
        assert_eq!(small, [Piece { origin: [0; 3], workgroups: [2, 2, 1] }]);
        let wide: Vec<Piece> = pieces([u32::MAX, 1, 1], [64, 4, 1], 65_535).collect();
        assert_eq!(wide.len(), 1025);
        assert_eq!(wide[1].origin, [65_535 * 64, 0, 0]);
        let groups: u64 = wide.iter().map(|piece| u64::from(piece.workgroups[0])).sum();
        assert_eq!(groups, 1 << 26);
    }
}
