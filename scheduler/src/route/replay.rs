//! The choices of a recorded run, once more, in their order.
//!
//! Each shape of call has a list of its own, so that kernels which are called from several threads
//! are followed, too. The list moves on with every call that has run; calls beyond its end go where
//! they are predicted to be faster.

use super::notes::Notes;
use super::policy::{CallKey, Policy, Question, Seen};
use crate::config::Settings;
use crate::device::Device;
use crate::error::Error;
use crate::ledger::Why;
use crate::record::Recording;
use crate::words::WordMap;

/// Follows a recorded run.
pub struct Replay {
    chosen: WordMap<CallKey, Vec<Device>>,
    /// How many calls of each shape have run.
    runs: Notes<usize>,
}

impl Replay {
    /// Follows this run.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use crossover::route::{Replay, verdict};
    /// # use crossover::{Device, Why, ml::{Features, Prediction}};
    /// # use crossover::record::{Case, Recorded, Recording};
    /// # let case = Case {
    /// #     kernel: "k".into(), version: "7".into(), shape: 1, items: 1, log2_work: 0.0,
    /// #     prior: Prediction::vague(), generation: 0, features: Features::missing(),
    /// # };
    /// # let call = Recorded {
    /// #     case: 0, chosen: Device::Cpu, why: Why::Faster, is_crew_trial: false,
    /// #     transfer_s: [0.0; 2], wait_s: [0.0; 2], run_s: [Some(1.0), Some(2.0)], total_s: [Some(1.0), Some(2.0)],
    /// # };
    /// // Eight calls that take a second on the CPU and two on the GPU.
    /// let recording = Recording { cases: vec![case], calls: vec![call; 8], ..Default::default() };
    /// let verdict = verdict::judge(&recording, Arc::new(Replay::new(&recording)), 0);
    /// assert_eq!(verdict.regret_total, 1.0, "each runs where it did");
    /// ```
    pub fn new(recording: &Recording) -> Replay {
        let mut chosen: WordMap<CallKey, Vec<Device>> = WordMap::default();
        for call in &recording.calls {
            chosen.entry(recording.cases[call.case].key()).or_default().push(call.chosen);
        }
        Replay { chosen, runs: Notes::new() }
    }

    pub(super) fn from_settings(settings: &Settings) -> Result<Replay, Error> {
        let Some(path) = &settings.ledger else {
            let message = "names no recorded ledger to follow, which policy `replay` needs".into();
            return Err(Error::Setting { name: "ledger".into(), message });
        };
        Ok(Replay::new(&Recording::load(path)?))
    }
}

impl Policy for Replay {
    fn name(&self) -> &str {
        "replay"
    }

    fn choose(&self, question: &Question<'_>) -> (Device, Why) {
        let at = self.runs.read(question.call, |runs| *runs);
        match self.chosen.get(&question.call).and_then(|list| list.get(at)) {
            Some(device) => (*device, Why::Policy("replay".into())),
            None => (question.faster(), Why::Faster),
        }
    }

    fn observe(&self, seen: &Seen) {
        self.runs.write(seen.call, |runs| *runs += 1);
    }
}
