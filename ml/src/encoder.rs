//! Features to network inputs.
//!
//! A feature's value is transformed as its line of the table says, a missing one is replaced by
//! the median of the training set, and one more input flags that it was missing. Two forms:
//!
//! ```text
//! plain       (x − mean) / scale                                    90 + 90 inputs
//! piecewise   how far x has come through each quantile bin, 0 … 1   90 · bins + 90 inputs
//! ```
//!
//! The second lets a small network see steps (a cache that is left, a wave that is full).
//!
//! What never varied in the training set has taught nothing, and its weights are still those that were
//! drawn: such an input is zero whatever the call. Else the first call on another machine, or under
//! another load, would be answered by noise.
//!
//! The same goes for what a machine can do: a training set has few machines, between which any curve fits, and
//! what a line through them says beyond them is noise. Such an input stays within what the set has: another
//! machine is taken for the nearest one that is known, and its own rates count by the roofline times alone.

use crate::error::Error;
use crate::features::{COUNT, Feature, Features, Group};
use serde::{Deserialize, Serialize};

/// Where a standardised input is cut: nothing beyond is a plausible machine.
const LIMIT: f32 = 6.0;

/// The form of the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputForm {
    /// One standardised number a feature.
    Plain,
    /// This many quantile bins a feature (2 to 32).
    Piecewise(usize),
}

/// How features become inputs; learned from the training set and kept in the weight file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Encoder {
    /// The median a feature, transformed: stands in for a missing value.
    pub median: Vec<f32>,
    /// The mean a feature, transformed.
    pub mean: Vec<f32>,
    /// The standard deviation a feature, transformed; [`f32::MAX`] where the feature never varies.
    pub scale: Vec<f32>,
    /// Whether a feature was missing in some rows and known in others.
    pub flagged: Vec<bool>,
    /// The least and the largest standardised value a feature; values beyond are taken for these.
    pub limits: Vec<[f32; 2]>,
    /// Piecewise: the edges of the bins, `bins + 1` a feature, ascending. Plain: empty.
    pub edges: Vec<Vec<f32>>,
}

