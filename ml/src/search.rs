//! Which network to train: successive halving over encoding, depth, widths, dropout and learning rate.
//!
//! ```text
//! 12 candidates, the usual one first ── few epochs each ─→ best third ── three times as many ─→ … ─→ one
//! ```
//!
//! A candidate's score is the mean negative log-likelihood of kernels it was not trained on, over folds that
//! are the same for all. A seed moves such scores by as much as most choices do, so that [`compare`] holds the
//! winner against the usual network over several splits before anybody believes in it.

use std::fmt;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::dataset::Dataset;
use crate::encoder::InputForm;
use crate::error::Error;
use crate::eval::{Line, evaluate};
use crate::rng::Rng;
use crate::train::{Progress, TrainOptions, Trainer};

/// The part of the kernels that a fold holds out.
const HELD_OUT: f64 = 0.2;

/// So many of the candidates of a round stay for the next, which has so many times its epochs.
const KEPT: usize = 3;

/// Candidates have 1 to so many hidden layers.
const DEPTH_MAX: usize = 5;

/// A layer is not made narrower than this by halving the one before.
const WIDTH_MIN: usize = 16;

/// How to search.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchOptions {
    /// What candidates start from, and its seed their draw; its epochs are the last round's at most.
    pub base: TrainOptions,
    /// Candidates of the first round.
    pub candidates: usize,
    /// Splits by kernel on which each is scored.
    pub folds: u64,
    /// When to stop: the best of the last whole round is then taken.
    pub limit: Duration,
}

/// A candidate's score in a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// How it was trained, but for the epochs.
    pub options: TrainOptions,
    /// Epochs of the round.
    pub epochs: usize,
    /// Mean negative log-likelihood of a held-out row.
    pub nll: f64,
}

/// Searches; gives all scores in the order in which they were found, and the winner's options. `tell` hears
/// of each score.
///
/// # Errors
/// As [`train`](crate::train()); [`Error::InvalidOption`] for no candidates or folds. A candidate that diverges is out, and
/// no error.
pub fn search(
    data: &Dataset,
    options: &SearchOptions,
    trainer: &dyn Trainer,
    tell: &mut dyn FnMut(&Scored),
) -> Result<(TrainOptions, Vec<Scored>), Error> {
    if options.candidates == 0 || options.folds == 0 {
        return Err(Error::InvalidOption { name: "candidates" });
    }
    let start = Instant::now();
    let mut rng = Rng::new(options.base.seed ^ 0x5ea7);
    let mut left = vec![options.base.clone()];
    // There are but so many to draw from.
    for _ in 0..100 * options.candidates {
        let drawn = draw(&options.base, &mut rng);
        if left.len() < options.candidates && !left.contains(&drawn) {
            left.push(drawn);
        }
    }
    let mut all = Vec::new();
    let mut epochs = first_epochs(options);
    loop {
        let mut round = Vec::new();
        for candidate in &left {
            if start.elapsed() > options.limit {
                return Ok((left[0].clone(), all));
            }
            let trained = TrainOptions { epochs, ..candidate.clone() };
            let nll = score(data, &trained, options.folds, trainer)?;
            let scored = Scored { options: candidate.clone(), epochs, nll };
            tell(&scored);
            all.push(scored.clone());
            round.push(scored);
        }
        round.sort_by(|a, b| a.nll.total_cmp(&b.nll));
        round.truncate(left.len().div_ceil(KEPT));
        left = round.into_iter().map(|scored| scored.options).collect();
        if left.len() == 1 || epochs >= options.base.epochs {
            return Ok((left[0].clone(), all));
        }
        epochs = (epochs * KEPT).min(options.base.epochs);
    }
}

/// Epochs of the first round, so that the last has those of the base.
fn first_epochs(options: &SearchOptions) -> usize {
    let rounds = options.candidates.ilog(KEPT);
    (options.base.epochs / KEPT.pow(rounds)).max(2)
}

