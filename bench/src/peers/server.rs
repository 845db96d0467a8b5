//! The client of a peer's server: starts it, asks, and gives up on one that ends, says nothing, or says
//! what is none of its replies.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crossover::kernels::library::Input;

use super::protocol::{Reply, Request};
use crate::case::Case;

/// The longest line that is read: what a peer has to say is shorter.
const LINE_MAX: u64 = 1 << 16;

/// How long a server may take to end after its input has.
const FAREWELL: Duration = Duration::from_secs(2);

/// What is wrong with a peer, or with what it made of a kernel.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Fault {
    /// There is no process.
    #[error("does not start: {0}")]
    Start(String),
    /// The process has ended.
    #[error("ended at `{request}`: {last}")]
    Ended {
        /// What it was asked.
        request: String,
        /// The last that it wrote to standard error, or its status.
        last: String,
    },
    /// It does not answer.
    #[error("no answer to `{request}` within {} s", within.as_secs_f32())]
    Silent {
        /// What it was asked.
        request: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// Its answer is none.
    #[error("answered `{request}` with `{line}`")]
    Garbage {
        /// What it was asked.
        request: String,
        /// The beginning of what it said.
        line: String,
    },
    /// Files between the two cannot be written or read.
    #[error("{0}")]
    Files(String),
    /// The peer says that it cannot.
    #[error("failed: {0}")]
    Failed(String),
    /// The kernel is not written for this peer.
    #[error("not written: {0}")]
    NotWritten(String),
    /// The result is not the reference's.
    #[error("wrong: {0}")]
    Wrong(String),
}

impl Fault {
    /// Whether the process is of no more use.
    pub(crate) fn is_fatal(&self) -> bool {
        match self {
            Fault::Start(_)
            | Fault::Ended { .. }
            | Fault::Silent { .. }
            | Fault::Garbage { .. } => true,
            Fault::Files(_) | Fault::Failed(_) | Fault::NotWritten(_) | Fault::Wrong(_) => false,
        }
    }
}

/// Where a server finds arguments and leaves results, and how long it may think.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    /// Arguments, shared by all servers.
    pub(crate) inputs: PathBuf,
    /// Results of this one.
    pub(crate) outputs: PathBuf,
    /// Where it may keep compiled code.
    pub(crate) code: PathBuf,
    /// What it says on standard error.
    pub(crate) log: PathBuf,
    /// How long it may take to answer.
    pub(crate) deadline: Duration,
}

/// A server that waits for requests. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Taken when the server is to end.
    requests: Option<ChildStdin>,
    replies: Receiver<Result<String, String>>,
    desk: Desk,
}

