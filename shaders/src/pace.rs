//! How long calls of a form of a kernel have taken, so that the fastest form is found.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Of each class of sizes, a factor of two each: runs, and the least time for a point, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Vec<Class>>);

#[derive(Clone, Copy, Debug)]
struct Class {
    runs: u32,
    least_ns: f64,
}

/// Runs after which the least time of a form is believed.
const RUNS_MIN: u32 = 3;

impl Pace {
    /// Takes down a run over so many points.
    pub(crate) fn note(&self, points: u64, wall: Duration) {
        let at = class(points);
        let mut classes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if classes.len() <= at {
            classes.resize(at + 1, Class { runs: 0, least_ns: f64::INFINITY });
        }
        let own = &mut classes[at];
        own.runs = own.runs.saturating_add(1);
        own.least_ns = own.least_ns.min(wall.as_nanos() as f64 / points.max(1) as f64);
    }

    /// The time for a point of a call of this size; `None` where it has not run often enough to say.
    pub(crate) fn of(&self, points: u64) -> Option<f64> {
        let classes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = classes.get(class(points))?;
        (own.runs >= RUNS_MIN).then_some(own.least_ns)
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
    fn a_pace_is_the_least_of_some_runs_of_its_size() {
        let pace = Pace::default();
        for nanos in [4000, 2000, 3000] {
            assert_eq!(pace.of(1000), None);
            pace.note(1000, Duration::from_nanos(nanos));
        }
        assert_eq!((pace.of(1000), pace.of(1023), pace.of(1024)), (Some(2.0), Some(2.0), None));
    }
}
