//! The learned policy: the smaller predicted total, unless trying the other is worth its price.
//!
//! The other device is tried when
//! - it could be the faster one: the lower quantile of its time, at a level that grows with what is
//!   unknown of it, is below the best device's median (an upper-confidence-bound rule on the
//!   posterior), and it is not hopeless, at most [`HOPELESS`] times slower by its median; or
//! - its newest run was far faster than predicted, so that it would be the faster one: the correction
//!   does not believe a single run, the policy looks again; or
//! - it has not been seen for long and the trial fits the budget: a fixed share of the time that the
//!   kernel has taken since the last trial. So a change that nobody could see is found at a bounded
//!   price, and what is ten times slower is tried ten times less often.

use super::policy::{Policy, Question};
use crate::device::Device;
use crate::ledger::Why;

/// A device predicted this many times slower is not tried out of uncertainty alone.
const HOPELESS: f64 = 16.0;

/// Measured runs of a device after which uncertainty alone no longer tries it.
const VISITS_SURE: u64 = 3;

/// Measured over predicted time below which a run is looked at again.
const SURPRISING: f64 = 0.5;

/// Calls after which a device counts as unseen for long.
const UNSEEN_CALLS: u64 = 8;

pub(super) struct Learned;

impl Policy for Learned {
    fn name(&self) -> &str {
        "learned"
    }

    fn choose(&self, question: &Question<'_>) -> (Device, Why) {
        let best = question.faster();
        let other = best.other();
        if could_be_faster(question, best, other)
            || has_become_faster(question, best, other)
            || is_due(question, best, other)
        {
            return (other, Why::Explore);
        }
        (best, Why::Faster)
    }
}

fn could_be_faster(question: &Question<'_>, best: Device, other: Device) -> bool {
    let visits = question.visits[other as usize];
    if visits >= VISITS_SURE {
        return false;
    }
    let (b, o) = (question.of(best), question.of(other));
    // Each visit makes the rule stricter: from about the lower sixth to the median.
    let z = 1.0 - visits as f64 / VISITS_SURE as f64;
    let low_s = o.run_s * (-z * question.sd[other as usize]).exp2() + o.transfer_s + o.wait_s;
    low_s < b.total_s() && o.total_s() < HOPELESS * b.total_s()
}

/// A run is slow by accident, but hardly ever fast.
fn has_become_faster(question: &Question<'_>, best: Device, other: Device) -> bool {
    let (surprise, o) = (question.surprise[other as usize], question.of(other));
    let total_s = o.run_s * surprise + o.transfer_s + o.wait_s;
    surprise < SURPRISING && total_s < question.of(best).total_s()
}

fn is_due(question: &Question<'_>, best: Device, other: Device) -> bool {
    let price = question.of(other).total_s() - question.of(best).total_s();
    question.unseen[other as usize] >= UNSEEN_CALLS && price <= question.budget_s
}

#[cfg(test)]
mod tests {
    use super::{Learned, Policy, Question};
    use crate::device::Device;
    use crate::ledger::{Estimate, Why};

    fn estimate(device: Device, run_s: f64, transfer_s: f64) -> Estimate {
        let (run_low_s, run_high_s) = (run_s / 2.0, run_s * 2.0);
        Estimate {
            device,
            adapter: 0,
            threads: 1,
            run_s,
            run_low_s,
            run_high_s,
            transfer_s,
            wait_s: 0.0,
        }
    }

    fn ask(
        cpu: f64,
        gpu: f64,
        transfer: f64,
        visits: [u64; 2],
        sd: f64,
        unseen: u64,
        budget_s: f64,
    ) -> (Device, Why) {
        let estimates = [estimate(Device::Cpu, cpu, 0.0), estimate(Device::Gpu, gpu, transfer)];
        let (unseen, sd) = ([unseen, unseen], [sd, sd]);
        let surprise = [1.0; 2];
        let estimates = &estimates;
        let question = Question { estimates, visits, unseen, sd, surprise, budget_s, items: 1 };
        Learned.choose(&question)
    }

    #[test]
    fn a_run_that_was_surprisingly_fast_is_looked_at_again() {
        let estimates = [estimate(Device::Cpu, 8.0, 0.0), estimate(Device::Gpu, 1.0, 0.0)];
        let mut question = Question {
            estimates: &estimates,
            visits: [9, 9],
            unseen: [3, 0],
            sd: [0.1; 2],
            surprise: [0.01, 1.0],
            budget_s: 0.0,
            items: 1,
        };
        assert_eq!(Learned.choose(&question), (Device::Cpu, Why::Explore));
        question.surprise[0] = 0.4;
        assert_eq!(Learned.choose(&question), (Device::Gpu, Why::Faster), "still slower");
    }

    #[test]
    fn the_smaller_total_wins_and_transfers_count() {
        assert_eq!(ask(2.0, 1.0, 0.0, [9, 9], 0.1, 0, 0.0), (Device::Gpu, Why::Faster));
        assert_eq!(ask(2.0, 1.0, 1.5, [9, 9], 0.1, 0, 0.0), (Device::Cpu, Why::Faster));
    }

    #[test]
    fn what_could_be_faster_is_tried_until_it_is_known() {
        assert_eq!(ask(2.0, 3.0, 0.0, [1, 0], 1.5, 0, 0.0), (Device::Gpu, Why::Explore));
        assert_eq!(ask(2.0, 3.0, 0.0, [1, 3], 1.5, 0, 0.0), (Device::Cpu, Why::Faster));
        assert_eq!(ask(2.0, 90.0, 0.0, [1, 0], 9.0, 0, 0.0), (Device::Cpu, Why::Faster));
    }

    #[test]
    fn a_trial_that_the_budget_covers_is_made() {
        assert_eq!(ask(1.0, 1.5, 0.0, [50, 5], 0.1, 20, 0.6), (Device::Gpu, Why::Explore));
        assert_eq!(ask(1.0, 1.5, 0.0, [50, 5], 0.1, 20, 0.4), (Device::Cpu, Why::Faster));
        assert_eq!(ask(1.0, 1.5, 0.0, [50, 5], 0.1, 2, 0.6), (Device::Cpu, Why::Faster));
    }
}
