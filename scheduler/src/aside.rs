//! A look at both devices before a call that cannot be cut into parts: parts of it run on copies of what it changes, and
//! what they compute is thrown away.
//!
//! ```text
//! slices   as long as the policy wants one    the first points along the outermost axis, as a call of its own
//! trial    two small parts on its device      given up where all of it would take what nobody puts up with
//! call     where that leaves it, whole
//! ```
//!
//! What is looked at is thrown away, so that it costs a share of the call; [`trial::is_worth_a_look`] bounds that.
//! Nothing is looked at while a buffer's newest bytes are on a GPU alone: to bring them back for a look would cost more
//! than it tells.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossover_kernels::error::RunError;
use crossover_kernels::exec::{self, Deadline, Grid, Part, outer_axis};
use crossover_kernels::ir::{Access, CollectiveKind, Param};

use crate::buffer::Storage;
use crate::call::{Bound, BoundArg, Job};
use crate::device::Device;
use crate::error::Error;
use crate::feedback;
use crate::footprint::{Footprint, footprints};
use crate::ledger::{PartRow, Why};
use crate::parts::waves;
use crate::place::{self, Decision, Left, Placing};
use crate::route::{Lesson, Slice, SliceRun, Told, trial};
use crate::run::{self, Portion, Times};
use crate::version::Prepared;

/// What looking has led to.
pub(crate) struct Looked {
    /// The decision, with what the parts have told.
    pub(crate) decision: Decision,
    /// The parts that have run.
    pub(crate) parts: Vec<PartRow>,
    /// Seconds that they have taken, copies and all.
    pub(crate) took_s: f64,
}

/// Whether a call that cannot be cut can be looked at: not what is one step along its outermost axis, nor what works on
/// bytes that are on a GPU alone.
pub(crate) fn is_possible(Placing { prepared, args, grid, .. }: Placing<'_>) -> bool {
    let is_here = |Bound(arg): &Bound<'_>| match arg {
        BoundArg::Buffer(storage, _) => !storage.slot.is_pending(),
        BoundArg::Scalar(_) | BoundArg::Unfit(_) => true,
    };
    let is_a_step = step(prepared, grid) > Part::all(grid).to / 2 || grid.contains(&0);
    !is_a_step && !prepared.fails_aside() && args.iter().all(is_here)
}

/// What parts are multiples of along the outermost axis.
fn step(prepared: &Prepared, grid: Grid) -> u32 {
    prepared.kernel.workgroup.map_or(1, |size| size[outer_axis(grid)])
}

/// Looks, if that is of use before this call. What the parts have told is learned.
pub(crate) fn look(job: &Job<'_>) -> Option<Looked> {
    let mut aside = Aside::begin(job)?;
    let (mut device, mut why) = (job.decision.device, job.decision.why.clone());
    while aside.parts.len() < trial::SLICES_MAX
        && let Some(slice) = aside.wanted()
        && aside.slice(slice)
    {}
    let left = aside.left();
    if !aside.parts.is_empty() {
        (device, why) = job.inner.policy.choose(&left.question(None));
    }
    let high_s = left.estimate(device).run_high_s;
    if why == Why::Explore && trial::is_long(high_s) && aside.gives_up(device) {
        (device, why) = (device.other(), Why::Faster);
    }
    let Aside { parts, took_s, .. } = aside;
    let decision = || job.decision.after(&left, device, why);
    (!parts.is_empty()).then(|| Looked { decision: decision(), parts, took_s })
}

struct Aside<'j, 'c> {
    job: &'j Job<'c>,
    /// Along the outermost axis: what parts are multiples of, and all of it.
    step: u32,
    end: u32,
    told: Told,
    parts: Vec<PartRow>,
    took_s: f64,
}

impl<'j, 'c> Aside<'j, 'c> {
    fn begin(job: &'j Job<'c>) -> Option<Aside<'j, 'c>> {
        let Decision { may_be_cut, ref prior, adapter, .. } = *job.decision;
        if !may_be_cut || prior.cut.is_ok() || job.decision.tried_crew().is_some() {
            return None;
        }
        // Whoever changes them now is waited for, as the call would.
        job.storages().for_each(|storage| drop(storage.slot.read_part::<u8>(0..0)));
        if !is_possible(job.placing()) {
            return None;
        }
        let (step, end) = (step(&job.prepared, job.grid), Part::all(job.grid).to);
        let told = Told::begin(&job.prepared.learned(adapter).experience, prior.log2_work);
        Some(Aside { job, step, end, told, parts: Vec::new(), took_s: 0.0 })
    }

