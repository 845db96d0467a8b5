//! Crossover kernels on the GPU: IR to a naga module, which people read as WGSL and wgpu runs.
//!
//! ```text
//! ir::Kernel ─ legality ─► emit ─► Shader ─► compiled, lean: GpuVersion ─► run ─► Underway
//!                                                 ▲                        ▲
//!                          device: Gpu ───────────┘   buffer: DeviceBuffer ┘ host memory, or a copy
//! ```
//!
//! - [`legality`] is the one table of what an adapter can do;
//! - [`emit`] turns a kernel into a [`Shader`] and decides nothing: the [`Schedule`] does;
//! - [`Gpu`] is an open device, [`DeviceBuffer`] a buffer on it, host memory or a copy;
//! - [`GpuExecutor`] is the back end, [`GpuVersion`] a compiled kernel that runs on arguments of
//!   the host, or through [`GpuVersion::dispatch`] on arguments that are on the device already.
//!
//! A missing adapter, a lost device and exhausted memory are values, never panics.

mod arg;
mod buffer;
mod compiled;
mod device;
mod emit;
mod forms;
mod import;
mod kept;
mod lean;
pub mod legality;
mod pace;
mod report;
mod run;
mod schedule;
mod single_pass;
mod steps;
mod timeline;
mod underway;
mod version;
mod windows;

pub use arg::DeviceArg;
pub use buffer::DeviceBuffer;
pub use device::{
    AdapterInfo, AdapterKind, DeviceError, Fault, Gpu, GpuError, GpuOptions, Sharing, adapters,
};
pub use emit::{Binding, Field, Layout, Member, Role, Shader, emit};
pub use forms::shaders;
pub use legality::Capabilities;
pub use schedule::Schedule;
pub use underway::{Took, Trust, Underway};
pub use version::{GpuExecutor, GpuVersion};
pub use windows::check_call;
