//! What trying the device that is not expected to be the best may cost, where the call can be cut: first parts of it
//! tell whether the rest goes on there. One alone may be slow by accident.

/// Seconds that nobody minds a call taking longer for once.
pub(crate) const SLACK_S: f64 = 1e-3;

/// A trial that takes so long at worst begins with so many parts, of this share each: on a device that is a hundred times
/// slower than the best they take one call and a half.
const LONG_S: f64 = SLACK_S;
pub(crate) const FIRST_PARTS: usize = 2;
pub(crate) const FIRST_SHARE: f64 = 1.0 / 128.0;

/// Whether a trial that may take so long is worth cutting.
pub(crate) fn is_long(most_s: f64) -> bool {
    most_s >= LONG_S
}

/// Whether a call that takes so long is one that nobody puts up with, where the other device takes `other_s`.
pub(crate) fn is_blunder(own_s: f64, other_s: f64) -> bool {
    own_s > 2.0 * other_s + SLACK_S
}

/// What so much of a first part counts for whose beginning took `start_s`, which the whole call takes but once: never
/// less than if the whole took what the part has.
pub(crate) fn unstarted_s(part_s: f64, share: f64, start_s: f64) -> f64 {
    (part_s - start_s * (1.0 - share)).max(part_s * share)
}

#[cfg(test)]
mod tests {
    use super::{is_blunder, unstarted_s};

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
        assert!(!is_blunder(1.1e-3, 1e-4) && is_blunder(1.3e-3, 1e-4));
        assert!(!is_blunder(0.2, 0.1) && is_blunder(0.3, 0.1));
    }
}
