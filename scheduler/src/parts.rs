//! A call in parts, one after another: where it is not sure which device is the faster, a slice of the call
//! tells before the rest is sent anywhere; and a long call is looked at again between its parts.
//!
//! ```text
//! slices   as long as the policy wants one       each a lesson of its own, of a size of its own
//! rest     whole, if it is short                  else parts; where it is not sure which device is the faster, the
//!                                                first ones are short and doubling, so that a device that was
//!                                                taken by mistake has little of the call
//! ```
//!
//! Parts add to the call what beginning one costs. That is bounded: a part takes a hundred times as long, but
//! for the first ones of a call of which little is known.

mod lessons;

use std::time::Instant;

use crossover_kernels::analysis::is_idempotent;
use crossover_kernels::error::RunError;
use crossover_kernels::exec::{self, Deadline, Part, Parts};
use crossover_kernels::ir::Access;
use crossover_memory::Claim;

use crate::call::{Job, Outcome};
use crate::device::Device;
use crate::error::Error;
use crate::footprint::{Footprint, footprints_of};
use crate::learned::Trial;
use crate::ledger::{Measured, Why};
use crate::place::{self, Left};
use crate::route::{Experience, Told, trial};
use crate::run::{self, Portion, Times};
use crate::version::{Code, GpuCode};

/// A slice takes what beginning one costs, at least; and it need not take more than this many times that, if it has
/// more than the first part of a long call.
const SLICE_STARTS: f64 = 1.0;
const SLICE_STARTS_MAX: f64 = 32.0;

/// Times that a GPU is filled by a slice, at least.
const SLICE_WAVES: f64 = 2.0;

/// Calls that are predicted to take so long are looked at again while they run.
const LONG_S: f64 = 20e-3;

/// Parts that such a call has, at least, if each takes this many times what beginning one costs.
const PARTS_MIN: f64 = 8.0;
const PART_STARTS: f64 = 100.0;

/// Seconds that the end of a part may take, where other programs keep threads from coming to it: they all wait for
/// each other. Measured: half a millisecond to two, on two cores with five other programs at work (2026-11). What is
/// sure pays for parts that are long beside that.
const END_S: f64 = 2e-3;

/// The first part of a call of which little is known, as a share; it takes this many times what beginning one
/// costs, at least.
const FIRST_SHARE: f64 = 1.0 / 64.0;
const FIRST_STARTS: f64 = 8.0;

/// Little is known, where so many standard deviations make the other device faster by this much, as log2; before the
/// device has run the kernel, what the network believes of its own errors counts for less.
const UNSURE_SD: f64 = 2.0;
const UNSURE_NEW_SD: f64 = 3.0;
const GAIN_LOG2: f64 = 0.4;

/// How far a part is from the whole where that runs other code, as a standard deviation of log2.
const OTHER_CODE_SD: f64 = 1.5;

/// How many times longer than what nineteen of twenty runs take is a surprise.
const SURPRISE: f64 = 1.2;

/// How many times faster the other device has to be for the rest of a call to move there.
const MOVE_GAIN: f64 = 1.1;

/// Steps of a GPU whose code is not ready are taken to divide these, along the first axis and further ones.
const STEPS_ASSUMED: [u32; 2] = [1024, 16];

/// A call that runs in parts.
pub(crate) struct Cutting<'j, 'c> {
    job: &'j Job<'c>,
    /// Parts begin at multiples of this, so that both devices may run what is next.
    step: u32,
    /// Where the part begins that is next.
    next: u32,
    end: u32,
    /// Whether the call must not leave anything on the GPU between parts, which could be lost with it.
    is_fragile: bool,
    /// The device on which this call is to tell how fast it is, although it is not expected to be the best.
    tried: Option<Device>,
    /// Whether the newest part has taken longer than was to be expected.
    is_surprised: bool,
    /// How often each device has run the kernel before.
    visits: [u64; 2],
    done: Vec<Done>,
    /// The slice that is wanted first.
    slice: Option<(Device, Part)>,
    /// What is known, with what the parts have told.
    told: Option<Told>,
    /// Whether a GPU has failed at it.
    has_failed: bool,
}

