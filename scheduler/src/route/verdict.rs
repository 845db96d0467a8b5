//! How good a policy is on a recorded run.
//!
//! The true time of a case on a side is the median of what it took there. A choice costs the true time
//! of the device chosen; what the policy learns from is the call's own time. So nobody is praised for
//! guessing noise. Calls that ran on one side only are followed: the policy is asked, its answer is
//! compared with the recorded one, and the recorded one is what it learns from.

use std::sync::Arc;

use serde::Serialize;

use super::offline::Offline;
use super::policy::Policy;
use crate::device::Device;
use crate::ledger::Why;
use crate::record::{Recorded, Recording};

/// What became of a call of the recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Number of the call in the recording.
    pub at: usize,
    /// Number of its case.
    pub case: usize,
    /// How many calls of this case there were before.
    pub nth: usize,
    /// Where the policy sent it.
    pub device: Device,
    /// Why there.
    pub why: Why,
    /// The predicted run time on that device, in seconds, and its 90 % interval.
    pub predicted_s: f64,
    /// Its 90 % interval.
    pub interval_s: (f64, f64),
    /// The predicted run time on the other device.
    pub other_s: f64,
    /// What it took there, in seconds, where that was recorded.
    pub run_s: Option<f64>,
}

/// Has a policy place all calls of a recording, from nothing known; `seen` is told of each choice.
///
/// ```
/// # use crossover::route::{self, verdict};
/// # use crossover::{Device, Why, ml::{Features, Prediction}};
/// # use crossover::record::{Case, Recorded, Recording};
/// # let case = Case {
/// #     kernel: "k".into(), version: "7".into(), shape: 1, items: 1, log2_work: 0.0,
/// #     prior: Prediction::vague(), generation: 0, features: Features::missing(),
/// # };
/// # let call = Recorded {
/// #     case: 0, chosen: Device::Cpu, why: Why::Faster, transfer_s: [0.0; 2], wait_s: [0.0; 2],
/// #     is_crew_trial: false, run_s: [Some(1.0), Some(2.0)], total_s: [Some(1.0), Some(2.0)],
/// # };
/// // Eight calls that take a second on the CPU and two on the GPU.
/// let recording = Recording { cases: vec![case], calls: vec![call; 8], ..Default::default() };
/// let mut on_gpu = 0;
/// verdict::follow(&recording, route::by_name("always-gpu")?, |choice| {
///     on_gpu += usize::from(choice.device == Device::Gpu);
/// });
/// assert_eq!(on_gpu, 8);
/// # Ok::<(), crossover::Error>(())
/// ```
pub fn follow(recording: &Recording, policy: Arc<dyn Policy>, mut seen: impl FnMut(&Choice)) {
    let mut offline = Offline::new(policy);
    let mut counts = vec![0; recording.cases.len()];
    for (at, call) in recording.calls.iter().enumerate() {
        let asked = call.asked(&recording.cases[call.case]);
        let is_open = call.is_decided() || call.run_s.iter().all(Option::is_some);
        let mut placed = match is_open {
            true => offline.place(&asked),
            false => offline.placed(&asked, call.chosen, call.why.clone()),
        };
        let estimate = placed.estimates[placed.device as usize];
        seen(&Choice {
            at,
            case: call.case,
            nth: counts[call.case],
            device: placed.device,
            why: placed.why.clone(),
            predicted_s: estimate.run_s,
            other_s: placed.estimates[placed.device.other() as usize].run_s,
            interval_s: (estimate.run_low_s, estimate.run_high_s),
            run_s: call.run_s[placed.device as usize],
        });
        counts[call.case] += 1;
        if call.times(placed.device).is_none() {
            placed.device = call.chosen;
        }
        if let Some((run_s, total_s)) = call.times(placed.device) {
            offline.observe(&asked, &placed, run_s, total_s, call.is_crew_trial);
        }
    }
}

impl Recorded {
    /// Run time and time in all on a device, where both were recorded.
    fn times(&self, device: Device) -> Option<(f64, f64)> {
        self.run_s[device as usize].zip(self.total_s[device as usize])
    }
}

/// The true times of each case, in seconds: CPU, then GPU; `None` where a side was never recorded.
///
/// ```
/// # use crossover::route::verdict;
/// # use crossover::{Device, Why, ml::{Features, Prediction}};
/// # use crossover::record::{Case, Recorded, Recording};
/// # let case = Case {
/// #     kernel: "k".into(), version: "7".into(), shape: 1, items: 1, log2_work: 0.0,
/// #     prior: Prediction::vague(), generation: 0, features: Features::missing(),
/// # };
/// # let call = Recorded {
/// #     case: 0, chosen: Device::Cpu, why: Why::Faster, transfer_s: [0.0; 2], wait_s: [0.0; 2],
/// #     is_crew_trial: false, run_s: [Some(1.0), Some(2.0)], total_s: [Some(1.0), Some(2.0)],
/// # };
/// // Eight calls that take a second on the CPU and two on the GPU.
/// let recording = Recording { cases: vec![case], calls: vec![call; 8], ..Default::default() };
/// assert_eq!(verdict::true_times(&recording), [[Some(1.0), Some(2.0)]]);
/// ```
pub fn true_times(recording: &Recording) -> Vec<[Option<f64>; 2]> {
    let mut times = vec![[Vec::new(), Vec::new()]; recording.cases.len()];
    for call in &recording.calls {
        for device in Device::ALL {
            times[call.case][device as usize].extend(call.total_s[device as usize]);
        }
    }
    times.iter_mut().map(|sides| [0, 1].map(|at| median(&mut sides[at]))).collect()
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// What placing all calls has cost, against always knowing. Regrets are ratios: 1 is no regret.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// The policy.
    pub policy: String,
    /// Decisions of the policy.
    pub decisions: u64,
    /// Those for which the recording has what both sides take.
    pub judged: u64,
    /// Those that are the recorded ones.
    pub agreed: u64,
    /// Tries of the device that is not expected to be the best.
    pub explored: u64,
    /// Geometric mean of the chosen side's time over the better side's.
    pub regret_geo: f64,
    /// Time of all chosen sides over that of all better sides.
    pub regret_total: f64,
    /// The largest such ratio of a case.
    pub regret_worst: f64,
    /// The case of that ratio.
    pub worst: String,
}

