//! The learned policy: the smaller predicted total, unless trying the other is worth its price.
//!
//! The other device is tried when
//!
//! - a run would tell enough about which device is faster: the mean of what is saved, over all that the
//!   run may tell, times the calls of this size that are still to come (a fixed number, and a multiple of
//!   those there have been), exceeds the price, what the trial is expected to take beyond the best; or
//! - what is known of it may be nothing but runs in which something else got in the way, and without
//!   that it would be the faster; or
//! - it has not been seen for long and the price fits the budget: a fixed share of the time that the
//!   kernel has taken since the last trial. So a change that nobody could see is found at a bounded
//!   price, and what is ten times slower is tried ten times less often.
//!
//! Whatever the reason, the price has to be in proportion to what calls have taken so far.
//!
//! Where a part of a call can be run first, what is dear is tried by such a slice, and so are devices that have
//! never run, as long as the call could be a blunder.

use crossover_ml::prediction::normal_cdf;
use crossover_ml::spikes::FAR;

use super::experience::TRIAL_SHARE;
use super::policy::{Policy, Question, Slice};
use super::trial::{BLUNDER_MAX, SLACK_S};
use crate::device::Device;
use crate::ledger::Why;

/// Calls of a size that are expected still to come before there have been any, and how many times as many
/// as there have been.
const CALLS_EXPECTED: f64 = 64.0;
const CALLS_TO_COME: f64 = 6.0;

/// A trial may cost this many times what all calls of the size have taken so far, among so many first ones: who makes
/// but a few calls is not to pay for those who make many.
const STAKE_MAX: f64 = 2.0;
const FIRST_CALLS: u64 = 4;

/// Later, this share of what calls of the kernel have taken since the last trial; and of a look at what may have been
/// a spike, which is not to be put off for long.
const STAKE_SHARE: f64 = 0.15;
const DOUBT_SHARE: f64 = 2.0;

/// Calls after which a device counts as unseen for long.
const UNSEEN_CALLS: u64 = 8;

/// A device expected to take this many times longer than the best is tried by a part of the call first.
const DEAR: f64 = 1.5;

/// A device that has never run is tried once if nobody minds, and if it is expected to take at most this
/// many times longer: beyond that, it has to be worth its price.
const FIRST_MAX: f64 = 4.0;

/// How many times the budget of other trials that may cost.
const FIRST_BUDGETS: f64 = 16.0;

/// A saving this many standard deviations away is none.
const HOPELESS_SD: f64 = 6.0;

/// What a look at a device of which nothing may be known but spikes is worth: what it saves if so, at this many
/// times the calls to come, and at no more calls than these. Fitted on simulated trials: fewer leave more than one
/// call in a hundred wrong after the twentieth, more cost recorded runs more than they save.
const DOUBT_WEIGHT: f64 = 8.0;
const DOUBT_CALLS_MAX: f64 = 5000.0;

/// A part that tells less, as a standard deviation of log2, is not worth the trouble.
const NEWS_MIN: f64 = 0.3;

pub(super) struct Learned;

impl Policy for Learned {
    fn name(&self) -> &str {
        "learned"
    }

    fn takes_notes(&self) -> bool {
        false
    }

    fn reconsiders(&self) -> bool {
        true
    }

    fn choose(&self, question: &Question<'_>) -> (Device, Why) {
        let (device, why, _) = self.decide(question);
        (device, why)
    }

    fn decide(&self, question: &Question<'_>) -> (Device, Why, f64) {
        let best = question.faster();
        // What slices have told of a device is not sure: all of the call is a trial.
        let is_guess =
            question.can_be_cut && is_new(question, best) && !is_new(question, best.other());
        if is_guess && may_be_blunder(question, best) {
            return (best, Why::Explore, 0.0);
        }
        let is_unseen = question.unseen[best.other() as usize] >= UNSEEN_CALLS;
        let (worth_s, due_s) = (worth_s(question, best), due_s(question, best));
        if worth_s <= question.budget_s || (is_unseen && due_s <= question.budget_s) {
            return (best.other(), Why::Explore, 0.0);
        }
        // All else that a choice is made from changes with what is learned.
        (best, Why::Faster, worth_s.min(due_s))
    }

