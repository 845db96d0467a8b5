//! Where a GPU with memory of its own works on a buffer: in host memory, across the bus, or on a copy.
//!
//! Across the bus each access is slow, but nothing is moved that is not used, and the host has the results
//! at once. A copy costs its way there, and back when the host looks, and is fast in between; how often it
//! will be used nobody knows. So the bus is used until what that has cost, since the host last changed the
//! content, would have paid the copy: at most twice the price of knowing (Karlin, Manasse, Rudolph and
//! Sleator, Competitive snoopy caching, 1988).

use std::sync::atomic::{AtomicU8, Ordering};

use crate::calibration::GpuRates;
use crate::footprint::Footprint;
use crate::transfers::Link;

/// The buffers of a call that a GPU works on where the host has them: a bit for each of the first arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InPlace(u64);

impl InPlace {
    pub(crate) fn contains(self, argument: usize) -> bool {
        argument < 64 && self.0 & (1 << argument) != 0
    }

    pub(crate) fn insert(&mut self, argument: usize) {
        if argument < 64 {
            self.0 |= 1 << argument;
        }
    }
}

/// The ways of a GPU's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ways {
    pub(crate) up: Link,
    pub(crate) down: Link,
    /// Seconds that a byte takes longer across the bus than in the GPU's memory; infinite where there is no
    /// way to host memory.
    bus_s: f64,
}

impl Ways {
    pub(crate) fn new((up, down): (Link, Link), rates: &GpuRates) -> Ways {
        let bus_s = (rates.bus_bandwidth.recip() - rates.bandwidth.recip()).max(0.0);
        Ways { up, down, bus_s }
    }

    /// Seconds by which a call is slower for having a buffer in host memory.
    pub(crate) fn bus_s(&self, footprint: &Footprint) -> f64 {
        if footprint.traffic > 0.0 { footprint.traffic * self.bus_s } else { 0.0 }
    }

    /// Whether a buffer is better left where it is.
    pub(crate) fn is_bus_better(&self, footprint: &Footprint, state: &State) -> bool {
        let upload = if footprint.is_blank { 0 } else { state.stale };
        let results = if footprint.is_written { footprint.touched.len() as u64 } else { 0 };
        let copy_s = self.up.seconds(upload) + state.look_chance * self.down.seconds(results);
        let bus_s = self.down.seconds(state.pending) + self.bus_s(footprint);
        state.paid_s + bus_s < copy_s
    }
}

/// Where a buffer is, and what it has cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct State {
    /// Bytes that a copy lacks.
    pub(crate) stale: u64,
    /// Bytes that the host lacks.
    pub(crate) pending: u64,
    /// Seconds that the bus has cost since the content changed.
    pub(crate) paid_s: f64,
    /// How likely the host looks at results before a GPU uses them again.
    pub(crate) look_chance: f64,
}

/// Whether the host looks at what GPUs leave in a buffer, or they go on with it: the last times.
#[derive(Debug, Default)]
pub(crate) struct Looks(AtomicU8);

/// The newest results have met neither.
const FRESH: u8 = 1;
/// How many outcomes are kept, each in a bit; the number of them stands above.
const KEPT: u8 = 4;
const FIRST: u8 = 1;
const COUNT: u8 = FIRST + KEPT;

impl Looks {
    /// A GPU leaves results.
    pub(crate) fn leave(&self) {
        self.0.fetch_or(FRESH, Ordering::Relaxed);
    }

    /// The host looks at them.
    pub(crate) fn look(&self) {
        self.note(true);
    }

    /// A GPU goes on with them.
    pub(crate) fn go_on(&self) {
        self.note(false);
    }

    fn note(&self, is_look: bool) {
        let state = self.0.load(Ordering::Relaxed);
        // Nearly always.
        if state & FRESH == 0 {
            return;
        }
        let outcomes = (state >> FIRST) & ((1 << KEPT) - 1);
        let outcomes = (outcomes << 1 | u8::from(is_look)) & ((1 << KEPT) - 1);
        let count = ((state >> COUNT) + 1).min(KEPT);
        // Two at once may take each for the other: it is a guess.
        self.0.store(outcomes << FIRST | count << COUNT, Ordering::Relaxed);
    }

