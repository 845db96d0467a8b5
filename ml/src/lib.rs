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
#![forbid(unsafe_code)]

pub mod baseline;
pub mod dataset;
pub mod encoder;
pub mod error;
pub mod features;
pub mod loss;
mod math;
pub mod network;
pub mod prediction;
pub mod rng;

pub use baseline::{Constant, Roofline};
pub use dataset::{Dataset, Row};
pub use encoder::{Encoder, InputForm};
pub use error::Error;
pub use features::{Feature, Features};
pub use network::{Network, Scratch};
pub use prediction::{CostModel, Prediction, Side};