/// A part that has run.
#[derive(Clone, Copy, Debug)]
struct Done {
    device: Device,
    share: f64,
    measured: Measured,
    is_slice: bool,
}

impl<'j, 'c> Cutting<'j, 'c> {
    /// How a call is to be cut, if that is of use now.
    pub(crate) fn plan(job: &'j Job<'c>) -> Option<Cutting<'j, 'c>> {
        let decision = &job.decision;
        if decision.tried_crew().is_some() {
            return None;
        }
        let cut = decision.prior.cut.as_ref().ok()?;
        let cpu = job.cpu_code().ok()?.parts(job.grid)?;
        let gpu = parts_on_gpu(job);
        let gpu = gpu.unwrap_or(Parts::alike(STEPS_ASSUMED[cut.axis.min(1)]));
        let step = common_multiple(common_multiple(cut.step, cpu.step)?, gpu.step)?;
        let is_written = |footprint: &&Footprint| footprint.is_written;
        let written = decision.prior.footprints.iter().filter(is_written);
        let mut cutting = Cutting {
            job,
            step,
            next: 0,
            end: Part::all(job.grid).to,
            is_fragile: !written.clone().all(|footprint| footprint.is_blank),
            tried: decision.is_trial().then_some(decision.device),
            is_surprised: false,
            visits: job.prepared.learned(decision.adapter).experience.visits,
            done: Vec::new(),
            slice: None,
            told: None,
            has_failed: false,
        };
        if step > cutting.end / 2 {
            return None;
        }
        let left = cutting.left(None);
        cutting.slice = cutting.wanted(&left);
        let device = decision.device;
        let is_long = job.inner.policy.reconsiders() && cutting.part(device, &left, 0).is_some();
        (cutting.slice.is_some() || is_long).then_some(cutting)
    }

    /// Runs the call to its end, under a claim that is no stream's.
    pub(crate) fn run(mut self, claim: Claim<'_>) -> Result<Outcome, Error> {
        claim.wait();
        let start = Instant::now();
        match self.run_parts(claim, start) {
            Ok(end) => Ok(self.finish((end - start).as_secs_f64())),
            Err(error) => {
                self.job.inner.ledger.fail(self.job.call, error.to_string());
                Err(error)
            }
        }
    }

    fn run_parts(&mut self, mut claim: Claim<'_>, start: Instant) -> Result<Instant, Error> {
        let (job, mut end) = (self.job, start);
        let mut slices = 0;
        while let Some((device, part)) = self.slice.take() {
            (end, claim) = self.run_part(device, part, true, claim, (start, end))?;
            slices += 1;
            if slices < trial::SLICES_MAX && self.next < self.end && !self.has_failed {
                self.slice = self.wanted(&self.left(None));
            }
        }
        let mut left = self.left(None);
        let (mut device, why) = match slices {
            0 => (job.decision.device, job.decision.why.clone()),
            _ if !left.is_open || self.has_failed => (Device::Cpu, Why::Faster),
            _ => job.inner.policy.choose(&left.question(None)),
        };
        self.tried = (why == Why::Explore).then_some(device);
        let trial = || Trial::of(job.prepared.arc(), job.decision.adapter, device);
        let _trial = self.tried.filter(|_| slices > 0).map(|_| trial());
        let is_asked = job.inner.policy.reconsiders();
        let mut nth = 0;
        while self.next < self.end {
            let part = self.part(device, &left, nth).filter(|_| is_asked);
            let part = part.unwrap_or_else(|| self.rest(device));
            (end, claim) = self.run_part(device, part, false, claim, (start, end))?;
            left = self.left(Some(device));
            // What the part has told of one device makes it worth more to know the other.
            while self.next < self.end
                && slices < trial::SLICES_MAX
                && !self.has_failed
                && let Some((tried, part)) =
                    self.wanted(&left).filter(|(tried, _)| *tried != device)
            {
                (end, claim) = self.run_part(tried, part, true, claim, (start, end))?;
                slices += 1;
                left = self.left(Some(device));
            }
            if self.next < self.end {
                device = self.again(device, &left, nth);
            }
            nth += 1;
        }
        Ok(end)
    }

    /// Whether a device has run a part of the call.
    fn has_run(&self, device: Device) -> bool {
        self.done.iter().any(|done| done.device == device)
    }

