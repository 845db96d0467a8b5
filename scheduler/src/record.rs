//! Recorded runs: ledgers in files, from which any policy can be judged without running anything.
//!
//! The file is JSON lines. The first is the header: the versions of the layout and of the feature
//! table, and what was recorded where. Every other is a *case*, what is known of a shape of call before
//! it runs, or a *call* of the case with that number, counted from 0:
//!
//! ```text
//! {"crossover_ledger":1,"features_version":1,"about":{…}}
//! {"case":{"kernel":"axpy","version":"61c9…","shape":…,"prior":{…},"features":{…},…}}
//! {"call":{"case":0,"chosen":"gpu","why":"faster","run_s":[null,0.0012],"total_s":[null,0.0013],…}}
//! ```
//!
//! A runtime whose settings name a file ([`crate::Settings::record`]) writes every call of its own
//! down, with the time of the side that ran. `crossover bench --record` runs each call on both sides
//! and writes both times: what any other policy would have cost can then be told. A last line that
//! was cut off is dropped on reading. Calls stand in the order of their ends; where calls were made
//! one after the other, that is the order of the decisions, and [`crate::route::Offline`] reproduces
//! every one of them. A runtime with several GPUs says of each call what it has weighed for the GPU of its
//! choice; which of them that is, is not in the file, and its decisions are not reproduced exactly.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crossover_ml::{Features, Prediction, features};
use serde::{Deserialize, Serialize};

use crate::device::Device;
use crate::error::Error;
use crate::explain::Explanation;
use crate::ledger::Why;
use crate::route::{Asked, CallKey, kernel_key};

/// The layout of the file.
pub const LAYOUT: u32 = 1;

/// What was recorded where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The command or program.
    pub by: String,
    /// The routing policy.
    pub policy: String,
    /// The model that predicted.
    pub model: String,
    /// The adapter, with its driver; `None` without a GPU.
    pub adapter: Option<String>,
    /// Whether that adapter computes on the CPU.
    pub is_software: bool,
    /// Threads on the CPU.
    pub threads: usize,
}

/// A shape of call, and what is known of it before it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The kernel and its element types.
    pub kernel: String,
    /// The content hash of the optimised kernel, cut.
    pub version: String,
    /// Stands for everything of the arguments that decides how much work there is.
    pub shape: u64,
    /// Points of the grid.
    pub items: u64,
    /// log2 of the operations of the call.
    pub log2_work: f64,
    /// What the network says, without what running the kernel has taught.
    pub prior: Prediction,
    /// Generation of the model that predicted.
    pub generation: u64,
    /// What the model was told.
    pub features: Features,
}

impl Case {
    /// Which call it is to a policy.
    ///
    /// ```
    /// # use crossover::record::Case;
    /// # use crossover::kernels::library::saxpy::saxpy;
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0; 2])?, rt.alloc(2)?);
    /// let mut case = |n| -> Result<Case, crossover::Error> {
    ///     let call = saxpy::on(&rt).args(2.0, &x, &mut y).grid([n, 1, 1]);
    ///     Ok(Case::from(&call.explain()?))
    /// };
    /// let (one, two) = (case(1)?.key(), case(2)?.key());
    /// assert!(one.kernel == two.kernel && one.shape != two.shape);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn key(&self) -> CallKey {
        CallKey { kernel: kernel_key(&self.version), shape: self.shape }
    }
}

impl From<&Explanation> for Case {
    fn from(explained: &Explanation) -> Case {
        Case {
            kernel: explained.kernel.clone(),
            version: explained.version.clone(),
            shape: explained.shape,
            items: crate::place::items(explained.grid),
            log2_work: explained.log2_work,
            prior: explained.prior,
            generation: explained.generation,
            features: explained.features,
        }
    }
}

/// A call of a case. Times in seconds; CPU, then GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Number of the case.
    pub case: usize,
    /// Where it ran, or where the caller would have let it run.
    pub chosen: Device,
    /// Why there.
    pub why: Why,
    /// Predicted time of the copies.
    pub transfer_s: [f64; 2],
    /// Predicted time until the device is free.
    pub wait_s: [f64; 2],
    /// Whether it used a number of threads that was not expected to be the fastest.
    pub is_crew_trial: bool,
    /// The run time on each side; `None` where it did not run.
    pub run_s: [Option<f64>; 2],
    /// All that the caller waited.
    pub total_s: [Option<f64>; 2],
}

