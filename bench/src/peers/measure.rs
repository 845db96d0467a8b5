//! Our side, native Rust and the peers on the same arguments: each result is checked, then all are timed
//! in turns.
//!
//! A peer that ends, says nothing in time, or answers with something else loses the row at hand, with the
//! reason; it is started again for the next, some times.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossover::kernels::library::Entry;
use crossover::{Device, Runtime, Why};

use super::model::{Cell, Row, Side};
use super::server::{Desk, Fault, Server, write_inputs};
use super::{Folder, Peer};
use crate::baseline::{Baseline, Baselines, Fault as BaselineFault};
use crate::case::Case;
use crate::runner;

/// Baselines in this table.
const BASELINES: [Baseline; 2] = [Baseline::Native, Baseline::NativeDefault];

/// Times that a peer may end or fall silent before it is not started again.
const ENDS_MAX: usize = 3;

/// Starts of a process to see what a cold start takes.
const STARTS: usize = 3;

/// Elements of the call that is nearly empty, and of the first one in a process.
const FLOOR_SIZE: usize = 64;
const FIRST_SIZE: usize = 1 << 12;

/// How our side gets to know a kernel before it is timed: at most so many calls, within this time.
const PLACED_CALLS: usize = 30;
const PLACED_TIME: Duration = Duration::from_millis(500);

/// Time between the turns of two sides: idle threads of the one before may still be looking for work, OpenMP's
/// for some milliseconds, on the cores that the next one needs.
const PAUSE: Duration = Duration::from_millis(5);

/// How a process is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(&'static str, OsString)>,
}

impl Launch {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A peer's server in its environment.
    pub(crate) fn of(
        peer: &Peer,
        python: PathBuf,
        sources: PathBuf,
        desk: &Desk,
        threads: usize,
    ) -> Launch {
        let count = OsString::from(threads.to_string());
        // Nothing of the user's own Python but the environment.
        let mut args: Vec<OsString> = ["-E", "-s"].map(OsString::from).to_vec();
        args.push(sources.join("server.py").into());
        args.push(format!("peer_{}", peer.name).into());
        args.extend([&desk.inputs, &desk.outputs, &desk.code].map(|path| path.clone().into()));
        args.push(count.clone());
        // What each of them counts its threads by; XLA makes as many as it believes there are processors.
        let counts =
            ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"];
        let counts = counts.into_iter().chain(["HL_NUM_THREADS", "NPROC"]);
        let mut env: Vec<_> = counts.map(|name| (name, count.clone())).collect();
        env.push(("NUMBA_CACHE_DIR", desk.code.clone().into()));
        env.push(("JAX_PLATFORMS", "cpu".into()));
        Launch { program: python, args, env }
    }
}

/// A peer that takes part, if it can.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// How it is started; an error says why it is not.
    pub(crate) launch: Result<Launch, String>,
    pub(crate) desk: Desk,
    pub(crate) setup_s: Option<f64>,
    version: Option<String>,
    server: Option<Server>,
    /// Times that it ended.
    ends: usize,
}

impl Contestant {
    pub(crate) fn new(name: &'static str, about: &'static str, desk: Desk) -> Contestant {
        let launch = Err(String::new());
        Contestant {
            name,
            about,
            launch,
            desk,
            setup_s: None,
            version: None,
            server: None,
            ends: 0,
        }
    }

    /// Its server, started if there is none.
    fn server(&mut self) -> Result<&mut Server, Fault> {
        if self.server.is_none() {
            let launch = self.launch.as_ref().map_err(|why| Fault::Start(why.clone()))?;
            let mut server = Server::spawn(&mut launch.command(), self.desk.clone())?;
            self.version = Some(server.about()?);
            self.server = Some(server);
        }
        Ok(self.server.as_mut().expect("it was started above"))
    }

    /// Asks its server; one that has ended is let go of.
    fn ask<T>(&mut self, ask: impl FnOnce(&mut Server) -> Result<T, Fault>) -> Result<T, Fault> {
        let answer = self.server().and_then(ask);
        if let Err(fault) = &answer
            && fault.is_fatal()
            && self.launch.is_ok()
        {
            self.server = None;
            self.ends += 1;
            if self.ends == ENDS_MAX {
                self.launch = Err(format!("given up after {ENDS_MAX} failures, the last: {fault}"));
            }
        }
        answer
    }

    /// From the start of a process to its first result.
    fn first_result(&mut self, case: &Case<'_>) -> Result<f64, Fault> {
        self.server = None;
        let start = Instant::now();
        self.ask(|server| server.run(case))?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// First results: with nothing compiled, and with what the process before has kept.
    fn first_results(&mut self, case: &Case<'_>) -> Result<[Cell; 2], Fault> {
        // Once for the system, which reads the package's files.
        self.first_result(case)?;
        let (mut empty, mut kept) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let _ = std::fs::remove_dir_all(&self.desk.code);
            let made = std::fs::create_dir_all(&self.desk.code);
            made.map_err(|e| Fault::Files(e.to_string()))?;
            empty.push(self.first_result(case)?);
            kept.push(self.first_result(case)?);
        }
        Ok([empty, kept].map(|times| Cell::of(&times)))
    }
}

