//! What is known of one kernel from running it: all that a decision needs beside the network's
//! prediction. Pure arithmetic: a runtime keeps one for each kernel, and so does [`super::Offline`],
//! which places recorded and simulated calls.

use crossover_ml::spikes::Seen;
use crossover_ml::{Correction, Hyper, Prediction, Side, Spikes};
use serde::{Deserialize, Serialize};

use super::policy::{CallKey, Part, Question, Slice};
use super::trial;
use crate::device::Device;
use crate::ledger::Estimate;

/// The share of a kernel's time that trials of the device that is not the best may take. A device less
/// than twice as slow is then tried every 64 calls, at least.
pub(crate) const TRIAL_SHARE: f64 = 0.015;

/// The share that slices may take, to see whether that device has changed.
const SLICES_SHARE: f64 = 0.005;

/// Shares of a call's points that a slice may have. They are few, so that slices are compared with
/// those before.
const SLICE_SHARES: [f64; 5] = [1.0 / 8.0, 1.0 / 32.0, 1.0 / 128.0, 1.0 / 1024.0, 1.0 / 8192.0];

/// The share that the first slice on a device has at most, however sure the network is.
const SLICE_FIRST: f64 = 1.0 / 128.0;

/// How many times larger than the newest the next is there at most.
const SLICE_GROWTH: f64 = 9.0;

/// What a slice may cost, as a share of what the call takes on the better device; the last one is taken
/// whatever it costs.
const SLICE_PRICE: f64 = 0.5;

/// So many standard deviations more than expected it may cost where no whole call has run on the device.
const SLICE_SD: f64 = 2.5;

/// Seconds of run time below which learning costs a noticeable share of a call.
pub(crate) const FLEETING_S: f64 = 1e-5;

/// Fleeting calls of a device that all teach. Of those after so many one in so many does, a power of two: a change is
/// seen within 1.3 milliseconds.
pub(crate) const FLEETING_FIRST: u64 = 32;
const FLEETING_ONE_IN: [(u64, u64); 3] = [(FLEETING_FIRST, 8), (256, 32), (1024, 128)];

/// How many times longer a run takes that something else has got in the way of.
pub(super) const SPIKE: f64 = 6.0;

/// What is to be expected of a call on each device, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The median of the run time.
    pub run_s: [f64; 2],
    /// The same, if something else has got in the way of all runs so far.
    pub unspiked_s: [f64; 2],
    /// The 90 % interval of the next run.
    pub interval_s: [(f64, f64); 2],
    /// The standard deviation of its log2.
    pub sd: [f64; 2],
    /// The standard deviation of the log2 of how many times longer one takes than the other.
    pub ratio_sd: f64,
    /// How much a run on each device is going to tell: the standard deviation of the change of log2 of
    /// how many times longer one takes than the other.
    pub news_sd: [f64; 2],
    /// The most that a run may take, as far as the newest slice shows that; infinite where it does not.
    pub most_s: [f64; 2],
}

impl Default for Answer {
    fn default() -> Answer {
        let nothing = [0.0; 2];
        Answer {
            run_s: nothing,
            unspiked_s: nothing,
            interval_s: [(0.0, 0.0); 2],
            sd: nothing,
            ratio_sd: 0.0,
            news_sd: nothing,
            most_s: [f64::INFINITY; 2],
        }
    }
}

impl Answer {
    /// The answer of a corrected prediction, where single runs have such a noise, in log2.
    fn of(posterior: &Prediction, noise_sd: [f64; 2], interval_s: [(f64, f64); 2]) -> Answer {
        let run_s = Side::ALL.map(|side| posterior.seconds(side));
        let [[cpu, both], [_, gpu]] = posterior.cov;
        let news = |at: usize, own: f64| {
            (own - both).abs() / (own + noise_sd[at].powi(2)).max(1e-12).sqrt()
        };
        Answer {
            run_s,
            unspiked_s: run_s.map(|run_s| run_s / SPIKE),
            interval_s,
            sd: Side::ALL.map(|side| posterior.sd(side)),
            ratio_sd: posterior.log2_ratio_sd(),
            news_sd: [news(0, cpu), news(1, gpu)],
            ..Answer::default()
        }
    }

