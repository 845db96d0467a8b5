//! The file of experience: measured calls, one a line, behind a header that names the versions.
//!
//! ```text
//! {"crossover_experience":1,"features":2}
//! {"crate_version":"0.1.0","machine":"…","kernel":"9f2c…","device":"gpu","n":4096,"seconds":…,"features":{…}}
//! ```
//!
//! Whoever writes holds a lock on a file beside it, which the system gives back when a process dies. Lines are
//! appended whole; a last line that was cut off is removed by the next append. When the file has grown large it
//! is replaced by one with the newest calls, which takes its place in one step.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crossover_ml::Features;
use crossover_ml::dataset::drop_torn_line;
use crossover_ml::features::VERSION;
use serde::{Deserialize, Serialize};

use crate::device::Device;

/// The version of the file's layout.
const LAYOUT: u32 = 2;

/// Calls kept of a kernel on a device in a size bucket: as many as replay keeps.
const SAMPLES_MAX: usize = crossover_ml::replay::SAMPLES_MAX;

/// Calls kept in all, and the bytes beyond which the file is replaced.
const CALLS_MAX: usize = 4000;
const BYTES_MAX: u64 = 16 << 20;

/// Why a file of experience is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExperienceError {
    /// It is no such file; it is left as it is, and nothing is kept.
    #[error("{path} is no file of experience; it is left alone, and nothing is kept")]
    Foreign {
        /// Its path.
        path: PathBuf,
    },
    /// It is of another layout or feature table; it is put aside, and a new one begun.
    #[error("{path} is of layout {layout} and feature table {features}; put aside")]
    Version {
        /// Its path.
        path: PathBuf,
        /// Its layout.
        layout: u32,
        /// Its feature table.
        features: u32,
    },
    /// A line of it is damaged; it is put aside, and a new one begun.
    #[error("{path} is damaged in line {line}; put aside")]
    Damaged {
        /// Its path.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// It cannot be read or written.
    #[error("{path}: {message}")]
    Io {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        message: String,
    },
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Header {
    crossover_experience: u32,
    features: u32,
}

/// A measured call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// The version of the library, and the machine with its GPU: calls of others are kept, but not used.
    pub(crate) crate_version: String,
    pub(crate) machine: String,
    /// The version of the kernel: its content hash.
    pub(crate) kernel: String,
    pub(crate) device: Device,
    /// Points of the grid.
    pub(crate) n: u64,
    pub(crate) log2_work: f64,
    pub(crate) seconds: f64,
    pub(crate) features: Features,
}

impl Sample {
    fn is_possible(&self) -> bool {
        self.seconds.is_finite() && self.seconds > 0.0 && self.log2_work.is_finite()
    }

    /// Calls that say the same.
    fn cell(&self) -> (&str, &str, &str, Device, u32) {
        let bucket = self.n.max(1).ilog2();
        (&self.crate_version, &self.machine, &self.kernel, self.device, bucket)
    }
}

