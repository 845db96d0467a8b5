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

/// Runs of a kernel on a device of which the gate is told the best: what is met at first is cold, and on a GPU it may be
/// code that checks what later code does not.
const RUNS: u32 = 3;

/// What the first runs of a kernel on a device have shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sighting {
    runs: u32,
    /// The run that took the least of what the model said: that, and log2 of its seconds.
    best: Option<(Opinions, f64)>,
}

/// What the gate is told of a kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    said: Opinions,
    device: Device,
    log2_s: f64,
}

impl Sighting {
    /// A run as they always will be: the sight, once there were enough.
    pub(crate) fn run(&mut self, said: &Opinions, device: Device, run_s: f64) -> Option<Sight> {
        if self.runs >= RUNS {
            return None;
        }
        self.runs += 1;
        let log2_s = run_s.max(1e-9).log2();
        let beyond = |(said, log2_s): (Opinions, f64)| log2_s - said.model.mean[device as usize];
        if self.best.is_none_or(|best| beyond((*said, log2_s)) < beyond(best)) {
            self.best = Some((*said, log2_s));
        }
        let (said, log2_s) = self.best.filter(|_| self.runs == RUNS)?;
        Some(Sight { said, device, log2_s })
    }
}

/// The gates of a runtime.
#[derive(Debug)]
pub(crate) struct Gates(Box<[Mutex<At>]>);

/// A gate, and the generation of the network that it is about: another one is believed anew.
#[derive(Debug, Default)]
struct At {
    generation: u64,
    gate: Gate,
}

impl Gates {
    /// For so many GPUs. Without any the CPU has one.
    pub(crate) fn new(gpus: usize) -> Gates {
        Gates((0..gpus.max(1)).map(|_| Mutex::default()).collect())
    }

    /// How far the network of this generation is believed now.
    pub(crate) fn trust(&self, adapter: usize, generation: u64) -> Trust {
        self.with(adapter, generation, |gate| gate.trust()).unwrap_or_default()
    }

    /// Learns of a kernel, from what the network of this generation had said of it.
    pub(crate) fn sight(&self, adapter: usize, generation: u64, sight: &Sight) {
        let Sight { said, device, log2_s } = sight;
        self.with(adapter, generation, |gate| {
            gate.sight(&said.model, &said.flat, device.side(), *log2_s);
        });
    }

    /// `None` of what is out of date.
    fn with<T>(
        &self,
        adapter: usize,
        generation: u64,
        f: impl FnOnce(&mut Gate) -> T,
    ) -> Option<T> {
        let mut at = self.0.get(adapter)?.lock().unwrap_or_else(PoisonError::into_inner);
        if generation > at.generation {
            *at = At { generation, gate: Gate::default() };
        }
        (generation == at.generation).then(|| f(&mut at.gate))
    }
}

#[cfg(test)]
mod tests {
    use super::{Gates, Opinions, RUNS, Sighting};
    use crate::device::Device;
    use crossover_ml::{Prediction, Trust};

    fn said() -> Opinions {
        let model = Prediction::new([-10.0; 2], [0.8; 2], 0.5);
        Opinions {
            model,
            flat: Prediction::new([-14.0; 2], [4.0; 2], 0.8),
            trust: Trust::default(),
        }
    }

    #[test]
    fn the_best_of_the_first_runs_is_told_once() {
        let mut sighting = Sighting::default();
        let runs = [-2.0f64, -9.5, -3.0, -12.0].map(f64::exp2);
        let told = runs.map(|run_s| sighting.run(&said(), Device::Gpu, run_s));
        assert_eq!(
            told.map(|sight| sight.map(|sight| sight.log2_s)),
            [None, None, Some(-9.5), None]
        );
        assert_eq!(RUNS, 3);
    }

    #[test]
    fn another_network_is_believed_anew_and_what_is_late_is_not_its() {
        let gates = Gates::new(1);
        let sight = || {
            let mut sighting = Sighting::default();
            (0..RUNS).find_map(|_| sighting.run(&said(), Device::Gpu, 1.0)).expect("enough runs")
        };
        (0..8).for_each(|_| gates.sight(0, 0, &sight()));
        assert!(gates.trust(0, 0).weights()[0] < 0.5);
        assert_eq!(gates.trust(0, 1), Trust::default());
        (0..8).for_each(|_| gates.sight(0, 0, &sight()));
        assert_eq!(gates.trust(0, 1), Trust::default());
        assert_eq!(gates.trust(7, 1), Trust::default(), "there is no such adapter");
    }
}