    /// The estimate of a device on which calls take `factor` times as long as the answer says, with
    /// the copies and the wait before it.
    ///
    /// ```
    /// # use crossover::{Device, route::Answer};
    /// let answer = Answer { run_s: [1.0, 4.0], interval_s: [(0.5, 2.0); 2], ..Answer::default() };
    /// // One thread instead of two: twice as long.
    /// let one = answer.estimate(Device::Cpu, 1, 2.0, 0.0, 0.25);
    /// assert_eq!((one.run_s, one.run_high_s, one.total_s()), (2.0, 4.0, 2.25));
    /// ```
    pub fn estimate(
        &self,
        device: Device,
        threads: usize,
        factor: f64,
        transfer_s: f64,
        wait_s: f64,
    ) -> Estimate {
        let run_s = self.run_s[device as usize] * factor;
        let (low_s, high_s) = self.interval_s[device as usize];
        let (run_low_s, run_high_s) = (low_s * factor, high_s * factor);
        Estimate { device, adapter: 0, threads, run_s, run_low_s, run_high_s, transfer_s, wait_s }
    }
}

/// The counts of a kernel that a question says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Measured calls on each device. Trials under way count as visits.
    pub visits: [u64; 2],
    /// Calls since each device was last measured.
    pub unseen: [u64; 2],
    /// Measured calls of about this size, on both.
    pub runs: u64,
    /// The probability that nothing but spikes is known of each device, and nothing but far ones.
    pub doubt: [f64; 2],
    /// See above.
    pub far_doubt: [f64; 2],
    /// Seconds that a trial of the device that is not the best may cost.
    pub budget_s: f64,
    /// Whether parts of the call can be run first, and which these are, where that is asked.
    pub can_be_cut: bool,
    /// See above.
    pub parts: Option<[Part; 2]>,
}

impl Standing {
    /// The question about a call.
    ///
    /// ```
    /// # use crossover::{Device, route::{Answer, CallKey, Experience}};
    /// # let answer = Answer::default();
    /// let standing = Experience::default().standing(20.0);
    /// let estimates = Device::ALL.map(|device| answer.estimate(device, 1, 1.0, 0.0, 0.0));
    /// let question = standing.question(CallKey::default(), 4096, &estimates, &answer);
    /// assert_eq!((question.items, question.visits, question.budget_s), (4096, [0, 0], 0.0));
    /// ```
    pub fn question<'a>(
        &self,
        call: CallKey,
        items: u64,
        estimates: &'a [Estimate; 2],
        answer: &Answer,
    ) -> Question<'a> {
        let Standing { visits, unseen, runs, doubt, far_doubt, budget_s, can_be_cut, parts } =
            *self;
        let Answer { unspiked_s, sd, ratio_sd, news_sd, most_s, .. } = *answer;
        Question {
            call,
            estimates,
            visits,
            unseen,
            runs,
            unspiked_s,
            sd,
            ratio_sd,
            news_sd,
            most_s,
            can_be_cut,
            parts,
            doubt,
            far_doubt,
            budget_s,
            items,
        }
    }
}

/// A measured run, as a lesson.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lesson {
    /// What the network says of the call.
    pub prior: Prediction,
    /// log2 of the operations of the call: where it lies on the kernel's size axis.
    pub log2_work: f64,
    /// Where it ran.
    pub device: Device,
    /// What was expected of its run time, if anything was.
    pub predicted_s: Option<f64>,
    /// Its run time.
    pub run_s: f64,
    /// The standard deviation of the log2 of that beyond the usual, where it was made up from parts.
    pub extra_sd: f64,
    /// All that the caller waited.
    pub total_s: f64,
    /// Whether it ran with a number of threads that was not expected to be the fastest. What the CPU
    /// takes is what its better crew takes.
    pub is_crew_trial: bool,
}

