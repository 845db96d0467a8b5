//! Work that the device has been given: submitting it, waiting for it, and what came of it.

use std::borrow::BorrowMut;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crossover_kernels::error::{Failure, RunError};
use crossover_kernels::exec::Deadline;
use crossover_kernels::ir::{Param, SiteId};
use crossover_memory::{Claim, Fill, Slot};

use crate::buffer::{DeviceBuffer, Mapped};
use crate::compiled::{Compiled, Scratch, Stage, Turn};
use crate::device::{DeviceError, Submission};
use crate::emit::SITE_NO_END;

/// One dispatch of a submission.
pub(crate) struct Step<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) bind_group: wgpu::BindGroup,
    /// The block of numbers.
    pub(crate) numbers: Vec<u8>,
    pub(crate) workgroups: [u32; 3],
}

/// The dispatches of one submission, what they use, and memory that must live as long.
pub(crate) struct Batch<'a> {
    pub(crate) scratch: Scratch,
    pub(crate) steps: Vec<Step<'a>>,
    pub(crate) kept: Vec<DeviceBuffer>,
    /// Memory that is zero when the first of them begins.
    pub(crate) zeros: Option<DeviceBuffer>,
}

/// What a call took on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// From the submission to its end, by the host's clock.
    pub wall: Duration,
    /// The kernel alone, by the device's clock, where that was looked at.
    pub device: Option<Duration>,
}

impl Took {
    /// The time of the kernel, as well as it is known.
    pub fn kernel(&self) -> Duration {
        self.device.unwrap_or(self.wall)
    }
}

/// Why the device did not do its work, without the names.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Before it touched anything.
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

/// An argument that is host memory, while the device works on it.
#[derive(Debug)]
pub(crate) struct HostMemory {
    pub(crate) slot: Arc<Slot>,
    pub(crate) buffer: wgpu::Buffer,
    pub(crate) is_written: bool,
    pub(crate) is_blank: bool,
}

/// A call that the device has been given: [`Underway::finish`] waits for its end. Dropping it waits, too,
/// since the device may be working on memory that the claim covers.
#[derive(Debug)]
#[must_use = "the call is over when it is finished"]
pub struct Underway<'c, C: BorrowMut<Claim<'c>>> {
    pub(crate) version: Arc<Compiled>,
    /// Until it is given back.
    pub(crate) claim: Option<C>,
    /// What it claims lives as long.
    pub(crate) claimed: PhantomData<Claim<'c>>,
    /// What is left of it; nothing for a call over nothing.
    pub(crate) running: Option<Running>,
    pub(crate) host_memory: Vec<HostMemory>,
    /// Of the buffers, by number of the parameter; for messages.
    pub(crate) lengths: Vec<u32>,
    pub(crate) start: Instant,
    pub(crate) deadline: Option<Deadline>,
    /// Points of the call's grid.
    pub(crate) points: u64,
    /// What earlier submissions of the same call took.
    pub(crate) before: Took,
}

/// A state of a device: as long as it is the same, nothing that was given to the device has failed. See
/// [`crate::Gpu::trust`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust(pub(crate) u64);

/// A submission, and what it needs until it is done.
#[derive(Debug)]
pub(crate) struct Running {
    scratch: Scratch,
    submission: Submission,
    asked: Option<Mapped>,
    turn: Turn,
    start: Instant,
    /// Failures that the device had reported before.
    failures: u64,
    /// Memory for partial results.
    _kept: (Vec<DeviceBuffer>, Option<DeviceBuffer>),
}

