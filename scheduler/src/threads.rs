//! How many threads a call on the CPU uses: one, or all.
//!
//! Before anything is measured a rule decides, from the predicted time and the price of waking the
//! workers. Then each size of a kernel keeps what both counts have taken, and the smaller is used. The
//! other is tried when some calls have been measured since the last trial and its price, what it
//! takes beyond the better one, fits into a share of the time spent since. So a trial of what is ten
//! times slower is made ten times less often, and what has become faster is found.

use crate::place::TRIAL_SHARE;

/// Measured calls between two trials, at least.
const CALLS_MIN: u32 = 8;

/// How fast a new time replaces the old.
const BLEND: f64 = 0.25;

/// Sizes of a kernel that are told apart.
const SIZES_MAX: usize = 32;

/// One thread, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crew {
    One,
    All,
}

impl Crew {
    /// A count as a crew, of so many threads in all; `None` for others than these two. With one
    /// thread there is nothing to choose.
    pub(crate) fn of(threads: usize, all: usize) -> Option<Crew> {
        match threads {
            _ if all <= 1 => None,
            1 => Some(Crew::One),
            n if n == all => Some(Crew::All),
            _ => None,
        }
    }

    pub(crate) fn threads(self, all: usize) -> usize {
        match self {
            Crew::One => 1,
            Crew::All => all,
        }
    }

    pub(crate) fn other(self) -> Crew {
        match self {
            Crew::One => Crew::All,
            Crew::All => Crew::One,
        }
    }
}

/// What is known of the machine where nothing is measured of the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    /// All threads.
    pub(crate) threads: usize,
    /// Seconds of waking them.
    pub(crate) wake_s: f64,
}

impl Machine {
    /// What one crew is likely to take where the other takes so long, in seconds.
    pub(crate) fn guess(&self, crew: Crew, other_s: f64) -> f64 {
        match crew {
            Crew::One => (other_s - self.wake_s).max(0.0) * self.threads as f64,
            Crew::All => other_s / self.threads as f64 + self.wake_s,
        }
    }
}

/// A choice, and what it was made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Choice {
    pub(crate) crew: Crew,
    /// How many times longer the crew that was not chosen is expected to take.
    pub(crate) other_factor: f64,
    /// Whether the crew is tried although it is not expected to be the faster.
    pub(crate) is_trial: bool,
}

/// What the crews have taken, at each size of a kernel.
#[derive(Debug, Default)]
pub(crate) struct Crews(Vec<(i32, Size)>);

/// One size.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    /// The seconds of each crew, newer ones weighing more; `None` before the first.
    seconds: [Option<f64>; 2],
    /// Calls and seconds since the last trial.
    calls: u32,
    spent_s: f64,
}

impl Crews {
    /// The crew of a call of this size. `rule` is what is taken while nothing is measured.
    pub(crate) fn choose(&self, log2_work: f64, machine: Machine, rule: Crew) -> Choice {
        let size = self.0.iter().find(|(known, _)| *known == bucket(log2_work));
        let size = size.map(|(_, size)| *size).unwrap_or_default();
        let (best, best_s, other_s) = match size.seconds {
            [Some(one), Some(all)] if one <= all => (Crew::One, one, all),
            [Some(one), Some(all)] => (Crew::All, all, one),
            [Some(one), None] => (Crew::One, one, machine.guess(Crew::All, one)),
            [None, Some(all)] => (Crew::All, all, machine.guess(Crew::One, all)),
            [None, None] => return Choice { crew: rule, other_factor: 1.0, is_trial: false },
        };
        let price_s = (other_s - best_s).max(0.0);
        let is_trial = size.calls >= CALLS_MIN && price_s <= size.spent_s * TRIAL_SHARE;
        let factor = (other_s / best_s.max(1e-9)).max(1e-3);
        match is_trial {
            true => Choice { crew: best.other(), other_factor: factor.recip(), is_trial },
            false => Choice { crew: best, other_factor: factor, is_trial },
        }
    }

