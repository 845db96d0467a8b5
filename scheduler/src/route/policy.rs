//! What a routing policy is.

use crate::device::Device;
use crate::ledger::{Estimate, Why};

/// Which calls resemble each other: numbers that stand for a kernel and for its sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CallKey {
    /// The kernel's version.
    pub kernel: u64,
    /// Everything of the arguments that decides how much work there is.
    pub shape: u64,
}

/// What a policy decides from: both devices can run the call.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Which call.
    pub call: CallKey,
    /// CPU, then GPU.
    pub estimates: &'a [Estimate; 2],
    /// Measured calls of this kernel on each device so far.
    pub visits: [u64; 2],
    /// Calls of this kernel since each device last ran it.
    pub unseen: [u64; 2],
    /// Measured calls of this kernel at about this size, on both devices.
    pub runs: u64,
    /// What the run on each device would take if something else had got in the way of all runs so far.
    pub unspiked_s: [f64; 2],
    /// Standard deviation of each device's log2 run time, now.
    pub sd: [f64; 2],
    /// Standard deviation of the log2 of how many times longer one takes than the other.
    pub ratio_sd: f64,
    /// How much a run on each device is going to tell: the standard deviation of the change of log2 of
    /// how many times longer one takes than the other.
    pub news_sd: [f64; 2],
    /// The most that the run on each device takes, as far as a slice has shown that; else infinite.
    pub most_s: [f64; 2],
    /// Whether parts of the call can be run first.
    pub can_be_cut: bool,
    /// The part that could be run first on each device; only for [`Policy::slice`].
    pub parts: Option<[Part; 2]>,
    /// The probability that nothing is known of each device but runs in which something else got in
    /// the way: 1 before the first run.
    pub doubt: [f64; 2],
    /// The same of nothing but runs that took three times as long by that, and more.
    pub far_doubt: [f64; 2],
    /// Seconds that trying the other device may cost: a share of what the kernel has taken.
    pub budget_s: f64,
    /// Points of the grid.
    pub items: u64,
}

impl Question<'_> {
    /// The estimate of a device.
    ///
    /// ```
    /// # use crossover::{Device, route::{CallKey, Experience}, ml::Prediction};
    /// # let known = Experience::default();
    /// # let prior = Prediction::new([-10.0, -12.0], [1.0; 2], 0.5);
    /// let answer = known.expect(&prior, 20.0);
    /// let estimates = Device::ALL.map(|device| answer.estimate(device, 1, 1.0, 0.0, 0.0));
    /// let standing = known.standing(20.0);
    /// let question = standing.question(CallKey::default(), 4096, &estimates, &answer);
    /// assert_eq!(question.of(Device::Gpu).device, Device::Gpu);
    /// ```
    pub fn of(&self, device: Device) -> &Estimate {
        &self.estimates[device as usize]
    }

    /// The device with the smaller predicted total.
    ///
    /// ```
    /// # use crossover::{Device, route::{CallKey, Experience}, ml::Prediction};
    /// # let known = Experience::default();
    /// # let prior = Prediction::new([-10.0, -12.0], [1.0; 2], 0.5);
    /// # let answer = known.expect(&prior, 20.0);
    /// // The GPU runs in a quarter of the time, but three milliseconds of copies come before it.
    /// for (transfer_s, faster) in [(0.0, Device::Gpu), (3e-3, Device::Cpu)] {
    ///     let estimate = |device, copies_s| answer.estimate(device, 1, 1.0, copies_s, 0.0);
    ///     let estimates = [estimate(Device::Cpu, 0.0), estimate(Device::Gpu, transfer_s)];
    ///     let standing = known.standing(20.0);
    ///     let question = standing.question(CallKey::default(), 4096, &estimates, &answer);
    ///     assert_eq!(question.faster(), faster);
    /// }
    /// ```
    pub fn faster(&self) -> Device {
        if self.of(Device::Gpu).total_s() < self.of(Device::Cpu).total_s() {
            Device::Gpu
        } else {
            Device::Cpu
        }
    }
}

/// A part of a call that can be run first, to see how fast a device is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Share of the points: from none to all.
    pub share: f64,
    /// As [`Question::news_sd`], of a run of this part.
    pub news_sd: f64,
    /// Seconds that it may cost to see whether the other device has changed.
    pub budget_s: f64,
}

/// A part of a call to be run first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slice {
    /// Where.
    pub device: Device,
    /// Share of the points.
    pub share: f64,
}

/// A call, or a part of one, that has run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Which call.
    pub call: CallKey,
    /// How much of it: 1 is all.
    pub share: f64,
    /// Where it ran.
    pub device: Device,
    /// Its run time, in seconds; of a part, less what beginning it is known to take.
    pub run_s: f64,
    /// All that the caller waited, in seconds.
    pub total_s: f64,
}

/// How to choose a device when both can run a call. What a policy keeps of the calls it has seen is
/// its own affair; the learned one keeps nothing, since the question says all that was learned.
pub trait Policy: Send + Sync {
    /// The name in configuration files.
    fn name(&self) -> &str;

    /// The choice, and why. Asking changes nothing: `explain` asks, too.
    fn choose(&self, question: &Question<'_>) -> (Device, Why);

    /// The choice, why, and the [budget](Question::budget_s) from which on it may be another one, as long as nothing is
    /// learned and the estimates stay: until then it is looked up. Never more than now where the policy wants to be
    /// asked again at every call, as most do, and of a trial, which is made once.
    fn decide(&self, question: &Question<'_>) -> (Device, Why, f64) {
        let (device, why) = self.choose(question);
        (device, why, 0.0)
    }

    /// A part to run first, after which the policy is asked again; `None` where it needs none. Asked
    /// only where the question has parts.
    fn slice(&self, _: &Question<'_>) -> Option<Slice> {
        None
    }

    /// Whether it is asked again between the parts of a long call, and may then choose otherwise.
    fn reconsiders(&self) -> bool {
        false
    }

    /// Whether it takes note of calls ([`Policy::observe`]): then it is told of each. Small calls are
    /// repeated faster where it does not.
    fn takes_notes(&self) -> bool {
        true
    }

    /// Takes note of a call that has run, chosen by this policy or not.
    fn observe(&self, _: &Seen) {}
}
