//! What the parts of a call teach: at once of the rest of it, and in the end of the kernel.

use super::{Cutting, Done, OTHER_CODE_SD, SURPRISE};
use crate::call::Outcome;
use crate::device::Device;
use crate::feedback;
use crate::ledger::{Measured, PartRow};
use crate::route::{Lesson, Slice, SliceRun, Told, trial};

impl Cutting<'_, '_> {
    /// What a part teaches of the rest of the call, which runs at the rate of its parts; a slice teaches for good,
    /// but only of calls of its size.
    pub(super) fn learn(&mut self, device: Device, share: f64, measured: Measured, is_slice: bool) {
        let (job, prior) = (self.job, &self.job.decision.prior);
        let is_other = self.is_other_code(device, share);
        let (start_s, is_first) = (self.job.start_s(device), job.prepared.runs(device));
        let told_s = match is_slice {
            true => trial::unstarted_s(measured.run_s, share, start_s),
            false => self.told_s(device, share, measured.run_s),
        };
        let (prediction, log2_work) = (prior.prediction, prior.log2_work);
        let told = self.told.get_or_insert_with(|| {
            Told::begin(&job.prepared.learned(job.decision.adapter).experience, log2_work)
        });
        let (_, most_s) = told.known().expect(&prediction, log2_work).interval_s[device as usize];
        if is_slice {
            let slice = Slice { device, share };
            let run = SliceRun { slice, run_s: measured.run_s, start_s, is_first };
            feedback::learn_slice(job, told, &run, if is_other { OTHER_CODE_SD } else { 0.0 });
            self.is_surprised = told_s / share > SURPRISE * most_s;
            return;
        }
        let lesson = Lesson::of_parts(prediction, log2_work, device, share, told_s);
        self.is_surprised = lesson.run_s > SURPRISE * most_s;
        let extra_sd = if is_other { lesson.extra_sd.max(OTHER_CODE_SD) } else { lesson.extra_sd };
        told.part(&Lesson { extra_sd, ..lesson });
    }

    /// What a part that has run last counts for: a trial is not given up for what beginning its first parts has taken.
    fn told_s(&self, device: Device, share: f64, run_s: f64) -> f64 {
        match self.is_first_of_trial(device) {
            true => trial::unstarted_s(run_s, share, self.job.start_s(device)),
            false => run_s,
        }
    }

    /// Whether what a device has run last is among the first parts of a trial.
    fn is_first_of_trial(&self, device: Device) -> bool {
        let parts = self.done.iter().filter(|done| done.device == device && !done.is_slice);
        self.tried == Some(device) && parts.count() <= self.firsts()
    }

    /// Whether what has run of the call is other code than that of whole calls.
    fn is_other_code(&self, device: Device, share: f64) -> bool {
        device == Device::Gpu && share < 1.0 && self.is_whole_on_gpu()
    }

    /// What slices have taken, beside the rest on the same device.
    fn learn_bias(&self, device: Device) {
        let rate_s = |is_slice: bool| {
            let of = |done: &&Done| done.device == device && done.is_slice == is_slice;
            let parts = self.done.iter().filter(of);
            // A slice teaches without what beginning it takes.
            let run_s = |done: &Done| match is_slice {
                true => {
                    trial::unstarted_s(done.measured.run_s, done.share, self.job.start_s(device))
                }
                false => done.measured.run_s,
            };
            let sum = |sum: (f64, f64), done: &Done| (sum.0 + run_s(done), sum.1 + done.share);
            let (run_s, share) = parts.fold((0.0, 0.0), sum);
            (share > 0.0).then(|| run_s / share)
        };
        if let (Some(slice_s), Some(rest_s)) = (rate_s(true), rate_s(false)) {
            let mut learned = self.job.prepared.learned(self.job.decision.adapter);
            learned.experience.observe_bias(device, slice_s, rest_s);
        }
    }

    /// Writes the call down, and what it has taught.
    pub(super) fn finish(self, total_s: f64) -> Outcome {
        let job = self.job;
        let sum = |device: Device, of: &dyn Fn(&Done) -> f64| -> f64 {
            self.done.iter().filter(|done| done.device == device).map(of).sum()
        };
        let share = |device: Device| sum(device, &|done| done.share);
        let most = match share(Device::Gpu) > share(Device::Cpu) {
            true => Device::Gpu,
            false => Device::Cpu,
        };
        let all = |of: &dyn Fn(&Done) -> f64| -> f64 { self.done.iter().map(of).sum() };
        let run_s = all(&|done| done.measured.run_s);
        let transfer_s = all(&|done| done.measured.transfer_s);
        let device_s: Option<f64> = self.done.iter().map(|done| done.measured.device_s).sum();
        let measured = Measured { run_s, device_s, transfer_s, total_s };
        let row = |done: &Done| {
            let Done { device, share, measured, .. } = *done;
            PartRow { device, share, run_s: measured.run_s }
        };
        if self.done.len() > 1 {
            job.inner.ledger.cut(job.call, most, self.done.iter().map(row).collect());
        }
        job.inner.ledger.close(job.call, measured);
        for device in [most, most.other()] {
            self.learn_bias(device);
            let parts = self.done.iter().filter(|done| done.device == device);
            let share = share(device).min(1.0);
            // What slices have taught is known. What is no code of whole calls says little of those.
            let is_kernels = !self.is_other_code(device, share);
            if parts.clone().any(|done| !done.is_slice) && is_kernels {
                let told_s = |done: &Done| self.told_s(device, done.share, done.measured.run_s);
                let run_s = sum(device, &told_s);
                let total_s = if device == most { total_s } else { 0.0 };
                feedback::learn_parts(job, device, share, run_s, total_s);
            }
        }
        Outcome { device: most, measured, call: job.call }
    }
}
