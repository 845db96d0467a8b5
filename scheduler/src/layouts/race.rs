//! Two layouts of a kernel's code in turns, in calls that are made anyway, until it is clear which is the faster.
//!
//! A pair of calls runs one with each, in an order that is drawn: calls that alternate by themselves must not
//! decide. Times are compared by their ranks, so that it makes no difference how much longer a run takes that something
//! else has got in the way of: with U the number of pairs of a run of each in which the challenger was the faster,
//!
//! ```text
//! z = (U − m·n / 2) / √(m·n·(m + n + 1) / 12)          of m and n runs
//! ```
//!
//! is what ranks of equally fast layouts keep within one or two. What the runs with the challenger have taken
//! beyond those with the present one is the price of the race: it stays within a share of the time spent.

use crossover_ml::rng::Rng;

/// The share of a size's time that trials may take.
const TRIAL_SHARE: f64 = 0.03;

/// What a run with a layout may take beyond one with the present, before it has run.
const PRICE_FIRST: f64 = 0.15;

/// Runs of each from which on the race may be won, and lost; and after which it is over.
const WON_FROM: usize = 5;
const LOST_FROM: usize = 4;
const RUNS_MAX: usize = 24;

/// Ranks that win, and lose.
const WON: f64 = 2.6;
const LOST: f64 = -2.2;

/// What wins at the end, where few runs have not decided.
const WON_LATE: f64 = 1.7;

/// A layout has to be faster by this share to be taken.
const MARGIN: f64 = 0.01;

/// One of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Present,
    Challenger,
}

/// How a race has ended, and log2 of how many times as fast the challenger is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) is_taken: bool,
    pub(super) log2: f64,
}

/// A race under way.
#[derive(Debug)]
pub(super) struct Race {
    /// Calls that were given to each.
    given: [u32; 2],
    /// What they have taken.
    runs: [Vec<f64>; 2],
    /// Whether the challenger has run: its first run prepares what later ones find.
    is_warm: bool,
    /// What runs with the challenger have taken beyond others.
    price: f64,
    rng: Rng,
}

impl Race {
    pub(super) fn new(seed: u64) -> Race {
        let (given, runs) = ([0; 2], [Vec::new(), Vec::new()]);
        Race { given, runs, is_warm: false, price: 0.0, rng: Rng::new(seed) }
    }

    /// Whose turn the next call is, of a size on which so much time was spent; nobody's while that is too little.
    pub(super) fn next(&mut self, spent: f64) -> Option<Side> {
        let [present, challenger] = self.given;
        let side = match present.cmp(&challenger) {
            std::cmp::Ordering::Less => Side::Present,
            std::cmp::Ordering::Greater => Side::Challenger,
            // The first run of all says what runs take.
            std::cmp::Ordering::Equal if present == 0 || self.rng.uniform() < 0.5 => Side::Present,
            std::cmp::Ordering::Equal => Side::Challenger,
        };
        let usual = median(&self.runs[0]).unwrap_or(0.0);
        let beyond = median(&self.runs[1]).map_or(PRICE_FIRST * usual, |s| (s - usual).max(0.0));
        if side == Side::Challenger && self.price + beyond > TRIAL_SHARE * spent {
            return None;
        }
        self.given[side as usize] += 1;
        Some(side)
    }

    /// Takes in what a call has taken; says how the race has ended, if it has.
    pub(super) fn observe(&mut self, side: Side, taken: f64) -> Option<Verdict> {
        if side == Side::Challenger {
            let usual = median(&self.runs[0]).unwrap_or(taken);
            self.price += (taken - usual).max(0.0);
            if !std::mem::replace(&mut self.is_warm, true) {
                self.given[side as usize] = self.given[side as usize].saturating_sub(1);
                return None;
            }
        }
        self.runs[side as usize].push(taken);
        self.verdict()
    }

    fn verdict(&self) -> Option<Verdict> {
        let [present, challenger] = &self.runs;
        let least = present.len().min(challenger.len());
        if least < LOST_FROM {
            return None;
        }
        let (z, log2) = (ranks(present, challenger), self.log2());
        let is_faster = log2 > (1.0 + MARGIN).log2();
        let is_taken = match least {
            n if n >= RUNS_MAX => z > WON_LATE && is_faster,
            n if n >= WON_FROM && z > WON && is_faster => true,
            _ if z < LOST => false,
            _ => return None,
        };
        Some(Verdict { is_taken, log2 })
    }

