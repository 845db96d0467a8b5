//! The kernel language of Crossover: what a kernel is, what it means, and how it is made better.
//!
//! ```text
//! #[kernel] source ─ front ─► ir::Kernel ─ verify ─► passes::optimize ─► a back end's Executor
//! ```
//!
//! - [`front`] types the untyped tree of `#[kernel]` and lowers it to the IR;
//! - [`ir`] is the typed, structured representation, its builder and its text form;
//! - [`verify`](mod@verify) holds the rules of the IR, [`interp`] its meaning;
//! - [`passes`] is the one list of optimisations, [`analysis`] the facts they and others need;
//! - [`exec`] is what every back end implements;
//! - [`library`] is the one list of standard kernels.
//!
//! This crate knows no device and no clock but that of a deadline, and builds in seconds.

#![forbid(unsafe_code)]

// `#[kernel]` names its paths from `::crossover`, which is this crate for the standard library.
extern crate self as crossover;

pub mod analysis;
#[doc(hidden)]
pub mod companion;
pub mod error;
pub mod eval;
pub mod exec;
pub mod front;
pub mod interp;
pub mod ir;
pub mod lang;
pub mod library;
pub mod passes;
pub mod random;
#[cfg(feature = "shaders")]
pub mod shader;
pub mod verify;

pub use crossover_macros::kernel;
pub use lang::{Args, Atomic, Def, Float, Host, Id, Int, Num, Scalar};
