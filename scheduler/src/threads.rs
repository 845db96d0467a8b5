//! How many threads a call on the CPU uses: one, two, four and so on, or all.
//!
//! Before anything is measured a rule decides between one and all, from the predicted time and the price
//! of waking the workers. Then each size of a kernel keeps what the counts have taken, and the fastest is
//! used. The next smaller and larger ones, one, and all are tried when some calls have been measured since the
//! last trial and the price, what the trial takes beyond the best, fits into a share of the time spent
//! since that count was last tried. So a trial of what is ten times slower is made ten times less often,
//! and what has become faster is found. The first looks at a count are believed only so far: what was
//! interrupted takes a hundred times as long by accident, and would not be tried again for as many calls.
//! A trial is a few calls in a row, of which the fastest counts: the first finds sleeping workers, and its
//! data in the caches of another core. The first trial of a count that is expected to take at most twice as
//! long needs no budget.
//! From either end the way leads to the best count where the time falls to it from both sides:
//! threads first share the work, then contend for memory.

/// The share of a kernel's time that trials of a count which is not the best may take.
const TRIAL_SHARE: f64 = 0.03;

/// Measured calls between two trials, at least, and before the first of a count that is not dear.
const CALLS_MIN: u32 = 8;
const CALLS_FIRST: u32 = 2;

/// Calls of a trial.
const TRIAL_CALLS: u8 = 3;

/// What the first trial of a count is expected to take at most, without a budget: so many times what the best takes,
/// and so many seconds longer.
const FIRST_MAX: f64 = 2.0;
const FIRST_SLACK_S: f64 = 1e-3;

/// Looks at a count until it is believed to be far slower than guessed, and how many times slower it is
/// taken for until then. The calls of a trial are one look: what gets in the way of one gets in the way of all.
const LOOKS: u8 = 3;
const DOUBT: f64 = 2.0;

/// How fast a new time replaces the old.
const BLEND: f64 = 0.25;

/// Sizes of a kernel that are told apart.
const SIZES_MAX: usize = 32;

/// Counts of threads that are told apart: enough for 2,048.
const CREWS_MAX: usize = 12;

/// A number of threads: a power of two, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crew(u8);

impl Crew {
    /// The calling thread alone.
    pub(crate) const ONE: Crew = Crew(0);

    /// All of so many threads.
    pub(crate) fn all(all: usize) -> Crew {
        let doublings = all.max(1).next_power_of_two().trailing_zeros() as usize;
        Crew(doublings.min(CREWS_MAX - 1) as u8)
    }

    /// A count as a crew, of so many threads in all; `None` for those that are not tried of their own
    /// accord. With one thread there is nothing to choose.
    pub(crate) fn of(threads: usize, all: usize) -> Option<Crew> {
        let crews = (0..=Crew::all(all).0).map(Crew);
        crews.filter(|_| all > 1).find(|crew| crew.threads(all) == threads)
    }

    pub(crate) fn threads(self, all: usize) -> usize {
        if self == Crew::all(all) { all.max(1) } else { 1 << self.0 }
    }

    /// Those to try beside this one: the next smaller and larger ones, one, and all.
    fn others(self, all: usize) -> impl Iterator<Item = Crew> + Clone {
        let (at, last) = (self.0, Crew::all(all).0);
        let others =
            (0..=last).filter(move |&other| other.abs_diff(at) == 1 || other == 0 || other == last);
        others.filter(move |&other| other != at).map(Crew)
    }
}

/// The share of what a crew has taken that is work at least.
const WORK_MIN: f64 = 0.1;

/// What is known of the machine where nothing is measured of the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    /// All threads.
    pub(crate) threads: usize,
    /// Seconds of waking them.
    pub(crate) wake_s: f64,
}

impl Machine {
    /// What a crew is likely to take where another takes so long, in seconds: work is shared evenly, and
    /// workers have to be woken.
    pub(crate) fn guess(&self, crew: Crew, known: Crew, known_s: f64) -> f64 {
        let wake_s = |crew: Crew| if crew == Crew::ONE { 0.0 } else { self.wake_s };
        let count = |crew: Crew| crew.threads(self.threads) as f64;
        // Where workers are awake, waking them is no part of it.
        let work_s = (known_s - wake_s(known)).max(WORK_MIN * known_s) * count(known);
        work_s / count(crew) + wake_s(crew)
    }
}

/// A choice, and what it was made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Choice {
    pub(crate) crew: Crew,
    /// The best of the others, or, where one is tried, the best of all; and how many times longer than
    /// the chosen one it is expected to take.
    pub(crate) other: Crew,
    pub(crate) other_factor: f64,
    /// Whether the crew is tried although it is not expected to be the fastest.
    pub(crate) is_trial: bool,
}

