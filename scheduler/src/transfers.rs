//! Every byte copied between host and GPU, by reason, and the bandwidths seen.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ledger::{Ledger, Reason};

/// How fast a new observation replaces the old in the bandwidths.
const BLEND: f64 = 0.25;

/// Copies below this say more about latency than about bandwidth.
const BANDWIDTH_BYTES_MIN: u64 = 64 << 10;

/// What was copied for one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Copied {
    /// Bytes.
    pub bytes: u64,
    /// Copies.
    pub count: u64,
    /// Time, in seconds.
    pub seconds: f64,
}

impl Copied {
    /// Both together.
    pub(crate) fn and(self, other: Copied) -> Copied {
        Copied {
            bytes: self.bytes + other.bytes,
            count: self.count + other.count,
            seconds: self.seconds + other.seconds,
        }
    }
}

/// Bandwidth and latency of copies in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Time of a copy of nothing, in seconds.
    pub latency_s: f64,
    /// Bytes a second.
    pub bandwidth: f64,
}

impl Link {
    /// The predicted time of a copy, in seconds; nothing takes no time.
    ///
    /// ```
    /// use crossover::Link;
    /// let link = Link { latency_s: 1e-5, bandwidth: 1e9 };
    /// assert_eq!((link.seconds(0), link.seconds(1_000_000)), (0.0, 0.00101));
    /// ```
    pub fn seconds(&self, bytes: u64) -> f64 {
        if bytes == 0 { 0.0 } else { self.latency_s + bytes as f64 / self.bandwidth }
    }

    fn learn(&mut self, bytes: u64, seconds: f64) {
        if bytes >= BANDWIDTH_BYTES_MIN && seconds > self.latency_s {
            let seen = bytes as f64 / (seconds - self.latency_s);
            self.bandwidth += BLEND * (seen - self.bandwidth);
        } else if bytes > 0 {
            let seen = (seconds - bytes as f64 / self.bandwidth).max(0.0);
            self.latency_s += BLEND * (seen - self.latency_s);
        }
    }
}

/// Counters and bandwidths of one GPU.
#[derive(Debug)]
pub(crate) struct Transfers {
    state: Mutex<State>,
    ledger: Arc<Ledger>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    copied: [Copied; Reason::ALL.len()],
    up: Link,
    down: Link,
}

impl Transfers {
    pub(crate) fn new(up: Link, down: Link, ledger: Arc<Ledger>) -> Transfers {
        let copied = [Copied::default(); Reason::ALL.len()];
        Transfers { state: Mutex::new(State { copied, up, down }), ledger }
    }

    /// Counts a copy on behalf of a call.
    pub(crate) fn count(&self, reason: Reason, bytes: u64, time: Duration, call: u64) {
        let seconds = time.as_secs_f64();
        tracing::trace!(reason = reason.name(), bytes, took_s = seconds, call, "copied");
        let mut state = self.lock();
        let copied = &mut state.copied[reason as usize];
        copied.bytes += bytes;
        copied.count += 1;
        copied.seconds += seconds;
        match reason {
            Reason::Upload => state.up.learn(bytes, seconds),
            Reason::HostRead => state.down.learn(bytes, seconds),
        }
        drop(state);
        self.ledger.copied(call, reason, bytes, seconds);
    }

    pub(crate) fn copied(&self, reason: Reason) -> Copied {
        self.lock().copied[reason as usize]
    }

    pub(crate) fn links(&self) -> (Link, Link) {
        let state = self.lock();
        (state.up, state.down)
    }

    /// What was measured of the links takes the place of what was assumed.
    pub(crate) fn set_links(&self, up: Link, down: Link) {
        let mut state = self.lock();
        (state.up, state.down) = (up, down);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Link;

    #[test]
    fn a_link_learns_bandwidth_from_large_copies() {
        let mut link = Link { latency_s: 1e-5, bandwidth: 1e9 };
        for _ in 0..40 {
            link.learn(1 << 24, 1e-5 + (1 << 24) as f64 / 5e9);
        }
        assert!((link.bandwidth / 5e9 - 1.0).abs() < 0.01, "{link:?}");
        assert_eq!(link.seconds(0), 0.0);
    }
}
