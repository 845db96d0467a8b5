//! Several networks as one model: their disagreement is the sign that a call is unlike the training set.

use crate::features::Features;
use crate::network::{Network, Scratch, with_scratch};
use crate::prediction::{CostModel, Prediction};

/// Networks whose predictions are moment-matched to one Gaussian. Without any member it says
/// what the roofline says, vaguely: a machine without a shipped model starts like that.
#[derive(Clone, Debug, Default)]
pub struct Ensemble {
    members: Vec<Network>,
    before: crate::baseline::Roofline,
}

impl Ensemble {
    /// An ensemble of these networks.
    ///
    /// ```
    /// use crossover_ml::{CostModel, Ensemble, Features};
    /// let untrained = Ensemble::new(Vec::new());
    /// let [cpu, _] = untrained.predict(&Features::missing()).mean;
    /// assert!(cpu.is_finite(), "it answers all the same");
    /// ```
    #[must_use]
    pub fn new(members: Vec<Network>) -> Ensemble {
        Ensemble { members, ..Ensemble::default() }
    }

    /// The networks.
    ///
    /// ```
    /// assert!(crossover_ml::Ensemble::default().members().is_empty());
    /// ```
    #[must_use]
    pub fn members(&self) -> &[Network] {
        &self.members
    }

    /// The prediction for a call. Nothing is allocated once `scratch` has been used.
    ///
    /// ```
    /// use crossover_ml::{CostModel, Ensemble, Features, Scratch};
    /// let (model, mut scratch) = (Ensemble::default(), Scratch::default());
    /// let call = Features::missing();
    /// assert_eq!(model.predict_with(&call, &mut scratch), model.predict(&call));
    /// ```
    #[must_use]
    pub fn predict_with(&self, features: &Features, scratch: &mut Scratch) -> Prediction {
        if self.members.is_empty() {
            return self.before.predict(features);
        }
        let transformed = features.transformed();
        Prediction::mixture(
            self.members
                .iter()
                .map(|member| member.predict_transformed(features, &transformed, scratch)),
        )
    }
}

impl CostModel for Ensemble {
    fn predict(&self, features: &Features) -> Prediction {
        with_scratch(|scratch| self.predict_with(features, scratch))
    }

    fn name(&self) -> &'static str {
        "ensemble"
    }
}