    fn slice(&self, question: &Question<'_>) -> Option<Slice> {
        let best = question.faster();
        let (other, parts) = (best.other(), question.parts?);
        let (best_s, other_s) = (question.of(best).total_s(), question.of(other).total_s());
        let part = |device: Device| parts[device as usize];
        let price_s = |device: Device| part(device).share * question.of(device).run_s;
        let slice = |device: Device| Some(Slice { device, share: part(device).share });
        let tells = |device: Device| part(device).news_sd > NEWS_MIN;
        // What would be a blunder, if the call goes where it seems best, is looked at where that tells the most.
        if may_be_blunder(question, best) {
            let news = |device: &Device| part(*device).news_sd;
            let untold = |device: &Device| is_new(question, *device) && tells(*device);
            let devices = [other, best].into_iter().filter(untold);
            if let Some(device) = devices.max_by(|a, b| news(a).total_cmp(&news(b))) {
                return slice(device);
            }
        }
        // What is certainly about as good as the best is tried as a whole.
        let is_dear = best_s >= SLACK_S && other_s > DEAR * best_s;
        if is_dear || (is_new(question, other) && may_be_blunder(question, other)) {
            let is_worth = news_worth_s(question, best, part(other).news_sd) > price_s(other);
            let is_due = question.unseen[other as usize] >= UNSEEN_CALLS
                && price_s(other) <= part(other).budget_s;
            if (is_worth && tells(other)) || is_due {
                return slice(other);
            }
        }
        None
    }
}

/// Whether no whole call has run on a device.
fn is_new(question: &Question<'_>, device: Device) -> bool {
    question.doubt[device as usize] == 1.0
}

/// Whether a call on a device may take what nobody puts up with: twice as long as on the other, and a millisecond.
fn may_be_blunder(question: &Question<'_>, device: Device) -> bool {
    let [own_s, other_s] = [device, device.other()].map(|device| question.of(device).total_s());
    let beside_s = own_s - question.of(device).run_s;
    if beside_s + question.most_s[device as usize] < SLACK_S {
        return false;
    }
    let probability = |log2: f64, sd: f64| normal_cdf(log2 / sd.max(1e-6));
    let is_twice = probability((own_s / (2.0 * other_s)).log2(), question.ratio_sd);
    let is_long = probability((own_s / SLACK_S).log2(), question.sd[device as usize]);
    is_twice.min(is_long) > BLUNDER_MAX
}

/// Whether parts of a call are to tell of a device first.
fn is_looked_at(question: &Question<'_>, device: Device) -> bool {
    question.can_be_cut && may_be_blunder(question, device)
}

/// Whether the call is long enough on the best device for parts to do what whole trials would.
fn is_cut(question: &Question<'_>, best: Device) -> bool {
    question.can_be_cut && question.of(best).total_s() >= SLACK_S
}

/// The budget from which a trial is made for what it may save; infinite where that is not worth the price. Where a part
/// of the call can be run first, a whole one is only for what is not dear.
fn worth_s(question: &Question<'_>, best: Device) -> f64 {
    let (best_s, price_s) = (question.of(best).total_s(), price_s(question, best));
    let is_dear = price_s > best_s + SLACK_S;
    let told_s = news_worth_s(question, best, question.news_sd[best.other() as usize]);
    let may_be_whole = match is_new(question, best.other()) {
        true => !is_looked_at(question, best.other()),
        false => !is_cut(question, best) || !is_dear,
    };
    let when = |is_worth: bool, budget_s: f64| if is_worth { budget_s } else { f64::INFINITY };
    let first_s = when(may_be_first(question, best), price_s / FIRST_BUDGETS);
    let told_s = when(told_s > price_s && may_be_whole, staked_s(question, best, STAKE_SHARE));
    let doubt_s = when(is_doubted(question, best), staked_s(question, best, DOUBT_SHARE));
    first_s.min(told_s).min(doubt_s)
}

