//! Short times by the processor's own counter, where it has one that runs evenly: to read it takes half of what a look at
//! the system's clock does, which a call that is over in less than that feels.
//!
//! How long a tick is follows from the system's clock, and is found anew as long as somebody asks: a machine that is moved
//! to another processor counts at another rate from then on. One comparison alone says little: a machine that sleeps
//! may stop one clock and not the other, and a thread may have to wait between its looks at the two. A rate is believed
//! where a processor may have it, and two comparisons in a row find it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long ticks are counted, at least and at most, before it is said what one is.
const COMPARED: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

/// Seconds of a tick, at least and at most: no counter runs at more than 20 GHz or less than 10 MHz.
const TICKS_S: [f64; 2] = [0.05e-9, 100e-9];

/// How far two rates that agree are apart, as a part of one.
const AGREEING: f64 = 0.02;

/// For how many ticks a rate is believed, at most: so many the fastest counter has in what it takes to find the next one.
const SPAN_MAX: u64 = 400_000_000;

/// Seconds of a tick as bits, the count up to which that is believed, and for how many ticks it is.
static TICK_S: AtomicU64 = AtomicU64::new(0);
static UNTIL: AtomicU64 = AtomicU64::new(0);
static SPAN: AtomicU64 = AtomicU64::new(0);

/// The last look at both clocks.
static LAST: Mutex<Option<Look>> = Mutex::new(None);

/// A look at both clocks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Look {
    at: Instant,
    count: u64,
    /// Seconds of a tick as the last comparison found it that found any.
    tick_s: Option<f64>,
}

impl Look {
    /// What to compare with from now on, and the seconds of a tick if they are to be believed.
    fn then(last: Option<Look>, at: Instant, count: u64) -> (Look, Option<f64>) {
        let Some(last) = last else { return (Look { at, count, tick_s: None }, None) };
        let passed = at.saturating_duration_since(last.at);
        let [least, most] = COMPARED;
        if passed < least {
            return (last, None);
        }
        // Where the counter was set back there are none.
        let ticks = count.saturating_sub(last.count);
        let found = passed.as_secs_f64() / ticks as f64;
        let is_plausible = passed < most && (TICKS_S[0]..TICKS_S[1]).contains(&found);
        if !is_plausible {
            return (Look { at, count, ..last }, None);
        }
        let agrees = |before: &f64| (found / before - 1.0).abs() < AGREEING;
        let believed = last.tick_s.filter(agrees).map(|_| found);
        (Look { at, count, tick_s: Some(found) }, believed)
    }
}

/// For how many ticks of this length that is believed.
fn span(tick_s: f64) -> u64 {
    ((COMPARED[0].as_secs_f64() / tick_s) as u64).min(SPAN_MAX)
}

/// A time that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begun {
    At(Instant),
    /// At a count, of which a tick takes so many seconds.
    Ticks(u64, f64),
}

impl Begun {
    /// Begins a time.
    #[inline]
    pub(crate) fn now() -> Begun {
        let Some(count) = counter() else { return Begun::At(Instant::now()) };
        // Whoever finds this has what was stored before.
        let left = UNTIL.load(Ordering::Acquire).wrapping_sub(count);
        if left.wrapping_sub(1) < SPAN.load(Ordering::Relaxed) {
            Begun::Ticks(count, f64::from_bits(TICK_S.load(Ordering::Relaxed)))
        } else {
            compare(count)
        }
    }

    /// The seconds since. Where two processors count apart it may be none.
    #[inline]
    pub(crate) fn seconds(self) -> f64 {
        match self {
            Begun::At(at) => at.elapsed().as_secs_f64(),
            Begun::Ticks(from, tick_s) => {
                let to = counter().unwrap_or(from);
                to.saturating_sub(from) as f64 * tick_s
            }
        }
    }
}

/// Looks at the system's clock, and finds what a tick is if it is time to.
#[cold]
fn compare(count: u64) -> Begun {
    let now = Instant::now();
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let (look, believed) = Look::then(*last, now, count);
    *last = Some(look);
    if let Some(tick_s) = believed {
        let span = span(tick_s);
        TICK_S.store(tick_s.to_bits(), Ordering::Relaxed);
        SPAN.store(span, Ordering::Relaxed);
        UNTIL.store(count.saturating_add(span), Ordering::Release);
    }
    Begun::At(now)
}

