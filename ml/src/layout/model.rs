//! What each layout of a kernel is expected to be worth, learned from rows of [`super::Layouts`].
//!
//! ```text
//! Features, Outline, default, layout ─→ boosted trees ─→ log2 of its speed over the default's ─┐
//!                                    ─→ regression    ─→ seconds of making its code            ├─→ Expected
//! ```
//!
//! Trees are better than straight lines here, since what decides are products and thresholds: how many registers so
//! many groups hold. What they say is held against kernels that they were not trained on, as
//! [`crate::speedups`] does.

use serde::{Deserialize, Serialize};

use super::inputs::{self, COUNT, OTHERS, SIZES};
use super::{Layout, Layouts, Outline};
use crate::dataset::{Dataset, Row};
use crate::error::Error;
use crate::features::Features;
use crate::held_out::{Belief, FOLDS, folds};
use crate::linear::Regression;
use crate::train::ROWS_MIN;
use crate::trees::{Growth, Trees};
use crate::weights;

/// The version of what a file holds.
pub(super) const VERSION: u32 = 1;

/// The key of a file of this kind.
const KEY: &str = "crossover-layouts";

/// log2 of speed-ups beyond this count as this: what is a hopeless layout need not be known exactly.
const LOG2_MAX: f64 = 2.0;

/// The price of a squared weight in the regression, in squared errors.
const PENALTY: f64 = 2.0;

/// The standard deviation of normal errors of which half are below 1: most kernels are understood far better than the
/// few that make the standard deviation of all.
const TYPICAL_SD: f64 = 1.48;

/// How to train.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides what trees see, and folds.
    pub seed: u64,
    /// Sums of trees, whose mean counts.
    pub members: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { seed: 1, members: 3 }
    }
}

/// What is expected of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Which.
    pub layout: Layout,
    /// log2 of its speed over that of the default.
    pub log2: f64,
    /// The standard deviation of that.
    pub sd: f64,
    /// Seconds of making its code.
    pub code_s: f64,
}

impl Expected {
    /// log2 of the speed that trying it is expected to gain over what runs at `present` (log2 over the default): it
    /// is taken only where it turns out to be faster.
    ///
    /// ```
    /// use crossover_ml::layout::{Expected, Layout};
    /// let expected =
    ///     |log2, sd| Expected { layout: Layout::default(), log2, sd, code_s: 1e-3 };
    /// assert!((expected(0.5, 1e-6).gain(0.0) - 0.5).abs() < 1e-3);
    /// assert!(expected(0.0, 0.2).gain(0.0) > 0.05, "it may be faster");
    /// assert!(expected(-0.5, 0.1).gain(0.0) < 1e-3);
    /// ```
    #[must_use]
    pub fn gain(&self, present: f64) -> f64 {
        let (ahead, sd) = (self.log2 - present, self.sd.max(1e-9));
        let z = ahead / sd;
        let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
        (ahead * crate::prediction::normal_cdf(z) + sd * density).max(0.0)
    }
}

/// What choosing by the model was worth on kernels held out: speed over the default's, geometric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    /// Rows.
    pub rows: usize,
    /// Of the layout that the model likes best, if any better than the default.
    pub first: f64,
    /// Of the fastest of the default and the three that it likes best.
    pub of_three: f64,
    /// Of the fastest of all that were measured.
    pub best: f64,
    /// The same as `first` of a regression on the same numbers.
    pub by_regression: f64,
}

/// What is learned of layouts.
#[derive(Clone, Debug, PartialEq)]
pub struct LayoutModel {
    members: Vec<Trees>,
    more: More,
}

/// What a file holds beside trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct More {
    version: u32,
    /// Numbers that trees are told, and how many trees each member has.
    inputs: usize,
    trees: usize,
    belief: Belief,
    judged: Judged,
    code: Regression,
    /// Standard deviation of `code` on kernels held out, in log2.
    code_sd: f64,
    dataset_hash: String,
}

impl LayoutModel {
    /// What is expected of layouts of a kernel in a call, the most promising first.
    #[must_use]
    pub fn forecast(
        &self,
        features: &Features,
        outline: &Outline,
        default: Layout,
        layouts: impl IntoIterator<Item = Layout>,
    ) -> Vec<Expected> {
        let of = |layout: Layout| {
            let x = inputs::of(features, outline, default, layout);
            let said: Vec<f64> = self.members.iter().map(|trees| trees.predict(&x)).collect();
            let count = said.len().max(1) as f64;
            let mean = said.iter().sum::<f64>() / count;
            let apart = said.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / count;
            let Belief { trust, typical, .. } = self.more.belief;
            Expected {
                layout,
                log2: self.more.belief.believed(mean),
                sd: ((TYPICAL_SD * typical).powi(2) + trust.powi(2) * apart).sqrt(),
                code_s: self.more.code.predict(&inputs::sizes(outline, layout)).exp2(),
            }
        };
        let others = layouts.into_iter().filter(|layout| *layout != default);
        let mut all: Vec<Expected> = others.map(of).collect();
        all.sort_by(|a, b| b.log2.total_cmp(&a.log2).then(a.layout.cmp(&b.layout)));
        all
    }

