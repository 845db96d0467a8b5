//! What is said of kernels before they have run, on recorded runs: by the shipped model, and by what the runs of other
//! kernels have made of it; and the same of a model that was made for another machine.

use crossover::ml::{CostModel, Gate, Prediction, Roofline, Side, Trust, weights};
use crossover::record::{Case, Recorded, Recording};

/// By how much the model of another machine is off on the GPU, as log2: eight times.
const FOREIGN_LOG2: f64 = 3.0;

/// Runs of a kernel on a side, of which the gate is told the best, as in a runtime.
const RUNS: usize = 3;

/// How well kernels were predicted that had not run yet: the mean error of log2 time, and the mean NLL.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sights {
    pub(crate) kernels: usize,
    /// By the model alone, and behind the gate.
    pub(crate) own: [Score; 2],
    /// The same where the model is another machine's.
    pub(crate) foreign: [Score; 2],
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Score {
    pub(crate) error: f64,
    pub(crate) nll: f64,
    count: f64,
}

impl Score {
    fn add(&mut self, said: &Prediction, side: Side, log2_s: f64) {
        let i = side.index();
        let mut found = [None; 2];
        found[i] = Some(log2_s);
        self.count += 1.0;
        self.error += ((log2_s - said.mean[i]).abs() - self.error) / self.count;
        self.nll += (said.nll(found) - self.nll) / self.count;
    }
}

pub(crate) fn sights(recordings: &[Recording]) -> Result<Sights, crossover::ml::Error> {
    let shipped = weights::from_bytes(crossover::shipped_model())?;
    let mut sum = Sights::default();
    for recording in recordings {
        let mut gates = [Gate::default(), Gate::default()];
        let mut known: Vec<&str> = Vec::new();
        for case in &recording.cases {
            if known.contains(&case.version.as_str()) {
                continue;
            }
            known.push(&case.version);
            // A kernel keeps what was believed when it was first asked for.
            let trusts = gates.each_ref().map(Gate::trust);
            let mut is_scored = false;
            for side in Side::ALL {
                let Some((case, run_s)) = best(recording, &case.version, side) else { continue };
                is_scored = true;
                let own = shipped.predict(&case.features);
                let mut foreign = own;
                foreign.mean[Side::Gpu.index()] += FOREIGN_LOG2;
                let flat = Roofline::default().predict(&case.features);
                let log2_s = run_s.max(1e-9).log2();
                let scores = [&mut sum.own, &mut sum.foreign];
                for ((score, model), (trust, gate)) in
                    scores.into_iter().zip([&own, &foreign]).zip(trusts.iter().zip(&mut gates))
                {
                    score[0].add(model, side, log2_s);
                    score[1].add(&Trust::prior(trust, model, &flat), side, log2_s);
                    gate.sight(model, &flat, side, log2_s);
                }
            }
            sum.kernels += usize::from(is_scored);
        }
    }
    Ok(sum)
}

/// The least of the first runs of a kernel on a side, at the size that it has first; `None` of fewer than those.
fn best<'r>(recording: &'r Recording, version: &str, side: Side) -> Option<(&'r Case, f64)> {
    recording.cases.iter().enumerate().filter(|(_, case)| case.version == version).find_map(
        |(at, case)| {
            let usual = |call: &&Recorded| call.case == at && !call.is_crew_trial;
            let calls = recording.calls.iter().filter(usual);
            let runs: Vec<f64> =
                calls.filter_map(|call| call.run_s[side.index()]).take(RUNS).collect();
            (runs.len() == RUNS).then(|| (case, runs.into_iter().fold(f64::INFINITY, f64::min)))
        },
    )
}
