//! What can go wrong, by what the caller can do about it.

use std::path::PathBuf;

/// An error of this crate. None of them leaves a model or a data set half changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The first line of the file is not the header of a data set.
    #[error("not a data set: the first line is not its header")]
    NotADataset,
    /// The data set has another layout.
    #[error("data set of layout {found}, this build reads {expected}")]
    DatasetVersion {
        /// The layout of the file.
        found: u32,
        /// The layout of this build.
        expected: u32,
    },
    /// Made with another feature table: measure or train again.
    #[error("feature table {found}, this build has {expected}")]
    FeatureVersion {
        /// The version in the file.
        found: u32,
        /// [`crate::features::VERSION`].
        expected: u32,
    },
    /// A line of a data set cannot be read.
    #[error("line {line}: {source}")]
    CorruptLine {
        /// Counted from 1.
        line: usize,
        /// The reason.
        source: serde_json::Error,
    },
    /// A row that cannot have been measured.
    #[error("row of kernel `{kernel}`: {field} is not a positive number")]
    InvalidRow {
        /// The row's kernel.
        kernel: String,
        /// The field that is wrong.
        field: &'static str,
    },
    /// The bytes are no weight file, or a damaged one.
    #[error("weight file: {0}")]
    Weights(#[from] safetensors::SafeTensorError),
    /// The weight file has another layout: train again.
    #[error("weight file of layout {found}, this build reads {expected}")]
    WeightsLayout {
        /// The layout of the file.
        found: u32,
        /// [`crate::weights::LAYOUT`].
        expected: u32,
    },
    /// The weight file lacks its metadata, or it cannot be read.
    #[error("weight file: metadata missing or unreadable ({reason})")]
    WeightsMetadata {
        /// The reason.
        reason: String,
    },
    /// A tensor of the weight file is missing, or has another shape, type or non-finite values.
    #[error("weight file: tensor `{name}`: {problem}")]
    WeightsTensor {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        problem: TensorProblem,
    },
    /// Not enough rows to train on.
    #[error("{found} measured rows, training needs {needed}")]
    TooFewRows {
        /// Rows with at least one measured side.
        found: usize,
        /// The least number.
        needed: usize,
    },
    /// An option is outside its range.
    #[error("option `{name}` is out of range")]
    InvalidOption {
        /// The option.
        name: &'static str,
    },
    /// Training was asked to stop by its progress callback.
    #[error("training was stopped")]
    Stopped,
    /// Training left the numbers: lower the learning rate.
    #[error("training diverged in epoch {epoch}")]
    Diverged {
        /// Counted from 0.
        epoch: usize,
    },
    /// What another trainer than this crate's own stumbled on.
    #[error("{trainer}: {message}")]
    Trainer {
        /// Its name.
        trainer: &'static str,
        /// In its words.
        message: String,
    },
}

/// What is wrong with a tensor of a weight file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorProblem {
    /// It is not there.
    #[error("missing")]
    Missing,
    /// It has another shape or element type than the network needs.
    #[error("shape {found:?} where {expected:?} is needed")]
    Shape {
        /// The shape in the file; empty if the element type is not f32.
        found: Vec<usize>,
        /// The shape of the network.
        expected: Vec<usize>,
    },
    /// It holds NaN, an infinity, or a variance below zero.
    #[error("values that no training can give")]
    Values,
}