impl Encoder {
    /// An encoder for these rows. A feature that is missing everywhere gets median 0.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if the number of bins is not 2 to 32.
    ///
    /// ```
    /// use crossover_ml::{Encoder, Error, Feature, Features, InputForm};
    /// let mut row = Features::missing();
    /// row.set(Feature::Items, 3.0);
    /// let encoder = Encoder::fit(&[row, Features::missing()], InputForm::Plain)?;
    /// assert_eq!(encoder.median[Feature::Items as usize], 2.0, "log2 of one more");
    /// assert!(encoder.flagged[Feature::Items as usize], "some rows lack it");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn fit<'a>(
        rows: impl IntoIterator<Item = &'a Features>,
        form: InputForm,
    ) -> Result<Encoder, Error> {
        let bins = match form {
            InputForm::Plain => 0,
            InputForm::Piecewise(bins @ 2..=32) => bins,
            InputForm::Piecewise(_) => return Err(Error::InvalidOption { name: "bins" }),
        };
        let rows: Vec<[f32; COUNT]> = rows.into_iter().map(Features::transformed).collect();
        let mut encoder = Encoder {
            median: Vec::with_capacity(COUNT),
            mean: Vec::with_capacity(COUNT),
            scale: Vec::with_capacity(COUNT),
            flagged: Vec::with_capacity(COUNT),
            limits: Vec::with_capacity(COUNT),
            edges: Vec::new(),
        };
        for feature in Feature::ALL {
            let column = rows.iter().map(|row| row[feature as usize]);
            let mut values: Vec<f32> = column.filter(|x| x.is_finite()).collect();
            values.sort_by(f32::total_cmp);
            let (mean, scale) = moments(&values);
            encoder.median.push(quantile(&values, 0.5));
            encoder.mean.push(mean);
            encoder.scale.push(scale);
            encoder.limits.push(limits(feature.info().group, &values, mean, scale));
            encoder.flagged.push(!values.is_empty() && values.len() < rows.len());
            if bins > 0 {
                let at = |bin: usize| quantile(&values, bin as f32 / bins as f32);
                encoder.edges.push((0..=bins).map(at).collect());
            }
        }
        Ok(encoder)
    }

    /// How many inputs a feature takes, without its flag.
    fn width(&self) -> usize {
        self.edges.first().map_or(1, |edges| edges.len() - 1)
    }

    /// How many inputs the network gets.
    ///
    /// ```
    /// use crossover_ml::{Encoder, Features, InputForm, features::COUNT};
    /// let count = |form| Encoder::fit(&[Features::missing()], form).map(|e| e.inputs_count());
    /// assert_eq!(count(InputForm::Plain)?, 2 * COUNT, "a value and a flag of each");
    /// assert_eq!(count(InputForm::Piecewise(4))?, 5 * COUNT);
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn inputs_count(&self) -> usize {
        COUNT * (self.width() + 1)
    }

    /// Writes the inputs for transformed features (NaN where missing).
    /// `inputs` must have [`Encoder::inputs_count`] places; more are left alone.
    ///
    /// ```
    /// use crossover_ml::{Encoder, Feature, Features, InputForm};
    /// let mut row = Features::missing();
    /// row.set(Feature::Items, 3.0);
    /// let encoder = Encoder::fit(&[row, Features::missing()], InputForm::Plain)?;
    /// let mut inputs = vec![0.0; encoder.inputs_count()];
    /// encoder.encode(&Features::missing().transformed(), &mut inputs);
    /// assert_eq!(inputs.iter().sum::<f32>(), 1.0, "one flag, and else what is usual");
    /// # Ok::<(), crossover_ml::Error>(())
    ///
    /// ```
    pub fn encode(&self, transformed: &[f32; COUNT], inputs: &mut [f32]) {
        let (values, flags) = inputs.split_at_mut(COUNT * self.width());
        for ((value, flag), flagged) in transformed.iter().zip(flags).zip(&self.flagged) {
            *flag = f32::from(u8::from(value.is_nan() && *flagged));
        }
        let present = |i: usize| {
            if transformed[i].is_nan() { self.median[i] } else { transformed[i] }
        };
        if self.edges.is_empty() {
            for (i, out) in values.iter_mut().enumerate() {
                *out = match self.scale[i] {
                    f32::MAX => 0.0,
                    scale => {
                        let [low, high] = self.limits[i];
                        ((present(i) - self.mean[i]) / scale).clamp(low, high)
                    }
                };
            }
        } else {
            for (i, out) in values.chunks_exact_mut(self.width()).enumerate() {
                let edges = &self.edges[i];
                let [first, .., last] = edges[..] else { continue };
                if first == last {
                    out.fill(0.0);
                    continue;
                }
                // Not beyond: a bin without a width at the end is one that no row of the set has come through.
                let x = present(i).clamp(first, last);
                for (out, edge) in out.iter_mut().zip(edges.windows(2)) {
                    *out = progress(x, edge[0], edge[1]);
                }
            }
        }
    }

    /// Whether the numbers are of the right count and can be computed with.
    pub(crate) fn is_valid(&self) -> bool {
        let right = |column: &[f32]| column.len() == COUNT && column.iter().all(|x| x.is_finite());
        let ascending = |edges: &Vec<f32>| {
            edges.len() == self.width() + 1
                && edges.len() >= 3
                && edges.len() <= 33
                && edges.iter().all(|x| x.is_finite())
                && edges.windows(2).all(|pair| pair[0] <= pair[1])
        };
        right(&self.median)
            && right(&self.mean)
            && right(&self.scale)
            && self.scale.iter().all(|&scale| scale > 0.0)
            && self.flagged.len() == COUNT
            && self.limits.len() == COUNT
            && self.limits.iter().all(|[low, high]| -LIMIT <= *low && low <= high && *high <= LIMIT)
            && (self.edges.is_empty()
                || (self.edges.len() == COUNT
                    && self.edges[0].len() >= 3
                    && self.edges.iter().all(ascending)))
    }
}

/// How far `x` has come from `low` to `high`: 0 below, 1 above.
fn progress(x: f32, low: f32, high: f32) -> f32 {
    if x >= high {
        f32::from(u8::from(x > low || high > low))
    } else if x <= low {
        0.0
    } else {
        (x - low) / (high - low)
    }
}

/// Mean and standard deviation; the latter beyond all values where nothing varies.
fn moments(values: &[f32]) -> (f32, f32) {
    if values.is_empty() {
        return (0.0, f32::MAX);
    }
    let count = values.len() as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let scale = variance.sqrt() as f32;
    (mean as f32, if scale > 1e-6 { scale } else { f32::MAX })
}

