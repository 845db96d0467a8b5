//! Which optimisations are worth their compilation: the set with the smallest expected time of compiling a
//! kernel and running it as often as it is still expected to be called.
//!
//! ```text
//! run(S)    = run · Π 2^r        over what S leaves out; r, the log2 of the speed-up, is known with an error,
//!                                and counts as 0 where it is below 0 by less than that
//! code(S)   = code · Π 2^c       over what S leaves out
//! total(S)  = Σ passes(S) + code(S) + calls · E run(S)
//! spent(S)  = Σ passes(S) + what code(S) is beyond the code without any       ≤ budget
//! ```
//!
//! There are 128 sets: all are looked at. Passes that back ends need run whatever the set is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dataset::{OPTIMISATIONS, SPEEDUPS};

/// Another set has to be better by this share for the chosen one to count as wrong.
pub const MARGIN: f64 = 0.03;

/// Some of [`OPTIMISATIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Set(u8);

impl Set {
    /// How many there are.
    pub const COUNT: usize = 1 << SPEEDUPS;

    /// All optimisations.
    pub const ALL: Set = Set((Set::COUNT - 1) as u8);

    /// None.
    pub const NONE: Set = Set(0);

    /// Every set, the largest first.
    ///
    /// ```
    /// use crossover_ml::optimise::Set;
    /// assert_eq!(Set::every().count(), Set::COUNT);
    /// assert_eq!(Set::every().next(), Some(Set::ALL));
    /// ```
    pub fn every() -> impl Iterator<Item = Set> {
        let mut sets: Vec<Set> = (0..Set::COUNT).map(|bits| Set(bits as u8)).collect();
        sets.sort_by_key(|set| (std::cmp::Reverse(set.0.count_ones()), set.0));
        sets.into_iter()
    }

    /// Whether the optimisation of this number is in it.
    ///
    /// ```
    /// use crossover_ml::optimise::Set;
    /// assert!(Set::ALL.has(0) && !Set::NONE.has(0));
    /// ```
    #[must_use]
    pub fn has(self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }

    /// The same with that optimisation the other way.
    ///
    /// ```
    /// use crossover_ml::optimise::Set;
    /// assert!(Set::NONE.flipped(3).has(3));
    /// assert_eq!(Set::NONE.flipped(3).flipped(3), Set::NONE);
    /// ```
    #[must_use]
    pub fn flipped(self, at: usize) -> Set {
        Set(self.0 ^ 1 << at)
    }

    /// Whether a pass of this name is to run: those that are none of [`OPTIMISATIONS`] always are.
    ///
    /// ```
    /// use crossover_ml::{dataset::OPTIMISATIONS, optimise::Set};
    /// assert!(!Set::NONE.enables(OPTIMISATIONS[0]));
    /// assert!(Set::NONE.enables("verify"), "it is none of those that are chosen");
    /// ```
    #[must_use]
    pub fn enables(self, name: &str) -> bool {
        OPTIMISATIONS.iter().position(|known| *known == name).is_none_or(|at| self.has(at))
    }

    /// The numbers of those that are in it.
    ///
    /// ```
    /// use crossover_ml::optimise::Set;
    /// assert_eq!(Set::NONE.flipped(1).flipped(4).inside().collect::<Vec<_>>(), [1, 4]);
    /// ```
    pub fn inside(self) -> impl Iterator<Item = usize> {
        (0..SPEEDUPS).filter(move |&at| self.has(at))
    }

    /// The numbers of those that are not.
    ///
    /// ```
    /// use crossover_ml::optimise::Set;
    /// assert_eq!(Set::ALL.flipped(2).outside().collect::<Vec<_>>(), [2]);
    ///
    /// ```
    pub fn outside(self) -> impl Iterator<Item = usize> {
        (0..SPEEDUPS).filter(move |&at| !self.has(at))
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |numbers: &mut dyn Iterator<Item = usize>| {
            numbers.map(|at| OPTIMISATIONS[at]).collect::<Vec<_>>().join(", ")
        };
        match *self {
            Set::ALL => f.write_str("all"),
            Set::NONE => f.write_str("none"),
            set if set.0.count_ones() > 3 => write!(f, "all but {}", names(&mut set.outside())),
            set => f.write_str(&names(&mut set.inside())),
        }
    }
}

