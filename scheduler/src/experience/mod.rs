//! What calls have taken, kept from process to process where settings name a file.
//!
//! Measured calls are kept, not what was concluded from them: files of several processes can be put together,
//! and a newer network concludes anew. A kernel's first call recalls those of its version on this machine; the
//! trainer is shown them all. A thread writes new ones down twice a second.

mod file;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossover_ml::dataset::Row;

pub(crate) use file::Sample;
pub use file::{ExperienceError, merge_experience};

use crate::device::Device;
use crate::gpus::GpuSide;

/// How often calls are written down: the most that a process loses when it is killed.
const EVERY: Duration = Duration::from_millis(500);

/// Calls that wait to be written, at most; more are dropped.
const WAITING_MAX: usize = 2000;

/// The experience of a runtime.
pub(crate) struct Experience {
    shared: Arc<Shared>,
    /// The machine with each of its GPUs, or without any.
    machines: Vec<String>,
    /// Calls of earlier processes: by machine and version of the kernel.
    known: HashMap<(String, String), Vec<Sample>>,
    writer: Option<JoinHandle<()>>,
    /// What was wrong with the file, if anything.
    error: Option<ExperienceError>,
}

struct Shared {
    path: PathBuf,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<Sample>,
    stops: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) {
        let samples = std::mem::take(&mut self.state().waiting);
        if !samples.is_empty()
            && let Err(error) = file::append(&self.path, &samples)
        {
            tracing::warn!(%error, "measured calls are not kept");
        }
    }
}

impl Experience {
    /// Reads the file, and begins to write to it. Never fails: what cannot be used is refused with a reason, and
    /// this starts afresh.
    pub(crate) fn open(path: PathBuf, threads: usize, gpus: &[Arc<GpuSide>]) -> Experience {
        let loaded = file::load(&path);
        let error = loaded.as_ref().err().cloned();
        let may_write = match &error {
            None => Ok(true),
            Some(ExperienceError::Version { .. } | ExperienceError::Damaged { .. }) => {
                file::put_aside(&path).map(|()| true)
            }
            Some(ExperienceError::Foreign { .. } | ExperienceError::Io { .. }) => Ok(false),
        };
        if let Some(error) = &error {
            tracing::warn!(%error, "nothing is known of earlier calls");
        }
        let (may_write, error) = match may_write {
            Ok(may_write) => (may_write, error),
            Err(error) => (false, Some(error)),
        };
        let mut known: HashMap<_, Vec<Sample>> = HashMap::new();
        let own = |sample: &Sample| sample.crate_version == env!("CARGO_PKG_VERSION");
        for sample in loaded.unwrap_or_default().into_iter().filter(own) {
            let key = (sample.machine.clone(), sample.kernel.clone());
            known.entry(key).or_default().push(sample);
        }
        let (state, wake) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { path, state, wake });
        let machines = machines(threads, gpus);
        let writer = may_write.then(|| start(&shared)).flatten();
        Experience { shared, machines, known, writer, error }
    }

    /// Why the file was refused, if it was.
    pub(crate) fn error(&self) -> Option<&ExperienceError> {
        self.error.as_ref()
    }

    /// Calls of earlier processes that can be used here.
    pub(crate) fn count(&self) -> usize {
        let known = self.known.iter().filter(|((machine, _), _)| self.machines.contains(machine));
        known.map(|(_, samples)| samples.len()).sum()
    }

    /// Calls of a version of a kernel on the machine with this GPU, oldest first.
    pub(crate) fn of(&self, gpu: usize, kernel: &str) -> &[Sample] {
        let Some(machine) = self.machines.get(gpu) else { return &[] };
        let key = (machine.clone(), kernel.to_owned());
        self.known.get(&key).map_or(&[], Vec::as_slice)
    }

    /// All of them as rows for the trainer.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row> {
        let here = |machine: &String| self.machines.contains(machine);
        let known = self.known.iter().filter(move |((machine, _), _)| here(machine));
        known.flat_map(|(_, samples)| samples).map(|sample| {
            let mut seconds = [None; 2];
            seconds[sample.device as usize] = Some(sample.seconds);
            Row::new(sample.kernel.clone(), "calls", sample.n, sample.features, seconds)
        })
    }

    /// Keeps a call that was decided about with this GPU.
    pub(crate) fn record(
        &self,
        gpu: usize,
        kernel: &str,
        (device, n, log2_work, seconds): (Device, u64, f64, f64),
        features: crossover_ml::Features,
    ) {
        let Some(machine) = self.machines.get(gpu).filter(|_| self.writer.is_some()) else {
            return;
        };
        let (crate_version, machine) = (env!("CARGO_PKG_VERSION").to_owned(), machine.clone());
        let kernel = kernel.to_owned();
        let sample =
            Sample { crate_version, machine, kernel, device, n, log2_work, seconds, features };
        let mut state = self.shared.state();
        if state.waiting.len() < WAITING_MAX {
            state.waiting.push(sample);
        }
    }
}

impl Drop for Experience {
    fn drop(&mut self) {
        self.shared.state().stops = true;
        self.shared.wake.notify_all();
        if let Some(writer) = self.writer.take() {
            // A panic over there was already printed; here it must not become an abort.
            let _ = writer.join();
        }
    }
}

/// Starts the thread that writes; `None` where the system has none left.
fn start(shared: &Arc<Shared>) -> Option<JoinHandle<()>> {
    let shared = shared.clone();
    let write = move || {
        let mut stops = false;
        while !stops {
            let state = shared.state();
            let state = match state.stops {
                true => state,
                false => {
                    let waited = shared.wake.wait_timeout(state, EVERY);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            stops = state.stops;
            drop(state);
            shared.write();
        }
    };
    std::thread::Builder::new().name("crossover-experience".to_owned()).spawn(write).ok()
}

/// What identifies the machine with each of its GPUs, or without any.
fn machines(threads: usize, gpus: &[Arc<GpuSide>]) -> Vec<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|rest| rest.split_once(':')).map_or("", |(_, name)| name.trim());
    let cpu = format!("{} {model}, {threads} threads", std::env::consts::ARCH);
    let with = |gpu: &Arc<GpuSide>| {
        let adapter = gpu.adapter();
        format!("{cpu}; {} {} {}", adapter.name, adapter.driver, adapter.in_place)
    };
    match gpus {
        [] => vec![cpu.clone()],
        gpus => gpus.iter().map(with).collect(),
    }
}