/// The budget from which what calls have taken is in proportion to the price of a trial, which may be such a share of it.
fn staked_s(question: &Question<'_>, best: Device, share: f64) -> f64 {
    let (best_s, price_s) = (question.of(best).total_s(), price_s(question, best));
    match question.runs {
        runs if runs >= FIRST_CALLS => TRIAL_SHARE / share * price_s,
        runs if price_s <= STAKE_MAX * runs as f64 * best_s + SLACK_S => 0.0,
        _ => f64::INFINITY,
    }
}

/// What a run of the other device is expected to take beyond one of the best.
fn price_s(question: &Question<'_>, best: Device) -> f64 {
    question.of(best.other()).total_s() - question.of(best).total_s()
}

/// Whether the other device, which has not run such a call, is tried once the time spent covers it.
fn may_be_first(question: &Question<'_>, best: Device) -> bool {
    let (best_s, other_s) = (question.of(best).total_s(), question.of(best.other()).total_s());
    let other = best.other();
    is_new(question, other)
        && !is_looked_at(question, other)
        && price_s(question, best) <= SLACK_S
        && other_s <= FIRST_MAX * best_s
}

/// What a run of the other device that tells so much may save in all.
fn news_worth_s(question: &Question<'_>, best: Device, news_sd: f64) -> f64 {
    let (best_s, other_s) = (question.of(best).total_s(), question.of(best.other()).total_s());
    best_s * saved((other_s / best_s).log2(), news_sd) * calls_to_come(question)
}

/// Calls of this size that are expected still to come.
fn calls_to_come(question: &Question<'_>) -> f64 {
    CALLS_EXPECTED + CALLS_TO_COME * question.runs as f64
}

/// Whether all that is known of the other device may be runs that were slow by accident, while it is
/// the faster one.
fn is_doubted(question: &Question<'_>, best: Device) -> bool {
    let (b, o) = (question.of(best), question.of(best.other()));
    let [doubt, far_doubt] = [question.doubt, question.far_doubt].map(|d| d[best.other() as usize]);
    let beside_s = o.total_s() - o.run_s;
    let unspiked_s = beside_s + question.unspiked_s[best.other() as usize];
    // Before the first run there is nothing that could be a spike; and what is less known is run first.
    let is_in_doubt = doubt < 1.0 && doubt >= question.doubt[best as usize];
    let saved_s = (b.total_s() - unspiked_s).max(0.0);
    let calls = (DOUBT_WEIGHT * calls_to_come(question)).min(DOUBT_CALLS_MAX);
    // What it would have to have been slowed by, to be the faster.
    let is_far = o.run_s > FAR * (b.total_s() - beside_s);
    let worth_s = if is_far { far_doubt } else { doubt } * saved_s * calls;
    is_in_doubt && worth_s > o.total_s() - b.total_s()
}

/// The mean share of the best device's time that the other saves, where log2 of its time over the
/// best's is normal: E max(0, 1 − 2^X).
fn saved(mean: f64, sd: f64) -> f64 {
    if sd <= 0.0 || mean > HOPELESS_SD * sd {
        return 0.0;
    }
    let (ln2, z) = (std::f64::consts::LN_2, -mean / sd);
    let tail = (mean + 0.5 * sd * sd * ln2).exp2() * normal_cdf(z - sd * ln2);
    (normal_cdf(z) - tail).max(0.0)
}

/// The budget that covers a look at the other device; infinite where parts do that.
fn due_s(question: &Question<'_>, best: Device) -> f64 {
    let best_s = question.of(best).total_s();
    let price_s = question.of(best.other()).total_s() - best_s;
    // A device that has never run a whole call is looked at once, whatever slices say.
    let is_known = !is_new(question, best.other());
    let is_dear = is_cut(question, best) && is_known && price_s > 2.0 * best_s + SLACK_S;
    if is_dear { f64::INFINITY } else { price_s }
}

#[cfg(test)]
mod tests {
    use super::{Learned, Policy, Question, TRIAL_SHARE, saved};
    use crate::device::Device;
    use crate::ledger::{Estimate, Why};
    use crate::route::CallKey;

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