impl Server {
    pub(crate) fn spawn(command: &mut Command, desk: Desk) -> Result<Server, Fault> {
        let log = File::create(&desk.log).map_err(|e| Fault::Files(e.to_string()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        // Ctrl-C is for this process alone: the repetition at hand is to end first.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        let mut child = command.spawn().map_err(|e| Fault::Start(e.to_string()))?;
        let requests = child.stdin.take();
        let output = child.stdout.take().expect("the server's output is piped");
        let (sender, replies) = channel();
        // A read cannot be given up, waiting for a message can.
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            while let Some(line) = next_line(&mut output) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Server { child, requests, replies, desk })
    }

    /// What it says that it is.
    pub(crate) fn about(&mut self) -> Result<String, Fault> {
        match self.ask(Request::About)? {
            Reply::About(what) => Ok(what),
            other => Err(refused(Request::About, &other)),
        }
    }

    /// Has it make the first call of a case, whose arguments are in the folder of inputs, and holds its
    /// result against the reference. Gives the seconds.
    pub(crate) fn run(&mut self, case: &Case<'_>) -> Result<f64, Fault> {
        let _ = std::fs::remove_dir_all(&self.desk.outputs);
        let made = std::fs::create_dir_all(&self.desk.outputs);
        made.map_err(|e| Fault::Files(e.to_string()))?;
        let seconds = self.seconds(Request::Run(case.entry.name, &case.inputs))?;
        let found = case
            .inputs
            .iter()
            .enumerate()
            .map(|(at, input)| read_result(&self.desk.outputs.join(at.to_string()), input));
        let found = found.collect::<Result<Vec<Input>, Fault>>()?;
        case.judge_inputs(&found).map_or(Ok(seconds), |wrong| Err(Fault::Wrong(wrong)))
    }

    /// The seconds of one call of so many.
    pub(crate) fn time(&mut self, count: u32) -> Result<f64, Fault> {
        self.seconds(Request::Time(count))
    }

    fn seconds(&mut self, request: Request<'_>) -> Result<f64, Fault> {
        match self.ask(request)? {
            Reply::Took(seconds) => Ok(seconds),
            other => Err(refused(request, &other)),
        }
    }

    fn ask(&mut self, request: Request<'_>) -> Result<Reply, Fault> {
        let answer = self.exchange(request);
        if answer.as_ref().is_err_and(Fault::is_fatal) {
            self.requests = None;
            let _ = self.child.kill();
        }
        answer
    }

    fn exchange(&mut self, request: Request<'_>) -> Result<Reply, Fault> {
        let Some(requests) = &mut self.requests else { return Err(self.ended(request)) };
        if writeln!(requests, "{request}").and_then(|()| requests.flush()).is_err() {
            return Err(self.ended(request));
        }
        let within = self.desk.deadline;
        match self.replies.recv_timeout(within) {
            Ok(Ok(line)) => line.parse().map_err(|_| garbage(request, &line)),
            Ok(Err(line)) => Err(garbage(request, &line)),
            Err(RecvTimeoutError::Timeout) => {
                Err(Fault::Silent { request: request.to_string(), within })
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.ended(request)),
        }
    }

    /// Why it is gone: the last that it said, or how it ended.
    fn ended(&mut self, request: Request<'_>) -> Fault {
        let status = wait(&mut self.child).unwrap_or_else(|| "its output is closed".to_owned());
        let text = std::fs::read(&self.desk.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        let last = last.map_or(status.clone(), |last| format!("{} ({status})", start(last)));
        Fault::Ended { request: request.to_string(), last }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.requests = None;
        if wait(&mut self.child).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// How a process ends that is about to; `None` for one that does not.
fn wait(child: &mut Child) -> Option<String> {
    let start = Instant::now();
    while start.elapsed() < FAREWELL {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.to_string()),
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(e) => return Some(e.to_string()),
        }
    }
    None
}

/// A line without its end; an error is the beginning of one that is too long. `None` at the end.
fn next_line(output: &mut impl BufRead) -> Option<Result<String, String>> {
    let mut bytes = Vec::new();
    let count = output.take(LINE_MAX).read_until(b'\n', &mut bytes).ok()?;
    let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
    match bytes.last() {
        None => None,
        Some(b'\n') => Some(Ok(line)),
        Some(_) if count as u64 == LINE_MAX => Some(Err(line)),
        // The process ended within a line.
        Some(_) => Some(Ok(line)),
    }
}

/// A result; the argument itself where the peer left none.
fn read_result(path: &Path, input: &Input) -> Result<Input, Fault> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(input.clone()),
        Err(e) => return Err(Fault::Files(e.to_string())),
    };
    let words = bytes.as_chunks().0.iter().copied();
    Ok(match input {
        Input::F32(_) => Input::F32(words.map(f32::from_le_bytes).collect()),
        Input::U32(_) => Input::U32(words.map(u32::from_le_bytes).collect()),
        Input::I32(_) => Input::I32(words.map(i32::from_le_bytes).collect()),
        Input::Scalar(_) => input.clone(),
    })
}

/// Writes the arguments of a case to the folder of inputs, for all peers.
pub(crate) fn write_inputs(folder: &Path, inputs: &[Input]) -> std::io::Result<()> {
    for (at, input) in inputs.iter().enumerate() {
        let words: Box<dyn Iterator<Item = u32>> = match input {
            Input::Scalar(_) => continue,
            Input::F32(v) => Box::new(v.iter().map(|x| x.to_bits())),
            Input::U32(v) => Box::new(v.iter().copied()),
            Input::I32(v) => Box::new(v.iter().map(|x| x.cast_unsigned())),
        };
        let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        std::fs::write(folder.join(at.to_string()), bytes)?;
    }
    Ok(())
}

fn refused(request: Request<'_>, reply: &Reply) -> Fault {
    match reply {
        Reply::None(why) => Fault::NotWritten(why.clone()),
        Reply::Failed(why) => Fault::Failed(why.clone()),
        Reply::About(_) | Reply::Took(_) => garbage(request, &format!("{reply:?}")),
    }
}

fn garbage(request: Request<'_>, line: &str) -> Fault {
    Fault::Garbage { request: request.to_string(), line: start(line) }
}

/// So much of a line as fits into a table's footnote.
fn start(line: &str) -> String {
    line.chars().take(160).collect()
}
