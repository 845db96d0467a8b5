//! Placing calls without a runtime: recorded ones, and made-up ones.
//!
//! The policy, what is known of a kernel, and the arithmetic are those of a runtime; only the calls
//! are not run. Calls come one after the other.

use std::sync::Arc;

use crossover_ml::{Prediction, Spikes};

use super::experience::{Answer, Experience, Lesson, SliceRun, Standing};
use super::policy::{CallKey, Policy, Seen, Slice};
use super::told::Told;
use super::trial;
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
    /// With what parts of the call have told that is being made, if any have run.
    told: Option<Box<Told>>,
}

/// A shape of call; as in a runtime, it is corrected anew only where something has been learned.
#[derive(Clone, Debug)]
struct Shape {
    prior: Prediction,
    generation: u64,
    answer: Answer,
    /// The revision that the answer is of.
    revision: u64,
    kept: Option<Kept>,
}

/// Where the newest call of a shape was sent, if it was sent there for this answer.
#[derive(Clone, Debug)]
struct Kept {
    /// Of the copies, the wait, and whether it could be cut.
    situation: ([f64; 2], [f64; 2], bool),
    placed: Placed,
    /// The budget for trials until which the policy need not be asked.
    until_s: f64,
}

impl Kernel {
    /// A call's shape, of which the answer is what is to be expected now.
    fn expect(&mut self, asked: &Asked<'_>) -> (&mut Shape, &mut Experience) {
        let key = asked.call.shape;
        let known = self.shapes.get(&key);
        if known.is_none_or(|known| known.generation != asked.generation) {
            let old = known.map(|known| known.prior);
            self.meet(asked, old.as_ref());
            let (prior, generation) = (*asked.prior, asked.generation);
            let answer = self.experience.expect(&prior, asked.log2_work);
            let revision = self.experience.revision();
            self.shapes.insert(key, Shape { prior, generation, answer, revision, kept: None });
        }
        let shape = self.shapes.get_mut(&key).expect("it is known now");
        let revision = self.experience.revision();
        if shape.revision != revision {
            shape.prior = *asked.prior;
            shape.answer = self.experience.expect(&shape.prior, asked.log2_work);
            (shape.revision, shape.kept) = (revision, None);
        }
        (shape, &mut self.experience)
    }

    /// What is to be expected of the call that is being made, if parts of it have told something.
    fn told(&self, asked: &Asked<'_>) -> Option<Answer> {
        Some(self.told.as_ref()?.expect(asked.prior, asked.log2_work))
    }

    /// Keeps what was learned when the network is exchanged.
    fn meet(&mut self, asked: &Asked<'_>, old: Option<&Prediction>) {
        if self.generation != asked.generation {
            if let Some(old) = old {
                self.experience.rebase(old, asked.prior);
            }
            self.generation = asked.generation;
        }
    }
}

/// Places calls, and learns from what they are said to have taken.
pub struct Offline {
    policy: Arc<dyn Policy>,
    kernels: WordMap<u64, Kernel>,
    /// What all of them have met.
    spikes: Spikes,
    /// Seconds that beginning a run takes on each device.
    start_s: [f64; 2],
}

impl std::fmt::Debug for Offline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offline").field("policy", &self.policy.name()).finish_non_exhaustive()
    }
}

impl Offline {
    /// Nothing is known yet.
    ///
    /// ```
    /// use crossover::route::{self, Offline};
    /// let offline = Offline::new(route::by_name("learned")?);
    /// assert!(offline.experience(0).is_none());
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn new(policy: Arc<dyn Policy>) -> Offline {
        let (kernels, spikes) = (WordMap::default(), Spikes::default());
        Offline { policy, kernels, spikes, start_s: [0.0; 2] }
    }

    /// On devices on which beginning a run, or a part of one, takes so many seconds: CPU, then GPU.
    ///
    /// ```
    /// # use crossover::{ml::Prediction, route::{self, Asked, CallKey, Offline}};
    /// # let prior = Prediction::new([-7.0; 2], [2.0; 2], 0.5);
    /// # let asked = Asked {
    /// #     call: CallKey::default(), items: 1, log2_work: 0.0, prior: &prior, generation: 0,
    /// #     transfer_s: [0.0; 2], wait_s: [0.0; 2], can_be_cut: true,
    /// # };
    /// let share = |start_s| {
    ///     let mut offline = Offline::new(route::by_name("learned")?).starting(start_s);
    ///     Ok::<_, crossover::Error>(offline.slice(&asked).map(|slice| slice.share))
    /// };
    /// assert!(share([1.0; 2])? < share([0.0; 2])?, "where it is dear to begin, less is to be lost");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    #[must_use]
    pub fn starting(self, start_s: [f64; 2]) -> Offline {
        Offline { start_s, ..self }
    }

