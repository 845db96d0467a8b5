//! How good a model is, on kernels it was not trained on.
//!
//! Time is judged in log2 and decisions by regret: what following the model cost against always
//! knowing. Only rows with both sides measured take part in the latter. One seed says nothing:
//! [`held_out`] repeats the split and reports mean and spread.

use std::fmt;
use std::ops::ControlFlow;

use serde::Serialize;

use crate::baseline::{Constant, Roofline};
use crate::dataset::{Dataset, Row};
use crate::error::Error;
use crate::prediction::{CostModel, Prediction, Side, normal_quantile};
use crate::ridge::Ridge;
use crate::train::{TrainOptions, train_ensemble};

/// The levels at which the coverage of intervals is measured.
pub const COVERAGE_LEVELS: [f64; 3] = [0.5, 0.9, 0.99];

/// How a model did on some rows. NaN where no row could tell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Metrics {
    /// Measured sides.
    pub measured: usize,
    /// Rows with both sides measured.
    pub decided: usize,
    /// Mean absolute error, in log2 time.
    pub mae: f64,
    /// Mean squared error, in log2 time squared.
    pub mse: f64,
    /// Mean negative log-likelihood a row, in nats.
    pub nll: f64,
    /// Share of the measured sides inside the 50, 90 and 99 % intervals.
    pub coverage: [f64; 3],
    /// Share of the decisions for the faster side.
    pub accuracy: f64,
    /// Sum of log2(chosen / best) over the decisions.
    pub regret_log2: f64,
    /// Geometric mean of best / chosen, in percent.
    pub oracle_percent: f64,
}

/// Judges predictions: `predict` gives one for each row.
///
/// ```
/// # use crossover_ml::{Constant, Features, Prediction, Row, Side, eval};
/// # let row = |cpu, gpu| Row::new("k", "f", 1, Features::missing(), [Some(cpu), Some(gpu)]);
/// let rows = [row(1.0, 2.0), row(8.0, 2.0)];
/// let always = |_: &Row| Prediction::new([0.0, 1.0], [1.0; 2], 0.0);
/// let metrics = eval::judge(&rows, always);
/// assert_eq!((metrics.measured, metrics.decided), (4, 2));
/// ```
pub fn judge(rows: &[Row], mut predict: impl FnMut(&Row) -> Prediction) -> Metrics {
    let mut tally = Tally::default();
    for row in rows.iter().filter(|row| row.is_measured()) {
        let prediction = predict(row);
        tally.times(row, &prediction);
        tally.decision(row, prediction.faster());
    }
    tally.metrics()
}

/// Judges a model.
///
/// ```
/// # use crossover_ml::{Constant, Features, Prediction, Row, Side, eval};
/// # let row = |cpu, gpu| Row::new("k", "f", 1, Features::missing(), [Some(cpu), Some(gpu)]);
/// let rows = [row(1.0, 2.0), row(8.0, 2.0)];
/// let metrics = eval::evaluate(&Constant::fit(&rows), &rows);
/// assert!(metrics.mae > 0.0, "calls differ, what it says does not");
/// ```
#[must_use]
pub fn evaluate(model: &dyn CostModel, rows: &[Row]) -> Metrics {
    judge(rows, |row| model.predict(&row.features))
}

/// Judges a rule that only decides; the metrics of times are NaN.
///
/// ```
/// # use crossover_ml::{Constant, Features, Prediction, Row, Side, eval};
/// # let row = |cpu, gpu| Row::new("k", "f", 1, Features::missing(), [Some(cpu), Some(gpu)]);
/// let rows = [row(1.0, 2.0), row(8.0, 2.0)];
/// let metrics = eval::judge_decisions(&rows, |_| Side::Cpu);
/// assert!(metrics.mae.is_nan() && metrics.decided == 2);
/// ```
pub fn judge_decisions(rows: &[Row], mut choose: impl FnMut(&Row) -> Side) -> Metrics {
    let mut tally = Tally::default();
    rows.iter().for_each(|row| tally.decision(row, choose(row)));
    tally.metrics()
}

/// The side that cost less time (in log2) over all rows with both measured; the CPU on a tie.
///
/// ```
/// # use crossover_ml::{Constant, Features, Prediction, Row, Side, eval};
/// # let row = |cpu, gpu| Row::new("k", "f", 1, Features::missing(), [Some(cpu), Some(gpu)]);
/// let rows = [row(1.0, 2.0), row(8.0, 2.0)];
/// assert_eq!(eval::best_static(&rows), Side::Gpu);
/// ```
#[must_use]
pub fn best_static(rows: &[Row]) -> Side {
    let ratio = |row: &Row| row.seconds[0].zip(row.seconds[1]).map(|(cpu, gpu)| (cpu / gpu).log2());
    if rows.iter().filter_map(ratio).sum::<f64>() <= 0.0 { Side::Cpu } else { Side::Gpu }
}