/// The calls of a file, oldest first; none where there is no file.
pub(crate) fn load(path: &Path) -> Result<Vec<Sample>, ExperienceError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io(path, &error)),
    };
    parse(path, &bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Sample>, ExperienceError> {
    // What is behind the last end of a line was being written when its process died.
    let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut lines = bytes[..whole].split(|&b| b == b'\n').enumerate();
    let header = lines.next().and_then(|(_, line)| serde_json::from_slice::<Header>(line).ok());
    let path = path.to_owned();
    let Some(header) = header else { return Err(ExperienceError::Foreign { path }) };
    if (header.crossover_experience, header.features) != (LAYOUT, VERSION) {
        let (layout, features) = (header.crossover_experience, header.features);
        return Err(ExperienceError::Version { path, layout, features });
    }
    let mut samples = Vec::new();
    for (at, line) in lines.filter(|(_, line)| !line.is_empty()) {
        match serde_json::from_slice::<Sample>(line) {
            Ok(sample) if sample.is_possible() => samples.push(sample),
            Ok(_) | Err(_) => return Err(ExperienceError::Damaged { path, line: at + 1 }),
        }
    }
    Ok(samples)
}

/// Appends calls; begins the file where there is none, and a new one where this is of another version.
pub(crate) fn append(path: &Path, samples: &[Sample]) -> Result<(), ExperienceError> {
    let _lock = lock(path)?;
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(path);
    let written = file.and_then(|mut file| {
        let mut text = Vec::new();
        if drop_torn_line(&mut file)? == 0 {
            line(&mut text, &Header { crossover_experience: LAYOUT, features: VERSION });
        }
        samples.iter().for_each(|sample| line(&mut text, sample));
        file.write_all(&text)?;
        file.metadata().map(|data| data.len())
    });
    let bytes = written.map_err(|error| io(path, &error))?;
    if bytes > BYTES_MAX {
        let kept = newest(load(path)?);
        replace(path, &kept)?;
    }
    Ok(())
}

/// Puts a file aside that cannot be used, beside its place.
pub(crate) fn put_aside(path: &Path) -> Result<(), ExperienceError> {
    let _lock = lock(path)?;
    // Another process may have done so, and begun anew.
    match load(path) {
        Err(ExperienceError::Version { .. } | ExperienceError::Damaged { .. }) => {
            std::fs::rename(path, beside(path, "old")).map_err(|error| io(path, &error))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Writes the calls of several files of experience into one, each once: the newest of each kernel, device and
/// size. The file may be one of them.
///
/// # Errors
/// The first file that cannot be used; nothing is written then.
///
/// ```
/// # use crossover::{Runtime, kernels::library::saxpy::saxpy, merge_experience};
/// # let id = std::process::id();
/// # let folder = std::env::temp_dir();
/// # let files = ["a", "b"].map(|name| folder.join(format!("crossover-{id}-{name}")));
/// for file in &files {
///     let rt = Runtime::builder().with(|s| s.experience = Some(file.clone())).build()?;
/// #     let (x, mut y) = (rt.buffer_from(&[1.0])?, rt.alloc(1)?);
///     saxpy::on(&rt).args(2.0, &x, &mut y).run()?;
/// }
/// let kept = merge_experience(&files, &files[0]).expect("both can be read");
/// assert_eq!(kept, 2);
/// # let all = std::fs::read_dir(folder).expect("a folder").flatten();
/// # let ours = format!("crossover-{id}-");
/// # for file in all.filter(|file| file.file_name().to_string_lossy().starts_with(&ours)) {
/// #     std::fs::remove_file(file.path()).expect("our own file");
/// # }
/// # Ok::<(), crossover::Error>(())
/// ```
pub fn merge_experience(from: &[PathBuf], into: &Path) -> Result<usize, ExperienceError> {
    let mut all: Vec<Sample> = Vec::new();
    let _lock = lock(into)?;
    for path in from {
        let found = load(path)?;
        let new: Vec<Sample> = found.into_iter().filter(|sample| !all.contains(sample)).collect();
        all.extend(new);
    }
    let kept = newest(all);
    replace(into, &kept)?;
    Ok(kept.len())
}

/// The newest calls of each cell, and of all.
fn newest(samples: Vec<Sample>) -> Vec<Sample> {
    let mut counts = HashMap::new();
    let mut kept = Vec::new();
    for sample in samples.iter().rev() {
        let count = counts.entry(sample.cell()).or_insert(0);
        *count += 1;
        if *count <= SAMPLES_MAX && kept.len() < CALLS_MAX {
            kept.push(sample.clone());
        }
    }
    kept.reverse();
    kept
}

/// Puts a file with these calls in the place of another, in one step. Under the lock.
fn replace(path: &Path, samples: &[Sample]) -> Result<(), ExperienceError> {
    let mut text = Vec::new();
    line(&mut text, &Header { crossover_experience: LAYOUT, features: VERSION });
    samples.iter().for_each(|sample| line(&mut text, sample));
    let part = beside(path, "part");
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    });
    written.map_err(|error| io(path, &error))
}

/// Held by one process at a time; given back when the file is closed, by whatever end of the process.
fn lock(path: &Path) -> Result<File, ExperienceError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| io(path, &error))?;
    }
    let beside = beside(path, "lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&beside);
    let locked = file.and_then(|file| file.lock().map(|()| file));
    locked.map_err(|error| io(&beside, &error))
}