    /// How far it is believed.
    #[must_use]
    pub fn belief(&self) -> &Belief {
        &self.more.belief
    }

    /// What choosing by it was worth on kernels held out.
    #[must_use]
    pub fn judged(&self) -> &Judged {
        &self.more.judged
    }

    /// Standard deviation of the predicted time of making code on kernels held out, in log2.
    #[must_use]
    pub fn code_sd(&self) -> f64 {
        self.more.code_sd
    }

    /// The file of it.
    ///
    /// # Errors
    /// [`Error::Weights`] if the format cannot hold it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let more = serde_json::to_value(&self.more)
            .map_err(|error| weights::unreadable(&error.to_string()))?;
        let members = self.members.iter().enumerate();
        let tensors = members.flat_map(|(at, trees)| trees.tensors(&format!("trees{at}.")));
        weights::pack(KEY, &[], tensors.collect(), Some(more))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// One that is damaged, of another kind, version or feature table.
    pub fn from_bytes(bytes: &[u8]) -> Result<LayoutModel, Error> {
        let (_, more) = weights::unpack(KEY, bytes)?;
        let more = more.ok_or_else(|| weights::unreadable("no layouts"))?;
        let version = more.get("version").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(VERSION)) {
            let what = format!("layouts of a version that is not {VERSION}");
            return Err(weights::unreadable(&what));
        }
        let more: More = serde_json::from_value(more)
            .map_err(|error| weights::unreadable(&error.to_string()))?;
        if more.inputs != COUNT || !more.belief.is_valid() || !more.code.is_of(SIZES) {
            return Err(weights::unreadable("numbers that are missing or not finite"));
        }
        let member = |at: usize| {
            Trees::from_tensors(COUNT, more.trees, |name, shape| {
                weights::tensor(bytes, &format!("trees{at}.{name}"), shape)
            })
        };
        let mut members = vec![member(0)?];
        while let Ok(trees) = member(members.len()) {
            members.push(trees);
        }
        Ok(LayoutModel { members, more })
    }
}

/// The examples of a row: what the model is told of each of its layouts, and log2 of what was found.
struct Examples<'r> {
    row: &'r Row,
    layouts: &'r Layouts,
    inputs: Vec<Vec<f32>>,
    found: Vec<f64>,
}

impl Examples<'_> {
    fn of(row: &Row) -> Option<Examples<'_>> {
        let layouts = row.layouts.as_ref().filter(|layouts| !layouts.others.is_empty())?;
        let Layouts { outline, default, others, .. } = layouts;
        let inputs = others.iter().map(|o| inputs::of(&row.features, outline, *default, o.layout));
        let found = others.iter().map(|o| o.speedup.log2().clamp(-LOG2_MAX, LOG2_MAX));
        Some(Examples { row, layouts, inputs: inputs.collect(), found: found.collect() })
    }
}

/// Trains on the rows that say what layouts take.
///
/// # Errors
/// [`Error::TooFewRows`].
pub fn train(data: &Dataset, options: &Options) -> Result<LayoutModel, Error> {
    let rows: Vec<Examples<'_>> = data.rows().iter().filter_map(Examples::of).collect();
    let few = Error::TooFewRows { found: rows.len(), needed: ROWS_MIN };
    if rows.len() < ROWS_MIN {
        return Err(few);
    }
    let folds = folds(rows.iter().map(|row| row.row.kernel.as_str()), options.seed);
    let (mut said, mut by_line) = (vec![Vec::new(); rows.len()], vec![Vec::new(); rows.len()]);
    let (mut squares, mut count) = (0.0, 0.0);
    for fold in 0..FOLDS {
        let kept: Vec<&Examples<'_>> =
            rows.iter().zip(&folds).filter(|(_, of)| **of != fold).map(|(row, _)| row).collect();
        let trees = members(&kept, options);
        let (line, Some(code)) = (regression(&kept), code(&kept)) else { return Err(few) };
        for (at, row) in rows.iter().enumerate().filter(|(at, _)| folds[*at] == fold) {
            let mean = |x: &Vec<f32>| {
                trees.iter().map(|trees| trees.predict(x)).sum::<f64>() / trees.len() as f64
            };
            said[at] = row.inputs.iter().map(mean).collect();
            by_line[at] = row.inputs.iter().map(|x| line.predict(&wide(x))).collect();
            for (sizes, seconds) in costs(row) {
                squares += (code.predict(&sizes) - seconds.log2()).powi(2);
                count += 1.0;
            }
        }
    }
    let pairs = rows.iter().zip(&said).flat_map(|(row, said)| {
        let pairs = said.iter().zip(&row.found);
        pairs.map(|(said, found)| (row.row.kernel.as_str(), [*said, *found]))
    });
    let belief = Belief::of(pairs);
    let judged = judge(&rows, &said, &by_line, &belief);
    let all: Vec<&Examples<'_>> = rows.iter().collect();
    let members = members(&all, options);
    let more = More {
        version: VERSION,
        inputs: COUNT,
        trees: members.first().map_or(0, Trees::count),
        belief,
        judged,
        code: code(&all).ok_or(few)?,
        code_sd: (squares / f64::max(count, 1.0)).sqrt(),
        dataset_hash: data.hash(),
    };
    Ok(LayoutModel { members, more })
}