/// Sums up what choices cost.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    log2: f64,
    judged: u64,
    /// Chosen and best seconds of each case.
    cases: Vec<[f64; 2]>,
}

impl Tally {
    /// A choice in a case whose true times are known.
    ///
    /// ```
    /// use crossover::{Device, route::verdict::Tally};
    /// let mut tally = Tally::default();
    /// tally.add(0, Device::Cpu, [2.0, 1.0]);
    /// assert_eq!(tally.verdict("mine").0.regret_total, 2.0, "twice the better time");
    /// ```
    pub fn add(&mut self, case: usize, chosen: Device, true_s: [f64; 2]) {
        let (chosen_s, best_s) = (true_s[chosen as usize], true_s[0].min(true_s[1]));
        if self.cases.len() <= case {
            self.cases.resize(case + 1, [0.0; 2]);
        }
        self.cases[case][0] += chosen_s;
        self.cases[case][1] += best_s;
        self.log2 += (chosen_s / best_s).log2();
        self.judged += 1;
    }

    /// The sums as ratios, and the number of the worst case.
    ///
    /// ```
    /// # use crossover::{Device, route::verdict::Tally};
    /// let mut tally = Tally::default();
    /// tally.add(0, Device::Cpu, [1.0, 4.0]);
    /// tally.add(1, Device::Cpu, [4.0, 1.0]);
    /// let (verdict, worst) = tally.verdict("mine");
    /// assert_eq!((verdict.regret_geo, verdict.regret_total), (2.0, 2.5));
    /// assert_eq!((verdict.regret_worst, worst), (4.0, Some(1)));
    /// ```
    pub fn verdict(&self, policy: &str) -> (Verdict, Option<usize>) {
        let sum = |at: usize| self.cases.iter().map(|sums| sums[at]).sum::<f64>();
        let ratio = |sums: &[f64; 2]| if sums[0] > 0.0 { sums[0] / sums[1] } else { 1.0 };
        let worst = (0..self.cases.len())
            .max_by(|&a, &b| ratio(&self.cases[a]).total_cmp(&ratio(&self.cases[b])));
        // Of nothing there is no regret: not a number, and null in JSON.
        let verdict = Verdict {
            policy: policy.to_owned(),
            judged: self.judged,
            regret_geo: (self.log2 / self.judged as f64).exp2(),
            regret_total: sum(0) / sum(1),
            regret_worst: worst.map_or(f64::NAN, |at| ratio(&self.cases[at])),
            ..Verdict::default()
        };
        (verdict, worst)
    }
}

/// Judges a policy on all calls of a recording but the first `skipped` of each case, in which it may
/// still be learning.
///
/// ```
/// # use crossover::route::{self, verdict};
/// # use crossover::{Device, Why, ml::{Features, Prediction}};
/// # use crossover::record::{Case, Recorded, Recording};
/// # let case = Case {
/// #     kernel: "k".into(), version: "7".into(), shape: 1, items: 1, log2_work: 0.0,
/// #     prior: Prediction::vague(), generation: 0, features: Features::missing(),
/// # };
/// # let call = Recorded {
/// #     case: 0, chosen: Device::Cpu, why: Why::Faster, transfer_s: [0.0; 2], wait_s: [0.0; 2],
/// #     is_crew_trial: false, run_s: [Some(1.0), Some(2.0)], total_s: [Some(1.0), Some(2.0)],
/// # };
/// // Eight calls that take a second on the CPU and two on the GPU.
/// let recording = Recording { cases: vec![case], calls: vec![call; 8], ..Default::default() };
/// let verdict = verdict::judge(&recording, route::by_name("always-gpu")?, 0);
/// assert_eq!((verdict.decisions, verdict.regret_total), (8, 2.0));
/// # Ok::<(), crossover::Error>(())
///
/// ```
pub fn judge(recording: &Recording, policy: Arc<dyn Policy>, skipped: usize) -> Verdict {
    let times: Vec<Option<[f64; 2]>> =
        true_times(recording).iter().map(|t| Some([t[0]?, t[1]?])).collect();
    let name = policy.name().to_owned();
    let mut tally = Tally::default();
    let (mut decisions, mut agreed, mut explored) = (0, 0, 0);
    follow(recording, policy, |choice| {
        let call = &recording.calls[choice.at];
        decisions += 1;
        agreed += u64::from(choice.device == call.chosen && (choice.why == call.why));
        explored += u64::from(choice.why == Why::Explore);
        if let (Some(true_s), true) = (times[choice.case], choice.nth >= skipped) {
            tally.add(choice.case, choice.device, true_s);
        }
    });
    let (verdict, worst) = tally.verdict(&name);
    let worst = worst.map(|at| &recording.cases[at]);
    let worst = worst.map(|case| format!("{} of {} items", case.kernel, case.items));
    Verdict { decisions, agreed, explored, worst: worst.unwrap_or_default(), ..verdict }
}