/// How much less is known from half of a call than from all of it: a standard deviation of log2. The points of a call
/// differ in what they cost.
const REST_SD: f64 = 0.5;

/// How much more or less than usual beginning a slice may take, as a share.
const START_BLUR: f64 = 0.25;

/// Seconds that a slice may take longer whatever it does: its threads are asleep, what it works on is not in the caches.
/// Measured, 20 to 150 µs on a CPU (2026-11).
const BLUR_S: f64 = 6e-5;

/// How much longer a call may take than as many slices.
const MOST_NOISE: f64 = 1.3;

/// Seconds that the very first run of a kernel on a device may take longer: measured, 40 to 400 µs on a CPU (2026-11).
const FIRST_BLUR_S: f64 = 2e-4;

/// A slice that has run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SliceRun {
    /// Which.
    pub slice: Slice,
    /// What it took, in seconds, and how much of that is put down to beginning it.
    pub run_s: f64,
    /// See above.
    pub start_s: f64,
    /// Whether nothing of the kernel had run there before.
    pub is_first: bool,
}

impl SliceRun {
    /// What it has taken beside its beginning, of which so much was expected, and how much less sure that is: a standard
    /// deviation of log2. What is lost in the blur of its beginning says that it takes no more than that.
    fn unstarted(&self, expected_s: f64) -> (f64, f64) {
        let first_s = if self.is_first { FIRST_BLUR_S } else { 0.0 };
        let blur_s = START_BLUR * self.start_s + BLUR_S + first_s;
        let unstarted_s = trial::unstarted_s(self.run_s, self.slice.share, self.start_s);
        let told_s = unstarted_s.max((0.5 * blur_s).min(expected_s));
        (told_s, (1.0 + blur_s / told_s).log2())
    }
}

impl Lesson {
    /// What a run says of which nothing was expected, and for which nobody waited longer.
    ///
    /// ```
    /// use crossover::{Device, ml::Prediction, route::Lesson};
    /// let lesson = Lesson::of_run(Prediction::vague(), 20.0, Device::Cpu, 0.5);
    /// assert_eq!((lesson.run_s, lesson.total_s, lesson.predicted_s), (0.5, 0.5, None));
    /// ```
    pub fn of_run(prior: Prediction, log2_work: f64, device: Device, run_s: f64) -> Lesson {
        let (predicted_s, extra_sd, is_crew_trial) = (None, 0.0, false);
        let total_s = run_s;
        Lesson { prior, log2_work, device, predicted_s, run_s, extra_sd, total_s, is_crew_trial }
    }

    /// What parts of a call say of all of it: `share` of its points took so long.
    ///
    /// ```
    /// use crossover::{Device, ml::Prediction, route::Lesson};
    /// let lesson = Lesson::of_parts(Prediction::vague(), 20.0, Device::Cpu, 0.25, 0.5);
    /// assert_eq!((lesson.run_s, lesson.total_s), (2.0, 0.5));
    /// assert!(lesson.extra_sd > 0.0, "the rest may be otherwise");
    /// ```
    pub fn of_parts(
        prior: Prediction,
        log2_work: f64,
        device: Device,
        share: f64,
        run_s: f64,
    ) -> Lesson {
        let share = share.clamp(1e-9, 1.0);
        let whole = Lesson::of_run(prior, log2_work, device, run_s / share);
        Lesson { extra_sd: REST_SD * (1.0 - share), total_s: run_s, ..whole }
    }
}

/// What is known of one kernel from running it. It can be stored; trials under way are not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Experience {
    pub(crate) correction: Correction,
    pub(crate) visits: [u64; 2],
    unseen: [u64; 2],
    /// Trials that are queued or running: what they will tell need not be tried again.
    #[serde(skip)]
    trials: [u64; 2],
    /// Rises whenever what is expected of calls, or what a question says of the kernel, changes otherwise than
    /// with every call.
    #[serde(skip)]
    revision: u64,
    /// Seconds taken since the last trial by a whole call, and since the last slice.
    spent_s: f64,
    unsliced_s: f64,
    /// How many times longer slices take on each device than as many points of the rest, as log2.
    #[serde(default)]
    slice_bias: [Bias; 2],
    /// The newest slice of each device.
    #[serde(default)]
    newest: [Newest; 2],
}

