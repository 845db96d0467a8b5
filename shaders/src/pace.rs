//! How long calls of a form of a kernel have taken, so that the fastest form is found.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Of each class of sizes, a factor of two each, what runs have taken.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Vec<Class>>);

#[derive(Clone, Copy, Debug)]
struct Class {
    runs: u32,
    /// Nanoseconds for a point: the least of the first runs, then followed.
    point_ns: f64,
    /// Calls since the last run that another form ran, and after how many it is given the benefit of the doubt.
    passed_over: u32,
    patience: u32,
}

/// Runs after which the time of a form is believed, and how much of it counts after each run before: one that
/// is far slower from the start is not looked at again soon.
const RUNS_MIN: u32 = 3;
const HOPE: [f64; RUNS_MIN as usize - 1] = [0.5, 0.8];

/// How fast a slower run moves the time: runs are slow by accident, but hardly ever fast.
const BLEND: f64 = 0.25;

/// Calls after which a form that is passed over is given the benefit of the doubt, at first and in the end, twice as
/// many each time; and how much of its time it then counts with: it may have been measured at a bad moment.
const PASSED_OVER: [u32; 2] = [8, 64];
const DOUBT: f64 = 0.5;

impl Pace {
    /// Takes down a run over so many points.
    pub(crate) fn note(&self, points: u64, wall: Duration) {
        let mut classes = self.classes(points);
        let own = &mut classes[class(points)];
        let seen = wall.as_nanos() as f64 / points.max(1) as f64;
        own.point_ns = match own.runs {
            runs if runs < RUNS_MIN => own.point_ns.min(seen),
            _ if seen < own.point_ns => seen,
            _ => own.point_ns + BLEND * (seen - own.point_ns),
        };
        own.runs = own.runs.saturating_add(1);
        if std::mem::take(&mut own.passed_over) >= own.patience {
            own.patience = (2 * own.patience).min(PASSED_OVER[1]);
        }
    }

    /// The time for a point of a call of this size, as far as the form is to be judged by it: the less it is
    /// known, the better it counts.
    pub(crate) fn of(&self, points: u64) -> f64 {
        let own = self.classes(points)[class(points)];
        let doubt = match own.runs {
            0 => return 0.0,
            runs if runs < RUNS_MIN => HOPE[runs as usize - 1],
            _ if own.passed_over >= own.patience => DOUBT,
            _ => 1.0,
        };
        own.point_ns * doubt
    }

    /// Another form runs a call of this size.
    pub(crate) fn pass_over(&self, points: u64) {
        let own = &mut self.classes(points)[class(points)];
        own.passed_over = own.passed_over.saturating_add(1);
    }

    /// All classes, up to that of this size at least.
    fn classes(&self, points: u64) -> MutexGuard<'_, Vec<Class>> {
        let mut classes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = classes.len().max(class(points) + 1);
        let unknown =
            Class { runs: 0, point_ns: f64::INFINITY, passed_over: 0, patience: PASSED_OVER[0] };
        classes.resize(count, unknown);
        classes
    }
}

fn class(points: u64) -> usize {
    points.max(1).ilog2() as usize
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use std::time::Duration;

    #[test]
    fn a_pace_is_the_least_of_the_first_runs_and_follows_later_ones() {
        let pace = Pace::default();
        for (nanos, before) in [(4000, 0.0), (2000, 2.0), (3000, 1.6)] {
            assert_eq!(pace.of(1000), before, "the less is known, the better it counts");
            pace.note(1000, Duration::from_nanos(nanos));
        }
        assert_eq!((pace.of(1000), pace.of(1023), pace.of(1024)), (2.0, 2.0, 0.0));
        pace.note(1000, Duration::from_nanos(6000));
        assert_eq!(pace.of(1000), 3.0);
        for patience in [8, 16, 32, 64, 64] {
            for _ in 0..patience {
                assert_eq!(pace.of(1000), 3.0);
                pace.pass_over(1000);
            }
            assert_eq!(pace.of(1000), 1.5, "it may have been a bad moment");
            pace.note(1000, Duration::from_nanos(3000));
        }
        pace.note(1000, Duration::from_nanos(2500));
        assert_eq!(pace.of(1000), 2.5, "a fast run is no accident");
    }
}