/// A network that could be better than the usual one.
fn draw(base: &TrainOptions, rng: &mut Rng) -> TrainOptions {
    let mut pick = |count: usize| rng.below(count);
    let forms = [
        InputForm::Plain,
        InputForm::Piecewise(3),
        InputForm::Piecewise(4),
        InputForm::Piecewise(8),
    ];
    let first_widths = [64, 96, 128, 192, 256];
    let dropouts = [[0.3, 0.1], [0.1, 0.1], [0.1, 0.0], [0.0, 0.0]];
    let rates = [5e-4, 1e-3, 2e-3, 4e-3];
    let depth = 1 + pick(DEPTH_MAX);
    TrainOptions {
        form: forms[pick(forms.len())],
        hidden: widths(first_widths[pick(first_widths.len())], depth, pick(2) == 0),
        dropout: dropouts[pick(dropouts.len())],
        learning_rate: rates[pick(rates.len())],
        ..base.clone()
    }
}

/// Layers that are all as wide as the first, or each half as wide as the one before.
fn widths(first: usize, depth: usize, is_even: bool) -> Vec<usize> {
    (0..depth).map(|at| if is_even { first } else { (first >> at).max(WIDTH_MIN) }).collect()
}

fn score(
    data: &Dataset,
    options: &TrainOptions,
    folds: u64,
    trainer: &dyn Trainer,
) -> Result<f64, Error> {
    let mut sum = 0.0;
    for fold in 0..folds {
        let (known, unseen) = data.split_kernels(HELD_OUT, fold);
        let trained = trainer.ensemble(&known, options, 1, &mut |_| ControlFlow::Continue(()));
        match trained {
            Ok(network) => sum += evaluate(&network, unseen.rows()).nll,
            Err(Error::Diverged { .. }) => return Ok(f64::INFINITY),
            Err(error) => return Err(error),
        }
    }
    Ok(sum / folds as f64)
}

/// A network to compare: what it is called, how it is trained and by whom, and how many there are of it.
pub struct Kind<'k> {
    /// Its name.
    pub name: &'k str,
    /// But for the seed.
    pub options: TrainOptions,
    /// Who trains it.
    pub trainer: &'k dyn Trainer,
    /// Networks of an ensemble.
    pub members: usize,
}

/// Trains networks of each kind on several splits by kernel, and judges them on the kernels held out.
///
/// # Errors
/// As [`train`](crate::train()).
pub fn compare(
    data: &Dataset,
    kinds: &[Kind<'_>],
    seeds: u64,
    tell: &mut dyn FnMut(u64),
) -> Result<Vec<Line>, Error> {
    let line = |kind: &Kind<'_>| Line { model: kind.name.to_owned(), seeds: Vec::new() };
    let mut lines: Vec<Line> = kinds.iter().map(line).collect();
    for seed in 0..seeds {
        tell(seed);
        // Other splits than those that the search has seen.
        let (known, unseen) = data.split_kernels(HELD_OUT, 1000 + seed);
        for (kind, line) in kinds.iter().zip(&mut lines) {
            let options = TrainOptions { seed, ..kind.options.clone() };
            let go_on = &mut |_: Progress| ControlFlow::Continue(());
            let networks = kind.trainer.ensemble(&known, &options, kind.members, go_on)?;
            line.seeds.push(evaluate(&networks, unseen.rows()));
        }
    }
    Ok(lines)
}

/// What a model gains over another in negative log-likelihood, split by split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain {
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub error: f64,
}

impl Gain {
    /// Of two lines over the same splits.
    ///
    /// ```
    /// use crossover_ml::{Features, Prediction, Row, eval::{Line, judge}, search::Gain};
    /// let row = [Row::new("k", "f", 1, Features::missing(), [Some(1.0), None])];
    /// let off = |by: f64| judge(&row, |_| Prediction::new([by; 2], [1.0; 2], 0.0));
    /// let line = |by| Line { model: "m".to_owned(), seeds: vec![off(by); 5] };
    /// assert!(Gain::of(&line(2.0), &line(1.0)).is_sure());
    /// assert!(!Gain::of(&line(1.0), &line(1.0)).is_sure());
    /// ```
    #[must_use]
    pub fn of(usual: &Line, other: &Line) -> Gain {
        let pairs = usual.seeds.iter().zip(&other.seeds);
        let gains: Vec<f64> = pairs.map(|(usual, other)| usual.nll - other.nll).collect();
        let count = gains.len() as f64;
        let mean = gains.iter().sum::<f64>() / count;
        let squares = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>();
        Gain { mean, error: (squares / (count - 1.0).max(1.0) / count).sqrt() }
    }

    /// Whether it is more than chance makes.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        self.mean > 2.0 * self.error
    }
}

impl fmt::Display for Gain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ± {:.3} of NLL, splits paired", self.mean, self.error)
    }
}