/// How long a slice took, beginning included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Newest {
    log2_work: f64,
    /// 0 before there has been one.
    run_s: f64,
}

impl Newest {
    /// The most that a slice of so much work takes: as many times as long as it is larger. Infinite where there is
    /// nothing to tell it from.
    fn most_s(self, log2_work: f64) -> f64 {
        match self.run_s {
            0.0 => f64::INFINITY,
            run_s => run_s * (log2_work - self.log2_work).max(0.0).exp2(),
        }
    }
}

/// The mean of what was seen, and of how many: beginning a slice costs what the rest of the call does not feel,
/// and its points may be unlike the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Bias {
    log2: f64,
    seen: f64,
}

/// Calls after which a bias forgets older ones, and the most that is believed at once.
const BIAS_REMEMBERED: f64 = 16.0;
const BIAS_MAX: f64 = 4.0;

impl Bias {
    /// What is believed before anything was seen, no bias, counts as one.
    fn see(&mut self, log2: f64) {
        if log2.is_finite() {
            self.seen = (self.seen + 1.0).min(BIAS_REMEMBERED);
            self.log2 += (log2.clamp(-BIAS_MAX, BIAS_MAX) - self.log2) / (self.seen + 1.0);
        }
    }
}

impl Default for Experience {
    fn default() -> Experience {
        Experience {
            correction: Correction::new(&Hyper::default()),
            visits: [0; 2],
            unseen: [0; 2],
            trials: [0; 2],
            revision: 0,
            spent_s: 0.0,
            unsliced_s: 0.0,
            slice_bias: Default::default(),
            newest: Default::default(),
        }
    }
}

impl Experience {
    /// Rises whenever an answer that was given before may be another now.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Keeps what was learned when the network is exchanged, which said `old` of a call and says `new`.
    pub(crate) fn rebase(&mut self, old: &Prediction, new: &Prediction) {
        self.correction.rebase(old, new);
        self.revision += 1;
    }

    /// Learns from a measured run of a kernel on a machine where `spikes` were seen, and tells it of those of the kernel:
    /// what other kernels have met is expected of one that has not run.
    ///
    /// ```
    /// use crossover::{Device, ml::{Prediction, Spikes}, route::{Experience, Lesson}};
    /// let (mut spikes, mut known) = (Spikes::default(), Experience::default());
    /// let [before, _] = spikes.rates();
    /// for _ in 0..50 {
    ///     known.observe_on(&mut spikes, &Lesson::of_run(Prediction::vague(), 20.0, Device::Cpu, 0.1));
    /// }
    /// assert!(spikes.rates()[0] < before, "fifty runs, and none was slow by accident");
    /// ```
    pub fn observe_on(&mut self, spikes: &mut Spikes, lesson: &Lesson) {
        self.expect_spikes(|| spikes.rates());
        self.observe(lesson);
        spikes.add(self.take_spikes());
    }

    /// What others have met is expected of a kernel that has not run.
    pub(crate) fn expect_spikes(&mut self, rates: impl FnOnce() -> [f64; 2]) {
        if self.visits == [0; 2] {
            self.correction.expect_spikes(rates());
        }
    }

    /// How many runs were spikes, since this was asked last.
    pub(crate) fn take_spikes(&mut self) -> Seen {
        self.correction.take_spikes()
    }

    /// What trials of the device that is not the best may cost by now.
    pub(crate) fn budget_s(&self) -> f64 {
        self.spent_s * TRIAL_SHARE
    }

