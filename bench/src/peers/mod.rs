//! Other systems with the same kernels, timed in turns with this one.
//!
//! ```text
//! environment   a Python environment for each, made on the first run
//! server        a process for each; protocol: what is said to it
//! measure       our side, native Rust and the peers in turns, results checked
//! model         what peers.json holds; table: the same for people
//! ```
//!
//! What a peer runs is in `bench/peers`: a module for each with the kernels of `core`, as a good user of
//! that system would write them. It is part of this binary, so that an installed command has it, too.

pub(crate) mod environment;
pub(crate) mod measure;
pub(crate) mod model;
mod protocol;
pub(crate) mod server;
pub(crate) mod table;

use std::path::Path;

/// Another system.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its name on the command line, of its environment and, behind `peer_`, of its module.
    pub(crate) name: &'static str,
    /// How its kernels are written, in a line.
    pub(crate) about: &'static str,
    /// Its kernels.
    module: &'static str,
    /// What is installed.
    requirements: &'static str,
}

macro_rules! peer {
    ($name:literal, $about:literal) => {
        Peer {
            name: $name,
            about: $about,
            module: include_str!(concat!("../../peers/peer_", $name, ".py")),
            requirements: include_str!(concat!("../../peers/requirements-", $name, ".txt")),
        }
    };
}

/// Every peer, in the order of reports.
pub(crate) const ALL: [Peer; 5] = [
    peer!("numpy", "whole arrays, in blocks that stay in the cache; sparse products by SciPy"),
    peer!("numba", "loops compiled by LLVM, shared out by `prange`, sums reordered"),
    peer!("jax", "functions of whole arrays, compiled by XLA for the CPU"),
    peer!("taichi", "kernels over Taichi's own arrays, compiled by LLVM for the CPU"),
    peer!("halide", "pipelines with a schedule by hand, compiled by LLVM"),
];

/// What else does such work and was not run, and why.
pub(crate) const NOT_RUN: [(&str, &str); 2] = [
    (
        "StarPU",
        "it schedules functions that its user writes for each device, and none are written here",
    ),
    ("CubeCL", "the kernels are not written in its dialect of Rust"),
];

/// The server that all peers share.
const SERVER: &str = include_str!("../../peers/server.py");

/// Writes the server and all modules into a folder.
pub(crate) fn write_sources(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("server.py"), SERVER)?;
    ALL.iter().try_for_each(|peer| {
        std::fs::write(folder.join(format!("peer_{}.py", peer.name)), peer.module)
    })
}

/// A folder that goes when this does.
#[derive(Debug)]
pub(crate) struct Folder(std::path::PathBuf);

impl Folder {
    /// A new one for this process within `parent`.
    pub(crate) fn within(parent: &Path) -> std::io::Result<Folder> {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let at = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("work-{}-{at}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
impl Folder {
    /// A new one in the system's folder for such.
    pub(crate) fn new() -> Folder {
        Folder::within(&std::env::temp_dir()).expect("a temporary folder")
    }
}

#[cfg(all(test, unix))]
mod tests;
