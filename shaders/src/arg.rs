//! Arguments of a dispatch.

use crossover_kernels::ir::Const;

use crate::buffer::DeviceBuffer;

/// An argument of a dispatch, already on the device.
#[derive(Clone, Copy, Debug)]
pub enum DeviceArg<'a> {
    /// For a scalar parameter.
    Scalar(Const),
    /// For a buffer parameter.
    Buffer {
        /// The copy on the device, or host memory.
        buffer: &'a DeviceBuffer,
        /// Number of elements of the parameter's type.
        len: u32,
        /// Whether the call overwrites all of it and reads none: what it holds before does not matter.
        is_blank: bool,
    },
}

impl DeviceArg<'_> {
    /// The number of elements; 0 for a scalar.
    pub(crate) fn len(&self) -> u32 {
        match self {
            DeviceArg::Buffer { len, .. } => *len,
            DeviceArg::Scalar(_) => 0,
        }
    }
}
