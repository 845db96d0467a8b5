//! How long calls of a form of a kernel have taken, so that the fastest form is found.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Of each class of sizes, a factor of two each, what runs have taken.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Vec<Class>>);

#[derive(Clone, Copy, Debug)]
struct Class {
    /// Runs since the form was last measured anew.
    runs: usize,
    /// Nanoseconds for a point in the newest of them.
    newest_ns: [f64; NEWEST],
    /// What calls since the last run have taken that another form ran, in nanoseconds for a point; and how many times
    /// its own time that is before it is given the benefit of the doubt.
    passed_over_ns: f64,
    patience: f64,
}

/// Runs that a form is judged by, of which the third fastest tells: runs are slow by accident, but hardly ever fast.
const NEWEST: usize = 8;

/// How much of the time of a form counts after one run, two and so on: one that is far slower from the start is not
/// looked at again soon, and of those that are nearly as fast as each other each is measured until one can tell. That
/// takes more runs where they are short, and much of their time is that of threads that wake.
const HOPE: [f64; NEWEST] = [0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.96, 1.0];
const HOPE_LONG: [f64; NEWEST] = [0.5, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
const LONG_NS: f64 = 1e6;

/// How many times the time of a form calls have taken since, when it is given the benefit of the doubt, at first and in
/// the end, twice as many each time. It may have been measured at a bad moment, so it is measured anew. However slow it
/// is, that costs no more than one part in as many.
const PATIENCE: [f64; 2] = [8.0, 128.0];

impl Class {
    /// Nothing has run.
    const UNKNOWN: Class =
        Class { runs: 0, newest_ns: [0.0; NEWEST], passed_over_ns: 0.0, patience: PATIENCE[0] };

    /// The time for a point, and the runs that say so; nothing before the first.
    fn time_ns(&self) -> Option<(f64, usize)> {
        let known = self.runs.min(NEWEST);
        let mut sorted = self.newest_ns;
        sorted[..known].sort_unstable_by(f64::total_cmp);
        (known > 0).then_some((sorted[known / 3], known))
    }

    /// Whether it is given the benefit of the doubt.
    fn is_doubted(&self) -> bool {
        self.time_ns().is_some_and(|(ns, _)| self.passed_over_ns >= self.patience * ns)
    }
}

impl Pace {
    /// Takes down a run over so many points.
    pub(crate) fn note(&self, points: u64, wall: Duration) {
        let mut classes = self.classes(points);
        let own = &mut classes[class(points)];
        if own.is_doubted() {
            own.patience = (2.0 * own.patience).min(PATIENCE[1]);
            own.runs = 0;
        }
        own.passed_over_ns = 0.0;
        own.newest_ns[own.runs % NEWEST] = wall.as_nanos() as f64 / points.max(1) as f64;
        own.runs += 1;
    }

    /// Nanoseconds for a point of a call of this size, as far as the form is to be judged by it: the less it is
    /// known, the better it counts.
    pub(crate) fn of(&self, points: u64) -> f64 {
        let own = self.classes(points)[class(points)];
        match own.time_ns() {
            Some((ns, known)) if !own.is_doubted() => {
                let is_long = ns * points as f64 >= LONG_NS;
                ns * if is_long { HOPE_LONG[known - 1] } else { HOPE[known - 1] }
            }
            Some(_) | None => 0.0,
        }
    }

    /// Another form runs a call of this size, and is judged by this.
    pub(crate) fn pass_over(&self, points: u64, other_ns: f64) {
        self.classes(points)[class(points)].passed_over_ns += other_ns;
    }

    /// All classes, up to that of this size at least.
    fn classes(&self, points: u64) -> MutexGuard<'_, Vec<Class>> {
        let mut classes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = classes.len().max(class(points) + 1);
        classes.resize(count, Class::UNKNOWN);
        classes
    }
}

fn class(points: u64) -> usize {
    points.max(1).ilog2() as usize
}

#[cfg(test)]
mod tests {
    use super::{HOPE, HOPE_LONG, NEWEST, Pace};
    use std::time::Duration;

    /// A form that has run over a thousand points in these nanoseconds each.
    fn after(runs: &[u64]) -> Pace {
        let pace = Pace::default();
        runs.iter().for_each(|&point_ns| pace.note(1000, Duration::from_nanos(1000 * point_ns)));
        pace
    }

    #[test]
    fn the_less_a_form_is_known_the_better_it_counts() {
        assert_eq!(after(&[]).of(1000), 0.0);
        for (runs, hope) in HOPE.iter().enumerate() {
            assert_eq!(after(&vec![10; runs + 1]).of(1000), 10.0 * hope);
            assert_eq!(after(&vec![1000; runs + 1]).of(1000), 1000.0 * HOPE_LONG[runs]);
        }
        let pace = after(&[10; NEWEST]);
        assert_eq!((pace.of(1023), pace.of(1024)), (10.0, 0.0), "each size has its own");
    }

    #[test]
    fn what_happens_to_few_runs_changes_nothing_and_what_lasts_does() {
        assert_eq!(after(&[10, 10, 10, 10, 10, 10, 90, 90, 90, 90, 90]).of(1000), 10.0);
        assert_eq!(after(&[10, 10, 10, 10, 10, 10, 10, 10, 1, 1]).of(1000), 10.0);
        assert_eq!(after(&[10, 10, 90, 90, 90, 90, 90, 90]).of(1000), 90.0);
    }

    #[test]
    fn a_form_that_is_passed_over_is_measured_anew() {
        for runs in [1, NEWEST] {
            let pace = after(&vec![1000; runs]);
            for patience in [8, 16, 32, 64, 128, 128] {
                let judged_ns = pace.of(1000);
                for _ in 0..100 * patience {
                    assert_eq!(pace.of(1000), judged_ns);
                    pace.pass_over(1000, 10.0);
                }
                assert_eq!(pace.of(1000), 0.0, "it may have been a bad moment");
                pace.note(1000, Duration::from_nanos(1_000_000));
                assert_eq!(pace.of(1000), 1000.0 * HOPE[0], "or not");
            }
            pace.pass_over(1000, 128.0 * 1000.0);
            pace.note(1000, Duration::from_nanos(10_000));
            assert_eq!(pace.of(1000), 10.0 * HOPE[0]);
        }
    }
}