    /// A question about a device that takes 1 and one that takes so long, after fifty calls.
    fn ask(gpu_s: f64, transfer_s: f64, change: impl FnOnce(&mut Question<'_>)) -> (Device, Why) {
        let (cpu, gpu) =
            (estimate(Device::Cpu, 1.0, 0.0), estimate(Device::Gpu, gpu_s, transfer_s));
        let estimates = &[cpu, gpu];
        let mut question = Question {
            call: CallKey::default(),
            estimates,
            visits: [45, 5],
            unseen: [0, 20],
            runs: 50,
            unspiked_s: [1.0 / 6.0, gpu_s / 6.0],
            sd: [0.05; 2],
            ratio_sd: 0.05,
            news_sd: [0.05; 2],
            most_s: [f64::INFINITY; 2],
            can_be_cut: false,
            parts: None,
            doubt: [0.0; 2],
            far_doubt: [0.0; 2],
            budget_s: 0.0,
            items: 1,
        };
        change(&mut question);
        Learned.choose(&question)
    }

    #[test]
    fn the_smaller_total_wins_and_transfers_count() {
        assert_eq!(ask(0.5, 0.0, |_| ()), (Device::Gpu, Why::Faster));
        assert_eq!(ask(0.5, 0.7, |_| ()), (Device::Cpu, Why::Faster));
    }

    #[test]
    fn what_could_be_faster_is_tried_if_it_does_not_cost_too_much() {
        let told = |sd: f64, calls: f64| {
            move |q: &mut Question<'_>| (q.news_sd[1], q.budget_s) = (sd, TRIAL_SHARE * calls)
        };
        assert_eq!(ask(2.0, 0.0, told(1.5, 8.0)), (Device::Gpu, Why::Explore));
        assert_eq!(ask(2.0, 0.0, told(0.2, 8.0)), (Device::Cpu, Why::Faster));
        assert_eq!(ask(90.0, 0.0, told(1.5, 8.0)), (Device::Cpu, Why::Faster));
        assert_eq!(ask(2.0, 0.0, told(1.5, 5.0)), (Device::Cpu, Why::Faster), "another before");
    }

    #[test]
    fn what_may_have_been_slow_by_accident_is_looked_at_again() {
        let doubted = |doubt: f64, far: f64| {
            move |q: &mut Question<'_>| {
                (q.doubt[1], q.far_doubt[1]) = (doubt, far);
                (q.budget_s, q.unseen[1]) = (50.0 * TRIAL_SHARE, 2);
            }
        };
        assert_eq!(ask(2.5, 0.0, doubted(0.4, 0.0)), (Device::Gpu, Why::Explore));
        assert_eq!(ask(4.0, 0.0, doubted(0.4, 0.4)), (Device::Gpu, Why::Explore));
        assert_eq!(ask(4.0, 0.0, doubted(0.4, 0.001)), (Device::Cpu, Why::Faster), "never so far");
        assert_eq!(ask(6.0, 0.0, doubted(0.4, 0.4)), (Device::Cpu, Why::Faster), "slow anyway");
    }

    #[test]
    fn a_trial_that_the_budget_covers_is_made() {
        assert_eq!(ask(1.5, 0.0, |q| q.budget_s = 0.6), (Device::Gpu, Why::Explore));
        assert_eq!(ask(1.5, 0.0, |q| q.budget_s = 0.4), (Device::Cpu, Why::Faster));
        let seen = |q: &mut Question<'_>| (q.budget_s, q.unseen[1]) = (0.6, 2);
        assert_eq!(ask(1.5, 0.0, seen), (Device::Cpu, Why::Faster));
    }

    #[test]
    fn the_mean_saving_is_that_of_the_integral() {
        for (mean, sd) in [(0.0, 1.0), (1.0, 1.9), (-2.0, 0.5), (6.0, 2.0)] {
            let steps = 200_000;
            let sum: f64 = (0..steps)
                .map(|at| {
                    let z = -8.0 + 16.0 * (f64::from(at) + 0.5) / f64::from(steps);
                    let density = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
                    (1.0 - (mean + sd * z).exp2()).max(0.0) * density
                })
                .sum();
            let integral = sum * 16.0 / f64::from(steps);
            assert!((saved(mean, sd) - integral).abs() < 1e-5, "{mean} {sd}");
        }
        assert_eq!(saved(1.0, 0.0), 0.0);
    }
}