    /// What is known of a kernel.
    ///
    /// ```
    /// # use crossover::{Device, Why, ml::Prediction, route::{self, Asked, CallKey, Offline}};
    /// # let (prior, call) = (Prediction::vague(), CallKey { kernel: 7, shape: 1 });
    /// # let asked = Asked {
    /// #     call, items: 1, log2_work: 0.0, prior: &prior, generation: 0, transfer_s: [0.0; 2],
    /// #     wait_s: [0.0; 2], can_be_cut: false,
    /// # };
    /// let mut offline = Offline::new(route::by_name("learned")?);
    /// let placed = offline.placed(&asked, Device::Cpu, Why::Forced);
    /// offline.observe(&asked, &placed, 0.25, 0.25, false);
    /// let known = offline.experience(7).expect("kernel 7 has run");
    /// assert_eq!(known.standing(0.0).visits, [1, 0]);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn experience(&self, kernel: u64) -> Option<&Experience> {
        Some(&self.kernels.get(&kernel)?.experience)
    }

    /// Begins with what another run has learned of a kernel.
    ///
    /// ```
    /// use crossover::route::{self, Experience, Offline};
    /// let mut offline = Offline::new(route::by_name("learned")?);
    /// offline.begin_with(7, Experience::default());
    /// assert!(offline.experience(7).is_some());
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn begin_with(&mut self, kernel: u64, experience: Experience) {
        self.kernels.insert(kernel, Kernel { experience, ..Kernel::default() });
    }

    /// Where the policy sends a call. What it took must be said before the next is asked.
    ///
    /// ```
    /// # use crossover::{Device, ml::Prediction, route::{self, Asked, CallKey, Offline}};
    /// // The network says a millisecond on the CPU, a quarter of that on the GPU.
    /// let prior = Prediction::new([-10.0, -12.0], [0.1; 2], 0.5);
    /// # let call = CallKey { kernel: 7, shape: 1 };
    /// let asked = Asked { call, items: 4096, log2_work: 20.0, prior: &prior, /* … */
    /// #   generation: 0, transfer_s: [0.0; 2], wait_s: [0.0; 2], can_be_cut: false,
    /// };
    /// let mut offline = Offline::new(route::by_name("learned")?);
    /// assert_eq!(offline.place(&asked).device, Device::Gpu);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn place(&mut self, asked: &Asked<'_>) -> Placed {
        let situation = (asked.transfer_s, asked.wait_s, asked.can_be_cut);
        let kernel = self.kernels.entry(asked.call.kernel).or_default();
        let told = kernel.told(asked);
        let (shape, experience) = kernel.expect(asked);
        if told.is_none()
            && let Some(kept) = &shape.kept
            && kept.situation == situation
            && experience.budget_s() < kept.until_s
        {
            return kept.placed.clone();
        }
        let answer = told.unwrap_or(shape.answer);
        let estimates = estimates(asked, &answer);
        let standing = experience.standing(asked.log2_work);
        let standing = Standing { can_be_cut: asked.can_be_cut, ..standing };
        let question = standing.question(asked.call, asked.items, &estimates, &answer);
        let (device, why, until_s) = self.policy.decide(&question);
        let placed = Placed { device, why, estimates };
        if placed.why == Why::Explore {
            experience.begin_trial(device);
        } else if told.is_none() {
            let placed = placed.clone();
            shape.kept = Some(Kept { situation, placed, until_s });
        }
        placed
    }

    /// The part of a call that the policy wants to be run before it is asked where the call goes.
    ///
    /// ```
    /// # use crossover::{ml::Prediction, route::{self, Asked, CallKey, Offline}};
    /// # let (prior, call) = (Prediction::vague(), CallKey::default());
    /// # let asked = Asked {
    /// #     call, items: 1, log2_work: 0.0, prior: &prior, generation: 0, transfer_s: [0.0; 2],
    /// #     wait_s: [0.0; 2], can_be_cut: false,
    /// # };
    /// let mut offline = Offline::new(route::by_name("history-slice")?);
    /// assert!(offline.slice(&asked).is_none(), "the call cannot be cut");
    /// let first = offline.slice(&Asked { can_be_cut: true, ..asked }).expect("nothing is known");
    /// assert!(first.share < 0.1);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn slice(&mut self, asked: &Asked<'_>) -> Option<Slice> {
        if !asked.can_be_cut {
            return None;
        }
        let kernel = self.kernels.entry(asked.call.kernel).or_default();
        let told = kernel.told(asked);
        let answer = told.unwrap_or(kernel.expect(asked).0.answer);
        let estimates = estimates(asked, &answer);
        let (of, start_s) = ((asked.prior, asked.log2_work), self.start_s);
        let parts = match &kernel.told {
            Some(told) => told.parts(of.0, of.1, &answer, start_s),
            None => kernel.experience.parts(of.0, of.1, &answer, start_s),
        };
        let standing = kernel.experience.standing(asked.log2_work);
        let standing = Standing { can_be_cut: true, parts: Some(parts), ..standing };
        self.policy.slice(&standing.question(asked.call, asked.items, &estimates, &answer))
    }

    /// What a part of a call took.
    ///
    /// ```
    /// # use crossover::{Device, ml::Prediction, route::{self, Asked, CallKey, Offline, Slice}};
    /// # let (prior, call) = (Prediction::vague(), CallKey::default());
    /// # let asked = Asked {
    /// #     call, items: 1, log2_work: 24.0, prior: &prior, generation: 0, transfer_s: [0.0; 2],
    /// #     wait_s: [0.0; 2], can_be_cut: true,
    /// # };
    /// let mut offline = Offline::new(route::by_name("learned")?);
    /// let before = offline.place(&asked).estimates[1].run_s;
    /// // A hundredth of the call took a hundredth of a second on the GPU.
    /// offline.observe_slice(&asked, Slice { device: Device::Gpu, share: 0.01 }, 0.01);
    /// assert!(offline.place(&asked).estimates[1].run_s > before);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn observe_slice(&mut self, asked: &Asked<'_>, slice: Slice, run_s: f64) {
        let Slice { device, share } = slice;
        let kernel = self.kernels.entry(asked.call.kernel).or_default();
        let (of, start_s) = ((asked.prior, asked.log2_work), self.start_s[device as usize]);
        let told =
            kernel.told.get_or_insert_with(|| Box::new(Told::begin(&kernel.experience, of.1)));
        let run = SliceRun { slice, run_s, start_s, is_first: false };
        told.slice(of.0, of.1, &run, 0.0);
        kernel.experience.observe_slice(of.0, of.1, &run);
        let (call, unstarted_s) = (asked.call, trial::unstarted_s(run_s, share, start_s));
        self.policy.observe(&Seen { call, share, device, run_s: unstarted_s, total_s: run_s });
    }

    /// The shares of a call that can be cut with which a trial begins, where it is worth cutting.
    ///
    /// ```
    /// # use crossover::{Device, Why, ml::Prediction, route::{self, Asked, CallKey, Offline}};
    /// # let (prior, call) = (Prediction::new([-4.0; 2], [2.0; 2], 0.5), CallKey::default());
    /// # let asked = Asked {
    /// #     call, items: 1 << 20, log2_work: 24.0, prior: &prior, generation: 0, transfer_s: [0.0; 2],
    /// #     wait_s: [0.0; 2], can_be_cut: true,
    /// # };
    /// # let mut offline = Offline::new(route::by_name("learned")?);
    /// let trial = offline.placed(&asked, Device::Gpu, Why::Explore);
    /// let shares = Offline::first_parts(&trial).expect("it may take a second");
    /// assert!(shares.iter().sum::<f64>() < 0.1);
    /// let best = offline.placed(&asked, Device::Gpu, Why::Faster);
    /// assert_eq!(Offline::first_parts(&best), None, "that is no trial");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn first_parts(placed: &Placed) -> Option<[f64; trial::FIRST_PARTS]> {
        let most_s = placed.estimates[placed.device as usize].run_high_s;
        let is_cut = placed.why == Why::Explore && trial::is_long(most_s);
        is_cut.then_some([trial::FIRST_SHARE; trial::FIRST_PARTS])
    }

    /// Whether a trial ends with its first parts, or those that have run so far, of which each has so large a share and
    /// has taken so long: all of it would take what nobody puts up with. What they have told is learned then, and the
    /// rest goes to the other device.
    ///
    /// ```
    /// # use crossover::{Device, Why, ml::Prediction, route::{self, Asked, CallKey, Offline}};
    /// # let (prior, call) = (Prediction::new([-4.0; 2], [2.0; 2], 0.5), CallKey::default());
    /// # let asked = Asked {
    /// #     call, items: 1 << 20, log2_work: 24.0, prior: &prior, generation: 0, transfer_s: [0.0; 2],
    /// #     wait_s: [0.0; 2], can_be_cut: true,
    /// # };
    /// # let mut offline = Offline::new(route::by_name("learned")?);
    /// let trial = offline.placed(&asked, Device::Gpu, Why::Explore);
    /// let as_expected = [(0.01, 0.01 / 16.0); 2];
    /// assert!(!offline.gives_up(&asked, &trial, &as_expected));
    /// assert!(offline.gives_up(&asked, &trial, &[(0.01, 1.0); 2]), "a second for a hundredth");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn gives_up(&mut self, asked: &Asked<'_>, placed: &Placed, parts: &[(f64, f64)]) -> bool {
        let (device, prior, log2_work) = (placed.device, asked.prior, asked.log2_work);
        let start_s = self.start_s[device as usize];
        let kernel = self.kernels.entry(asked.call.kernel).or_default();
        let mut known = kernel.experience.clone();
        let (mut share, mut run_s, mut total_s) = (0.0, 0.0, 0.0);
        let mut least_s = f64::INFINITY;
        for &(part, part_s) in parts {
            let unstarted_s = trial::unstarted_s(part_s, part, start_s);
            known.observe(&Lesson::of_parts(*prior, log2_work, device, part, unstarted_s));
            (share, run_s, total_s) = (share + part, run_s + unstarted_s, total_s + part_s);
            least_s = least_s.min(unstarted_s / part);
        }
        let lesson = Lesson::of_parts(*prior, log2_work, device, share, run_s);
        let lesson = Lesson { total_s, ..lesson };
        let estimates = estimates(asked, &known.expect(prior, log2_work));
        let [own, other] = [device, device.other()].map(|device| estimates[device as usize]);
        let told_s = own.total_s() - own.run_s + least_s;
        let spent_s = kernel.told.as_ref().map_or(0.0, |told| told.spent_s);
        let is_begun = parts.len() < trial::FIRST_PARTS;
        let (own_s, other_s) = (own.total_s(), other.total_s());
        let shown = trial::Shown { own_s, told_s, other_s, spent_s, is_begun };
        let gives_up = trial::gives_up(shown);
        if gives_up {
            kernel.told = None;
            kernel.experience.observe_on(&mut self.spikes, &lesson);
            if placed.why == Why::Explore {
                kernel.experience.end_trial(device);
            }
        }
        gives_up
    }

    /// A call that somebody else sent somewhere.
    ///
    /// ```
    /// # use crossover::{Device, Why, ml::Prediction, route::{self, Asked, CallKey, Offline}};
    /// # let (prior, call) = (Prediction::vague(), CallKey::default());
    /// # let asked = Asked {
    /// #     call, items: 1, log2_work: 0.0, prior: &prior, generation: 0, transfer_s: [0.0; 2],
    /// #     wait_s: [0.0; 2], can_be_cut: false,
    /// # };
    /// let mut offline = Offline::new(route::by_name("always-gpu")?);
    /// let placed = offline.placed(&asked, Device::Cpu, Why::Forced);
    /// assert_eq!((placed.device, placed.why), (Device::Cpu, Why::Forced));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn placed(&mut self, asked: &Asked<'_>, device: Device, why: Why) -> Placed {
        let kernel = self.kernels.entry(asked.call.kernel).or_default();
        let estimates = estimates(asked, &kernel.expect(asked).0.answer);
        Placed { device, why, estimates }
    }

    /// What a call took on the device that it was placed on.
    ///
    /// ```
    /// # use crossover::{Device, ml::Prediction, route::{self, Asked, CallKey, Offline}};
    /// # let (prior, call) = (Prediction::new([-10.0; 2], [2.0; 2], 0.5), CallKey::default());
    /// # let asked = Asked {
    /// #     call, items: 1, log2_work: 0.0, prior: &prior, generation: 0, transfer_s: [0.0; 2],
    /// #     wait_s: [0.0; 2], can_be_cut: false,
    /// # };
    /// let mut offline = Offline::new(route::by_name("always-cpu")?);
    /// for _ in 0..8 {
    ///     let placed = offline.place(&asked);
    ///     offline.observe(&asked, &placed, 0.25, 0.25, false);
    /// }
    /// let expected_s = offline.place(&asked).estimates[0].run_s;
    /// assert!((expected_s / 0.25 - 1.0).abs() < 0.1, "{expected_s}");
    /// # Ok::<(), crossover::Error>(())
    /// ```
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
        let lesson = Lesson { predicted_s, total_s, is_crew_trial, ..run };
        kernel.told = None;
        kernel.experience.observe_on(&mut self.spikes, &lesson);
        if placed.why == Why::Explore {
            kernel.experience.end_trial(device);
        }
        self.policy.observe(&Seen { call, share: 1.0, device, run_s, total_s });
    }
}