    fn left(&self) -> Left {
        let decision = &self.job.decision;
        place::left(self.job.placing(), decision, [1.0; 2], None, Some(self.told.known()))
    }

    /// The slice that the policy wants, if it is worth beginning.
    fn wanted(&self) -> Option<Slice> {
        let (job, left) = (self.job, self.left());
        if !left.is_open {
            return None;
        }
        let prior = &job.decision.prior;
        let start_s = job.inner.start_s(job.decision.adapter);
        let mut parts = self.told.parts(&prior.prediction, prior.log2_work, &left.answer, start_s);
        let gpu = &mut parts[Device::Gpu as usize];
        gpu.share = gpu.share.max(waves(job));
        let Slice { device, share } = job.inner.policy.slice(&left.question(Some(parts)))?;
        let slice = Slice { device, share: self.share(self.grid(share)) };
        self.is_worth_it(slice, &left).then_some(slice)
    }

    /// Whether a part is put up with, with the copies that it is made on and what has been spent before.
    fn is_worth_it(&self, Slice { device, share }: Slice, left: &Left) -> bool {
        let (job, at) = (self.job, device as usize);
        let known = job.inner.calibration_with(job.decision.adapter);
        let found = footprints(&job.prepared.kernel, &job.plain, self.grid(share));
        let copies_s = place::transfer_s(self.job.placing(), &job.decision, &found)[at];
        let written = found.iter().filter(|footprint| footprint.is_written && !footprint.is_blank);
        let copied: usize = written.map(|footprint| footprint.touched.len()).sum();
        // Read, written, and the pages filled before; and given to the GPU.
        let aside_s = 3.0 * copied as f64 / known.cpu.bandwidth_one;
        let given_s =
            if device == Device::Gpu { known.gpu.upload.seconds(copied as u64) } else { 0.0 };
        let run_s = share * left.run_s(device) + job.start_s(device);
        let best_s = left.total_s(Device::Cpu).min(left.total_s(Device::Gpu));
        let price_s = run_s + copies_s + aside_s + given_s;
        // All looks of a call together are put up with for twice as much as one.
        trial::is_worth_a_look(share, price_s.max(0.5 * (self.took_s + price_s)), best_s)
    }

    /// The first points, of about this share.
    fn grid(&self, share: f64) -> Grid {
        let steps = (share * f64::from(self.end) / f64::from(self.step)).round().max(1.0);
        let mut grid = self.job.grid;
        let to = &mut grid[outer_axis(self.job.grid)];
        *to = (*to).min((steps * f64::from(self.step)) as u32);
        grid
    }

    fn share(&self, grid: Grid) -> f64 {
        f64::from(grid[outer_axis(self.job.grid)]) / f64::from(self.end)
    }

    /// Runs a slice, and learns from it. False where it has failed.
    fn slice(&mut self, slice: Slice) -> bool {
        let (job, Slice { device, share }) = (self.job, slice);
        let Some(run_s) = self.run(device, share) else { return false };
        let (start_s, is_first) = (job.start_s(device), job.prepared.runs(device));
        feedback::learn_slice(
            job,
            &mut self.told,
            &SliceRun { slice, run_s, start_s, is_first },
            0.0,
        );
        true
    }