#[derive(Default)]
struct Tally {
    rows: f64,
    nll: f64,
    measured: usize,
    absolute: f64,
    squared: f64,
    inside: [usize; 3],
    decided: usize,
    right: usize,
    regret: f64,
}

impl Tally {
    fn times(&mut self, row: &Row, prediction: &Prediction) {
        let seconds = row.log2_seconds();
        self.rows += 1.0;
        self.nll += prediction.nll(seconds);
        for side in Side::ALL {
            let Some(measured) = seconds[side.index()] else { continue };
            let error = (measured - prediction.mean[side.index()]).abs();
            self.measured += 1;
            self.absolute += error;
            self.squared += error * error;
            for (inside, level) in self.inside.iter_mut().zip(COVERAGE_LEVELS) {
                let half = normal_quantile(0.5 + level / 2.0) * prediction.sd(side);
                *inside += usize::from(error <= half);
            }
        }
    }

    fn decision(&mut self, row: &Row, chosen: Side) {
        let [Some(cpu), Some(gpu)] = row.seconds else { return };
        let regret = ([cpu, gpu][chosen.index()] / cpu.min(gpu)).log2();
        self.decided += 1;
        self.right += usize::from(regret == 0.0);
        self.regret += regret;
    }

    fn metrics(&self) -> Metrics {
        let (measured, decided) = (self.measured as f64, self.decided as f64);
        Metrics {
            measured: self.measured,
            decided: self.decided,
            mae: self.absolute / measured,
            mse: self.squared / measured,
            nll: self.nll / self.rows,
            coverage: self.inside.map(|inside| inside as f64 / measured),
            accuracy: self.right as f64 / decided,
            regret_log2: if self.decided == 0 { f64::NAN } else { self.regret },
            oracle_percent: 100.0 * (-self.regret / decided).exp2(),
        }
    }
}

/// One line of a comparison: a model over all seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The model.
    pub model: String,
    /// Its metrics, a seed each.
    pub seeds: Vec<Metrics>,
}

impl Line {
    /// Mean and standard deviation of a metric over the seeds in which it is a number.
    ///
    /// ```
    /// # use crossover_ml::{Constant, Features, Prediction, Row, Side, eval};
    /// # let row = |cpu, gpu| Row::new("k", "f", 1, Features::missing(), [Some(cpu), Some(gpu)]);
    /// let rows = [row(1.0, 2.0), row(8.0, 2.0)];
    /// let seeds = vec![eval::evaluate(&Constant::fit(&rows), &rows); 3];
    /// let line = eval::Line { model: "constant".into(), seeds };
    /// assert_eq!(line.spread(|metrics| metrics.measured as f64), (4.0, 0.0));
    /// ```
    #[must_use]
    pub fn spread(&self, metric: impl Fn(&Metrics) -> f64) -> (f64, f64) {
        let values: Vec<f64> = self.seeds.iter().map(metric).filter(|x| x.is_finite()).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        (mean, (squares / (count - 1.0).max(1.0)).sqrt())
    }
}

