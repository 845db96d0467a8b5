//! Whoever trains: searches and comparisons are the same with all.

use std::ops::ControlFlow;

use super::{Progress, TrainOptions, train_ensemble};
use crate::dataset::Dataset;
use crate::ensemble::Ensemble;
use crate::error::Error;

/// What makes networks of measured rows.
pub trait Trainer {
    /// Its name: in comparisons, and in the networks that it has trained.
    fn name(&self) -> &str;

    /// Trains an ensemble as [`train_ensemble`] does.
    ///
    /// # Errors
    /// As [`train_ensemble`], and [`Error::Trainer`] for what is the trainer's own.
    fn ensemble(
        &self,
        data: &Dataset,
        options: &TrainOptions,
        members: usize,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Ensemble, Error>;
}

/// The trainer of this crate: the same numbers on every machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Trainer for Plain {
    fn name(&self) -> &str {
        "plain"
    }

    fn ensemble(
        &self,
        data: &Dataset,
        options: &TrainOptions,
        members: usize,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Ensemble, Error> {
        Ok(train_ensemble(data, options, members, progress)?.0)
    }
}