    /// Which share of the call is left.
    fn share(&self) -> f64 {
        f64::from(self.end - self.next) / f64::from(self.end)
    }

    /// What is to be expected of the rest.
    fn left(&self, at: Option<Device>) -> Left {
        let job = self.job;
        let share = self.share();
        let shares = [share, if self.is_whole_on_gpu() { 1.0 } else { share }];
        place::left(
            self.job.placing(),
            &job.decision,
            shares,
            at,
            self.told.as_ref().map(Told::known),
        )
    }

    /// Whether the GPU has other code for whole calls, which may run all of the call once more. It is made when a
    /// call has come before.
    fn is_whole_on_gpu(&self) -> bool {
        self.visits[Device::Gpu as usize] > 1
            && parts_on_gpu(self.job).is_some_and(|parts| parts.is_whole_faster)
            && is_idempotent(&self.job.prepared.kernel.entry)
    }

    /// The slice that the policy wants, if it is worth beginning.
    fn wanted(&self, left: &Left) -> Option<(Device, Part)> {
        if !left.is_open {
            return None;
        }
        let prior = &self.job.decision.prior;
        let shares = Device::ALL.map(|device| self.slice_share(device, left));
        let parts = |known: &Experience| known.parts_of(&prior.prediction, prior.log2_work, shares);
        // What slices of this size have told is known for good. Of a device that has run nothing of the call, the parts
        // of the other have told something.
        let mut news = parts(&self.job.prepared.learned(self.job.decision.adapter).experience);
        if let Some(told) = &self.told {
            let known = parts(told.known());
            for device in Device::ALL.into_iter().filter(|device| !self.has_run(*device)) {
                news[device as usize] = known[device as usize];
            }
            told.leave_out(&mut news);
        }
        let slice = self.job.inner.policy.slice(&left.question(Some(news)))?;
        let whole_s = left.answer.run_s[slice.device as usize];
        let part = self.next_part(slice.share);
        let share = part.share(self.job.grid);
        let start_s = self.job.start_s(slice.device);
        let price_s = share * whole_s + start_s + self.copies_s(slice.device, part);
        let best_s = left.total_s(Device::Cpu).min(left.total_s(Device::Gpu));
        trial::is_worth_a_look(share, price_s, best_s).then_some((slice.device, part))
    }

    /// Which share of the call a slice would have.
    fn slice_share(&self, device: Device, left: &Left) -> f64 {
        let whole_s = left.answer.run_s[device as usize];
        let starts = |count: f64| count * self.job.start_s(device) / whole_s;
        let waves = match device {
            Device::Cpu => 0.0,
            Device::Gpu => waves(self.job),
        };
        // What is told is much the same from where on beginning it is not felt; and the call may take ten times
        // what it is predicted to.
        let share =
            left.parts[device as usize].share.min(FIRST_SHARE.max(starts(SLICE_STARTS_MAX)));
        let least = waves.max(starts(SLICE_STARTS));
        // Few sizes, so that slices are compared with those before.
        if share >= least { share } else { least.log2().ceil().exp2().min(1.0) }
    }

    /// Seconds of what has to be moved for a part.
    fn copies_s(&self, device: Device, part: Part) -> f64 {
        let job = self.job;
        let footprints = footprints_of(&job.prepared.kernel, &job.plain, job.grid, part);
        place::transfer_s(self.job.placing(), &job.decision, &footprints)[device as usize]
    }