/// A comparison of models on held-out kernels.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// A line a model: the baselines, then the ensemble.
    pub lines: Vec<Line>,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "model        | MAE log2 | MSE log2² | NLL | in 90 % | accuracy % | regret log2 | % of oracle"
        )?;
        for line in &self.lines {
            write!(f, "{:12}", line.model)?;
            let metrics: [fn(&Metrics) -> f64; 7] = [
                |m| m.mae,
                |m| m.mse,
                |m| m.nll,
                |m| 100.0 * m.coverage[1],
                |m| 100.0 * m.accuracy,
                |m| m.regret_log2,
                |m| m.oracle_percent,
            ];
            for metric in metrics {
                match line.spread(metric) {
                    (mean, _) if mean.is_nan() => write!(f, " | –")?,
                    (mean, sd) => write!(f, " | {mean:.2} ± {sd:.2}")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Trains an ensemble and fits the baselines on four fifths of the kernels and judges them on the
/// rest, once for each of `seeds` splits.
///
/// # Errors
/// As [`train_ensemble`]; [`Error::InvalidOption`] for fewer than five seeds.
///
/// ```
/// use crossover_ml::{Dataset, TrainOptions, eval};
/// let few = eval::held_out(&Dataset::new(), &TrainOptions::default(), 1, 2, &mut |_| {
///     std::ops::ControlFlow::Continue(())
/// });
/// assert!(few.is_err(), "two splits are too few to judge by");
/// ```
pub fn held_out(
    data: &Dataset,
    options: &TrainOptions,
    members: usize,
    seeds: u64,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Comparison, Error> {
    on_splits(data, options, members, seeds, progress, |known, unseen| (known, unseen))
}

/// Sizes of each kernel that [`beyond`] does not train on.
const SIZES_BEYOND: usize = 2;

/// As [`held_out`], but of every kernel the two largest sizes are not trained on, and of those held out they
/// alone are judged: how far a model goes beyond what it has seen.
///
/// # Errors
/// As [`held_out`].
///
/// ```
/// use crossover_ml::{Dataset, TrainOptions, eval};
/// let few = eval::beyond(&Dataset::new(), &TrainOptions::default(), 1, 2, &mut |_| {
///     std::ops::ControlFlow::Continue(())
/// });
/// assert!(few.is_err(), "two splits are too few to judge by");
/// ```
pub fn beyond(
    data: &Dataset,
    options: &TrainOptions,
    members: usize,
    seeds: u64,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Comparison, Error> {
    on_splits(data, options, members, seeds, progress, |known, unseen| {
        (known.split_sizes(SIZES_BEYOND).0, unseen.split_sizes(SIZES_BEYOND).1)
    })
}

/// Judges all models on splits by kernel, of which `part` says what is trained on and what is judged.
fn on_splits(
    data: &Dataset,
    options: &TrainOptions,
    members: usize,
    seeds: u64,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    part: impl Fn(Dataset, Dataset) -> (Dataset, Dataset),
) -> Result<Comparison, Error> {
    if seeds < 5 {
        return Err(Error::InvalidOption { name: "seeds" });
    }
    let names =
        ["constant", "roofline", "ridge", "always CPU", "always GPU", "best static", "ensemble"];
    let mut lines = names.map(|name| Line { model: name.to_owned(), seeds: Vec::new() });
    for seed in 0..seeds {
        let (known, unseen) = data.split_kernels(0.2, options.seed.wrapping_add(seed));
        let (known, unseen) = part(known, unseen);
        let options = TrainOptions { seed: options.seed.wrapping_add(seed), ..options.clone() };
        let stop = progress(seed);
        let (ensemble, _) = train_ensemble(&known, &options, members, &mut |_| stop)?;
        let (known, unseen) = (known.rows(), unseen.rows());
        let fixed = best_static(known);
        let results = [
            evaluate(&Constant::fit(known), unseen),
            evaluate(&Roofline::fit(known), unseen),
            evaluate(&Ridge::fit(known)?, unseen),
            judge_decisions(unseen, |_| Side::Cpu),
            judge_decisions(unseen, |_| Side::Gpu),
            judge_decisions(unseen, |_| fixed),
            evaluate(&ensemble, unseen),
        ];
        lines.iter_mut().zip(results).for_each(|(line, metrics)| line.seeds.push(metrics));
    }
    Ok(Comparison { lines: lines.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Features;

    fn row(cpu: f64, gpu: f64) -> Row {
        Row::new("k", "f", 1, Features::missing(), [Some(cpu), Some(gpu)])
    }

    #[test]
    fn regret_is_what_the_wrong_side_cost() {
        let rows = [row(1.0, 4.0), row(2.0, 1.0), row(1.0, 1.0)];
        let metrics = judge_decisions(&rows, |_| Side::Cpu);
        assert_eq!((metrics.regret_log2, metrics.decided), (1.0, 3));
        assert!((metrics.accuracy - 2.0 / 3.0).abs() < 1e-12);
        assert!((metrics.oracle_percent - 100.0 * (-1.0f64 / 3.0).exp2()).abs() < 1e-9);
        assert!(metrics.mae.is_nan());
        assert_eq!(best_static(&rows), Side::Cpu);
    }

    #[test]
    fn a_perfect_model_has_no_error_and_full_coverage() {
        let rows = [row(1.0, 4.0), row(0.5, 0.25)];
        let metrics = judge(&rows, |row| {
            Prediction::new(row.log2_seconds().map(|x| x.unwrap()), [0.1; 2], 0.0)
        });
        assert_eq!((metrics.mae, metrics.regret_log2, metrics.coverage), (0.0, 0.0, [1.0; 3]));
        assert!(judge(&[], |_| Prediction::vague()).nll.is_nan());
    }
}
