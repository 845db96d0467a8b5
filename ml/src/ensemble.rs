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
    #[must_use]
    pub fn new(members: Vec<Network>) -> Ensemble {
        Ensemble { members, ..Ensemble::default() }
    }

    /// The networks.
    #[must_use]
    pub fn members(&self) -> &[Network] {
        &self.members
    }

    /// The prediction for a call. Nothing is allocated once `scratch` has been used.
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
