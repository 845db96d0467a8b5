//! Intervals of ratios of medians, by drawing repetitions again: the percentile bootstrap (Efron, 1979).

use crossover::kernels::random::Random;
use serde::Serialize;

use crate::runner::median;

/// Draws.
const DRAWS: usize = 2000;

/// Fewer repetitions tell nothing of how they scatter.
const SAMPLES_MIN: usize = 3;

/// Always the same, so that a comparison says the same again.
const SEED: u64 = 0x0b00_757a;

/// Where a number lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Where the median of `after` over that of `before` lies, with such a confidence; `None` where there are too
/// few repetitions.
pub(crate) fn ratio_of_medians(before: &[f64], after: &[f64], confidence: f64) -> Option<Interval> {
    if before.len() < SAMPLES_MIN || after.len() < SAMPLES_MIN {
        return None;
    }
    let mut rng = Random::new(SEED);
    let mut draw = |samples: &[f64]| {
        let drawn: Vec<f64> = samples.iter().map(|_| samples[rng.below(samples.len())]).collect();
        median(&drawn).unwrap_or(f64::NAN)
    };
    let mut ratios: Vec<f64> = (0..DRAWS).map(|_| draw(after) / draw(before)).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| ratios[((DRAWS as f64 * share) as usize).min(DRAWS - 1)];
    let outside = (1.0 - confidence) / 2.0;
    Some(Interval { low: at(outside), high: at(1.0 - outside) })
}

#[cfg(test)]
mod tests {
    use super::ratio_of_medians;
    use crossover::kernels::random::Random;

    /// Repetitions that scatter by a tenth.
    fn samples(rng: &mut Random, seconds: f64) -> Vec<f64> {
        (0..15).map(|_| seconds * (1.0 + 0.1 * rng.below(1000) as f64 / 1000.0)).collect()
    }

    #[test]
    fn the_interval_holds_the_ratio_as_often_as_it_says() {
        let mut rng = Random::new(5);
        let mut held = 0;
        for _ in 0..300 {
            let (before, after) = (samples(&mut rng, 1.0), samples(&mut rng, 1.3));
            let found = ratio_of_medians(&before, &after, 0.95).expect("enough repetitions");
            held += usize::from((found.low..=found.high).contains(&1.3));
        }
        assert!((276..=300).contains(&held), "{held} of 300");
    }

    #[test]
    fn few_repetitions_give_no_interval() {
        assert_eq!(ratio_of_medians(&[1.0, 1.0], &[1.0; 9], 0.95), None);
    }
}
