//! What can go wrong for a caller of the scheduler.

use crossover_kernels::error::{KernelError, RunError};
use crossover_memory::MemoryError;

/// An error of the scheduler. Whatever it is, the caller's buffers are still there: what invocations
/// wrote before an error stays written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel's source is wrong.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The call failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There is no memory for a buffer, or its newest content is lost with a device.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Elements that are not within the buffer.
    #[error("elements {} to {} of a buffer that has {length}", range.start, range.end)]
    Range {
        /// Which elements.
        range: std::ops::Range<usize>,
        /// The length of the buffer.
        length: usize,
    },
    /// The shape of an array does not fit what it is to be laid over.
    #[error("an array of shape {shape:?} over {length} elements")]
    Shape {
        /// The shape.
        shape: Vec<usize>,
        /// The elements there are.
        length: usize,
    },
    /// An array has nulls, and kernels know none.
    #[error("an array with nulls ({count} of them): put values in their place first")]
    Nulls {
        /// How many.
        count: usize,
    },
    /// The call was forced to a GPU, and there is none.
    #[error("kernel `{kernel}` was sent to the GPU, but there is none: {why}")]
    NoGpu {
        /// The kernel's name.
        kernel: String,
        /// Why there is none, and what to do.
        why: String,
    },
    /// A shadow run gave another result than the run.
    #[error(
        "kernel `{kernel}`: {device} disagrees in `{buffer}`: element {index} is {found}, not {expected} ({count} elements differ)"
    )]
    Mismatch {
        /// The kernel's name.
        kernel: String,
        /// The device that ran as the shadow.
        device: String,
        /// The buffer.
        buffer: String,
        /// The first element that differs.
        index: usize,
        /// What the run gave.
        expected: f64,
        /// What the shadow gave.
        found: f64,
        /// How many differ.
        count: usize,
    },
    /// A file cannot be used.
    #[error("{path}: {message}")]
    File {
        /// Its path.
        path: String,
        /// What is wrong, and what to do.
        message: String,
    },
    /// A setting has no such value.
    #[error("setting `{name}`: {message}")]
    Setting {
        /// The setting.
        name: String,
        /// What is wrong, and what is possible.
        message: String,
    },
    /// The runtime was dropped before the call ran.
    #[error("the runtime was dropped before the call of `{kernel}` ran")]
    Stopped {
        /// The kernel's name.
        kernel: String,
    },
}