impl Choice {
    /// The number that is expected to be the fastest instead of the one that this tries.
    pub(crate) fn untried(self) -> Choice {
        match self.is_trial {
            false => self,
            true => Choice {
                crew: self.other,
                other: self.crew,
                other_factor: self.other_factor.recip(),
                is_trial: false,
            },
        }
    }
}

/// What the crews have taken, at each size of a kernel.
#[derive(Debug, Default)]
pub(crate) struct Crews(Vec<(i32, Size)>);

/// One size.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    /// The seconds of each crew, newer ones weighing more; `None` before the first.
    seconds: [Option<f64>; CREWS_MAX],
    /// Looks at each crew: trials, and calls beside them, up to [`LOOKS`].
    looks: [u8; CREWS_MAX],
    /// The crew that is being tried, and the calls of that still to come.
    trying: Option<(Crew, u8)>,
    /// Calls since the last trial.
    calls: u32,
    /// Seconds of all calls; and for each crew, when it was last tried.
    spent_s: f64,
    tried_at_s: [f64; CREWS_MAX],
}

impl Size {
    /// The fastest crew that was measured.
    fn best(&self) -> Option<(Crew, f64)> {
        let known = self.seconds.iter().zip(0u8..);
        let known = known.filter_map(|(seconds, at)| Some((Crew(at), (*seconds)?)));
        known.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// What a crew is expected to take of which so much was guessed.
    fn expected(&self, crew: Crew, guess_s: f64) -> f64 {
        match self.seconds[crew.0 as usize] {
            None => guess_s,
            Some(seen_s) if self.looks[crew.0 as usize] < LOOKS => seen_s.min(DOUBT * guess_s),
            Some(seen_s) => seen_s,
        }
    }
}

impl Crews {
    /// The crew of a call of this size. `rule` is what is taken while nothing is measured, and expected to take
    /// `rule_s` then.
    pub(crate) fn choose(
        &self,
        log2_work: f64,
        machine: Machine,
        (rule, rule_s): (Crew, f64),
    ) -> Choice {
        let all = machine.threads;
        let size = self.0.iter().find(|(known, _)| *known == bucket(log2_work));
        let best = size.and_then(|(_, size)| Some((size, size.best()?)));
        let factor = |s: f64, of_s: f64| (s / of_s.max(1e-9)).max(1e-3);
        let Some((size, (best, best_s))) = best else {
            let other = if rule == Crew::ONE { Crew::all(all) } else { Crew::ONE };
            // The rule is not for what may be a little faster.
            let other_factor = factor(machine.guess(other, rule, rule_s), rule_s).max(1.0);
            return Choice { crew: rule, other, other_factor, is_trial: false };
        };
        let seconds = |crew: Crew| size.expected(crew, machine.guess(crew, best, best_s));
        let others = best.others(all);
        let share = TRIAL_SHARE / others.clone().count().max(1) as f64;
        let price_s = |crew: Crew| (seconds(crew) - best_s).max(0.0);
        // Seconds by which a trial is overdue.
        let overdue_s = |crew: Crew| {
            let since_s = size.spent_s - size.tried_at_s[crew.0 as usize];
            since_s * share - f64::from(TRIAL_CALLS) * price_s(crew)
        };
        let is_due = |crew: &Crew| match size.looks[crew.0 as usize] {
            0 if price_s(*crew) <= FIRST_SLACK_S.min((FIRST_MAX - 1.0) * best_s) => {
                size.calls >= CALLS_FIRST
            }
            _ => overdue_s(*crew) >= 0.0 && size.calls >= CALLS_MIN,
        };
        let due = others.clone().filter(is_due);
        let goes_on = size.trying.map(|(crew, _)| crew).filter(|crew| *crew != best);
        let begins = || due.max_by(|a, b| overdue_s(*a).total_cmp(&overdue_s(*b)));
        if let Some(crew) = goes_on.or_else(begins) {
            let other_factor = factor(best_s, seconds(crew));
            return Choice { crew, other: best, other_factor, is_trial: true };
        }
        let other = others.min_by(|a, b| seconds(*a).total_cmp(&seconds(*b))).unwrap_or(best);
        let other_factor = factor(seconds(other), best_s);
        Choice { crew: best, other, other_factor, is_trial: false }
    }

    /// A call of a trial is sent: its price is paid now, not when it comes back.
    pub(crate) fn begin_trial(&mut self, log2_work: f64, crew: Crew) {
        if let Some(size) = self.size(log2_work) {
            let left = match size.trying {
                Some((tried, left)) if tried == crew => left,
                _ => TRIAL_CALLS,
            };
            size.trying = (left > 1).then_some((crew, left - 1));
            size.calls = 0;
            size.tried_at_s[crew.0 as usize] = size.spent_s;
        }
    }