/// What an optimisation is expected to be worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// log2 of the time without it over the time with it.
    pub log2: f64,
    /// The standard deviation of that.
    pub sd: f64,
    /// Half of the errors are no larger: most kernels are understood far better than the few that make `sd`.
    pub typical: f64,
}

impl Effect {
    /// Of one without which the code is the same.
    pub const NONE: Effect = Effect { log2: 0.0, sd: 0.0, typical: 0.0 };

    /// The expected factor on the time where it is left out. That code is faster without an optimisation is
    /// believed as far as it is beyond the error: with all of them it is what somebody has found to be best.
    fn factor(self) -> f64 {
        let spread = self.sd * std::f64::consts::LN_2;
        let log2 = self.log2.clamp(-LOG2_MAX, LOG2_MAX);
        let expected = log2.exp2() * (0.5 * spread * spread).min(2.0).exp();
        if expected < 1.0 { (log2 + self.sd).exp2().clamp(expected, 1.0) } else { expected }
    }
}

/// Nothing is expected to be worth more than this, in log2.
const LOG2_MAX: f64 = 8.0;

/// What is expected of a kernel, whatever the set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Seconds of a call with all optimisations.
    pub run_s: f64,
    /// What each is worth to a call.
    pub run: [Effect; SPEEDUPS],
    /// Seconds of making code with all optimisations.
    pub code_s: f64,
    /// log2 of the seconds of making code without each over those with it.
    pub code: [f64; SPEEDUPS],
    /// Seconds of each itself.
    pub passes_s: [f64; SPEEDUPS],
}

impl Forecast {
    /// Expected seconds of a call.
    ///
    /// ```
    /// # use crossover_ml::{dataset::SPEEDUPS, optimise::{Effect, Forecast, Set}};
    /// let mut forecast = Forecast { run_s: 1.0, run: [Effect::NONE; SPEEDUPS], /* … */
    /// #   code_s: 1.0, code: [0.0; SPEEDUPS], passes_s: [0.0; SPEEDUPS],
    /// };
    /// forecast.run[0] = Effect { log2: 2.0, ..Effect::NONE };
    /// assert_eq!(forecast.run_s(Set::ALL.flipped(0)), 4.0, "without it, four times as long");
    /// ```
    #[must_use]
    pub fn run_s(&self, set: Set) -> f64 {
        self.run_s * set.outside().map(|at| self.run[at].factor()).product::<f64>()
    }

    fn code_s(&self, set: Set) -> f64 {
        let log2: f64 = set.outside().map(|at| self.code[at]).sum();
        self.code_s * log2.clamp(-LOG2_MAX, LOG2_MAX).exp2()
    }

    fn passes_s(&self, set: Set) -> f64 {
        set.inside().map(|at| self.passes_s[at]).sum()
    }

    /// Expected seconds of compiling.
    ///
    /// ```
    /// # use crossover_ml::{dataset::SPEEDUPS, optimise::{Effect, Forecast, Set}};
    /// let mut forecast = Forecast { code_s: 4.0, code: [0.0; SPEEDUPS], /* … */
    /// #   run_s: 1.0, run: [Effect::NONE; SPEEDUPS], passes_s: [0.0; SPEEDUPS],
    /// };
    /// forecast.passes_s[0] = 1.0; // It takes a second, and its code four times as long to make.
    /// forecast.code[0] = -2.0;
    /// assert_eq!([Set::ALL, Set::NONE].map(|set| forecast.compile_s(set)), [5.0, 1.0]);
    /// ```
    #[must_use]
    pub fn compile_s(&self, set: Set) -> f64 {
        self.passes_s(set) + self.code_s(set)
    }