    /// What is to be expected of a call of so much work, of which the network says `prior`.
    ///
    /// ```
    /// use crossover::{ml::Prediction, route::Experience};
    /// let prior = Prediction::new([-10.0, -12.0], [1.0; 2], 0.5);
    /// let answer = Experience::default().expect(&prior, 20.0);
    /// assert_eq!(answer.run_s.map(|run_s| run_s.log2()), prior.mean, "nothing is known yet");
    /// ```
    pub fn expect(&self, prior: &Prediction, log2_work: f64) -> Answer {
        let noise_sd = Side::ALL.map(|side| self.correction.noise_sd(side));
        let posterior = self.correction.posterior(prior, log2_work);
        let interval_s = Side::ALL.map(|side| self.correction.interval90(&posterior, side));
        let mut answer = Answer::of(&posterior, noise_sd, interval_s);
        answer.most_s = self.newest.map(|newest| MOST_NOISE * newest.most_s(log2_work));
        for side in Side::ALL {
            // A single run may have met what takes any number of times as long: then it is as was predicted.
            if self.correction.visits(side) == 1 {
                let said_s = prior.seconds(side) * prior.sd(side).exp2();
                let unspiked_s = &mut answer.unspiked_s[side.index()];
                *unspiked_s = unspiked_s.min(said_s);
            }
        }
        answer
    }

    /// What a question about a call of so much work says of the kernel, now.
    ///
    /// ```
    /// let standing = crossover::route::Experience::default().standing(20.0);
    /// assert_eq!((standing.visits, standing.runs, standing.doubt), ([0, 0], 0, [1.0, 1.0]));
    /// ```
    pub fn standing(&self, log2_work: f64) -> Standing {
        let rate = self.correction.spike_rate();
        // What is under way will tell as much as a run.
        let told = |side: Side| rate.powi(self.trials[side.index()].min(64) as i32);
        let doubt = Side::ALL.map(|side| self.correction.doubt(side, log2_work) * told(side));
        let far_doubt =
            Side::ALL.map(|side| self.correction.far_doubt(side, log2_work) * told(side));
        Standing {
            visits: [0, 1].map(|at| self.visits[at] + self.trials[at]),
            unseen: self.unseen,
            runs: self.correction.runs(log2_work),
            doubt,
            far_doubt,
            budget_s: self.budget_s(),
            can_be_cut: false,
            parts: None,
        }
    }

    /// The parts of a call that can be cut.
    ///
    /// ```
    /// # use crossover::{ml::Prediction, route::Experience};
    /// # let known = Experience::default();
    /// let prior = Prediction::new([0.0, 6.0], [1.0; 2], 0.5); // A second, and a minute.
    /// let [cpu, gpu] = known.parts(&prior, 30.0, &known.expect(&prior, 30.0), [0.0; 2]);
    /// assert!(gpu.share < cpu.share, "a part costs no more than half a call on the better one");
    /// ```
    pub fn parts(
        &self,
        prior: &Prediction,
        log2_work: f64,
        answer: &Answer,
        start_s: [f64; 2],
    ) -> [Part; 2] {
        let is_new = Device::ALL.map(|device| self.is_new(device, log2_work));
        self.parts_of_new((prior, log2_work), answer, start_s, is_new)
    }

    /// The same, where it is said of which devices no whole call has run.
    pub(crate) fn parts_of_new(
        &self,
        (prior, log2_work): (&Prediction, f64),
        answer: &Answer,
        start_s: [f64; 2],
        is_new: [bool; 2],
    ) -> [Part; 2] {
        // Where no whole call has run, it may be faster than expected: then less is to be spent on a look at the other.
        let least_s = [0, 1].map(|at| {
            let sd = if is_new[at] { answer.sd[at] } else { 0.0 };
            answer.run_s[at] * (-sd).exp2()
        });
        let price_s = SLICE_PRICE * least_s[0].min(least_s[1]);
        let shares = Side::ALL.map(|side| {
            let at = side.index();
            let (start_s, newest) = (start_s[at], self.newest[at]);
            let most = |sd: f64| if is_new[at] { (SLICE_SD * sd).exp2() } else { 1.0 };
            let (most, most_beside) = (most(answer.sd[at]), most(answer.ratio_sd));
            let largest = match is_new[at] {
                true if newest.run_s == 0.0 => SLICE_FIRST,
                true => SLICE_GROWTH * (newest.log2_work - log2_work).exp2(),
                false => 1.0,
            };
            // Slices of that size may have told that one takes more than as many points of the whole; and the newest
            // what one takes at most.
            let fits = |share: &&f64| {
                let slice_s = self.slice_s(prior, log2_work, side, **share);
                let slice_s = slice_s.max(**share * answer.run_s[at]);
                let shown_s = newest.most_s(log2_work + share.log2());
                (start_s + most * slice_s).min(shown_s) <= trial::SLICE_SLACK_S
                    || (start_s + most_beside * slice_s).min(shown_s) <= price_s
            };
            let shares = || SLICE_SHARES.iter().filter(|share| **share <= largest);
            *shares().find(fits).unwrap_or(&SLICE_SHARES[SLICE_SHARES.len() - 1])
        });
        self.parts_of(prior, log2_work, shares)
    }