fn line(text: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(&mut *text, value)
        .expect("headers and calls are plain data, and memory does not refuse");
    text.push(b'\n');
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn io(path: &Path, error: &std::io::Error) -> ExperienceError {
    ExperienceError::Io { path: path.to_owned(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::{ExperienceError, SAMPLES_MAX, Sample, append, load, merge_experience, put_aside};
    use crate::device::Device;
    use crossover_ml::Features;
    use std::io::Write;
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        let name = format!("crossover-experience-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a writable folder");
        folder
    }

    fn sample(kernel: &str, seconds: f64) -> Sample {
        Sample {
            crate_version: "1".into(),
            machine: "m".into(),
            kernel: kernel.into(),
            device: Device::Cpu,
            n: 1000,
            log2_work: 10.0,
            seconds,
            features: Features::missing(),
        }
    }

    #[test]
    fn a_torn_line_costs_itself_alone() {
        let path = folder("torn").join("calls");
        append(&path, &[sample("a", 1.0)]).expect("written");
        let mut torn = std::fs::OpenOptions::new().append(true).open(&path).expect("is there");
        torn.write_all(b"{\"crate_version\":\"1\",\"mach").expect("written");
        assert_eq!(load(&path).expect("whole").len(), 1);
        append(&path, &[sample("b", 2.0)]).expect("written");
        assert_eq!(load(&path).expect("whole"), [sample("a", 1.0), sample("b", 2.0)]);
    }

    #[test]
    fn what_is_foreign_is_left_alone_and_what_is_damaged_put_aside() {
        let path = folder("refused").join("calls");
        std::fs::write(&path, "a letter\nto somebody\n").expect("written");
        assert!(matches!(load(&path), Err(ExperienceError::Foreign { .. })));
        put_aside(&path).expect("it stays");
        assert!(path.exists());
        std::fs::write(&path, "{\"crossover_experience\":1,\"features\":1}\n").expect("written");
        let old = load(&path);
        assert!(matches!(old, Err(ExperienceError::Version { layout: 1, features: 1, .. })));
        put_aside(&path).expect("renamed");
        assert!(!path.exists());
        append(&path, &[sample("a", 1.0)]).expect("begun anew");
        let mut damaged = std::fs::read(&path).expect("is there");
        damaged.extend(b"{}\n");
        std::fs::write(&path, damaged).expect("written");
        assert!(matches!(load(&path), Err(ExperienceError::Damaged { line: 3, .. })));
        std::fs::write(&path, b"").expect("written");
        assert_eq!(load(&path), Ok(Vec::new()), "a process died before it wrote");
    }

    #[test]
    fn many_writers_lose_nothing() {
        let path = folder("many").join("calls");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    for call in 0..25 {
                        let kernel = format!("{writer}-{call}");
                        append(path, &[sample(&kernel, 1.0)]).expect("written");
                    }
                });
            }
        });
        assert_eq!(load(&path).expect("whole").len(), 100);
    }

    #[test]
    fn files_merge_to_the_newest_calls_each_once() {
        let folder = folder("merge");
        let [a, b, c] = ["a", "b", "c"].map(|name| folder.join(name));
        let calls: Vec<Sample> = (1..=20).map(|i| sample("k", f64::from(i))).collect();
        append(&a, &calls).expect("written");
        append(&b, &[sample("k", 20.0), sample("other", 1.0)]).expect("written");
        let kept = merge_experience(&[a.clone(), b], &c).expect("both can be read");
        assert_eq!(kept, SAMPLES_MAX + 1);
        let found = load(&c).expect("whole");
        assert!(found.contains(&sample("k", 20.0)) && !found.contains(&sample("k", 1.0)));
        assert_eq!(merge_experience(&[a, c.clone()], &c).expect("again"), SAMPLES_MAX + 1);
    }
}