    /// Expected seconds of the optimisations, and of the code that they add to.
    ///
    /// ```
    /// # use crossover_ml::{dataset::SPEEDUPS, optimise::{Effect, Forecast, Set}};
    /// let forecast = Forecast { code_s: 4.0, passes_s: [0.5; SPEEDUPS], /* … */
    /// #   run_s: 1.0, run: [Effect::NONE; SPEEDUPS], code: [0.0; SPEEDUPS],
    /// };
    /// assert_eq!([Set::ALL, Set::NONE].map(|set| forecast.spent_s(set)), [3.5, 0.0]);
    /// ```
    #[must_use]
    pub fn spent_s(&self, set: Set) -> f64 {
        self.passes_s(set) + (self.code_s(set) - self.code_s(Set::NONE)).max(0.0)
    }

    /// Expected seconds of compiling, and of so many calls.
    ///
    /// ```
    /// # use crossover_ml::{dataset::SPEEDUPS, optimise::{Effect, Forecast, Set}};
    /// let forecast = Forecast { code_s: 4.0, run_s: 0.5, /* … */
    /// #   run: [Effect::NONE; SPEEDUPS], code: [0.0; SPEEDUPS], passes_s: [0.0; SPEEDUPS],
    /// };
    /// assert_eq!(forecast.total_s(Set::ALL, 10.0), 4.0 + 10.0 * 0.5);
    /// ```
    #[must_use]
    pub fn total_s(&self, set: Set, calls: f64) -> f64 {
        self.compile_s(set) + calls * self.run_s(set)
    }

    /// The probability that no set which differs by one optimisation is better by more than [`MARGIN`],
    /// where errors of the speed-ups are independent.
    fn confidence(&self, set: Set, calls: f64) -> f64 {
        let (own, run) = (self.total_s(set, calls), calls * self.run_s(set));
        let right = |at: usize| {
            let flipped = set.flipped(at);
            // The factor on the calls below which the other is better by so much.
            let least = ((1.0 - MARGIN) * own - self.compile_s(flipped)) / run;
            let Effect { log2, typical, .. } = self.run[at];
            if least <= 0.0 || run <= 0.0 {
                return 1.0;
            }
            // Left out now, it would divide; taken now, it would multiply.
            let (margin, mean) = match set.has(at) {
                true => (least.log2(), log2),
                false => (least.log2(), -log2),
            };
            match typical > 0.0 {
                true => heavy_cdf((mean - margin) / typical),
                false => f64::from(u8::from(mean >= margin)),
            }
        };
        (0..SPEEDUPS).map(right).product()
    }
}

/// The share of errors below this multiple of the typical one: those of Student's distribution of two degrees
/// of freedom, half of which are within one.
fn heavy_cdf(multiple: f64) -> f64 {
    let t = multiple * (2.0f64 / 3.0).sqrt();
    0.5 + 0.5 * t / (2.0 + t * t).sqrt()
}

/// The set that was chosen, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The set.
    pub set: Set,
    /// The probability that no other set which differs by one optimisation is better by more than
    /// [`MARGIN`].
    pub confidence: f64,
    /// The calls that were expected.
    pub calls: f64,
    /// Expected seconds of compiling.
    pub compile_s: f64,
    /// Expected seconds of a call.
    pub run_s: f64,
    /// Expected seconds of compiling with all optimisations, and of a call then.
    pub with_all_s: [f64; 2],
    /// Whether a better set is beyond the budget.
    pub is_limited: bool,
}