    /// How likely the next results are looked at first, by Laplace's rule of succession.
    pub(crate) fn chance(&self) -> f64 {
        let state = self.0.load(Ordering::Relaxed);
        let outcomes = (state >> FIRST) & ((1 << KEPT) - 1);
        let (looks, count) = (outcomes.count_ones(), state >> COUNT);
        f64::from(looks + 1) / f64::from(count + 2)
    }
}

#[cfg(test)]
mod tests {
    use super::{InPlace, Looks, State, Ways};
    use crate::footprint::Footprint;
    use crate::transfers::Link;

    /// A card on a bus of 10 GB/s, with 400 GB/s of its own.
    fn ways() -> Ways {
        let link = Link { latency_s: 2e-5, bandwidth: 1e10 };
        Ways { up: link, down: link, bus_s: 1e-10 - 1.0 / 4e11 }
    }

    fn footprint(megabytes: usize, passes: f64, is_written: bool, is_blank: bool) -> Footprint {
        let bytes = megabytes << 20;
        Footprint { touched: 0..bytes, is_written, is_blank, traffic: passes * bytes as f64 }
    }

    fn state(stale_megabytes: u64) -> State {
        State { stale: stale_megabytes << 20, pending: 0, paid_s: 0.0, look_chance: 0.5 }
    }

    #[test]
    fn what_is_read_once_is_read_across_the_bus_and_what_is_read_again_is_copied() {
        let (ways, once) = (ways(), footprint(64, 1.0, false, false));
        assert!(ways.is_bus_better(&once, &state(64)));
        assert!(!ways.is_bus_better(&footprint(64, 2.0, false, false), &state(64)));
        assert!(!ways.is_bus_better(&once, &state(0)), "the copy is there");
        // The second call would have paid for the copy.
        let paid_s = ways.bus_s(&once);
        assert!(!ways.is_bus_better(&once, &State { paid_s, ..state(64) }));
    }

    #[test]
    fn the_price_is_at_most_twice_that_of_knowing_the_future() {
        let ways = ways();
        for passes in [0.1, 0.3, 0.9, 1.0, 1.5, 4.0] {
            let buffer = footprint(16, passes, false, false);
            let (copy_s, bus_s) = (ways.up.seconds(16 << 20), ways.bus_s(&buffer));
            for calls in 1..50 {
                let (mut stale, mut paid_s, mut cost_s) = (16, 0.0, 0.0);
                for _ in 0..calls {
                    if ways.is_bus_better(&buffer, &State { paid_s, ..state(stale) }) {
                        (paid_s, cost_s) = (paid_s + bus_s, cost_s + bus_s);
                    } else {
                        cost_s += ways.up.seconds(stale << 20);
                        stale = 0;
                    }
                }
                let best_s = copy_s.min(f64::from(calls) * bus_s);
                assert!(cost_s <= 2.0 * best_s, "{passes} {calls}: {cost_s} {best_s}");
            }
        }
    }

    #[test]
    fn results_that_stay_on_the_gpu_are_made_there() {
        let (ways, output) = (ways(), footprint(64, 1.0, true, true));
        let looks = Looks::default();
        assert!(!ways.is_bus_better(&output, &State { look_chance: looks.chance(), ..state(0) }));
        for _ in 0..9 {
            looks.leave();
            looks.look();
            looks.look();
        }
        assert_eq!(looks.chance(), 5.0 / 6.0);
        let small = footprint(0, 1.0, true, true);
        let small = Footprint { touched: 0..4096, traffic: 4096.0, ..small };
        let state = State { look_chance: looks.chance(), ..state(0) };
        assert!(ways.is_bus_better(&small, &state), "a copy back takes longer than all of it");
        for _ in 0..9 {
            looks.leave();
            looks.go_on();
        }
        assert_eq!(looks.chance(), 1.0 / 6.0);
    }

    #[test]
    fn content_that_is_on_the_gpu_alone_stays_there() {
        let ways = ways();
        let state = State { pending: 64 << 20, ..state(0) };
        assert!(!ways.is_bus_better(&footprint(64, 0.5, false, false), &state));
    }

    #[test]
    fn arguments_beyond_the_first_are_copied() {
        let mut set = InPlace::default();
        [0, 63, 64, 200].into_iter().for_each(|at| set.insert(at));
        assert_eq!(
            [0, 1, 63, 64, 200].map(|at| set.contains(at)),
            [true, false, true, false, false]
        );
    }
}
