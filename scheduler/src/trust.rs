//! How far the model is believed of kernels that have not run yet: a gate for each GPU, beside which the CPU is seen.

use std::sync::{Mutex, PoisonError};

use crossover_ml::{CostModel, Features, Gate, Prediction, Roofline, Trust};

use crate::device::Device;

/// What is said of a call before anything is known of its kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opinions {
    model: Prediction,
    flat: Prediction,
    /// How the two were weighed.
    pub(crate) trust: Trust,
}

impl Opinions {
    pub(crate) fn of(model: &impl CostModel, features: &Features, trust: Trust) -> Opinions {
        let flat = Roofline::default().predict(features);
        Opinions { model: model.predict(features), flat, trust }
    }

    pub(crate) fn prior(&self) -> Prediction {
        self.trust.prior(&self.model, &self.flat)
    }
}

/// The gates of a runtime.
#[derive(Debug)]
pub(crate) struct Gates(Box<[Mutex<Gate>]>);

impl Gates {
    /// For so many GPUs. Without any the CPU has one.
    pub(crate) fn new(gpus: usize) -> Gates {
        Gates((0..gpus.max(1)).map(|_| Mutex::default()).collect())
    }

    /// What is believed now.
    pub(crate) fn trust(&self, adapter: usize) -> Trust {
        self.with(adapter, |gate| gate.trust()).unwrap_or_default()
    }

    /// A kernel has run on a device for the first time.
    pub(crate) fn sight(&self, adapter: usize, said: &Opinions, device: Device, run_s: f64) {
        let log2_s = run_s.max(1e-9).log2();
        self.with(adapter, |gate| gate.sight(&said.model, &said.flat, device.side(), log2_s));
    }

    fn with<T>(&self, adapter: usize, f: impl FnOnce(&mut Gate) -> T) -> Option<T> {
        let gate = self.0.get(adapter)?;
        Some(f(&mut gate.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}