    /// What a slice is expected to take.
    fn slice_s(&self, prior: &Prediction, log2_work: f64, side: Side, share: f64) -> f64 {
        let (prior, log2_work) = of_share(prior, log2_work, share);
        self.correction.posterior(&prior, log2_work).seconds(side)
    }

    /// The parts of such shares.
    ///
    /// ```
    /// use crossover::{ml::Prediction, route::Experience};
    /// let parts = Experience::default().parts_of(&Prediction::vague(), 30.0, [0.5, 0.1]);
    /// assert_eq!(parts.map(|part| part.share), [0.5, 0.1]);
    /// ```
    pub fn parts_of(&self, prior: &Prediction, log2_work: f64, shares: [f64; 2]) -> [Part; 2] {
        Side::ALL.map(|side| {
            let share = shares[side.index()];
            let run = log2_work + share.log2();
            let news_sd = self.correction.news_sd(prior, log2_work, side, run);
            Part { share, news_sd, budget_s: SLICES_SHARE * self.unsliced_s }
        })
    }

    /// Whether no whole call of about this size has run on a device.
    pub(crate) fn is_new(&self, device: Device, log2_work: f64) -> bool {
        self.correction.doubt(device.side(), log2_work) == 1.0
    }

    /// Whether a device has never run the kernel, nor is about to.
    pub(crate) fn is_untried(&self, device: Device) -> bool {
        self.visits[device as usize] + self.trials[device as usize] == 0
    }

    /// A trial of a device is sent. The budget is spent now, not when it comes back.
    ///
    /// ```
    /// use crossover::{Device, route::Experience};
    /// let mut known = Experience::default();
    /// known.begin_trial(Device::Gpu);
    /// assert_eq!(known.standing(20.0).visits, [0, 1], "it counts before it is over");
    /// ```
    pub fn begin_trial(&mut self, device: Device) {
        self.trials[device as usize] += 1;
        self.revision += 1;
        self.spent_s = 0.0;
    }

    /// What a slice would have taken, had it run amid the rest.
    pub(crate) fn unbiased_s(&self, device: Device, run_s: f64) -> f64 {
        run_s * (-self.slice_bias[device as usize].log2).exp2()
    }

    /// A slice of a call and the rest have run on a device, at such seconds for the whole call.
    pub(crate) fn observe_bias(&mut self, device: Device, slice_s: f64, rest_s: f64) {
        self.slice_bias[device as usize].see((slice_s / rest_s).log2());
    }