    /// Runs the first parts of a trial, and says whether it ends with them. Where they are too dear, or fail, it does
    /// not.
    fn gives_up(&mut self, device: Device) -> bool {
        let (job, prior) = (self.job, &self.job.decision.prior);
        let firsts = trial::firsts(f64::from(self.step) / f64::from(self.end));
        let (mut shares, mut parts_s, mut least_s) = (0.0, 0.0, f64::INFINITY);
        for nth in 1..=firsts {
            let share = self.share(self.grid(trial::FIRST_SHARE));
            if !self.is_worth_it(Slice { device, share }, &self.left()) {
                return false;
            }
            let Some(run_s) = self.run(device, share) else { return false };
            let unstarted_s = trial::unstarted_s(run_s, share, job.start_s(device));
            let of = (prior.prediction, prior.log2_work);
            self.told.part(&Lesson::of_parts(of.0, of.1, device, share, unstarted_s));
            (shares, parts_s) = (shares + share, parts_s + unstarted_s);
            least_s = least_s.min(unstarted_s / share);
            let left = self.left();
            let [own_s, other_s] = [device, device.other()].map(|device| left.total_s(device));
            let told_s = own_s - left.run_s(device) + least_s;
            let (spent_s, is_begun) = (self.took_s, nth < firsts);
            let shown = trial::Shown { own_s, told_s, other_s, spent_s, is_begun };
            if trial::gives_up(shown) {
                let mut learned = job.prepared.learned(job.decision.adapter);
                learned.observe_parts(prior, device, shares, parts_s, parts_s);
                return true;
            }
        }
        false
    }

    /// Runs the first points of the call on copies of what it changes, and gives what that took, in seconds. Where that
    /// fails the kernel is not looked at again.
    fn run(&mut self, device: Device, share: f64) -> Option<f64> {
        let begun = Instant::now();
        match self.run_on_copies(device, share, begun) {
            Ok((run_s, end)) => {
                self.took_s += (end - begun).as_secs_f64();
                self.parts.push(PartRow { device, share, run_s });
                tracing::trace!(call = self.job.call, device = device.name(), share, "look");
                Some(run_s)
            }
            Err(error) => {
                self.took_s += begun.elapsed().as_secs_f64();
                let kernel = &*self.job.prepared.name;
                tracing::warn!(kernel, %error, "a look before a call has failed: there will be no other");
                self.job.prepared.failed_aside();
                if device == Device::Gpu && matches!(error, Error::Run(RunError::Device { .. })) {
                    self.job.gpu().rest();
                }
                None
            }
        }
    }

    fn run_on_copies(
        &self,
        device: Device,
        share: f64,
        begun: Instant,
    ) -> Result<(f64, Instant), Error> {
        let (job, grid) = (self.job, self.grid(share));
        let kernel = &job.prepared.kernel;
        let found = footprints(kernel, &job.plain, grid);
        let mut copies = Vec::new();
        for (param, element, access) in kernel.entry.buffers() {
            if access == Access::Read {
                continue;
            }
            let is_scan = kernel.collective.is_some_and(|c| c.kind == CollectiveKind::Scan);
            let is_output = param.index() + 1 == kernel.entry.params.len();
            let len = match exec::length(&job.plain, param) {
                // An element for each point.
                len if is_scan && is_output => place::items(grid).min(u64::from(len)) as u32,
                len => len,
            };
            let copy = self.copy(param, len as usize * element.bytes(), &found[param.index()])?;
            copies.push((param, copy, len));
        }
        let part_of = job.on_copies(grid, &copies)?;
        let claim = exec::claim_args(kernel, &part_of.plain);
        claim.wait();
        let limit = job.deadline.saturating_sub(Duration::from_secs_f64(self.took_s));
        let deadline = Some(Deadline::from(begun, limit));
        let times = Times { start: begun, is_late: true, deadline };
        let found = footprints(kernel, &part_of.plain, grid);
        let portion = Portion { part: Part::all(grid), footprints: &found };
        let (ran, _) = run::run(&part_of, portion, device, claim, times);
        let (measured, end) = ran?;
        Ok((measured.run_s, end))
    }

    /// A buffer like that of a parameter, with what the part will look at of it.
    fn copy(
        &self,
        param: Param,
        bytes: usize,
        footprint: &Footprint,
    ) -> Result<Arc<Storage>, Error> {
        let copy = Storage::new(bytes)?;
        if let Some(storage) = self.job.storage(param).filter(|_| !footprint.is_blank) {
            let original = &storage.slot;
            let touched = footprint.touched.clone();
            let content = original.read_part::<u8>(touched.clone());
            content.settle()?;
            copy.slot.write_part::<u8>(touched).copy_from_slice(&content);
        }
        Ok(Arc::new(copy))
    }
}