    /// A trial is sent: its price is paid now, not when it comes back.
    pub(crate) fn begin_trial(&mut self, log2_work: f64) {
        if let Some(size) = self.size(log2_work) {
            (size.calls, size.spent_s) = (0, 0.0);
        }
    }

    /// Takes in a measured call.
    pub(crate) fn observe(&mut self, log2_work: f64, crew: Crew, seconds: f64) {
        let Some(size) = self.size(log2_work) else { return };
        // A run is slow by accident, but hardly ever fast: one that was interrupted must not cost the
        // better crew its place, which it would get back late, since the trial would seem dear.
        let known = &mut size.seconds[crew as usize];
        let blended = |old: f64| old + BLEND * (seconds.min(2.0 * old) - old);
        *known = Some(known.map_or(seconds, |old| seconds.min(blended(old))));
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
    use super::{Crew, Crews, Machine};

    const MACHINE: Machine = Machine { threads: 4, wake_s: 2e-5 };

    /// So many calls of which one thread takes and all take so long; gives the share of all's calls,
    /// and the time in units of the better one's.
    fn calls(crews: &mut Crews, count: u32, one_s: f64, all_s: f64, rule: Crew) -> (f64, f64) {
        let (mut alls, mut total_s) = (0, 0.0);
        for _ in 0..count {
            let choice = crews.choose(20.0, MACHINE, rule);
            if choice.is_trial {
                crews.begin_trial(20.0);
            }
            let seconds = match choice.crew {
                Crew::One => one_s,
                Crew::All => all_s,
            };
            alls += u32::from(choice.crew == Crew::All);
            total_s += seconds;
            crews.observe(20.0, choice.crew, seconds);
        }
        (f64::from(alls) / f64::from(count), total_s / (f64::from(count) * one_s.min(all_s)))
    }

    #[test]
    fn the_faster_count_is_found_from_either_side_at_a_bounded_price() {
        for rule in [Crew::One, Crew::All] {
            for (one_s, all_s) in [(1e-3, 4e-4), (4e-4, 1e-3), (3e-6, 4e-5), (1e-2, 3e-3)] {
                let mut crews = Crews::default();
                calls(&mut crews, 2000, one_s, all_s, rule);
                let (share, price) = calls(&mut crews, 2000, one_s, all_s, rule);
                assert!(price < 1.04, "{rule:?} {one_s} {all_s}: {price}");
                assert_eq!(share > 0.5, all_s < one_s, "{rule:?} {one_s} {all_s}: {share}");
            }
        }
    }

    #[test]
    fn a_change_is_followed_both_ways() {
        let mut crews = Crews::default();
        calls(&mut crews, 500, 1e-3, 4e-4, Crew::All);
        // The machine has become busy: all are slower than one.
        calls(&mut crews, 500, 1e-3, 2e-3, Crew::All);
        assert_eq!(crews.choose(20.0, MACHINE, Crew::All).crew, Crew::One);
        calls(&mut crews, 5000, 1e-3, 4e-4, Crew::All);
        assert_eq!(crews.choose(20.0, MACHINE, Crew::All).crew, Crew::All);
    }

    #[test]
    fn a_spike_does_not_change_the_crew() {
        let mut crews = Crews::default();
        calls(&mut crews, 2000, 1e-6, 4e-6, Crew::One);
        for _ in 0..3 {
            crews.observe(20.0, Crew::One, 5e-3);
            let (share, _) = calls(&mut crews, 100, 1e-6, 4e-6, Crew::One);
            assert!(share < 0.03, "at most a trial or two: {share}");
        }
    }

    #[test]
    fn other_sizes_and_counts_are_others() {
        let mut crews = Crews::default();
        calls(&mut crews, 100, 1e-6, 4e-5, Crew::One);
        assert_eq!(crews.choose(30.0, MACHINE, Crew::All).crew, Crew::All, "the rule");
        assert_eq!(Crew::of(1, 1), None);
        assert_eq!(Crew::of(3, 4), None);
        assert_eq!(Crew::of(4, 4), Some(Crew::All));
    }
}