impl fmt::Display for Scored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        let form = match options.form {
            InputForm::Plain => "plain".to_owned(),
            InputForm::Piecewise(bins) => format!("{bins} bins"),
        };
        write!(
            f,
            "{:>3} epochs, {form:<7} {:?}, dropout {:?}, rate {:.0e}: NLL {:.3}",
            self.epochs, options.hidden, options.dropout, options.learning_rate, self.nll
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Row;
    use crate::eval::judge;
    use crate::features::{Feature, Features};
    use crate::prediction::Prediction;
    use crate::train::Plain;

    fn data() -> Dataset {
        let row = |i: u64| {
            let mut features = Features::missing();
            features.set(Feature::SizeBucket, (i % 7) as f64);
            let seconds = [Some(((i % 7) as f64 - 10.0).exp2()), Some(1e-3)];
            Row::new(format!("k{}", i / 6), "f", i, features, seconds)
        };
        Dataset::from_rows((0..120).map(row).collect()).unwrap()
    }

    fn options(candidates: usize) -> SearchOptions {
        let base = TrainOptions { epochs: 6, hidden: vec![8, 8, 8], ..TrainOptions::default() };
        SearchOptions { base, candidates, folds: 1, limit: Duration::from_secs(600) }
    }

    #[test]
    fn rounds_shrink_and_the_winner_is_the_best_of_the_last() {
        let mut told = 0;
        let (winner, all) = search(&data(), &options(6), &Plain, &mut |_| told += 1).unwrap();
        assert_eq!((all.len(), told), (6 + 2, 6 + 2));
        assert_eq!(all[0].options, options(6).base, "the usual one takes part");
        let last = &all[6..];
        assert!(last.iter().all(|scored| scored.epochs > all[0].epochs));
        let best = last.iter().min_by(|a, b| a.nll.total_cmp(&b.nll)).unwrap();
        assert_eq!(winner, best.options);
        let again = search(&data(), &options(6), &Plain, &mut |_| {}).unwrap();
        assert_eq!(again.1, all, "the same seed finds the same");
    }

    #[test]
    fn candidates_differ_in_every_respect() {
        let (base, mut rng) = (TrainOptions::default(), Rng::new(1));
        let drawn: Vec<TrainOptions> = (0..200).map(|_| draw(&base, &mut rng)).collect();
        let kinds = |of: &dyn Fn(&TrainOptions) -> String| {
            drawn.iter().map(of).collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(kinds(&|drawn| drawn.hidden.len().to_string()), DEPTH_MAX);
        assert_eq!(kinds(&|drawn| drawn.hidden[0].to_string()), 5);
        assert_eq!(kinds(&|drawn| format!("{:?}", drawn.form)), 4);
        assert_eq!(kinds(&|drawn| format!("{:?}", drawn.dropout)), 4);
        assert_eq!(kinds(&|drawn| drawn.learning_rate.to_string()), 4);
        assert!(drawn.iter().all(|drawn| drawn.validate().is_ok()));
        assert_eq!(widths(64, 4, false), [64, 32, 16, 16]);
        assert_eq!(widths(64, 2, true), [64, 64]);
    }

    /// Splits in which the model is wrong by these.
    fn line(wrong: &[f64]) -> Line {
        let row = Row::new("k", "f", 1, Features::missing(), [Some(1.0), None]);
        let judged = |wrong: &f64| {
            judge(std::slice::from_ref(&row), |_| Prediction::new([*wrong; 2], [1.0; 2], 0.0))
        };
        Line { model: "m".to_owned(), seeds: wrong.iter().map(judged).collect() }
    }

    #[test]
    fn what_differs_by_less_than_its_noise_is_not_believed() {
        let usual = line(&[1.0, 1.0, 1.0, 1.0, 1.0]);
        assert!(!Gain::of(&usual, &line(&[0.2, 1.4, 0.9, 1.2, 1.1])).is_sure());
        assert!(Gain::of(&usual, &line(&[0.2, 0.4, 0.3, 0.2, 0.1])).is_sure());
    }

    #[test]
    fn no_time_left_gives_the_usual_network() {
        let options = SearchOptions { limit: Duration::ZERO, ..options(4) };
        let (winner, all) = search(&data(), &options, &Plain, &mut |_| {}).unwrap();
        assert_eq!((winner, all.len()), (options.base, 0));
    }
}
