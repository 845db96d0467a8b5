//! Placing calls without a runtime: recorded ones, and made-up ones.
//!
//! The policy, what is known of a kernel, and the arithmetic are those of a runtime; only the calls
//! are not run. Calls come one after the other.

use std::sync::Arc;

use crossover_ml::Prediction;

use super::experience::{Answer, Experience, Lesson, Standing};
use super::policy::{CallKey, Policy, Seen, Slice};
use crate::device::Device;
use crate::ledger::{Estimate, Why};
use crate::words::WordMap;

/// A call that is to be placed. Times in seconds; CPU, then GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked<'a> {
    /// Which call.
    pub call: CallKey,
    /// Points of the grid.
    pub items: u64,
    /// log2 of the operations of the call.
    pub log2_work: f64,
    /// What the network says.
    pub prior: &'a Prediction,
    /// Generation of that network.
    pub generation: u64,
    /// Predicted time of the copies.
    pub transfer_s: [f64; 2],
    /// Predicted time until the device is free.
    pub wait_s: [f64; 2],
    /// Whether a part of it can be run first.
    pub can_be_cut: bool,
}

/// A call that has been placed.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// Where.
    pub device: Device,
    /// Why there.
    pub why: Why,
    /// What each device was expected to take.
    pub estimates: [Estimate; 2],
}

/// What is known of one kernel.
#[derive(Debug, Default)]
struct Kernel {
    experience: Experience,
    /// The network that the correction is relative to.
    generation: u64,
    /// What networks said of each shape, and what is to be expected of it.
    shapes: WordMap<u64, Shape>,
    /// Rises whenever the correction changes.
    revision: u64,
}

/// A shape of call; as in a runtime, it is corrected anew only where something has been learned.
#[derive(Clone, Copy, Debug)]
struct Shape {
    prior: Prediction,
    generation: u64,
    answer: Answer,
    /// The revision that the answer is of.
    revision: u64,
}

impl Kernel {
    /// What is to be expected of a call.
    fn expect(&mut self, asked: &Asked<'_>) -> Answer {
        let known = self.shapes.get(&asked.call.shape).copied();
        if let Some(known) = known.filter(|known| known.generation == asked.generation)
            && known.revision == self.revision
        {
            return known.answer;
        }
        self.meet(asked, known.as_ref());
        let (prior, generation, revision) = (*asked.prior, asked.generation, self.revision);
        let answer = self.experience.expect(&prior, asked.log2_work);
        self.shapes.insert(asked.call.shape, Shape { prior, generation, answer, revision });
        answer
    }

    /// Keeps what was learned when the network is exchanged.
    fn meet(&mut self, asked: &Asked<'_>, known: Option<&Shape>) {
        if self.generation != asked.generation {
            if let Some(old) = known {
                self.experience.correction.rebase(&old.prior, asked.prior);
                self.revision += 1;
            }
            self.generation = asked.generation;
        }
    }

    fn observe(&mut self, lesson: &Lesson) {
        self.revision += u64::from(self.experience.observe(lesson));
    }
}

/// Places calls, and learns from what they are said to have taken.
pub struct Offline {
    policy: Arc<dyn Policy>,
    kernels: WordMap<u64, Kernel>,
}

impl std::fmt::Debug for Offline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offline").field("policy", &self.policy.name()).finish_non_exhaustive()
    }
}

impl Offline {
    /// Nothing is known yet.
    pub fn new(policy: Arc<dyn Policy>) -> Offline {
        Offline { policy, kernels: WordMap::default() }
    }

    /// What is known of a kernel.
    pub fn experience(&self, kernel: u64) -> Option<&Experience> {
        Some(&self.kernels.get(&kernel)?.experience)
    }

    /// Begins with what another run has learned of a kernel.
    pub fn begin_with(&mut self, kernel: u64, experience: Experience) {
        self.kernels.insert(kernel, Kernel { experience, ..Kernel::default() });
    }

    /// Where the policy sends a call. What it took must be said before the next is asked.
    pub fn place(&mut self, asked: &Asked<'_>) -> Placed {
        let policy = self.policy.clone();
        let (kernel, estimates, answer) = self.expect(asked);
        let standing = kernel.experience.standing(asked.log2_work);
        let standing = Standing { can_be_cut: asked.can_be_cut, ..standing };
        let question = standing.question(asked.call, asked.items, &estimates, &answer);
        let (device, why) = policy.choose(&question);
        if why == Why::Explore {
            kernel.experience.begin_trial(device);
        }
        Placed { device, why, estimates }
    }

    /// The part of a call that the policy wants to be run before it is asked where the call goes.
    pub fn slice(&mut self, asked: &Asked<'_>) -> Option<Slice> {
        if !asked.can_be_cut {
            return None;
        }
        let (kernel, estimates, answer) = self.expect(asked);
        let parts = Some(kernel.experience.parts(asked.prior, asked.log2_work, &answer));
        let standing =
            Standing { can_be_cut: true, parts, ..kernel.experience.standing(asked.log2_work) };
        self.policy.slice(&standing.question(asked.call, asked.items, &estimates, &answer))
    }

    /// What a part of a call took.
    pub fn observe_slice(&mut self, asked: &Asked<'_>, slice: Slice, run_s: f64) {
        let Slice { device, share } = slice;
        let kernel = self.kernels.entry(asked.call.kernel).or_default();
        let known = &mut kernel.experience;
        let changes = known.observe_slice(asked.prior, asked.log2_work, device, share, run_s);
        kernel.revision += u64::from(changes);
        let call = asked.call;
        self.policy.observe(&Seen { call, share, device, run_s, total_s: run_s });
    }

    /// A call that somebody else sent somewhere.
    pub fn placed(&mut self, asked: &Asked<'_>, device: Device, why: Why) -> Placed {
        let (_, estimates, _) = self.expect(asked);
        Placed { device, why, estimates }
    }

    fn expect(&mut self, asked: &Asked<'_>) -> (&mut Kernel, [Estimate; 2], Answer) {
        let kernel = self.kernels.entry(asked.call.kernel).or_default();
        let answer = kernel.expect(asked);
        let estimates = Device::ALL.map(|device| {
            let at = device as usize;
            answer.estimate(device, 1, 1.0, asked.transfer_s[at], asked.wait_s[at])
        });
        (kernel, estimates, answer)
    }

    /// What a call took on the device that it was placed on.
    pub fn observe(
        &mut self,
        asked: &Asked<'_>,
        placed: &Placed,
        run_s: f64,
        total_s: f64,
        is_crew_trial: bool,
    ) {
        let (device, call) = (placed.device, asked.call);
        let kernel = self.kernels.entry(call.kernel).or_default();
        let predicted_s = Some(placed.estimates[device as usize].run_s);
        let run = Lesson::of_run(*asked.prior, asked.log2_work, device, run_s);
        kernel.observe(&Lesson { predicted_s, total_s, is_crew_trial, ..run });
        if placed.why == Why::Explore {
            kernel.experience.end_trial(device);
        }
        self.policy.observe(&Seen { call, share: 1.0, device, run_s, total_s });
    }
}