    /// Takes in a measured call.
    pub(crate) fn observe(&mut self, log2_work: f64, crew: Crew, seconds: f64) {
        let Some(size) = self.size(log2_work) else { return };
        // A run is slow by accident, but hardly ever fast: one that was interrupted must not cost the
        // better crew its place, which it would get back late, since the trial would seem dear.
        let known = &mut size.seconds[crew.0 as usize];
        let blended = |old: f64| old + BLEND * (seconds.min(2.0 * old) - old);
        *known = Some(known.map_or(seconds, |old| seconds.min(blended(old))));
        let is_best = size.best().is_some_and(|(best, _)| best == crew);
        // What has turned out to be the best is not tried any longer.
        size.trying = size.trying.filter(|(tried, _)| *tried != crew || !is_best);
        if size.trying.is_none_or(|(tried, _)| tried != crew) {
            let looks = &mut size.looks[crew.0 as usize];
            *looks = LOOKS.min(*looks + 1);
        }
        size.calls = size.calls.saturating_add(1);
        size.spent_s += seconds;
    }

    fn size(&mut self, log2_work: f64) -> Option<&mut Size> {
        let wanted = bucket(log2_work);
        let at = match self.0.iter().position(|(known, _)| *known == wanted) {
            Some(at) => at,
            None if self.0.len() < SIZES_MAX => {
                self.0.push((wanted, Size::default()));
                self.0.len() - 1
            }
            None => return None,
        };
        Some(&mut self.0[at].1)
    }
}

fn bucket(log2_work: f64) -> i32 {
    log2_work.round() as i32
}

#[cfg(test)]
mod tests {
    use super::{Choice, Crew, Crews, Machine, TRIAL_CALLS};

    const MACHINE: Machine = Machine { threads: 4, wake_s: 2e-5 };
    const ALL: Crew = Crew(2);

    /// So many calls, each of which takes what `seconds` says of its number of threads; gives the number
    /// of threads of each, and the time in units of `best_s` a call.
    fn calls(
        crews: &mut Crews,
        machine: Machine,
        count: u32,
        seconds: &dyn Fn(usize) -> f64,
        rule: Crew,
    ) -> Vec<usize> {
        let call = |_| {
            let Choice { crew, is_trial, .. } = crews.choose(20.0, machine, (rule, 1e-3));
            if is_trial {
                crews.begin_trial(20.0, crew);
            }
            let threads = crew.threads(machine.threads);
            crews.observe(20.0, crew, seconds(threads));
            threads
        };
        (0..count).map(call).collect()
    }

    /// One thread, and more: those of two counts.
    fn two(one_s: f64, all_s: f64) -> impl Fn(usize) -> f64 {
        move |threads| match threads {
            1 => one_s,
            2 => (one_s * all_s).sqrt(),
            _ => all_s,
        }
    }

    #[test]
    fn no_crew_is_guessed_to_take_nothing() {
        // Awake workers were done before it was even expected that they are woken.
        let one_s = MACHINE.guess(Crew::ONE, ALL, 3e-6);
        assert!((1e-6..3e-5).contains(&one_s), "{one_s}");
    }

    #[test]
    fn the_fastest_count_is_found_from_either_end_at_a_bounded_price() {
        let sweet_spot = |threads: usize| match threads {
            1 => 4e-3,
            2 => 2.1e-3,
            4 => 1.5e-3,
            8 => 2e-3,
            _ => 5e-3,
        };
        let sixteen = Machine { threads: 16, wake_s: 2e-5 };
        let six = Machine { threads: 6, wake_s: 2e-5 };
        type Case<'a> = (Machine, &'a dyn Fn(usize) -> f64, usize);
        let cases: [Case<'_>; 8] = [
            // One is the best, and all are better than two.
            (MACHINE, &|threads| [1e-3, 3e-3, 3e-3, 1.5e-3][threads - 1], 1),
            (MACHINE, &two(1e-3, 4e-4), 4),
            (MACHINE, &two(4e-4, 1e-3), 1),
            (MACHINE, &two(3e-6, 4e-5), 1),
            (MACHINE, &two(1e-2, 3e-3), 4),
            (sixteen, &sweet_spot, 4),
            (six, &|threads| 1e-2 / threads as f64 + 1e-5, 6),
            (six, &|threads| 1e-2 * threads as f64, 1),
        ];
        for (at, (machine, seconds, best)) in cases.into_iter().enumerate() {
            for rule in [Crew::ONE, Crew::all(machine.threads)] {
                let mut crews = Crews::default();
                calls(&mut crews, machine, 2000, seconds, rule);
                let used = calls(&mut crews, machine, 2000, seconds, rule);
                let share = used.iter().filter(|&&n| n == best).count() as f64 / 2000.0;
                let total: f64 = used.iter().map(|&n| seconds(n)).sum();
                let price = total / (2000.0 * seconds(best));
                assert!(price < 1.04, "case {at}, {rule:?}: {price}");
                assert!(share > 0.75, "case {at}, {rule:?}: {share}");
            }
        }
    }

