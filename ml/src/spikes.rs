//! How often something else gets in the way of a run, on this machine: what all kernels have seen tells what is
//! to be expected of one that has not run.

use crate::correction::Hyper;

/// A far spike takes at least so many times as long.
pub const FAR: f64 = 3.0;

/// How many runs what is believed before anything was seen is worth.
const WEIGHT: f64 = 40.0;

/// Runs after which older ones are forgotten.
const REMEMBERED: f64 = 2000.0;

/// Runs, and those of them that were spikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// All.
    pub runs: u32,
    /// Those in which something else got in the way, and those of them that were far: [`FAR`] times as long and more.
    pub spikes: [u32; 2],
}

impl Seen {
    /// One more: whether it was a spike, and a far one.
    pub(crate) fn add(&mut self, is_spike: [bool; 2]) {
        self.runs += 1;
        self.spikes = [0, 1].map(|at| self.spikes[at] + u32::from(is_spike[at]));
    }
}

/// The runs of all kernels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spikes {
    rates: [f64; 2],
    weight: f64,
}

impl Default for Spikes {
    fn default() -> Spikes {
        // As of a single kernel.
        Spikes { rates: [Hyper::default().spike_rate; 2], weight: WEIGHT }
    }
}

impl Spikes {
    /// Further runs.
    ///
    /// ```
    /// use crossover_ml::{Spikes, spikes::Seen};
    /// let mut spikes = Spikes::default();
    /// let [before, _] = spikes.rates();
    /// spikes.add(Seen { runs: 400, spikes: [4, 0] });
    /// assert!(spikes.rates()[0] < before / 4.0, "it is a quiet machine");
    /// ```
    pub fn add(&mut self, seen: Seen) {
        let runs = f64::from(seen.runs);
        if runs > 0.0 {
            self.weight = (self.weight + runs).min(REMEMBERED.max(runs));
            for (rate, spikes) in self.rates.iter_mut().zip(seen.spikes) {
                *rate += (f64::from(spikes) - *rate * runs) / self.weight;
            }
        }
    }

    /// The shares of spikes, and of far ones, that are to be expected of a kernel.
    ///
    /// ```
    /// let [spikes, far] = crossover_ml::Spikes::default().rates();
    /// assert!(spikes == far && (0.1..0.5).contains(&far), "nothing is known");
    /// ```
    #[must_use]
    pub fn rates(&self) -> [f64; 2] {
        self.rates.map(|rate| rate.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::{Seen, Spikes};

    #[test]
    fn shares_follow_what_is_seen_and_forget() {
        let mut spikes = Spikes::default();
        let mut see = |count: usize, seen: [u32; 2]| {
            (0..count).for_each(|_| spikes.add(Seen { runs: 10, spikes: seen }));
            spikes.rates()
        };
        let [any, far] = see(500, [1, 0]);
        assert!((any - 0.1).abs() < 0.01 && far < 0.01, "{any} {far}");
        let [any, far] = see(1000, [4, 4]);
        assert!((any - 0.4).abs() < 0.02 && (far - 0.4).abs() < 0.02, "{any} {far}");
        assert_eq!(see(1, [0, 0]).map(f64::is_finite), [true; 2]);
    }
}
