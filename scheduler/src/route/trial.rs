//! What trying the device that is not expected to be the best may cost, where the call can be cut: first parts of it
//! tell whether the rest goes on there. One alone may be slow by accident.

use super::experience::SPIKE;

/// Seconds that nobody minds a call taking longer for once.
pub(crate) const SLACK_S: f64 = 1e-3;

/// The probability of a blunder that is put up with, and the standard deviations beyond which less is.
pub(crate) const BLUNDER_MAX: f64 = 2e-5;
const BLUNDER_SD: f64 = 4.1;

/// Whether a run is certainly over before anybody minds where it is, where log2 of its time has such a deviation.
pub(crate) fn is_surely_short(run_s: f64, sd: f64) -> bool {
    run_s * (BLUNDER_SD * sd).exp2() < SLACK_S
}

/// Slices before a call, at most.
pub(crate) const SLICES_MAX: usize = 8;

/// The share of a call that a slice may have, and what it may cost: as a share of what the call takes, and in seconds
/// of the slack.
const SLICE_SHARE_MAX: f64 = 0.25;
const SLICE_PRICE_MAX: f64 = 0.5;
pub(crate) const SLICE_SLACK_S: f64 = 0.4 * SLACK_S;

/// Whether a slice of such a share and price is put up with before a call that takes `best_s` where it is fastest.
pub(crate) fn is_worth_a_look(share: f64, price_s: f64, best_s: f64) -> bool {
    share <= SLICE_SHARE_MAX && price_s <= SLICE_SLACK_S.max(SLICE_PRICE_MAX * best_s)
}

/// A trial that takes so long at worst begins with so many parts, of this share each: on a device that is a hundred times
/// slower than the best they take one call and a half.
const LONG_S: f64 = 0.5 * SLACK_S;
pub(crate) const FIRST_PARTS: usize = 2;
pub(crate) const FIRST_SHARE: f64 = 1.0 / 128.0;

/// How many first parts there are, where the smallest has such a share: one where two would be a larger share of the call
/// than is wanted.
pub(crate) fn firsts(least: f64) -> usize {
    if least <= FIRST_SHARE { FIRST_PARTS } else { 1 }
}

/// Whether a trial that may take so long is worth cutting.
pub(crate) fn is_long(most_s: f64) -> bool {
    most_s >= LONG_S
}

/// How far below what nobody puts up with a trial ends: what is known of both devices is not exact, and parts that are
/// thrown away cost something too.
const MARGIN: f64 = 0.75;
const SLACK_MARGIN: f64 = 0.5;

/// Parts that take less than so many times what the other device would are no reason to end a trial, whatever was
/// known before: then something has changed.
const CHANGED: f64 = 1.3;

/// Whether a call that takes so long is, or nearly is, one that nobody puts up with, where the other device takes
/// `other_s`: twice that and a millisecond.
pub(crate) fn is_blunder(own_s: f64, other_s: f64) -> bool {
    own_s > 2.0 * MARGIN * other_s + SLACK_MARGIN * SLACK_S
}

/// What first parts of a trial, or some of them, have told: seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    /// What the whole is expected to take now, and at the rate of the fastest part, as one may be slow by accident.
    pub(crate) own_s: f64,
    pub(crate) told_s: f64,
    /// What it takes on the other device.
    pub(crate) other_s: f64,
    /// What has gone into parts that are thrown away.
    pub(crate) spent_s: f64,
    /// Whether there are more first parts to come.
    pub(crate) is_begun: bool,
}

/// Whether a trial ends with its first parts: with one of them, if not even an accident would make it so slow.
pub(crate) fn gives_up(shown: Shown) -> bool {
    let Shown { own_s, told_s, other_s, spent_s, is_begun } = shown;
    if is_begun {
        return is_blunder(spent_s + told_s / SPIKE, other_s);
    }
    is_blunder(spent_s + told_s, other_s)
        || (is_blunder(spent_s + own_s, other_s) && told_s > CHANGED * other_s)
}

/// What so much of a first part counts for whose beginning took `start_s`, which the whole call takes but once: never
/// less than if the whole took what the part has.
pub(crate) fn unstarted_s(part_s: f64, share: f64, start_s: f64) -> f64 {
    (part_s - start_s * (1.0 - share)).max(part_s * share)
}

#[cfg(test)]
mod tests {
    use super::{Shown, gives_up, is_blunder, unstarted_s};

    #[test]
    fn beginning_counts_once() {
        let (start_s, rest_s, share) = (5e-5, 1e-3, 1.0 / 64.0);
        let part_s = start_s + share * rest_s;
        let whole_s = unstarted_s(part_s, share, start_s) / share;
        assert!((whole_s - (start_s + rest_s)).abs() < 1e-9, "{whole_s}");
        assert_eq!(unstarted_s(4e-5, 0.5, 1.0) / 0.5, 4e-5, "what beginning takes may be wrong");
    }

    #[test]
    fn a_millisecond_is_forgiven() {
        assert!(!is_blunder(0.6e-3, 1e-4) && is_blunder(0.7e-3, 1e-4));
        assert!(!is_blunder(0.14, 0.1) && is_blunder(0.16, 0.1));
    }

    #[test]
    fn a_trial_ends_for_what_its_parts_show_and_what_was_known() {
        let ends = |own_s: f64, told_s: f64, spent_s: f64, is_begun: bool| {
            gives_up(Shown { own_s, told_s, other_s: 0.1, spent_s, is_begun })
        };
        assert!(ends(0.1, 0.2, 0.0, false), "twice as slow as it was");
        assert!(ends(0.2, 0.15, 0.0, false), "as it was, the parts by chance a little less");
        assert!(!ends(0.2, 0.1, 0.0, false), "it has become twice as fast");
        assert!(ends(0.12, 0.12, 0.05, false), "what was thrown away counts");
        assert!(
            !ends(0.1, 0.5, 0.0, true) && ends(0.1, 5.0, 0.0, true),
            "no accident is that long"
        );
    }
}
