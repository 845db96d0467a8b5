//! Policies and predictions on recorded runs of real kernels, of which both sides' times are known.

use crossover::ml::{Correction, Hyper, Side};
use crossover::record::Recording;
use crossover::route::verdict::{self, Tally};
use crossover::{Device, Error};

use super::decision::quantile;
use super::world::policy;
use super::{Baseline, Contender, Details, HeldOut, Prediction};

/// Calls of a case in which a policy may still be learning.
const LEARNING: usize = 4;

/// Runs after which predictions are judged.
const RUNS: usize = 8;

/// How a policy does on all recordings.
pub(crate) struct SteadyRow {
    pub(crate) row: Baseline,
    pub(crate) worst: String,
    pub(crate) cases: [usize; 2],
}

pub(crate) fn steady(who: &Contender, recordings: &[Recording]) -> Result<SteadyRow, Error> {
    let (mut late, mut all) = (Tally::default(), Tally::default());
    let (mut names, mut cases) = (Vec::new(), [0; 2]);
    for recording in recordings {
        let times = known(recording);
        cases[0] += times.iter().flatten().count();
        cases[1] += times.iter().flatten().filter(|t| t[1] < t[0]).count();
        let first = names.len();
        names.extend(recording.cases.iter().map(|c| format!("{} of {} items", c.kernel, c.items)));
        verdict::follow(recording, policy(who.policy)?, |choice| {
            let Some(true_s) = times[choice.case] else { return };
            all.add(first + choice.case, choice.device, true_s);
            if choice.nth >= LEARNING {
                late.add(first + choice.case, choice.device, true_s);
            }
        });
    }
    let (verdict, worst) = late.verdict(who.name);
    let worst = worst.map(|at| names[at].clone()).unwrap_or_default();
    let row = Baseline {
        name: who.name.to_owned(),
        regret_geo: verdict.regret_geo,
        regret_total: verdict.regret_total,
        regret_worst: verdict.regret_worst,
        regret_geo_all: all.verdict(who.name).0.regret_geo,
        ..Baseline::default()
    };
    Ok(SteadyRow { row, worst, cases })
}

/// The true times of the cases of which both sides are known.
fn known(recording: &Recording) -> Vec<Option<[f64; 2]>> {
    verdict::true_times(recording).iter().map(|t| Some([t[0]?, t[1]?])).collect()
}

/// The device that is the better one, taken for all calls: what no policy that only ever chooses one can
/// beat.
pub(crate) fn best_constant(recordings: &[Recording]) -> Baseline {
    let mut tallies = [Tally::default(), Tally::default()];
    let mut first = 0;
    for recording in recordings {
        let times = known(recording);
        for call in &recording.calls {
            let Some(true_s) = times[call.case] else { continue };
            for device in Device::ALL {
                tallies[device as usize].add(first + call.case, device, true_s);
            }
        }
        first += recording.cases.len();
    }
    let name = "best constant";
    let verdicts = tallies.map(|tally| tally.verdict(name).0);
    let [cpu, gpu] = verdicts;
    let best = if gpu.regret_geo < cpu.regret_geo { gpu } else { cpu };
    Baseline {
        name: name.to_owned(),
        regret_geo: best.regret_geo,
        regret_total: best.regret_total,
        regret_worst: best.regret_worst,
        regret_geo_all: best.regret_geo,
        ..Baseline::default()
    }
}

/// The first and the fourth call of each case by itself: no kernel of the recordings, and none like it,
/// was in the network's training set.
pub(crate) fn held_out(recordings: &[Recording]) -> Result<HeldOut, Error> {
    let mut tallies = [Tally::default(), Tally::default()];
    let mut at = 0;
    for recording in recordings {
        let times = known(recording);
        for (case, true_s) in times.iter().enumerate() {
            at += 1;
            let Some(true_s) = *true_s else { continue };
            let calls = recording.calls.iter().filter(|call| call.case == case).cloned().collect();
            let alone = Recording { calls, ..recording.clone() };
            verdict::follow(&alone, policy("learned")?, |choice| match choice.nth {
                0 => tallies[0].add(at, choice.device, true_s),
                3 => tallies[1].add(at, choice.device, true_s),
                _ => {}
            });
        }
    }
    let [first, fourth] = tallies.map(|tally| tally.verdict("").0.regret_geo.recip());
    Ok(HeldOut { first_call_oracle: first, call4_oracle: fourth })
}

/// How well the ninth and later runs on each side are predicted from those before.
pub(crate) fn prediction(recordings: &[Recording], _: &mut Details) -> Prediction {
    let mut judged = Judged::default();
    for recording in recordings {
        for (at, case) in recording.cases.iter().enumerate() {
            for side in Side::ALL {
                let calls = recording.calls.iter().filter(|call| call.case == at);
                let runs: Vec<f64> = calls.filter_map(|call| call.run_s[side.index()]).collect();
                judged.side(&case.prior, case.log2_work, side, &runs);
            }
        }
    }
    judged.finish()
}

/// Predictions of runs, from those before.
#[derive(Default)]
pub(crate) struct Judged {
    errors: Vec<f64>,
    inside: usize,
    measured: usize,
}

impl Judged {
    /// All runs of a case on one side, in their order.
    pub(crate) fn side(
        &mut self,
        prior: &crossover::ml::Prediction,
        log2_work: f64,
        side: Side,
        runs: &[f64],
    ) {
        let mut correction = Correction::new(&Hyper::default());
        for (at, &run_s) in runs.iter().enumerate() {
            if at >= RUNS {
                let expected = correction.posterior(prior, log2_work);
                let (low, high) = correction.interval90(&expected, side);
                self.measured += 1;
                self.inside += usize::from((low..=high).contains(&run_s));
                if at == RUNS {
                    let mut sorted = runs.to_vec();
                    let true_s = quantile(&mut sorted, 0.5);
                    self.errors.push((expected.seconds(side) / true_s - 1.0).abs());
                }
            }
            correction.observe(prior, log2_work, side, run_s.max(1e-9).log2());
        }
    }

    pub(crate) fn finish(mut self) -> Prediction {
        Prediction {
            median_error: quantile(&mut self.errors, 0.5),
            coverage90: self.inside as f64 / self.measured as f64,
        }
    }
}
