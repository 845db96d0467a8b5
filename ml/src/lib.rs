//! The learned cost model of Crossover: numbers in, predicted time out.
//!
//! It knows no kernel and no device. A call is described by [`Features`], an answer is a
//! [`Prediction`]: the joint Gaussian of the log2 seconds of kernel time on both [`Side`]s.
//!
//! ```text
//! measured rows ─→ Dataset ─train→ Network ─┐ k of them
//!                                           ├─→ Ensemble ─predict→ Prediction ─┐
//! Features ─────────────────────────────────┘                                  ├─posterior→ Prediction
//! every measured call ─observe→ Correction (one a kernel) ─────────────────────┘
//!                     └record→ Learner: replay, retraining in the background, promotion
//! ```
//!
//! ```
//! use crossover_ml::{Correction, CostModel, Ensemble, Feature, Features, Hyper, Side};
//!
//! let mut call = Features::missing();
//! call.set(Feature::Items, 1_048_576.0);
//! call.set(Feature::CpuTimeS, 800e-6);
//! call.set(Feature::GpuTimeS, 90e-6);
//! let model = Ensemble::default(); // nothing trained yet: a vague roofline
//! let prior = model.predict(&call);
//! assert!(prior.p_cpu_faster() < 0.5);
//!
//! let mut kernel = Correction::new(&Hyper::default());
//! kernel.observe(&prior, 20.0, Side::Gpu, (20e-3f64).log2());
//! let now = kernel.posterior(&prior, 20.0);
//! assert!((now.seconds(Side::Gpu) / 20e-3 - 1.0).abs() < 0.1);
//! ```
#![forbid(unsafe_code)]

pub mod baseline;
pub mod correction;
pub mod dataset;
pub mod encoder;
pub mod ensemble;
pub mod error;
pub mod eval;
pub mod features;
pub mod gate;
mod gaussian;
pub mod held_out;
pub mod layout;
pub mod learner;
pub mod linear;
pub mod loss;
mod math;
pub mod network;
pub mod optimise;
pub mod prediction;
pub mod relatives;
pub mod replay;
pub mod ridge;
pub mod rng;
pub mod search;
pub mod speedups;
pub mod spikes;
pub mod train;
mod trees;
pub mod weights;

pub use baseline::{Constant, Roofline};
pub use correction::{Correction, Hyper};
pub use dataset::{Dataset, Row};
pub use encoder::{Encoder, InputForm};
pub use ensemble::Ensemble;
pub use error::Error;
pub use features::{Feature, Features};
pub use gate::{Gate, Trust};
pub use learner::{Learner, LearnerOptions};
pub use network::{Network, Scratch};
pub use prediction::{CostModel, Prediction, Side};
pub use relatives::Relatives;
pub use replay::Replay;
pub use ridge::Ridge;
pub use spikes::Spikes;
pub use train::{TrainOptions, TrainReport, train, train_ensemble, train_from};