    /// The next part of a long call on a device; `None` where all that is left runs at once.
    fn part(&self, device: Device, left: &Left, nth: usize) -> Option<Part> {
        let on_gpu = device == Device::Gpu;
        if self.has_failed || (on_gpu && !left.is_open) {
            return None;
        }
        let [own, other] = [device, device.other()].map(|device| device as usize);
        let answer = &left.answer;
        let ratio = (answer.run_s[other] / answer.run_s[own]).log2();
        let is_tried = self.tried == Some(device);
        // What may be a little faster is not worth looking for.
        let is_new = self.visits[own] == 0 && !self.has_run(device);
        let unsure_sd = if is_new { UNSURE_NEW_SD } else { UNSURE_SD };
        let is_close = ratio - unsure_sd * answer.ratio_sd < -GAIN_LOG2;
        let is_unsure = is_tried || is_close || self.is_surprised;
        let whole_s = answer.run_s[own];
        let (_, most_s) = answer.interval_s[own];
        let is_long = match (is_tried, is_unsure) {
            (true, _) => trial::is_long(most_s),
            (_, true) => most_s >= LONG_S,
            (_, false) => whole_s >= LONG_S,
        };
        if !is_long {
            return None;
        }
        // What the GPU runs best at once is not cut, but for a first part that tells whether it belongs there.
        let is_whole = self.is_whole_on_gpu();
        let firsts = if is_tried { self.firsts() } else { 1 };
        let is_first = is_unsure && nth < firsts && !(is_tried && is_whole);
        if on_gpu && !is_first && (self.is_fragile || is_whole) {
            return None;
        }
        let start_s = self.job.start_s(device);
        let start_s = if is_unsure { start_s } else { start_s.max(END_S) };
        let starts = |count: f64| count * start_s / whole_s;
        let steady = PARTS_MIN.recip().max(starts(PART_STARTS));
        // A trial is worth the whole call, so much of it tells what slices do not; if it is no blunder.
        let share = match (is_tried, is_unsure) {
            (true, _) if nth < firsts => trial::FIRST_SHARE,
            (false, true) => {
                (FIRST_SHARE * 2f64.powi(nth as i32)).max(starts(FIRST_STARTS)).min(steady)
            }
            (true, _) | (false, false) => steady,
        };
        let part = self.next_part(share);
        // No crumb is left for the end.
        let rest = self.share() - part.share(self.job.grid);
        (rest > 0.5 * share).then_some(part)
    }

    /// The first parts of a trial: one, where two would be a larger share of the call than is wanted.
    fn firsts(&self) -> usize {
        trial::firsts(f64::from(self.step) / f64::from(self.end))
    }

    /// The part of about this share that comes next.
    fn next_part(&self, share: f64) -> Part {
        let wanted = (share * f64::from(self.end) / f64::from(self.step)).round().max(1.0);
        let to = f64::from(self.next) + wanted * f64::from(self.step);
        let to = if to < f64::from(self.end) { to as u32 } else { self.end };
        Part { from: self.next, to }
    }

    /// All that is left, or all of the call where that is faster.
    fn rest(&self, device: Device) -> Part {
        let is_anew = device == Device::Gpu && self.is_whole_on_gpu();
        let from = if is_anew { 0 } else { self.next };
        Part { from, to: self.end }
    }

    /// Where the policy sends the rest. Parts have told what a trial is to tell.
    fn chosen(&self, left: &Left) -> Device {
        let question = left.question(None);
        match self.job.inner.policy.choose(&question) {
            (_, Why::Explore) => question.faster(),
            (chosen, _) => chosen,
        }
    }

    /// Where the rest goes, of a call that has run so many parts on `device`, the one at hand aside.
    fn again(&self, device: Device, left: &Left, nth: usize) -> Device {
        if self.has_failed {
            return Device::Cpu;
        }
        let other = device.other();
        let fits = match other {
            Device::Cpu => true,
            Device::Gpu => {
                let step = parts_on_gpu(self.job).map(|parts| parts.step);
                step.is_some_and(|step| self.next.is_multiple_of(step))
            }
        };
        if !left.is_open || !fits || !self.job.inner.policy.reconsiders() {
            return device;
        }
        let [own_s, other_s] = [device, other].map(|device| left.total_s(device));
        // The first parts of a trial tell of blunders alone.
        if self.tried == Some(device) && nth < self.firsts() {
            let told_s = own_s - left.run_s(device) + self.least_s(device) * self.share();
            let is_begun = nth + 1 < self.firsts();
            let shown = trial::Shown { own_s, told_s, other_s, spent_s: 0.0, is_begun };
            return if trial::gives_up(shown) { other } else { device };
        }
        let chosen = self.chosen(left);
        let gains = own_s > MOVE_GAIN * other_s;
        if chosen == other && gains { other } else { device }
    }