    /// Learns from a slice of a call: it has a size of its own.
    ///
    /// ```
    /// # use crossover::{Device, ml::Prediction, route::{Experience, Slice, SliceRun}};
    /// # let (mut known, prior) = (Experience::default(), Prediction::vague());
    /// let slice = Slice { device: Device::Gpu, share: 1.0 / 64.0 };
    /// known.observe_slice(&prior, 24.0, &SliceRun { slice, run_s: 0.01, start_s: 1e-4, is_first: false });
    /// assert_eq!(known.standing(24.0 - 6.0).visits, [0, 1]);
    /// ```
    pub fn observe_slice(&mut self, prior: &Prediction, log2_work: f64, run: &SliceRun) {
        self.unsliced_s = 0.0;
        let Slice { device, share } = run.slice;
        let (unstarted_s, extra_sd) =
            run.unstarted(self.slice_s(prior, log2_work, device.side(), share));
        self.remember_slice(log2_work, run);
        let unbiased_s = self.unbiased_s(device, unstarted_s);
        let (prior, log2_work) = of_share(prior, log2_work, share);
        let lesson = Lesson::of_run(prior, log2_work, device, unbiased_s);
        self.observe(&Lesson { extra_sd, total_s: run.run_s, ..lesson });
    }

    /// Learns from a slice what the call takes that is being made, with so much doubt at least.
    pub(crate) fn observe_slice_of(
        &mut self,
        prior: &Prediction,
        log2_work: f64,
        run: &SliceRun,
        least_sd: f64,
    ) {
        let Slice { device, share } = run.slice;
        let whole_s = self.correction.posterior(prior, log2_work).seconds(device.side());
        let (unstarted_s, start_sd) = run.unstarted(share * whole_s);
        self.remember_slice(log2_work, run);
        let run_s = self.unbiased_s(device, unstarted_s);
        let lesson = Lesson::of_parts(*prior, log2_work, device, share, run_s);
        let extra_sd = lesson.extra_sd.max(start_sd).max(least_sd);
        self.observe(&Lesson { extra_sd, ..lesson });
    }

    fn remember_slice(&mut self, log2_work: f64, run: &SliceRun) {
        let SliceRun { slice, run_s, .. } = *run;
        let log2_work = log2_work + slice.share.log2();
        self.newest[slice.device as usize] = Newest { log2_work, run_s };
    }

    /// A trial is over.
    ///
    /// ```
    /// # use crossover::{Device, route::Experience};
    /// let mut known = Experience::default();
    /// known.begin_trial(Device::Gpu);
    /// known.end_trial(Device::Gpu); // It failed, and has told nothing.
    /// assert_eq!(known.standing(20.0).visits, [0, 0]);
    /// ```
    pub fn end_trial(&mut self, device: Device) {
        self.revision += 1;
        // What the trial itself has taken pays for no other.
        self.spent_s = 0.0;
        let trials = &mut self.trials[device as usize];
        *trials = trials.saturating_sub(1);
    }

    /// Whether a run teaches anything. A call that is over at once, as expected, pays for every eighth
    /// lesson only, later for one in 32, then for one in 128. Which one is not chosen by what was measured: that would make the noise look larger
    /// than it is.
    ///
    /// ```
    /// # use crossover::{Device, ml::Prediction, route::{Experience, Lesson}};
    /// let mut known = Experience::default();
    /// let fleeting = Lesson::of_run(Prediction::vague(), 10.0, Device::Cpu, 1e-6);
    /// let fleeting = Lesson { predicted_s: Some(1e-6), ..fleeting };
    /// let mut taught = 0;
    /// for _ in 0..160 {
    ///     taught += u32::from(known.teaches(&fleeting));
    ///     known.observe(&fleeting);
    /// }
    /// assert_eq!(taught, 32 + 128 / 8, "after the first few, one in eight");
    /// assert!(known.teaches(&Lesson { run_s: 1.0, ..fleeting }), "a long one always does");
    /// ```
    pub fn teaches(&self, lesson: &Lesson) -> bool {
        self.teaches_run(lesson.device, lesson.predicted_s, lesson.run_s)
    }

    /// The same of a run of which so much was expected, if anything was.
    pub(crate) fn teaches_run(&self, device: Device, predicted_s: Option<f64>, run_s: f64) -> bool {
        let fleeting = run_s.max(predicted_s.unwrap_or(f64::INFINITY)) < FLEETING_S;
        let visits = self.visits[device as usize];
        let known = FLEETING_ONE_IN.iter().rfind(|(from, _)| *from <= visits);
        !fleeting || known.is_none_or(|(_, one_in)| visits & (one_in - 1) == 0)
    }