/// What is known of a side in a row.
#[derive(Default)]
struct Timing {
    first_s: Option<f64>,
    /// A call after the first.
    once_s: f64,
    times: Vec<f64>,
    repetitions: usize,
    why: Option<String>,
}

impl Timing {
    fn newest_s(&self) -> f64 {
        self.times.last().copied().unwrap_or(self.once_s)
    }

    /// Whether the side has a turn in a round: its turns are spread over all rounds.
    fn has_turn(&self, round: usize, rounds: usize) -> bool {
        self.why.is_none()
            && round * self.repetitions / rounds != (round + 1) * self.repetitions / rounds
    }

    fn fail(&mut self, why: String) {
        // What was measured before is no median of all repetitions.
        self.times.clear();
        self.why = Some(why);
    }

    fn cell(self) -> Cell {
        Cell { first_s: self.first_s, why: self.why, ..Cell::of(&self.times) }
    }
}

/// All sides, ready for a kernel.
pub(crate) struct Contest<'r> {
    pub(crate) rt: &'r Runtime,
    pub(crate) baselines: Baselines,
    pub(crate) peers: Vec<Contestant>,
    pub(crate) work: Folder,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Contest<'_> {
    /// Ours, native Rust, then the peers.
    fn count(&self) -> usize {
        1 + BASELINES.len() + self.peers.len()
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Measures a kernel at a size.
    pub(crate) fn row(
        &mut self,
        entry: &'static Entry,
        size_name: &str,
        size: usize,
    ) -> anyhow::Result<Row> {
        let mut case = Case::new(self.rt, entry, size)?;
        write_inputs(self.work.path(), &case.inputs)?;
        self.baselines.prepare(&case);
        let mut timings: Vec<Timing> =
            (0..self.count()).map(|at| self.first(at, &mut case)).collect();
        let placed = self.settle(&mut case)?;
        let rounds = timings.iter().map(|t| t.repetitions).max().unwrap_or(0);
        for round in 0..rounds {
            for (at, timing) in timings.iter_mut().enumerate() {
                if timing.has_turn(round, rounds) && !self.is_stopped() {
                    match self.turn(at, timing, &mut case, placed) {
                        Ok(seconds) => timing.times.push(seconds),
                        Err(why) => timing.fail(why),
                    }
                }
            }
        }
        Ok(Row {
            kernel: entry.name.to_owned(),
            size: size_name.to_owned(),
            n: size as u64,
            unit: entry.unit.to_owned(),
            placed,
            cells: timings.into_iter().map(Timing::cell).collect(),
        })
    }

    /// A side's first call, checked, and a second, which compiles nothing.
    fn first(&mut self, at: usize, case: &mut Case<'_>) -> Timing {
        let mut timing = Timing::default();
        if self.is_stopped() {
            timing.why = Some("interrupted".to_owned());
            return timing;
        }
        let first = match at {
            0 => first_of_ours(case),
            _ if at <= BASELINES.len() => {
                self.baselines.check(BASELINES[at - 1], case).map_err(shown_baseline)
            }
            _ => self.peers[at - 1 - BASELINES.len()].ask(|s| s.run(case)).map_err(shown),
        };
        match first.and_then(|first| Ok((first, self.calls(at, 1, case)?))) {
            Ok((first, once)) => {
                (timing.first_s, timing.once_s) = (Some(first), once);
                timing.repetitions = runner::repetitions(once);
            }
            Err(why) => timing.why = Some(why),
        }
        timing
    }

    /// A repetition: a call to have the data in the caches again, then a row of calls if they are short.
    fn turn(
        &mut self,
        at: usize,
        timing: &Timing,
        case: &mut Case<'_>,
        placed: Device,
    ) -> Result<f64, String> {
        std::thread::sleep(PAUSE);
        if timing.newest_s() < runner::QUICK {
            self.calls(at, 1, case)?;
        }
        let is_on_gpu = at == 0 && placed == Device::Gpu;
        let count = if is_on_gpu { 1 } else { runner::row_of(timing.newest_s()) };
        self.calls(at, count, case)
    }

    /// The seconds of one call of so many of a side.
    fn calls(&mut self, at: usize, count: u32, case: &mut Case<'_>) -> Result<f64, String> {
        match at {
            0 => case.round_trips(count, |call| call).map(|(_, s)| s).map_err(|e| e.to_string()),
            _ if at <= BASELINES.len() => {
                let baseline = BASELINES[at - 1];
                self.baselines.time(baseline, case.entry, count).map_err(shown_baseline)
            }
            _ => self.peers[at - 1 - BASELINES.len()].ask(|s| s.time(count)).map_err(shown),
        }
    }

    /// Lets our side learn where its calls run and on how many threads; gives where.
    fn settle(&self, case: &mut Case<'_>) -> anyhow::Result<Device> {
        let start = Instant::now();
        for _ in 0..PLACED_CALLS {
            if self.is_stopped() || start.elapsed() > PLACED_TIME {
                break;
            }
            case.round_trip(|call| call)?;
        }
        let settled = case.explain()?;
        let calls = settled.len();
        // A trial is no choice: where it is not on trial, it runs on the other.
        let is_trial = settled.iter().any(|call| call.why == Why::Explore);
        let on_gpu = match is_trial {
            true => case.round_trip(|call| call)?.0.on_gpu,
            false => settled.iter().filter(|call| call.chosen == Device::Gpu).count(),
        };
        Ok(runner::most(on_gpu, calls))
    }

    /// What there is to know of each side: start of a process, smallest call, version. `ours` starts a
    /// process of our own, with this folder for compiled code.
    pub(crate) fn sides(
        &mut self,
        entry: &'static Entry,
        ours: impl Fn(&std::path::Path) -> Option<f64>,
        progress: &dyn Fn(&str),
    ) -> anyhow::Result<Vec<Side>> {
        progress("first results of new processes");
        let case = Case::new(self.rt, entry, FIRST_SIZE)?;
        write_inputs(self.work.path(), &case.inputs)?;
        let mut sides = vec![self.our_side(ours)];
        self.baselines.prepare(&case);
        for baseline in BASELINES {
            let why = self.baselines.check(baseline, &case).err().map(shown_baseline);
            // One process for both: the server.
            let first = (baseline == Baseline::Native && why.is_none()).then(|| {
                let times = (0..STARTS).filter_map(|_| self.baselines.first_result(&case));
                Cell::of(&times.collect::<Vec<f64>>())
            });
            sides.push(Side {
                name: baseline.name().to_owned(),
                about: baseline.about().to_owned(),
                why,
                cold_empty: first.unwrap_or_default(),
                ..Side::default()
            });
        }
        for peer in &mut self.peers {
            let (name, about, setup_s) =
                (peer.name.to_owned(), peer.about.to_owned(), peer.setup_s);
            let mut side = Side { name, about, setup_s, ..Side::default() };
            if self.stop.load(Ordering::Relaxed) {
                side.why = Some("interrupted".to_owned());
                sides.push(side);
                continue;
            }
            progress(&format!("first results of new processes: {}", peer.name));
            let firsts = peer.first_results(&case);
            side.version.clone_from(&peer.version);
            [side.cold_empty, side.cold_kept] = firsts.clone().unwrap_or_default();
            side.why = peer.launch.as_ref().err().cloned().or_else(|| {
                // A kernel that is not right is a matter of its row.
                firsts.err().filter(Fault::is_fatal).map(|fault| fault.to_string())
            });
            sides.push(side);
        }
        progress("calls of 64 elements");
        let floor = self.row(entry, "floor", FLOOR_SIZE)?;
        for (side, cell) in sides.iter_mut().zip(floor.cells) {
            side.floor = cell;
        }
        Ok(sides)
    }

    fn our_side(&self, first: impl Fn(&std::path::Path) -> Option<f64>) -> Side {
        let code = self.work.path().join("code-ours");
        let (mut empty, mut kept) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let _ = std::fs::remove_dir_all(&code);
            empty.extend(first(&code));
            kept.extend(first(&code));
        }
        Side {
            name: "crossover".to_owned(),
            about: "the function under `#[kernel]`, each call placed by the scheduler".to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            cold_empty: Cell::of(&empty),
            cold_kept: Cell::of(&kept),
            ..Side::default()
        }
    }
}

fn first_of_ours(case: &mut Case<'_>) -> Result<f64, String> {
    let mut first = || -> Result<(f64, Option<String>), crossover::Error> {
        case.reset()?;
        let (_, seconds) = case.round_trip(|call| call)?;
        Ok((seconds, case.judge()?))
    };
    match first() {
        Ok((seconds, None)) => Ok(seconds),
        Ok((_, Some(wrong))) => Err(format!("wrong: {wrong}")),
        Err(error) => Err(error.to_string()),
    }
}

fn shown(fault: Fault) -> String {
    fault.to_string()
}

fn shown_baseline(fault: BaselineFault) -> String {
    match fault {
        BaselineFault::Missing(why) => why,
        BaselineFault::Wrong(what) => format!("wrong: {what}"),
    }
}

/// The first result of a process: a runtime, a saxpy, and what it took within the process.
pub(crate) fn first_result(rt: &Runtime, entry: &'static Entry) -> anyhow::Result<f64> {
    let mut case = Case::new(rt, entry, FIRST_SIZE)?;
    first_of_ours(&mut case).map_err(anyhow::Error::msg)
}