fn estimates(asked: &Asked<'_>, answer: &Answer) -> [Estimate; 2] {
    Device::ALL.map(|device| {
        let at = device as usize;
        answer.estimate(device, 1, 1.0, asked.transfer_s[at], asked.wait_s[at])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::policy::Question;
    use crossover_ml::rng::Rng;

    /// The learned policy, asked at every call.
    struct Asking(Arc<dyn Policy>);

    impl Policy for Asking {
        fn name(&self) -> &str {
            "asking"
        }

        fn choose(&self, question: &Question<'_>) -> (Device, Why) {
            self.0.choose(question)
        }
    }

    /// What is looked up is what the policy would have said: over calls of two sizes, fleeting and long, with
    /// copies now and then, spikes, and a device that changes.
    #[test]
    fn looking_up_and_asking_choose_alike() {
        let learned = || crate::route::by_name("learned").expect("it is there");
        let mut trials = 0;
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let fast_s = 10f64.powf(-6.0 + 4.0 * rng.uniform());
            let mut true_s = [fast_s, fast_s * 30f64.powf(rng.uniform())];
            let late = rng.below(400);
            let prior = Prediction::new(true_s.map(|s| s.log2() + rng.normal()), [1.5; 2], 0.7);
            let mut both = [Offline::new(learned()), Offline::new(Arc::new(Asking(learned())))];
            for call in 0..1000 {
                if call == 600 {
                    true_s.swap(0, 1);
                }
                // A second size comes when the first is known.
                let small = call > late && rng.below(3) == 0;
                let (shape, scale) = if small { (2, 0.5) } else { (1, 1.0) };
                let asked = Asked {
                    call: CallKey { kernel: 1, shape },
                    items: 1 << 16,
                    log2_work: if small { 19.0 } else { 20.0 },
                    prior: &prior,
                    generation: u64::from(call >= 800),
                    transfer_s: [0.0, if rng.below(40) == 0 { fast_s } else { 0.0 }],
                    wait_s: [0.0; 2],
                    can_be_cut: rng.below(50) == 0,
                };
                let spike = if rng.below(20) == 0 { 5.0 } else { 1.0 };
                let noise = spike * scale * (0.1 * rng.normal()).exp2();
                let [looked_up, asked_for] = each(&mut both, |offline| offline.place(&asked));
                assert_eq!(looked_up, asked_for, "seed {seed}, call {call}");
                trials += u64::from(looked_up.why == Why::Explore);
                let run_s = true_s[looked_up.device as usize] * noise;
                each(&mut both, |offline| {
                    offline.observe(&asked, &looked_up, run_s, run_s, false);
                });
            }
        }
        assert!(trials > 300, "{trials}");
    }

    fn each<T>(both: &mut [Offline; 2], mut f: impl FnMut(&mut Offline) -> T) -> [T; 2] {
        let [a, b] = both;
        [f(a), f(b)]
    }
}
