//! Pipelines that are kept from process to process, and what this driver has crashed on.
//!
//! The driver keeps what it has made of a shader in a form of its own; it is its business to see that this fits
//! (`VkPipelineCache`). An entry is of one form of a kernel, on one adapter with one driver. Beside it, while
//! a pipeline is made and first run, lies a note that it is tried ([`Trial`]).

use std::hash::Hash;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crossover_cache::{Cache, Key, Trial};
use crossover_kernels::ir::Kernel;

use crate::device::{AdapterInfo, DeviceError, Gpu};
use crate::schedule::Schedule;

/// The pipelines of an adapter.
#[derive(Debug)]
pub(crate) struct Kept {
    cache: Cache,
    /// Whether the driver gives away what it makes.
    gives: bool,
}

/// The cache that the driver makes a form's pipelines with.
pub(crate) struct FormCache {
    key: Key,
    cache: Option<wgpu::PipelineCache>,
    /// What was kept.
    before: Option<Vec<u8>>,
}

/// Whether a form has run well in this process.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    is_known: AtomicBool,
    trial: Mutex<Option<Trial>>,
}

impl Kept {
    pub(crate) fn new(folder: PathBuf, gives: bool) -> Kept {
        Kept { cache: Cache::new(folder, "pipeline"), gives }
    }

    /// What is kept of a form, and a note that it is tried.
    ///
    /// # Errors
    /// [`DeviceError::Refused`] where the driver has crashed on it before.
    pub(crate) fn begin(
        &self,
        gpu: &Gpu,
        kernel: &Kernel,
        schedule: &Schedule,
    ) -> Result<(FormCache, Tried), DeviceError> {
        let key = key(gpu.info(), kernel, schedule);
        let trial = self.cache.begin_trial(&key).map_err(|crashes| {
            DeviceError::Refused(format!(
                "on this shader the driver has taken {} processes with it; without the file {} it is \
                 tried again",
                crashes.count,
                crashes.file.display()
            ))
        })?;
        let before = self.gives.then(|| self.cache.load(&key)).flatten();
        let cache = self.gives.then(|| open(gpu, before.as_deref())).flatten();
        let tried = Tried { is_known: AtomicBool::new(false), trial: Mutex::new(trial) };
        Ok((FormCache { key, cache, before }, tried))
    }

    /// Keeps what the driver has made.
    pub(crate) fn end(&self, form: &FormCache) {
        let made = form.cache.as_ref().and_then(wgpu::PipelineCache::get_data);
        if let Some(made) = made.filter(|made| form.before.as_ref() != Some(made)) {
            self.cache.store(&form.key, &made);
        }
    }
}

impl FormCache {
    pub(crate) fn cache(&self) -> Option<&wgpu::PipelineCache> {
        self.cache.as_ref()
    }
}

impl Tried {
    /// It has run.
    pub(crate) fn passed(&self) {
        if !self.is_known.swap(true, Ordering::Relaxed) {
            self.trial.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }
}

/// The driver's cache with what was kept; empty where that does not fit any more.
fn open(gpu: &Gpu, data: Option<&[u8]>) -> Option<wgpu::PipelineCache> {
    let descriptor = wgpu::PipelineCacheDescriptor { label: None, data, fallback: true };
    // SAFETY: the data were given by `PipelineCache::get_data` in a process of this user: `Cache` gives what
    // it was once given, from files that nobody else can write. Whether they fit this device wgpu checks, and
    // begins anew where they do not.
    gpu.catching(|| unsafe { gpu.device().create_pipeline_cache(&descriptor) })
        .inspect_err(|error| tracing::debug!(%error, "there is no pipeline cache"))
        .ok()
}

/// What names a form on an adapter.
fn key(info: &AdapterInfo, kernel: &Kernel, schedule: &Schedule) -> Key {
    Key::of(|hasher| {
        hasher.part(env!("CARGO_PKG_VERSION").as_bytes());
        hasher.part(info.name.as_bytes());
        hasher.part(info.driver.as_bytes());
        hasher.part(kernel.hash().as_bytes());
        schedule.hash(hasher);
    })
}