impl Recorded {
    /// Whether a policy decided where it runs: the devices were not the caller's choice, and both
    /// could run it.
    ///
    /// ```
    /// # use crossover::{Device, Why, record::Recorded};
    /// # let (case, is_crew_trial, chosen) = (0, false, Device::Cpu);
    /// # let (transfer_s, wait_s, run_s, total_s) = Default::default();
    /// let call = |why| Recorded { why, chosen, /* … */
    /// #   case, is_crew_trial, transfer_s, wait_s, run_s, total_s
    /// };
    /// assert!(call(Why::Faster).is_decided() && !call(Why::Forced).is_decided());
    /// ```
    pub fn is_decided(&self) -> bool {
        match self.why {
            Why::Faster | Why::Explore | Why::Policy(_) => true,
            Why::Parts | Why::Forced | Why::Only(_) | Why::Compiling | Why::FellBack(_) => false,
        }
    }

    /// What a policy is asked of it.
    ///
    /// ```
    /// # use crossover::{Runtime, kernels::library::saxpy::saxpy, record::Recording};
    /// # let path = std::env::temp_dir().join(format!("crossover-asked-{}", std::process::id()));
    /// # let rt = Runtime::builder().with(|set| set.record = Some(path.clone())).build()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0; 5])?, rt.alloc(5)?);
    /// saxpy::on(&rt).args(2.0, &x, &mut y).run()?;
    /// # rt.flush_record()?;
    /// let recording = Recording::load(&path)?;
    /// let call = &recording.calls[0];
    /// assert_eq!(call.asked(&recording.cases[call.case]).items, 5);
    /// # std::fs::remove_file(path).expect("our own file");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn asked<'a>(&self, case: &'a Case) -> Asked<'a> {
        Asked {
            call: case.key(),
            items: case.items,
            log2_work: case.log2_work,
            prior: &case.prior,
            generation: case.generation,
            transfer_s: self.transfer_s,
            wait_s: self.wait_s,
            can_be_cut: false,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    crossover_ledger: u32,
    features_version: u32,
    about: About,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Case(Box<Case>),
    Call(Recorded),
}

/// A recorded run, read from its file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// What was recorded where.
    pub about: About,
    /// The shapes of call.
    pub cases: Vec<Case>,
    /// The calls, in the order of their ends. Each names one of the cases.
    pub calls: Vec<Recorded>,
}

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::File`] for one that cannot be read, is of another version, or is none.
    ///
    /// ```
    /// # use crossover::record::{About, Recorder, Recording};
    /// # let path = std::env::temp_dir().join(format!("crossover-load-{}", std::process::id()));
    /// let about = About { by: "this program".into(), ..About::default() };
    /// Recorder::create(&path, about)?.flush()?;
    /// let recording = Recording::load(&path)?;
    /// assert_eq!((recording.about.by.as_str(), recording.calls.len()), ("this program", 0));
    /// # std::fs::remove_file(path).expect("our own file");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn load(path: &Path) -> Result<Recording, Error> {
        let fail = |message: String| file_error(path, message);
        let file = File::open(path).map_err(|error| fail(error.to_string()))?;
        let mut lines = BufReader::new(file).lines();
        let first = lines.next().transpose().map_err(|error| fail(error.to_string()))?;
        let header: Header = serde_json::from_str(&first.unwrap_or_default())
            .map_err(|error| fail(format!("this is no recorded ledger: {error}")))?;
        for (what, found, known) in [
            ("layout", header.crossover_ledger, LAYOUT),
            ("feature table", header.features_version, features::VERSION),
        ] {
            if found != known {
                let message = format!("its {what} is version {found}, not {known}: record it anew");
                return Err(fail(message));
            }
        }
        let mut recording = Recording { about: header.about, ..Recording::default() };
        let mut lines = lines.enumerate().peekable();
        while let Some((at, line)) = lines.next() {
            let line = line.map_err(|error| fail(error.to_string()))?;
            match serde_json::from_str(&line) {
                Ok(line) => {
                    recording.push(line).map_err(|m| fail(format!("line {}: {m}", at + 2)))?
                }
                // The process died while it wrote.
                Err(_) if lines.peek().is_none() => break,
                Err(error) => return Err(fail(format!("line {}: {error}", at + 2))),
            }
        }
        Ok(recording)
    }

    fn push(&mut self, line: Line) -> Result<(), String> {
        match line {
            Line::Case(case) => self.cases.push(*case),
            Line::Call(call) if call.case >= self.cases.len() => {
                return Err(format!("a call of case {}, which is not there", call.case));
            }
            Line::Call(call) => self.calls.push(call),
        }
        Ok(())
    }
}

