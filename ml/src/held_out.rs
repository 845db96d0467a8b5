//! How far a model is to be believed: what it says of kernels that it was not trained on, held against what was
//! found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// Errors beyond this count as this, in log2: one kernel that nobody understands is not to widen all.
const ERROR_MAX: f64 = 2.0;

/// Parts into which kernels are cut.
pub(crate) const FOLDS: usize = 5;

/// The fold of each row, by the kernels of the rows: these are never cut.
pub(crate) fn folds<'k>(kernels: impl Iterator<Item = &'k str> + Clone, seed: u64) -> Vec<usize> {
    let mut names: Vec<&str> = kernels.clone().collect();
    names.sort_unstable();
    names.dedup();
    Rng::new(seed ^ 0xf01d).shuffle(&mut names);
    let fold: BTreeMap<&str, usize> = names.into_iter().zip((0..FOLDS).cycle()).collect();
    kernels.map(|kernel| fold[kernel]).collect()
}

/// What remained, in the unit of what is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Belief {
    /// Kernels that it is from. Each counts once.
    pub kernels: usize,
    /// What was found on average.
    pub mean: f64,
    /// How much of what the model says beyond the mean is believed: the share that was found.
    pub trust: f64,
    /// Root of the mean squared error.
    pub sd: f64,
    /// Half of the errors are no larger.
    pub typical: f64,
    /// `sd` of a model that always says the mean.
    pub sd_of_mean: f64,
}

impl Belief {
    /// From pairs of what was said and what was found, with the kernel of each.
    pub(crate) fn of<'k>(pairs: impl Iterator<Item = (&'k str, [f64; 2])>) -> Belief {
        let mut kernels: BTreeMap<&str, Vec<[f64; 2]>> = BTreeMap::new();
        pairs.for_each(|(kernel, pair)| kernels.entry(kernel).or_default().push(pair));
        let weighted = |f: &dyn Fn([f64; 2]) -> f64| -> f64 {
            let each = kernels
                .values()
                .map(|pairs| pairs.iter().map(|pair| f(*pair)).sum::<f64>() / pairs.len() as f64);
            each.sum::<f64>() / kernels.len().max(1) as f64
        };
        let mean = weighted(&|[_, found]| found);
        let spread = weighted(&|[said, _]| (said - mean).powi(2));
        let together = weighted(&|[said, found]| (said - mean) * (found - mean));
        let trust = if spread > 1e-12 { (together / spread).clamp(0.0, 1.0) } else { 0.0 };
        let squared = |trust: f64| {
            weighted(&|[said, found]| {
                (found - mean - trust * (said - mean)).clamp(-ERROR_MAX, ERROR_MAX).powi(2)
            })
        };
        let mut errors: Vec<f64> = kernels
            .values()
            .map(|pairs| {
                let error = |[said, found]: &[f64; 2]| (found - mean - trust * (said - mean)).abs();
                pairs.iter().map(error).sum::<f64>() / pairs.len() as f64
            })
            .collect();
        errors.sort_by(f64::total_cmp);
        Belief {
            kernels: kernels.len(),
            mean,
            trust,
            sd: squared(trust).sqrt(),
            typical: errors.get(errors.len() / 2).copied().unwrap_or(0.0),
            sd_of_mean: squared(0.0).sqrt(),
        }
    }

    /// What is believed where the model says this.
    pub(crate) fn believed(&self, said: f64) -> f64 {
        self.mean + self.trust * (said - self.mean)
    }

    /// Whether it can be computed with.
    pub(crate) fn is_valid(&self) -> bool {
        let all = [self.mean, self.trust, self.sd, self.typical];
        all.iter().all(|x| x.is_finite()) && self.sd >= 0.0 && self.typical >= 0.0
    }
}