/// What the counter says; `None` where there is none that runs evenly.
#[cfg(target_arch = "x86_64")]
#[inline]
fn counter() -> Option<u64> {
    use std::arch::x86_64::{__cpuid, _rdtsc};
    use std::sync::LazyLock;

    /// The last of the leaves about the processor, that about power, and the bit there of a counter that runs evenly.
    const LAST: u32 = 0x8000_0000;
    const POWER: u32 = 0x8000_0007;
    const EVENLY: u32 = 1 << 8;

    static RUNS_EVENLY: LazyLock<bool> =
        LazyLock::new(|| __cpuid(LAST).eax >= POWER && __cpuid(POWER).edx & EVENLY != 0);
    // SAFETY: every processor of this architecture has the instruction. A system that forbids it to programs ends them.
    RUNS_EVENLY.then(|| unsafe { _rdtsc() })
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn counter() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::{Begun, COMPARED, Look, SPAN_MAX, TICKS_S, counter, span};
    use std::time::{Duration, Instant};

    #[test]
    fn ticks_and_the_system_agree() {
        let (mut by_ticks, mut is_near) = (false, false);
        // Others may run between two looks, but not each time.
        for _ in 0..100 {
            let (begun, at) = (Begun::now(), Instant::now());
            while at.elapsed() < Duration::from_millis(1) {}
            let (seconds, expected) = (begun.seconds(), at.elapsed().as_secs_f64());
            by_ticks |= matches!(begun, Begun::Ticks(..));
            is_near |= by_ticks && (seconds / expected - 1.0).abs() < 0.01;
        }
        assert_eq!(by_ticks, counter().is_some(), "after {:?}", COMPARED[0]);
        assert!(is_near || !by_ticks);
    }

    /// A machine whose clocks a test moves.
    struct Machine {
        at: Instant,
        count: u64,
        last: Option<Look>,
    }

    impl Machine {
        fn new() -> Machine {
            Machine { at: Instant::now(), count: 1 << 40, last: None }
        }

        /// So much passes on either clock, and both are looked at.
        fn passes(&mut self, ms: u64, ticks: u64) -> Option<f64> {
            self.at += Duration::from_millis(ms);
            self.count += ticks;
            let (look, believed) = Look::then(self.last, self.at, self.count);
            self.last = Some(look);
            believed
        }

        /// The same at a rate of so many MHz.
        fn runs(&mut self, ms: u64, mhz: u64) -> Option<f64> {
            self.passes(ms, ms * mhz * 1000)
        }

        /// It runs until a rate is believed, which has to be this one.
        fn believes_again(&mut self, mhz: u64, looks: usize) {
            for look in 1..=looks {
                if let Some(tick_s) = self.runs(25, mhz) {
                    assert!((tick_s * mhz as f64 * 1e6 - 1.0).abs() < 1e-9, "{tick_s} for {mhz}");
                    return assert_eq!(look, looks, "{mhz}");
                }
            }
            panic!("{mhz} is not believed after {looks} looks");
        }
    }

    fn running(mhz: u64) -> Machine {
        let mut machine = Machine::new();
        assert_eq!(machine.runs(0, mhz), None);
        machine.believes_again(mhz, 2);
        machine
    }

    #[test]
    fn a_rate_is_believed_when_two_comparisons_find_it() {
        for mhz in [25, 100, 2400, 5000] {
            let mut machine = running(mhz);
            // As soon as it is asked again, but for looks that follow at once.
            for ms in [20, 25, 100, 990] {
                assert!(machine.runs(ms, mhz).is_some(), "{ms} ms at {mhz}");
                assert_eq!(machine.runs(5, mhz), None);
            }
            // Counts of hours ago are no comparison; the rate is what it was.
            assert_eq!(machine.runs(10_000_000, mhz), None);
            machine.believes_again(mhz, 1);
        }
    }

    #[test]
    fn a_clock_that_stopped_while_the_counter_went_on_says_nothing() {
        // A night, and so little that the rate could be one.
        for slept_ms in [8 * 3_600_000, 100] {
            let mut machine = running(2400);
            let ticks = (30 + slept_ms) * 2_400_000;
            assert_eq!(machine.passes(30, ticks), None, "{slept_ms} ms");
            machine.believes_again(2400, if slept_ms == 100 { 2 } else { 1 });
        }
        // Nor if that is the first that is seen.
        let mut machine = Machine::new();
        assert_eq!(machine.runs(0, 2400), None);
        assert_eq!(machine.passes(30, 8 * 3_600_000 * 2_400_000), None);
        machine.believes_again(2400, 2);
    }

    #[test]
    fn a_counter_that_is_set_back_says_nothing() {
        let mut machine = running(2400);
        machine.count = 1000;
        assert_eq!(machine.passes(30, 0), None);
        machine.believes_again(2400, 1);
        // Nor does one that stands.
        assert_eq!(machine.passes(30, 0), None);
    }

    #[test]
    fn another_rate_is_believed_after_two_comparisons() {
        let mut machine = running(2400);
        // The first is of both.
        assert_eq!(machine.passes(30, 20 * 2_400_000 + 10 * 3_100_000), None);
        machine.believes_again(3100, 2);
        // A little is what comparisons are apart anyway.
        machine.believes_again(3130, 1);
    }

    #[test]
    fn looks_that_a_wait_came_between_are_not_believed() {
        let mut machine = running(2400);
        // The counter was read, then others had the processor for 5 ms, then the clock was looked at.
        assert_eq!(machine.passes(30, 25 * 2_400_000), None);
        assert_eq!(machine.passes(25, 30 * 2_400_000), None);
        machine.believes_again(2400, 2);
    }

    #[test]
    fn no_rate_is_believed_for_long() {
        let [fastest, slowest] = TICKS_S;
        assert!(span(fastest).abs_diff(SPAN_MAX) <= 1 && span(fastest / 1e6) == SPAN_MAX);
        assert!(span(slowest) > 0 && span(0.4e-9) == 50_000_000);
    }
}
