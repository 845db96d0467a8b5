//! Crossover runs each call of a data-parallel function where it is fastest: as SIMD WebAssembly on
//! the CPU cores, or as a compute shader on the GPU. The function is written once, as ordinary Rust
//! under [`kernel`](macro@kernel). A learned cost model prices every candidate before the first run,
//! routes the call, and learns from what was measured.
//!
//! ```
//! use crossover::{Device, Id, Runtime, kernel};
//!
//! #[kernel]
//! fn axpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
//!     y[id.x] += a * x[id.x];
//! }
//!
//! # fn main() -> Result<(), crossover::Error> {
//! let rt = Runtime::new()?;
//! let x = rt.buffer_from(&[1.0; 1000])?;
//! let mut y = rt.alloc(1000)?;
//! println!("{}", axpy::on(&rt).args(2.0, &x, &mut y).explain()?);
//! let outcome = axpy::on(&rt).args(2.0, &x, &mut y).run()?;
//! println!("ran on the {} in {:.1e} s", outcome.device, outcome.measured.total_s);
//! assert!(y.read()?.iter().all(|&v| v == 2.0));
//! # Ok(())
//! # }
//! ```
//!
//! [`Runtime`] holds devices, model and ledger; [`Buffer`] the memory that all sides share; [`Call`]
//! is one call, run now, or submitted for a [`Ticket`]. A library says nothing by itself: no output,
//! no global state, no environment variable is read unless asked ([`Runtime::from_env`]).
//!
//! The [`guide`] has chapters: from a loop to a kernel, bringing WGSL, reading a report, embedding, tuning, errors.
//! The features `ndarray` and `arrow`, off by default, give buffers as arrays of these crates, and take them.
//!
//! Who installs a subscriber of [`tracing`](https://docs.rs/tracing) sees every call as a span `call` (kernel,
//! device, threads, predicted time), each thread's part of it as a span `work`, compilations as spans
//! `compile`, what was copied as events `copied` and what the GPU did as events `gpu`, both of which end when
//! they are reported and have lasted `took_s`, the kernel by the GPU's own clock `device_s`.

#![forbid(unsafe_code)]

// `#[kernel]` names its paths from `::crossover`, here as everywhere.
extern crate self as crossover;

mod arrays;
mod aside;
mod backends;
mod buffer;
mod bus;
mod calibration;
mod call;
mod config;
mod context;
mod device;
mod dynamic;
mod error;
mod experience;
mod explain;
mod featurize;
mod feedback;
mod footprint;
mod gpus;
pub mod guide;
mod lane;
mod layouts;
mod learned;
mod ledger;
mod measure;
mod model;
mod optimise;
mod origins;
mod parts;
mod place;
mod prepared;
mod probes;
pub mod record;
pub mod route;
mod run;
mod runtime;
mod shadow;
mod terms;
mod threads;
mod ticket;
mod transfers;
mod trust;
mod version;
mod words;

pub use buffer::{Buffer, Element, ReadSlice, Residency, WriteSlice};
pub use calibration::{Calibration, CpuRates, GpuRates};
pub use call::{Bound, Call, Outcome};
pub use config::{ALL_ADAPTERS, GpuMemory, GpuUse, Layouts, Optimise, Settings};
pub use device::Device;
pub use dynamic::{DynArg, Handle};
pub use error::Error;
pub use experience::{ExperienceError, merge_experience};
pub use explain::{Explanation, show_seconds};
pub use gpus::{ADAPTERS_MAX, Adapter};
pub use layouts::{Laid, LayoutChooser, Other, layout_of, outline, shipped_layouts};
pub use ledger::{Estimate, Estimates, Ledger, Measured, PartRow, Reason, Row, Why, show_parts};
pub use model::shipped_model;
pub use optimise::{Chooser, kernel_values, optimized, shipped_speedups};
pub use origins::{Origin, Origins};
pub use runtime::{Builder, Runtime};
pub use terms::{Flip, Limit, Past, Terms};
pub use ticket::Ticket;
pub use transfers::{Copied, Link};

/// The kernel language, the IR and the standard kernels.
pub use crossover_kernels as kernels;
/// A sum of squares: what each index contributes.
///
/// ```
/// use crossover::{Id, Runtime, kernel};
///
/// #[kernel(reduce = add)]
/// fn squares(id: Id, x: &[f32]) -> f32 {
///     x[id.x] * x[id.x]
/// }
///
/// # let rt = Runtime::new()?;
/// let (x, mut sum) = (rt.buffer_from(&[1.0, 2.0, 3.0])?, rt.alloc(1)?);
/// squares::on(&rt).args(&x, &mut sum).run()?;
/// assert_eq!(sum.to_vec()?, [14.0]);
/// assert_eq!(squares(Id::at(2), &[1.0, 2.0, 3.0]), 9.0, "it is still a function");
/// # Ok::<(), crossover::Error>(())
/// ```
pub use crossover_kernels::kernel;
pub use crossover_kernels::{Args, Atomic, Def, Float, Host, Id, Int, Num, Scalar};
/// Features, cost network and training.
pub use crossover_ml as ml;
/// The GPU side: adapters, and shaders as text.
pub use crossover_shaders as shaders;
/// The CPU side.
pub use crossover_wasm as wasm;
pub use crossover_wasm::{Job, Workers};