impl<'c, C: BorrowMut<Claim<'c>>> Underway<'c, C> {
    /// Lets later calls of the stream go ahead: they will see what this one does. Not where the device has
    /// failed meanwhile, nor where a failing check may leave less than the stream would be told.
    pub fn hand_on(&mut self, is_whole: bool) {
        let gpu = &self.version.gpu;
        let fails = |running: &Running| running.failures != gpu.failures();
        let may_fail = !is_whole && self.version.shader.has_status();
        if !may_fail && !self.running.as_ref().is_some_and(fails) {
            self.claim().issue();
        }
    }

    /// Counts the time of the call, and what it is allowed, from here, if that is later than its start: the device
    /// was at others before.
    pub fn count_from(&mut self, start: Instant) {
        self.start = self.start.max(start);
        if let Some(deadline) = &mut self.deadline
            && let Some(at) = start.checked_add(deadline.limit)
        {
            deadline.at = deadline.at.max(at);
        }
    }

    /// Leaves the newest of some bytes of a slot that is claimed for writing on the device, as
    /// [`Claim::defer`].
    ///
    /// # Panics
    /// When the claim does not cover the slot for writing.
    pub fn leave(&mut self, slot: &Slot, part: Range<usize>, fill: Fill, is_new: bool) {
        self.claim().defer(slot, part, fill, is_new);
    }

    /// What the call works on was looked at then: it counts as failed, if the device has failed since.
    pub fn trusts(&mut self, since: Trust) {
        if let Some(running) = &mut self.running {
            running.failures = running.failures.min(since.0);
        }
    }

    /// Waits for the end, and gives the claim back. Where the device failed while it worked on host memory, what it may have changed
    /// there is said to be lost.
    ///
    /// # Errors
    /// As [`crossover_kernels::exec::Version::run`].
    pub fn finish(mut self) -> (Result<Took, RunError>, C) {
        let Some(running) = self.running.take() else {
            return (Ok(self.before), self.claim_back());
        };
        let turn = running.turn;
        match running.finish(&self.version, self.deadline) {
            Ok(took) => {
                let took = self.before.and(took);
                let alone = took.wall.min(self.start.elapsed());
                if turn.tells(alone) {
                    self.version.pace.note(self.points, alone);
                }
                (Ok(took), self.claim_back())
            }
            Err(stop) => self.stopped(stop),
        }
    }

    /// The same for one that has stopped.
    pub(crate) fn stopped(mut self, stop: Stop) -> (Result<Took, RunError>, C) {
        let error = self.explain(stop);
        (Err(error), self.claim_back())
    }

    fn claim_back(mut self) -> C {
        self.claim.take().expect("a call has its claim until it is over")
    }

    /// The claim on its buffers.
    pub(crate) fn claim(&mut self) -> &mut Claim<'c> {
        self.claim.as_mut().expect("a call has its claim until it is over").borrow_mut()
    }

    /// The error of a call that stopped.
    fn explain(&mut self, stop: Stop) -> RunError {
        let name = &self.version.kernel.entry.name;
        match stop {
            Stop::Device(error) => self.version.device_error(error, "a partial result"),
            Stop::Underway(error) => {
                self.quarantine(&error);
                self.version.device_error(error, "a partial result")
            }
            Stop::Failed(site, index, invocation) => {
                let length = |param: Param| {
                    u64::from(self.lengths.get(param.index()).copied().unwrap_or_default())
                };
                RunError::Failed(Failure::at(&self.version.kernel, site, invocation, index, length))
            }
            Stop::NoEnd => RunError::Deadline {
                kernel: name.clone(),
                limit: self
                    .deadline
                    .map_or_else(|| self.start.elapsed(), |deadline| deadline.limit),
            },
        }
    }

    /// After a failure of the device: what it may have changed in host memory is lost, unless it was to be
    /// overwritten anyway, and what a device that hangs may still touch is never used again.
    fn quarantine(&mut self, error: &DeviceError) {
        let gpu = self.version.gpu.clone();
        // What was given to the device until now may rest on what this call has not done; what is given to it
        // from here on waits until the loss is known. In this order: none is in between.
        if let Some(claim) = self.claim.as_mut() {
            claim.borrow_mut().take_back();
        }
        gpu.distrust();
        let hangs = gpu.is_abandoned();
        if !hangs {
            gpu.drain();
        }
        let failed = matches!(error, DeviceError::Failed(_) | DeviceError::Memory { .. });
        let Some(claim) = self.claim.as_mut().map(BorrowMut::borrow_mut) else { return };
        for HostMemory { slot, is_written, is_blank, .. } in &self.host_memory {
            let (kernel, device) = (&self.version.kernel.entry.name, &gpu.info().name);
            let message = format!("{device} failed while `{kernel}` changed it in place");
            if hangs && *is_written {
                claim.forfeit(slot, message);
            } else if *is_written && failed && !is_blank {
                claim.lose(slot, message);
            }
            if hangs {
                std::mem::forget(slot.clone());
            }
        }
    }
}

impl<'c, C: BorrowMut<Claim<'c>>> Drop for Underway<'c, C> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take()
            && let Err(Stop::Device(error) | Stop::Underway(error)) =
                running.finish(&self.version, self.deadline)
        {
            self.quarantine(&error);
        }
    }
}