    /// What the whole would take at the rate of the fastest of the first parts of a trial, slices aside.
    fn least_s(&self, device: Device) -> f64 {
        let parts = self.done.iter().filter(|done| done.device == device && !done.is_slice);
        let start_s = self.job.start_s(device);
        let rate =
            |done: &Done| trial::unstarted_s(done.measured.run_s, done.share, start_s) / done.share;
        parts.map(rate).fold(f64::INFINITY, f64::min)
    }

    /// Runs a part, on the CPU where the GPU fails, and learns from it.
    fn run_part<'k>(
        &mut self,
        device: Device,
        part: Part,
        is_slice: bool,
        claim: Claim<'k>,
        (start, now): (Instant, Instant),
    ) -> Result<(Instant, Claim<'k>), Error> {
        let job = self.job;
        let deadline = Deadline::from(start, job.deadline);
        if deadline.has_passed() {
            let (kernel, limit) = (job.prepared.name.to_string(), job.deadline);
            return Err(RunError::Deadline { kernel, limit }.into());
        }
        let times = Times { start: now, is_late: true, deadline: Some(deadline) };
        let footprints = footprints_of(&job.prepared.kernel, &job.plain, job.grid, part);
        let portion = Portion { part, footprints: &footprints };
        let (ran, claim) = run::run(job, portion, device, claim, times);
        match ran {
            Ok((measured, end)) => {
                self.next = part.to;
                let share = part.share(job.grid);
                self.done.push(Done { device, share, measured, is_slice });
                tracing::trace!(call = job.call, device = device.name(), share, "part");
                if device == Device::Gpu && self.is_fragile && self.next < self.end {
                    run::settle(job, &claim)?;
                }
                self.learn(device, share, measured, is_slice);
                Ok((end, claim))
            }
            Err(Error::Run(error)) if job.may_fall_back(device, &error) => {
                job.note_fall_back(&error);
                self.has_failed = true;
                let claim = self.start_over(claim);
                Ok((Instant::now(), claim))
            }
            // What parts before have left on the GPU went with it.
            Err(Error::Memory(lost)) if device == Device::Cpu && self.may_start_over() => {
                job.note_fall_back(&RunError::Device {
                    kernel: job.prepared.name.to_string(),
                    device: Device::Gpu.name().to_owned(),
                    message: lost.to_string(),
                });
                self.has_failed = true;
                let claim = self.start_over(claim);
                Ok((Instant::now(), claim))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether all that the parts have left may be made anew, if the GPU has taken any with it.
    fn may_start_over(&self) -> bool {
        !self.has_failed
            && !self.is_fragile
            && self.done.iter().any(|done| done.device == Device::Gpu)
    }

    /// After a failure of the GPU: what it has left of parts before is gone with it. Where the call overwrites all
    /// that it writes, all of it runs anew; else nothing of it was left there.
    fn start_over<'k>(&mut self, mut claim: Claim<'k>) -> Claim<'k> {
        claim.wait();
        if self.is_fragile {
            return claim;
        }
        self.next = 0;
        self.done.clear();
        for (param, _, access) in self.job.prepared.kernel.entry.buffers() {
            let footprint = &self.job.decision.prior.footprints[param.index()];
            if access != Access::Read
                && let Some(storage) = self.job.storage(param)
            {
                claim.overwrite(&storage.slot, &footprint.touched);
                storage.host_is_current(&footprint.touched);
            }
        }
        claim
    }
}

/// The share of a call that fills the GPU as often as a slice is to.
pub(crate) fn waves(job: &Job<'_>) -> f64 {
    let known = job.inner.calibration_with(job.decision.adapter);
    SLICE_WAVES * known.gpu.width / place::items(job.grid) as f64
}

/// How the GPU runs parts of a call, where its code is ready.
fn parts_on_gpu(job: &Job<'_>) -> Option<Parts> {
    match &*job.prepared.gpu_code(job.decision.adapter) {
        GpuCode::Ready(Code::Host(version)) => version.parts(job.grid),
        GpuCode::Ready(Code::Gpu(version)) => exec::Version::parts(&**version, job.grid),
        GpuCode::Unasked | GpuCode::Compiling | GpuCode::Refused(..) => None,
    }
}

fn common_multiple(a: u32, b: u32) -> Option<u32> {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x % y);
    }
    (a / x.max(1)).checked_mul(b)
}
