//! What can go wrong with a kernel, in two voices: the user's kernel is wrong ([`KernelError`]), or
//! a call of it failed ([`RunError`]).

use std::fmt;
use std::time::Duration;

use crate::ir::{Kernel, SiteId, Trap};

/// One complaint about a kernel's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// `file:line:column`.
    pub location: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// A kernel that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// The source is outside the language or does not type.
    #[error("kernel `{kernel}` cannot be compiled:\n{}", list(.diagnostics))]
    Source {
        /// The kernel's name.
        kernel: String,
        /// Every complaint, in source order.
        diagnostics: Vec<Diagnostic>,
    },
    /// The text form of a kernel does not parse.
    #[error("kernel text, line {line}: {message}")]
    Text {
        /// Line of the text, from 1.
        line: usize,
        /// What was expected.
        message: String,
    },
    /// A kernel breaks a rule of the IR.
    #[error("kernel `{kernel}` is not valid: {message}")]
    Invalid {
        /// The kernel's name.
        kernel: String,
        /// The rule, and where it is broken.
        message: String,
    },
    /// A description of a kernel does not decode: it was written by another version.
    #[error("the description of kernel `{kernel}` does not decode: rebuild it with this version")]
    Blob {
        /// The kernel's name.
        kernel: String,
    },
}

fn list(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A call that did not complete.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RunError {
    /// An invocation failed a check.
    #[error("{0}")]
    Failed(Failure),
    /// The arguments do not fit the kernel's parameters.
    #[error("kernel `{kernel}`: {message}")]
    Arguments {
        /// The kernel's name.
        kernel: String,
        /// Which argument, and how.
        message: String,
    },
    /// The call took longer than allowed and was stopped.
    #[error(
        "kernel `{kernel}` did not end within {limit:?}: raise the deadline, or give its loops a bound"
    )]
    Deadline {
        /// The kernel's name.
        kernel: String,
        /// The time that was allowed.
        limit: Duration,
    },
    /// The device cannot run this kernel at all.
    #[error("kernel `{kernel}` cannot run on {device}: {what}")]
    Unsupported {
        /// The kernel's name.
        kernel: String,
        /// Which device.
        device: String,
        /// The construct, with its line where it has one.
        what: String,
    },
    /// The device has not enough memory, or a buffer is beyond one of its limits.
    #[error("kernel `{kernel}` on {device}: {what} needs {needed} bytes, the limit is {limit}")]
    Memory {
        /// The kernel's name.
        kernel: String,
        /// Which device.
        device: String,
        /// What was to be held.
        what: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes there are.
        limit: u64,
    },
    /// The device failed or went away; what it held is lost, the host's copies are not.
    #[error("{device} failed while running kernel `{kernel}`: {message}")]
    Device {
        /// The kernel's name.
        kernel: String,
        /// Which device.
        device: String,
        /// What the driver says.
        message: String,
    },
}

/// One invocation that failed a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kernel's name.
    pub kernel: String,
    /// `file:line:column` of the failing expression.
    pub location: String,
    /// The invocation's position in the grid.
    pub invocation: [u32; 3],
    /// What it did.
    pub cause: Cause,
}

/// What a failing invocation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Indexed a buffer or array beyond its end.
    OutOfBounds {
        /// The buffer's parameter name, or `array`.
        buffer: String,
        /// The index.
        index: u64,
        /// The number of elements.
        length: u64,
    },
    /// Divided an integer by zero.
    ZeroDivisor,
}

impl Failure {
    /// The failure of `site`, from what a back end recorded: the invocation and the index.
    /// `length` gives a buffer's number of elements.
    pub fn at(
        kernel: &Kernel,
        site: SiteId,
        invocation: [u32; 3],
        index: u64,
        length: impl Fn(crate::ir::Param) -> u64,
    ) -> Failure {
        let site = kernel.entry.sites[site.index()];
        let cause = match site.trap {
            Trap::Bounds(buffer) => Cause::OutOfBounds {
                buffer: kernel.entry.params[buffer.index()].name.clone(),
                index,
                length: length(buffer),
            },
            Trap::ArrayBounds(length) => {
                Cause::OutOfBounds { buffer: "array".to_owned(), index, length: u64::from(length) }
            }
            Trap::ZeroDivisor => Cause::ZeroDivisor,
        };
        let location = kernel.location(site.span);
        Failure { kernel: kernel.entry.name.clone(), location, invocation, cause }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { kernel, location, invocation: [x, y, z], cause } = self;
        write!(f, "kernel `{kernel}` failed at {location}, invocation ({x}, {y}, {z}): ")?;
        match cause {
            Cause::OutOfBounds { buffer, index, length } => {
                write!(f, "index {index} is out of range for `{buffer}` of length {length}")
            }
            Cause::ZeroDivisor => write!(f, "an integer is divided by zero"),
        }
    }
}
