//! How to train.

use crate::encoder::InputForm;
use crate::error::Error;
use crate::network::{HIDDEN, is_shape};

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// Decides weights, batches, dropout and which kernels are held out.
    pub seed: u64,
    /// How often as many rows are drawn as there are.
    pub epochs: usize,
    /// Rows a step (at least 2).
    pub batch: usize,
    /// Adam's first learning rate; it falls to a twentieth along a cosine.
    pub learning_rate: f64,
    /// Share of a weight that is taken away a step, times the learning rate.
    pub weight_decay: f64,
    /// Widths of the hidden layers, from the inputs to the heads: as many layers as there are widths.
    pub hidden: Vec<usize>,
    /// The form of the inputs; an ensemble gives every second member the other form.
    pub form: InputForm,
    /// Share of the kernels that is held out (0 … 0.9).
    pub held_out: f64,
    /// Share of the first and of the last hidden layer that a step leaves out (0 … 0.9); between them it
    /// goes along a line.
    pub dropout: [f32; 2],
}

impl Default for TrainOptions {
    fn default() -> Self {
        TrainOptions {
            seed: 0,
            epochs: 60,
            batch: 64,
            learning_rate: 2e-3,
            weight_decay: 1e-2,
            hidden: HIDDEN.to_vec(),
            form: InputForm::Plain,
            held_out: 0.2,
            dropout: [0.3, 0.1],
        }
    }
}

impl TrainOptions {
    /// The learning rate when this share of training is done: a cosine down to a twentieth.
    ///
    /// ```
    /// use crossover_ml::TrainOptions;
    /// let options = TrainOptions { learning_rate: 1e-3, ..TrainOptions::default() };
    /// assert_eq!(options.rate_at(0.0), 1e-3);
    /// assert!((options.rate_at(1.0) - 1e-3 / 20.0).abs() < 1e-12);
    /// ```
    #[must_use]
    pub fn rate_at(&self, done: f64) -> f64 {
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        self.learning_rate * (0.05 + 0.95 * cosine)
    }

    /// The share that a step leaves out of each hidden layer.
    ///
    /// ```
    /// use crossover_ml::TrainOptions;
    /// let (hidden, dropout) = (vec![64; 3], [0.5, 0.25]);
    /// let options = TrainOptions { hidden, dropout, ..TrainOptions::default() };
    /// assert_eq!(options.dropouts(), [0.5, 0.375, 0.25]);
    /// ```
    #[must_use]
    pub fn dropouts(&self) -> Vec<f32> {
        let [first, last] = self.dropout;
        let steps = self.hidden.len().saturating_sub(1).max(1) as f32;
        (0..self.hidden.len()).map(|at| first + (last - first) * (at as f32 / steps)).collect()
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] that names the option.
    ///
    /// ```
    /// use crossover_ml::TrainOptions;
    /// assert!(TrainOptions::default().validate().is_ok());
    /// assert!(TrainOptions { batch: 1, ..TrainOptions::default() }.validate().is_err());
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let name = if self.epochs == 0 {
            "epochs"
        } else if self.batch < 2 {
            "batch"
        } else if !positive(self.learning_rate) {
            "learning_rate"
        } else if !(0.0..1.0).contains(&self.weight_decay) {
            "weight_decay"
        } else if !(0.0..=0.9).contains(&self.held_out) {
            "held_out"
        } else if !is_shape(&self.hidden) {
            "hidden"
        } else if !self.dropout.iter().all(|share| (0.0..=0.9).contains(share)) {
            "dropout"
        } else {
            return Ok(());
        };
        Err(Error::InvalidOption { name })
    }
}