    /// Learns from a measured run.
    ///
    /// ```
    /// use crossover::{Device, ml::Prediction, route::{Experience, Lesson}};
    /// let mut known = Experience::default();
    /// let prior = Prediction::new([-10.0; 2], [2.0; 2], 0.5);
    /// for _ in 0..8 {
    ///     known.observe(&Lesson::of_run(prior, 20.0, Device::Cpu, 0.25));
    /// }
    /// let [cpu_s, _] = known.expect(&prior, 20.0).run_s;
    /// assert!((cpu_s / 0.25 - 1.0).abs() < 0.1, "{cpu_s}");
    /// ```
    pub fn observe(&mut self, lesson: &Lesson) {
        if self.teaches(lesson) && !lesson.is_crew_trial {
            let (side, log2_s) = (lesson.device.side(), lesson.run_s.max(1e-9).log2());
            let Lesson { prior, log2_work, extra_sd, .. } = lesson;
            self.correction.observe_with_noise(prior, *log2_work, side, log2_s, *extra_sd);
            self.revision += 1;
        }
        self.count(lesson.device, lesson.total_s);
    }

    /// Counts a run, whether it teaches or not.
    pub(crate) fn count(&mut self, device: Device, total_s: f64) {
        self.visits[device as usize] += 1;
        for unseen in &mut self.unseen {
            *unseen += 1;
        }
        self.unseen[device as usize] = 0;
        self.spent_s += total_s;
        self.unsliced_s += total_s;
    }
}

/// What is said of a share of a call, and its work.
fn of_share(prior: &Prediction, log2_work: f64, share: f64) -> (Prediction, f64) {
    let log2 = share.log2();
    let prior = Prediction { mean: prior.mean.map(|mean| mean + log2), ..*prior };
    (prior, log2_work + log2)
}

#[cfg(test)]
mod tests {
    use super::{Experience, Slice, SliceRun};
    use crate::device::Device;
    use crossover_ml::Prediction;

    #[test]
    fn what_slices_take_beyond_the_rest_is_learned_and_left_out() {
        let mut known = Experience::default();
        assert_eq!(known.unbiased_s(Device::Gpu, 1.0), 1.0);
        for _ in 0..40 {
            known.observe_bias(Device::Gpu, 3.0, 1.0);
        }
        let left = known.unbiased_s(Device::Gpu, 3.0);
        assert!((left - 1.0).abs() < 0.1, "{left}");
        assert_eq!(known.unbiased_s(Device::Cpu, 1.0), 1.0, "the other has none");
        // One that cannot be is not believed for long.
        known.observe_bias(Device::Gpu, f64::INFINITY, 1.0);
        known.observe_bias(Device::Gpu, 1e9, 1.0);
        assert!(known.unbiased_s(Device::Gpu, 3.0) > 0.8);
    }

    #[test]
    fn parts_tell_of_the_whole_and_slices_of_their_size() {
        use super::Lesson;
        let prior = Prediction::new([-6.0, -6.0], [2.0, 2.0], 0.5);
        let log2_s = |known: &Experience| known.expect(&prior, 24.0).run_s[1].log2();
        let mut parts = Experience::default();
        parts.observe(&Lesson::of_parts(prior, 24.0, Device::Gpu, 0.25, 0.25 * 8.0));
        assert!((log2_s(&parts) - 3.0).abs() < 0.6, "eight seconds: {}", log2_s(&parts));
        let mut slices = Experience::default();
        let slice = Slice { device: Device::Gpu, share: 1.0 / 64.0 };
        slices.observe_slice(
            &prior,
            24.0,
            &SliceRun { slice, run_s: 8.0 / 64.0, start_s: 0.0, is_first: false },
        );
        let told = log2_s(&slices);
        assert!(told > -4.0 && told < log2_s(&parts), "{told}");
        assert_eq!(slices.standing(24.0).doubt[1], 1.0, "no whole call has run");
    }
}
