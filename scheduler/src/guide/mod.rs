//! The guide: chapters for whoever puts Crossover into a program.
//!
//! 1. [`kernels`]: from a loop to a kernel.
//! 2. [`shaders`]: bringing WGSL.
//! 3. [`reports`]: reading a report, and the ledger behind it.
//! 4. [`embedding`]: in an application of one's own, with tokio, rayon, ndarray and Arrow.
//! 5. [`tuning`]: policy, experience, calibration, threads, optimisations, adapters.
//! 6. [`errors`]: what each means and what to do.
//!
//! There is no code here: the modules are their text.

#[doc = include_str!("kernels.md")]
pub mod kernels {}

#[doc = include_str!("shaders.md")]
pub mod shaders {}

#[doc = include_str!("reports.md")]
pub mod reports {}

#[doc = include_str!("embedding.md")]
// What a feature brings is shown, and tried, where it is on.
#[cfg_attr(feature = "ndarray", doc = include_str!("ndarray.md"))]
#[cfg_attr(feature = "arrow", doc = include_str!("arrow.md"))]
pub mod embedding {}

#[doc = include_str!("tuning.md")]
pub mod tuning {}

#[doc = include_str!("errors.md")]
pub mod errors {}