/// Sums of trees, each of another seed. A row counts once, however many layouts it has.
fn members(rows: &[&Examples<'_>], options: &Options) -> Vec<Trees> {
    let examples: Vec<Vec<f32>> = rows.iter().flat_map(|row| row.inputs.clone()).collect();
    let wanted: Vec<f64> = rows.iter().flat_map(|row| row.found.clone()).collect();
    let weights: Vec<f64> = vec![1.0; wanted.len()];
    let seeds = (0..options.members.max(1) as u64).map(|member| options.seed + 1000 * member);
    seeds.map(|seed| Trees::grow(&examples, &wanted, &weights, &Growth::default(), seed)).collect()
}

/// What a regression is told: the numbers, and those of the kernel by how the layout differs from the default.
fn wide(x: &[f32]) -> Vec<f64> {
    let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    let layout = &x[COUNT - OTHERS..];
    let ways = [f64::from(u8::from(layout[0] == 0.0)), layout[7].max(-1.0), layout[8]];
    let crossed = ways.iter().flat_map(|way| x.iter().map(move |x| way * x));
    x.iter().copied().chain(crossed).collect()
}

fn regression(rows: &[&Examples<'_>]) -> Regression {
    let examples: Vec<Vec<f64>> =
        rows.iter().flat_map(|row| row.inputs.iter().map(|x| wide(x))).collect();
    let wanted: Vec<f64> = rows.iter().flat_map(|row| row.found.clone()).collect();
    Regression::fit(&examples, &wanted, 10.0).expect("there are rows, all alike")
}

/// What making code took, layout by layout.
fn costs<'r>(row: &'r Examples<'_>) -> impl Iterator<Item = (Vec<f64>, f64)> + 'r {
    let Layouts { outline, default, code_s, others } = row.layouts;
    let others = others.iter().map(|other| (other.layout, other.code_s));
    let all = std::iter::once((*default, *code_s)).chain(others);
    all.map(|(layout, seconds)| (inputs::sizes(outline, layout), seconds))
}

fn code(rows: &[&Examples<'_>]) -> Option<Regression> {
    let pairs = rows.iter().flat_map(|row| costs(row).map(|(x, seconds)| (x, seconds.log2())));
    let (examples, targets): (Vec<_>, Vec<_>) = pairs.unzip();
    Regression::fit(&examples, &targets, PENALTY)
}

fn judge(
    rows: &[Examples<'_>],
    said: &[Vec<f64>],
    by_line: &[Vec<f64>],
    belief: &Belief,
) -> Judged {
    let mean = |of: &dyn Fn(usize) -> f64| {
        ((0..rows.len()).map(of).sum::<f64>() / rows.len().max(1) as f64).exp2()
    };
    // Of so many that are liked best and better than the default, the fastest; the default is among them unless
    // there is but one.
    let of_most = |count: usize, said: &[f64], found: &[f64]| {
        let mut order: Vec<usize> = (0..said.len()).filter(|at| said[*at] > 0.0).collect();
        order.sort_by(|a, b| said[*b].total_cmp(&said[*a]));
        let found = order.iter().take(count).map(|at| found[*at]);
        let best = found.fold(f64::NEG_INFINITY, f64::max);
        match count {
            1 if best > f64::NEG_INFINITY => best,
            _ => best.max(0.0),
        }
    };
    let believed =
        |at: usize| -> Vec<f64> { said[at].iter().map(|said| belief.believed(*said)).collect() };
    Judged {
        rows: rows.len(),
        first: mean(&|at| of_most(1, &believed(at), &rows[at].found)),
        of_three: mean(&|at| of_most(3, &believed(at), &rows[at].found)),
        best: mean(&|at| rows[at].found.iter().copied().fold(0.0, f64::max)),
        by_regression: mean(&|at| of_most(1, &by_line[at], &rows[at].found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Feature;
    use crate::layout::LaidOut;
    use crate::rng::Rng;

    fn layout(vectors: u8) -> Layout {
        Layout { vectors, rows: 1, unroll: 1, depth: 0 }
    }

    /// Kernels for which four groups are 1.5 times as fast as one where they hold little, and half as fast where
    /// they hold much; single invocations are a quarter as fast.
    fn rows(kernels: usize) -> Vec<Row> {
        let mut rng = Rng::new(5);
        let row = |at: usize| {
            let held = (at % 9) as f64;
            let mut features = Features::missing();
            features.set(Feature::LiveValues, 3.0 + (at % 7) as f64);
            let mut row = Row::new(format!("k{at}"), "f", 1, features, [Some(1e-4), None]);
            let four = if held < 5.0 { 1.5 } else { 0.5 };
            let mut other = |vectors: u8, speedup: f64| LaidOut {
                layout: layout(vectors),
                speedup: speedup * (0.03 * rng.normal()).exp2(),
                code_s: 1e-3 * f64::from(vectors.max(1)),
            };
            row.layouts = Some(Layouts {
                outline: Outline { instructions: 40.0, held, ..Outline::default() },
                default: layout(1),
                code_s: 1e-3,
                others: vec![other(0, 0.25), other(4, four)],
            });
            row
        };
        (0..kernels).map(row).collect()
    }

    fn trained() -> LayoutModel {
        let data = Dataset::from_rows(rows(300)).expect("rows");
        train(&data, &Options::default()).expect("enough rows")
    }

    fn asked(model: &LayoutModel, held: f64) -> Vec<Expected> {
        let outline = Outline { instructions: 40.0, held, ..Outline::default() };
        let all = [layout(1), layout(0), layout(4)];
        model.forecast(&Features::missing(), &outline, layout(1), all)
    }

    #[test]
    fn what_was_measured_is_expected_with_the_best_first() {
        let model = trained();
        let [little, much] = [2.0, 7.0].map(|held| asked(&model, held));
        assert_eq!(little.len(), 2, "the default is not among them");
        assert_eq!((little[0].layout, much[1].layout), (layout(4), layout(0)));
        assert!((little[0].log2 - 1.5f64.log2()).abs() < 0.15, "{little:?}");
        assert!((much[0].log2 + 1.0).abs() < 0.25, "{much:?}");
        assert!(little[0].gain(0.0) > 0.4 && much[0].gain(0.0) < 0.01, "{little:?} {much:?}");
        assert!((little[0].code_s / 4e-3 - 1.0).abs() < 0.2, "{little:?}");
        let judged = model.judged();
        assert!(judged.first > 0.97 * judged.best && judged.best > 1.2, "{judged:?}");
        assert!(model.belief().sd < 0.5 * model.belief().sd_of_mean);
        assert!(model.code_sd() < 0.1);
    }

    #[test]
    fn the_file_holds_it_and_others_are_refused() {
        let model = trained();
        let bytes = model.to_bytes().expect("a file");
        assert_eq!(LayoutModel::from_bytes(&bytes).expect("just written"), model);
        assert_eq!(trained().to_bytes().expect("a file"), bytes, "the seed decides all");
        assert!(crate::speedups::Speedups::from_bytes(&bytes).is_err(), "it is of another kind");
        for length in [0, 9, bytes.len() / 2, bytes.len() - 1] {
            assert!(LayoutModel::from_bytes(&bytes[..length]).is_err(), "cut at {length}");
        }
        let mut changed = model.clone();
        changed.more.version += 1;
        let other = changed.to_bytes().expect("a file");
        assert!(matches!(LayoutModel::from_bytes(&other), Err(Error::WeightsMetadata { .. })));
        let mut changed = model;
        changed.more.trees += 1;
        let other = changed.to_bytes().expect("a file");
        assert!(matches!(LayoutModel::from_bytes(&other), Err(Error::WeightsTensor { .. })));
    }

    #[test]
    fn rows_that_say_nothing_of_layouts_are_too_few() {
        let mut all = rows(40);
        all.iter_mut().for_each(|row| row.layouts = None);
        let data = Dataset::from_rows(all).expect("rows");
        let trained = train(&data, &Options::default());
        assert!(matches!(trained, Err(Error::TooFewRows { found: 0, .. })));
    }
}
