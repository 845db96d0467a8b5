//! Short times by the processor's own counter, where it has one that runs evenly: to read it takes half of what a look at
//! the system's clock does, which a call that is over in less than that feels.
//!
//! How long a tick is follows from the system's clock, and is found anew as long as somebody asks: a machine that is moved
//! to another processor counts at another rate from then on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long ticks are counted, at least and at most, before it is said what one is.
const COMPARED: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

/// Seconds of a tick as bits, the count up to which that is believed, and for how many ticks it is.
static TICK_S: AtomicU64 = AtomicU64::new(0);
static UNTIL: AtomicU64 = AtomicU64::new(0);
static SPAN: AtomicU64 = AtomicU64::new(0);

/// When both clocks were looked at last, and what the counter said.
static LAST: Mutex<Option<(Instant, u64)>> = Mutex::new(None);

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
    let [least, most] = COMPARED;
    let (passed, ticks) = match *last {
        Some((at, from)) => (now.saturating_duration_since(at), count.saturating_sub(from)),
        None => (most, 0),
    };
    if passed < least {
        return Begun::At(now);
    }
    *last = Some((now, count));
    if passed < most && ticks > 0 {
        let tick_s = passed.as_secs_f64() / ticks as f64;
        let span = (least.as_secs_f64() / tick_s) as u64;
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
    use super::{Begun, COMPARED, counter};
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
}
