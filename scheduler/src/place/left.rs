//! What is left of a call that runs in parts, and what each device is expected to take for it.

use super::{Decision, Placing, Presence, cpu_factor, passage, presence};
use crate::device::Device;
use crate::footprint::Footprint;
use crate::ledger::{Estimate, Why};
use crate::place::items;
use crate::route::{Answer, CallKey, Experience, Part, Question, Standing};

/// What is to be expected of the rest of a call.
pub(crate) struct Left {
    /// Of the whole call.
    pub(crate) answer: Answer,
    /// Of what each device would have to run.
    pub(crate) estimates: [Estimate; 2],
    pub(crate) standing: Standing,
    /// Parts that could be run first, as far as the price of beginning them goes unheeded.
    pub(crate) parts: [Part; 2],
    /// Whether both devices can run it.
    pub(crate) is_open: bool,
    call: CallKey,
    items: u64,
}

impl Decision {
    /// The same call, as it is decided with what parts have told.
    pub(crate) fn after(&self, left: &Left, device: Device, why: Why) -> Decision {
        Decision { device, why, both: left.estimates, ..self.clone() }
    }
}

impl Left {
    /// What a policy is asked about it; with parts, where those matter.
    pub(crate) fn question(&self, parts: Option<[Part; 2]>) -> Question<'_> {
        let standing = Standing { can_be_cut: true, parts, ..self.standing };
        standing.question(self.call, self.items, &self.estimates, &self.answer)
    }

    /// Of what a device would have to run, copies and wait aside.
    pub(crate) fn run_s(&self, device: Device) -> f64 {
        self.estimates[device as usize].run_s
    }

    pub(crate) fn estimate(&self, device: Device) -> &Estimate {
        &self.estimates[device as usize]
    }

    pub(crate) fn total_s(&self, device: Device) -> f64 {
        self.estimates[device as usize].total_s()
    }
}

/// The rest of a call that has been decided: `shares` is how much of it each device would run, `at` where it runs
/// now, and `experience` what is known, where parts of the call have told more than the kernel's own has.
pub(crate) fn left(
    call: Placing<'_>,
    decision: &Decision,
    shares: [f64; 2],
    at: Option<Device>,
    experience: Option<&Experience>,
) -> Left {
    let Placing { inner, prepared, .. } = call;
    let prior = &decision.prior;
    // How often the kernel has run, and what that has cost, is not changed by parts of this call.
    let (answer, standing, parts) = {
        let learned = prepared.learned(decision.adapter);
        let (own, of) = (&learned.experience, (&prior.prediction, prior.log2_work));
        let answer = experience.unwrap_or(own).expect(of.0, of.1);
        (
            answer,
            own.standing(of.1),
            own.parts(of.0, of.1, &answer, inner.start_s(decision.adapter)),
        )
    };
    let side = inner.gpus.get(decision.adapter);
    let opened = side.and_then(|side| side.opened());
    let gpu = opened.as_ref().map(|opened| opened.gpu());
    let transfer_s = transfer_s(call, decision, &prior.footprints);
    let estimates = Device::ALL.map(|device| {
        let (to, before) = (device as usize, &decision.both[device as usize]);
        let factor = if device == Device::Cpu { cpu_factor(decision.choice) } else { 1.0 };
        // The call is among those that its own device has under way.
        let is_here = at.unwrap_or(decision.device) == device || decision.device == device;
        let wait_s = if is_here { 0.0 } else { before.wait_s };
        let (threads, factor) = (before.threads, factor * shares[to]);
        let estimate = answer.estimate(device, threads, factor, transfer_s[to], wait_s);
        Estimate { adapter: before.adapter, ..estimate }
    });
    let is_open = prior.refusal.is_none() && presence(side, prepared, gpu) == Presence::Ready;
    let key = CallKey { kernel: prepared.key, shape: prior.shape };
    Left { answer, estimates, standing, parts, is_open, call: key, items: items(call.grid) }
}

/// Seconds of what would have to be moved for a part of a call with these footprints, to each device.
pub(crate) fn transfer_s(
    call: Placing<'_>,
    decision: &Decision,
    footprints: &[Footprint],
) -> [f64; 2] {
    let side = call.inner.gpus.get(decision.adapter);
    let opened = side.and_then(|side| side.opened());
    let gpu = opened.as_ref().map(|opened| opened.gpu());
    passage(side, gpu, call.args, footprints, decision.situation.asked.in_place).transfer_s
}