/// Between what the standardised values of a feature are held.
fn limits(group: Group, sorted: &[f32], mean: f32, scale: f32) -> [f32; 2] {
    match (group, sorted) {
        (Group::Device, [low, .., high]) => {
            [*low, *high].map(|x| ((x - mean) / scale).clamp(-LIMIT, LIMIT))
        }
        _ => [-LIMIT, LIMIT],
    }
}

/// The value at share `q` of the sorted values; 0 if there are none.
fn quantile(sorted: &[f32], q: f32) -> f32 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((q * last as f32).round() as usize).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Features> {
        let row = |i: usize| {
            let mut features = Features::missing();
            features.set(Feature::SizeBucket, i as f64);
            features
        };
        (0..101).map(row).collect()
    }

    #[test]
    fn plain_inputs_are_standardised_and_missing_ones_flagged() {
        let encoder = Encoder::fit(&rows(), InputForm::Plain).unwrap();
        assert!(encoder.is_valid());
        let at = Feature::SizeBucket as usize;
        let present = rows()[50].encode(&encoder);
        assert_eq!((present[at], present[COUNT + at]), (0.0, 0.0));
        let missing = Features::missing().encode(&encoder);
        assert_eq!((missing[at], missing[COUNT + at]), (0.0, 0.0), "it never was in the set");
        let some = [rows(), vec![Features::missing()]].concat();
        let encoder = Encoder::fit(&some, InputForm::Plain).unwrap();
        let missing = Features::missing().encode(&encoder);
        assert_eq!((missing[at], missing[COUNT + at]), (0.0, 1.0));
        assert!(rows()[100].encode(&encoder)[at] > 1.5);
    }

    #[test]
    fn piecewise_inputs_fill_bin_after_bin() {
        let encoder = Encoder::fit(&rows(), InputForm::Piecewise(4)).unwrap();
        assert!(encoder.is_valid());
        assert_eq!(encoder.inputs_count(), COUNT * 5);
        let at = Feature::SizeBucket as usize * 4;
        let inputs = rows()[30].encode(&encoder);
        assert_eq!(inputs[at..at + 4], [1.0, 0.2, 0.0, 0.0]);
    }

    #[test]
    fn what_never_varied_says_nothing() {
        let mut same = rows();
        same.iter_mut().for_each(|row| row.set(Feature::Cores, 2.0));
        let mut other = same[50];
        other.set(Feature::Cores, 128.0);
        other.set(Feature::OnBattery, 1.0);
        for form in [InputForm::Plain, InputForm::Piecewise(4)] {
            let encoder = Encoder::fit(&same, form).unwrap();
            assert_eq!(other.encode(&encoder), same[50].encode(&encoder), "{form:?}");
        }
    }

    #[test]
    fn a_machine_unlike_all_others_is_taken_for_the_nearest() {
        let mut some = rows();
        for (row, gflops) in some.iter_mut().zip([60.0, 70.0].into_iter().cycle()) {
            row.set(Feature::CpuGflops, gflops);
        }
        for form in [InputForm::Plain, InputForm::Piecewise(4)] {
            let encoder = Encoder::fit(&some, form).unwrap();
            assert!(encoder.is_valid());
            let with = |gflops: f64, bucket: f64| {
                let mut row = some[51];
                row.set(Feature::CpuGflops, gflops);
                row.set(Feature::SizeBucket, bucket);
                row.encode(&encoder)
            };
            assert_eq!(with(9000.0, 50.0), with(70.0, 50.0), "{form:?}");
            assert_eq!(with(1.0, 50.0), with(60.0, 50.0), "{form:?}");
            assert_ne!(with(65.0, 50.0), with(60.0, 50.0), "{form:?}");
            if form == InputForm::Plain {
                assert_ne!(with(65.0, 100.0), with(65.0, 120.0), "of sizes a line knows more");
            }
        }
    }

    #[test]
    fn nothing_to_fit_on_still_gives_finite_inputs() {
        let encoder = Encoder::fit(&[], InputForm::Piecewise(3)).unwrap();
        assert!(Features::missing().encode(&encoder).iter().all(|x| x.is_finite()));
        assert!(Encoder::fit(&[], InputForm::Piecewise(1)).is_err());
    }
}
