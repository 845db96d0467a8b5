//! The cost network of `crossover-ml`, trained by libtorch.
//!
//! It is the same network, the same loss, the same draw of rows and the same weight file; only
//! the arithmetic is torch's. So it serves twice: to train shipped models faster than the plain
//! trainer can, and as the oracle that the plain trainer is tested against.

mod loss;
mod network;
mod train;

pub use loss::loss;
pub use network::{Mode, TorchNetwork, values};
pub use train::{Torch, train, train_ensemble};