impl Choice {
    /// Calls after which compiling with all is due, where that was put off: when it would have paid by what is
    /// expected, or when it takes no more than a share of what calls have taken, whatever is expected: models are
    /// wrong, and nobody is to run slow code for ever.
    ///
    /// ```
    /// use crossover_ml::optimise::{Choice, Set};
    /// // A second of compiling saves half a second in each call.
    /// let choice = Choice { set: Set::NONE, run_s: 1.0, with_all_s: [1.0, 0.5], /* … */
    /// #   confidence: 1.0, calls: 1.0, compile_s: 0.0, is_limited: false,
    /// };
    /// assert!(choice.calls_until_all() <= 2.0);
    /// ```
    #[must_use]
    pub fn calls_until_all(&self) -> f64 {
        let [compile_s, run_s] = self.with_all_s;
        let pays = compile_s / (self.run_s - run_s).max(0.0);
        pays.min(compile_s / (SHARE_OF_CALLS * self.run_s)).max(1.0)
    }
}

/// Compiling once more may take this share of the time that calls have taken.
const SHARE_OF_CALLS: f64 = 0.1;

/// The set of the smallest expected total among those within the budget; of equal ones the largest.
///
/// ```
/// # use crossover_ml::{dataset::SPEEDUPS, optimise::{Effect, Forecast, Set, choose}};
/// # let mut forecast = Forecast {
/// #     run_s: 1e-3, run: [Effect::NONE; SPEEDUPS], code_s: 1e-2, code: [0.0; SPEEDUPS],
/// #     passes_s: [1e-3; SPEEDUPS],
/// # };
/// // The first one halves the time of a call, the others do nothing.
/// forecast.run[0] = Effect { log2: 1.0, ..Effect::NONE };
/// let [once, often] = [1.0, 1000.0].map(|calls| choose(&forecast, calls, 1.0).set);
/// assert_eq!((once.has(1), often.has(0), often.has(1)), (false, true, false));
///
/// ```
#[must_use]
pub fn choose(forecast: &Forecast, calls: f64, budget_s: f64) -> Choice {
    let calls = calls.max(0.0);
    let (mut best, mut free) = ((Set::NONE, f64::INFINITY), f64::INFINITY);
    for set in Set::every() {
        let total = forecast.total_s(set, calls);
        free = free.min(total);
        let fits = set == Set::NONE || forecast.spent_s(set) <= budget_s;
        if fits && total < best.1 {
            best = (set, total);
        }
    }
    let (set, total) = best;
    Choice {
        set,
        confidence: forecast.confidence(set, calls),
        calls,
        compile_s: forecast.compile_s(set),
        run_s: forecast.run_s(set),
        with_all_s: [forecast.compile_s(Set::ALL), forecast.run_s(Set::ALL)],
        is_limited: free < total,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Anything that can be measured.
    fn drawn(rng: &mut Rng) -> Forecast {
        let mut draw = |low: f64, high: f64| low + (high - low) * rng.uniform();
        Forecast {
            run_s: draw(-20.0, 2.0).exp2(),
            run: std::array::from_fn(|_| Effect {
                log2: draw(-1.0, 3.0),
                sd: draw(0.0, 0.5),
                typical: draw(0.0, 0.3),
            }),
            code_s: draw(-12.0, -2.0).exp2(),
            code: std::array::from_fn(|_| draw(-1.5, 0.5)),
            passes_s: std::array::from_fn(|_| draw(-20.0, -10.0).exp2()),
        }
    }

    fn cases() -> impl Iterator<Item = (Forecast, f64)> {
        let mut rng = Rng::new(11);
        (0..300).map(move |_| {
            let forecast = drawn(&mut rng);
            (forecast, (20.0 * rng.uniform()).exp2())
        })
    }

    #[test]
    fn sets_have_names_and_flip() {
        assert_eq!(Set::every().count(), Set::COUNT);
        assert_eq!(Set::every().next(), Some(Set::ALL));
        assert_eq!(Set::ALL.to_string(), "all");
        assert_eq!(Set::ALL.flipped(2).to_string(), "all but simd");
        assert_eq!(Set::NONE.flipped(2).to_string(), "simd");
        let set = Set::ALL.flipped(2);
        assert!(!set.enables("simd") && set.enables("cse") && set.enables("dce"));
        assert!(!Set::NONE.enables("cse") && Set::NONE.enables("dce"));
    }

    #[test]
    fn the_choice_is_expected_to_be_no_worse_than_all_or_none() {
        for (forecast, calls) in cases() {
            let choice = choose(&forecast, calls, f64::INFINITY);
            let total = forecast.total_s(choice.set, calls);
            for set in Set::every() {
                assert!(total <= forecast.total_s(set, calls));
            }
            assert!(!choice.is_limited && (0.0..=1.0).contains(&choice.confidence));
            let limited = choose(&forecast, calls, forecast.code_s / 8.0);
            assert!(forecast.total_s(limited.set, calls) <= forecast.total_s(Set::NONE, calls));
        }
    }

    #[test]
    fn no_budget_leaves_what_back_ends_need() {
        for (forecast, calls) in cases() {
            assert_eq!(choose(&forecast, calls, 0.0).set, Set::NONE);
        }
    }

    #[test]
    fn more_budget_is_never_worse_and_is_kept_to() {
        for (forecast, calls) in cases() {
            let mut before = f64::INFINITY;
            for budget in (0..12).map(|at| forecast.compile_s(Set::ALL) * f64::from(at) / 8.0) {
                let choice = choose(&forecast, calls, budget);
                let total = forecast.total_s(choice.set, calls);
                assert!(total <= before, "{total} after {before}");
                assert!(choice.set == Set::NONE || forecast.spent_s(choice.set) <= budget);
                before = total;
            }
        }
    }

    #[test]
    fn more_calls_never_choose_slower_code() {
        for (forecast, _) in cases() {
            let mut before = f64::INFINITY;
            for calls in (0..20).map(|at| f64::from(1 << at)) {
                let choice = choose(&forecast, calls, f64::INFINITY);
                assert!(choice.run_s <= before * (1.0 + 1e-12));
                before = choice.run_s;
            }
        }
    }

    #[test]
    fn what_changes_nothing_is_left_as_it_is_and_is_no_doubt() {
        let forecast = Forecast {
            run_s: 1e-3,
            run: [Effect::NONE; SPEEDUPS],
            code_s: 1e-2,
            code: [0.0; SPEEDUPS],
            passes_s: [0.0; SPEEDUPS],
        };
        let choice = choose(&forecast, 100.0, 1.0);
        assert_eq!((choice.set, choice.confidence), (Set::ALL, 1.0));
    }

    #[test]
    fn all_are_due_when_they_would_have_paid_and_not_much_later() {
        for (forecast, calls) in cases() {
            let choice = choose(&forecast, calls, f64::INFINITY);
            let [compile_s, run_s] = choice.with_all_s;
            let due = choice.calls_until_all();
            assert!(due <= 1.0 || compile_s >= 0.099 * due * choice.run_s);
            let lost = due * (choice.run_s - run_s);
            assert!(due <= 1.0 || lost <= 1.001 * compile_s, "{lost} for {compile_s}");
        }
    }

    #[test]
    fn doubt_lowers_the_confidence() {
        let confidence = |typical: f64| {
            let run = std::array::from_fn(|at| match at {
                2 => Effect { log2: 0.5, sd: 0.5, typical },
                _ => Effect::NONE,
            });
            let (code, passes_s) = ([0.0; SPEEDUPS], [0.0; SPEEDUPS]);
            let forecast = Forecast { run_s: 1.0, run, code_s: 1e-3, code, passes_s };
            choose(&forecast, 10.0, 1.0).confidence
        };
        assert_eq!(confidence(0.0), 1.0);
        assert!(confidence(0.2) > confidence(0.5) && confidence(0.5) > 0.7);
        assert_eq!(heavy_cdf(0.0), 0.5);
        assert!((heavy_cdf(1.0) - heavy_cdf(-1.0) - 0.5).abs() < 1e-12);
    }
}