fn file_error(path: &Path, message: String) -> Error {
    Error::File { path: path.display().to_string(), message }
}

/// Writes a recorded run.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    out: BufWriter<File>,
    /// Numbers of the cases by what tells them apart.
    cases: HashMap<(CallKey, u64), usize>,
    /// What went wrong first: nothing is written after that.
    failed: Option<String>,
}

impl Recorder {
    /// Begins a file; one that is there is replaced.
    ///
    /// # Errors
    /// [`Error::File`].
    ///
    /// ```
    /// # use crossover::record::{About, Recorder};
    /// let nowhere = "/no/such/folder/run.jsonl".as_ref();
    /// assert!(Recorder::create(nowhere, About::default()).is_err());
    /// ```
    pub fn create(path: &Path, about: About) -> Result<Recorder, Error> {
        let fail = |error: std::io::Error| file_error(path, error.to_string());
        let out = BufWriter::new(File::create(path).map_err(fail)?);
        let state = State { out, cases: HashMap::new(), failed: None };
        let recorder = Recorder { path: path.to_owned(), state: Mutex::new(state) };
        let versions = (LAYOUT, features::VERSION);
        let (crossover_ledger, features_version) = versions;
        recorder.lock().line(&Header { crossover_ledger, features_version, about });
        recorder.flush()?;
        Ok(recorder)
    }

    /// Writes a call down. `case` is asked once for each shape and generation; the call's number of
    /// the case is filled in.
    ///
    /// ```
    /// # use crossover::{Device, Why, kernels::library::saxpy::saxpy};
    /// # use crossover::record::{About, Case, Recorded, Recorder, Recording};
    /// # let path = std::env::temp_dir().join(format!("crossover-write-{}", std::process::id()));
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0])?, rt.alloc(1)?);
    /// let case = Case::from(&saxpy::on(&rt).args(2.0, &x, &mut y).explain()?);
    /// let recorder = Recorder::create(&path, rt.about("this program"))?;
    /// # let (case_at, is_crew_trial, transfer_s, wait_s) = (0, false, [0.0; 2], [0.0; 2]);
    /// for took_s in [0.5, 0.25] {
    ///     let times_s = [Some(took_s), None];
    ///     let row = Recorded { chosen: Device::Cpu, why: Why::Faster, run_s: times_s, /* … */
    /// #       case: case_at, is_crew_trial, transfer_s, wait_s, total_s: times_s,
    ///     };
    ///     recorder.write(case.key(), case.generation, || case.clone(), row);
    /// }
    /// recorder.flush()?;
    /// let recording = Recording::load(&path)?;
    /// assert_eq!((recording.cases.len(), recording.calls.len()), (1, 2));
    /// # std::fs::remove_file(path).expect("our own file");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn write(
        &self,
        call: CallKey,
        generation: u64,
        case: impl FnOnce() -> Case,
        mut row: Recorded,
    ) {
        let mut state = self.lock();
        let next = state.cases.len();
        let at = *state.cases.entry((call, generation)).or_insert(next);
        if at == next {
            state.line(&Line::Case(Box::new(case())));
        }
        row.case = at;
        state.line(&Line::Call(row));
    }

    /// Has everything on disk that was written so far.
    ///
    /// # Errors
    /// [`Error::File`] for what went wrong first, then or before: nothing is written after that.
    ///
    /// ```
    /// # use crossover::record::{About, Recorder};
    /// # let path = std::env::temp_dir().join(format!("crossover-flush-{}", std::process::id()));
    /// let recorder = Recorder::create(&path, About::default())?;
    /// recorder.flush()?;
    /// let text = std::fs::read_to_string(&path).expect("the file is there");
    /// assert!(text.starts_with("{\"crossover_ledger\":1,"));
    /// # std::fs::remove_file(path).expect("our own file");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn flush(&self) -> Result<(), Error> {
        let mut state = self.lock();
        let flushed = state.out.flush();
        state.note(flushed);
        match &state.failed {
            None => Ok(()),
            Some(message) => Err(file_error(&self.path, message.clone())),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn line(&mut self, line: &impl Serialize) {
        if self.failed.is_some() {
            return;
        }
        let written = serde_json::to_writer(&mut self.out, line).map_err(std::io::Error::from);
        let written = written.and_then(|()| self.out.write_all(b"\n"));
        self.note(written);
    }

    fn note(&mut self, result: std::io::Result<()>) {
        if let Err(error) = result
            && self.failed.is_none()
        {
            self.failed = Some(error.to_string());
        }
    }
}