    /// log2 of how many times as fast the challenger is, by the quicker halves: runs are slow by accident, but
    /// hardly ever fast.
    fn log2(&self) -> f64 {
        let quick = |runs: &[f64]| {
            let mut sorted = runs.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted.get(sorted.len() / 4).copied().unwrap_or(1.0).max(f64::MIN_POSITIVE)
        };
        (quick(&self.runs[0]) / quick(&self.runs[1])).log2()
    }
}

fn median(runs: &[f64]) -> Option<f64> {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// How far the ranks are from those of equally fast layouts.
fn ranks(present: &[f64], challenger: &[f64]) -> f64 {
    let better = |p: &f64| {
        let won = |c: &f64| match c.total_cmp(p) {
            std::cmp::Ordering::Less => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Greater => 0.0,
        };
        challenger.iter().map(won).sum::<f64>()
    };
    let (m, n) = (present.len() as f64, challenger.len() as f64);
    let u: f64 = present.iter().map(better).sum();
    (u - m * n / 2.0) / (m * n * (m + n + 1.0) / 12.0).sqrt().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls until a race is over, of which each takes a second but with the challenger; a share of all take five
    /// times as long. Gives the verdict, and the calls that ran with the challenger.
    fn race(seed: u64, challenger: f64, spikes: f64) -> (Verdict, u32) {
        let mut rng = Rng::new(seed);
        let mut race = Race::new(seed ^ 77);
        let (mut spent, mut tried) = (100.0, 0);
        for _ in 0..10_000 {
            let side = race.next(spent);
            let base = if side == Some(Side::Challenger) { challenger } else { 1.0 };
            let spike = if rng.uniform() < spikes { 5.0 } else { 1.0 };
            let taken = base * spike * (0.07 * rng.normal()).exp2();
            spent += taken;
            tried += u32::from(side == Some(Side::Challenger));
            if let Some(verdict) = side.and_then(|side| race.observe(side, taken)) {
                return (verdict, tried);
            }
        }
        panic!("it does not end");
    }

    #[test]
    fn a_faster_layout_is_found_and_a_slower_one_dropped_after_few_calls() {
        for seed in 0..200 {
            let (verdict, tried) = race(seed, 1.0 / 1.3, 0.0);
            assert!(verdict.is_taken && tried <= 10, "{seed}: {verdict:?} after {tried}");
            assert!((verdict.log2 - 1.3f64.log2()).abs() < 0.3, "{verdict:?}");
            let (verdict, tried) = race(seed, 1.5, 0.0);
            assert!(!verdict.is_taken && tried <= 6, "{seed}: {verdict:?} after {tried}");
        }
    }

    #[test]
    fn spikes_do_not_decide() {
        let trials = 2000;
        let (mut wrong, mut missed) = (0, 0);
        for seed in 0..trials {
            wrong += u32::from(race(seed, 1.3, 0.2).0.is_taken);
            missed += u32::from(!race(seed, 1.0 / 1.3, 0.2).0.is_taken);
        }
        assert!(wrong <= 3, "{wrong} of {trials} slower ones taken");
        assert!(missed * 20 < trials as u32, "{missed} of {trials} faster ones missed");
    }

    #[test]
    fn calls_that_alternate_by_themselves_do_not_decide() {
        let mut taken = 0;
        for seed in 0..300 {
            let mut race = Race::new(seed);
            let mut rng = Rng::new(seed);
            for call in 0..200 {
                let of_call = if call % 2 == 0 { 1.0 } else { 3.0 };
                let Some(side) = race.next(1e6) else { continue };
                let slower = if side == Side::Challenger { 1.15 } else { 1.0 };
                let seconds = slower * of_call * (0.05 * rng.normal()).exp2();
                if let Some(verdict) = race.observe(side, seconds) {
                    taken += u32::from(verdict.is_taken);
                    break;
                }
            }
        }
        assert!(taken < 15, "{taken} of 300 slower ones taken");
    }

    #[test]
    fn nobody_is_tried_before_there_is_time_for_it() {
        let mut race = Race::new(1);
        assert_eq!(race.next(0.0), Some(Side::Present));
        assert_eq!(race.observe(Side::Present, 1.0), None);
        assert_eq!(race.next(1.0), None, "a call of a second, and one spent");
        assert_eq!(race.next(10.0), Some(Side::Challenger));
        // Ten times as slow: the next one has to wait until much more was spent.
        assert_eq!(race.observe(Side::Challenger, 10.0), None);
        assert_eq!(race.next(300.0), None);
        assert_eq!(race.next(1000.0), Some(Side::Challenger));
    }
}