impl Took {
    pub(crate) fn and(self, other: Took) -> Took {
        let device = match (self, other) {
            (Took { wall: Duration::ZERO, .. }, other) => other.device,
            (Took { device: Some(a), .. }, Took { device: Some(b), .. }) => Some(a + b),
            _ => None,
        };
        Took { wall: self.wall + other.wall, device }
    }
}

impl Running {
    /// Gives dispatches to the device, one after another in one submission.
    pub(crate) fn submit(
        version: &Compiled,
        Batch { mut scratch, steps, kept, zeros }: Batch<'_>,
        host_memory: &[HostMemory],
    ) -> Running {
        let gpu = &version.gpu;
        let _unmapped = gpu.mapping().read().unwrap_or_else(PoisonError::into_inner);
        let turn = version.next_turn();
        let is_timed = turn.is_timed;
        let failures = gpu.failures();
        if !version.shader.immediates {
            let stride = version.numbers_stride as usize;
            let mut content = vec![0; stride * steps.len()];
            for (block, step) in content.chunks_mut(stride).zip(&steps) {
                block[..step.numbers.len()].copy_from_slice(&step.numbers);
            }
            scratch.write_numbers(gpu, content);
        }
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        scratch.report.begin(&mut encoder);
        if let Some(zeros) = &zeros {
            encoder.clear_buffer(zeros.raw(), 0, Some(zeros.bytes()));
        }
        let timestamp_writes = scratch.report.timestamps(is_timed);
        let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        for step in &steps {
            let [x, y, z] = step.workgroups;
            pass.set_pipeline(&step.stage.pipeline);
            pass.set_bind_group(0, &step.bind_group, &[]);
            if version.shader.immediates {
                pass.set_immediates(0, &step.numbers);
            }
            pass.dispatch_workgroups(x, y, z);
        }
        drop(pass);
        let report = scratch.report.end(&mut encoder, is_timed);
        // What is written to host memory becomes visible to the host: what the CPU itself has written is so, and
        // software adapters wait for all before at each barrier.
        if !gpu.info().is_software() {
            let written = host_memory.iter().filter(|memory| memory.is_written);
            let visible = written.map(|memory| &memory.buffer).chain(report);
            let state = wgpu::BufferUses::MAP_READ;
            encoder.transition_resources(
                visible.map(|buffer| wgpu::BufferTransition { buffer, state }),
                std::iter::empty(),
            );
        }
        let commands = encoder.finish();
        let start = Instant::now();
        let submission = gpu.submit(Some(commands));
        let asked = scratch.report.ask(is_timed);
        Running { scratch, submission, asked, turn, start, failures, _kept: (kept, zeros) }
    }

    /// Waits for the end.
    pub(crate) fn finish(
        mut self,
        version: &Compiled,
        deadline: Option<Deadline>,
    ) -> Result<Took, Stop> {
        let gpu = &version.gpu;
        let waited = match self.asked {
            Some(_) => gpu.wait(&self.submission, deadline),
            None => gpu.wait_for_work(&self.submission, deadline),
        };
        let wall = self.start.elapsed();
        let asked = self.asked.take();
        let is_asked = asked.is_some();
        let said = waited
            .and_then(|()| match gpu.failures() == self.failures {
                true => Ok(()),
                false => Err(DeviceError::Failed("the device failed meanwhile".to_owned())),
            })
            .and_then(|()| asked.as_ref().map_or(Ok(()), Mapped::check))
            .and_then(|()| self.scratch.report.read(is_asked, self.turn.is_timed));
        let lost = gpu.is_lost();
        if !lost {
            self.scratch.report.let_go(is_asked);
        }
        if said.is_err() {
            self.scratch.report.distrust();
        }
        let ended_well = said.is_ok();
        // A device that hangs may still write to it.
        match lost && !ended_well {
            true => std::mem::forget(self.scratch),
            false => version.give_back(self.scratch),
        }
        let said = said.map_err(Stop::Underway)?;
        version.note_wall(wall);
        if said.failed {
            return Err(match said.site {
                SITE_NO_END => Stop::NoEnd,
                site => Stop::Failed(SiteId(site), u64::from(said.index), said.invocation),
            });
        }
        // A driver that measures nonsense is not believed.
        let measured =
            gpu.timestamp_ns().map(|ns| Duration::from_nanos((said.ticks as f64 * ns) as u64));
        let device = measured.filter(|time| !time.is_zero() && *time <= wall);
        Ok(Took { wall, device })
    }
}
