//! Kernels on the CPU's cores: IR to SIMD WebAssembly ([`emit`](fn@emit)), compiled and run by
//! wasmtime on a pool of worker threads ([`WasmExecutor`]).
//!
//! Each buffer's slot is the whole of one wasm memory, so that a kernel reads and writes the same
//! bytes as Rust does, and nothing is copied.

mod alarm;
mod apart;
mod cache;
mod chunk;
mod emit;
mod engine;
mod listing;
mod order;
mod pool;
mod private;
mod program;
mod rerun;
mod run;
mod schedule;
mod task;
mod ticks;
mod worker;

pub use emit::{Unsupported, WasmModule, emit};
pub use listing::Listing;
pub use pool::{Job, Workers};
pub use run::{WasmExecutor, WasmOptions};
pub use schedule::{Outline, SIMD, Schedule};