    #[test]
    fn a_change_is_followed_both_ways() {
        let mut crews = Crews::default();
        calls(&mut crews, MACHINE, 500, &two(1e-3, 4e-4), ALL);
        // The machine has become busy: all are slower than one.
        calls(&mut crews, MACHINE, 500, &two(1e-3, 2e-3), ALL);
        assert_eq!(crews.choose(20.0, MACHINE, (ALL, 1e-3)).crew, Crew::ONE);
        calls(&mut crews, MACHINE, 5000, &two(1e-3, 4e-4), ALL);
        assert_eq!(crews.choose(20.0, MACHINE, (ALL, 1e-3)).crew, ALL);
    }

    #[test]
    fn first_looks_that_were_interrupted_are_looked_at_again() {
        let machine = Machine { threads: 2, wake_s: 2e-5 };
        let (one, all) = (Crew::ONE, Crew::all(2));
        for (slow, fast, slow_s, fast_s) in [(one, all, 1.5e-4, 8e-5), (all, one, 4e-5, 3e-6)] {
            for (spike, spikes) in [(3.0, 1), (30.0, 1), (1000.0, 1), (1000.0, 2)] {
                let mut crews = Crews::default();
                let (mut looks, mut found) = (0, None);
                for at in 0..200 {
                    let Choice { crew, is_trial, .. } = crews.choose(20.0, machine, (slow, 1e-4));
                    if is_trial {
                        crews.begin_trial(20.0, crew);
                    } else if crew == fast {
                        found = found.or(Some(at));
                    }
                    looks += u32::from(crew == fast);
                    let seconds = match crew == fast {
                        true if looks <= spikes => spike * fast_s,
                        true => fast_s,
                        false => slow_s,
                    };
                    crews.observe(20.0, crew, seconds);
                }
                assert!(found.is_some_and(|at| at < 120), "{fast:?} {spike} × {spikes}: {found:?}");
            }
        }
    }

    #[test]
    fn a_trial_goes_on_until_the_workers_are_awake() {
        let machine = Machine { threads: 2, wake_s: 2e-5 };
        let (one, all) = (Crew::ONE, Crew::all(2));
        let (mut crews, mut alone) = (Crews::default(), true);
        let found = (0..100).position(|_| {
            let Choice { crew, is_trial, .. } = crews.choose(20.0, machine, (one, 1.5e-4));
            if is_trial {
                crews.begin_trial(20.0, crew);
            }
            // The first call after those of one thread finds the other asleep.
            let seconds = match (crew == all, alone) {
                (false, _) => 1.5e-4,
                (true, true) => 3e-4,
                (true, false) => 8e-5,
            };
            alone = crew == one;
            crews.observe(20.0, crew, seconds);
            crew == all && !is_trial
        });
        assert!(found.is_some_and(|at| at < 8), "{found:?}");
    }

    #[test]
    fn a_spike_does_not_change_the_crew() {
        let mut crews = Crews::default();
        let seconds = two(1e-6, 4e-6);
        calls(&mut crews, MACHINE, 2000, &seconds, Crew::ONE);
        for _ in 0..3 {
            crews.observe(20.0, Crew::ONE, 5e-3);
            let used = calls(&mut crews, MACHINE, 100, &seconds, Crew::ONE);
            let others = used.iter().filter(|&&n| n != 1).count();
            assert!(others <= 2 * usize::from(TRIAL_CALLS), "two trials: {others}");
        }
    }

    #[test]
    fn other_sizes_and_counts_are_others() {
        let mut crews = Crews::default();
        calls(&mut crews, MACHINE, 100, &two(1e-6, 4e-5), Crew::ONE);
        let unseen = crews.choose(30.0, MACHINE, (ALL, 1e-3));
        assert_eq!(unseen.crew, ALL, "the rule");
        assert!(
            (3.9..4.0).contains(&unseen.other_factor),
            "one takes four times the work: {unseen:?}"
        );
        assert_eq!(Crew::of(1, 1), None);
        assert_eq!(Crew::of(3, 4), None);
        assert_eq!(Crew::of(4, 4), Some(ALL));
        assert_eq!(Crew::of(5, 5), Some(Crew(3)));
        assert_eq!((0..=3).map(|at| Crew(at).threads(5)).collect::<Vec<_>>(), [1, 2, 4, 5]);
        assert_eq!(Crew::of(100_000, 100_000), Some(Crew(11)), "as good as all");
    }
}
