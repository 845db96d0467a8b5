//! `crossover peers`: the suite `core` against other systems.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use clap::builder::PossibleValuesParser;
use crossover::kernels::library::{self, Entry};
use crossover::{GpuUse, Runtime, Settings};
use indicatif::{ProgressBar, ProgressStyle};

use super::interrupt::Interrupt;
use crate::baseline::{Baselines, Opponent};
use crate::machine;
use crate::peers::measure::{Contest, Contestant, Launch, first_result};
use crate::peers::model::{Report, Row, SCHEMA, Statistic};
use crate::peers::server::Desk;
use crate::peers::{ALL, Folder, NOT_RUN, environment, table, write_sources};
use crate::suite::{Sizes, Suite};

/// How long a peer may take to answer: the slowest calls take some seconds.
const DEADLINE: Duration = Duration::from_secs(300);

/// Arguments of `peers`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which sizes.
    #[arg(long, value_enum, default_value = "all")]
    sizes: Sizes,
    /// Only kernels whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Which peers; all by default. Native Rust over rayon always takes part.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(ALL.map(|peer| peer.name)))]
    peers: Vec<String>,
    /// Threads of every side; one for each core by default.
    #[arg(long, default_value = "0")]
    threads: usize,
    /// Let our side use the GPU as well, where the scheduler places a call there. The peers compute on the
    /// CPU.
    #[arg(long)]
    gpu: bool,
    /// The Python that makes the environments: `python3` or `python` by default.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Where peers.json goes.
    #[arg(long, default_value = "target/crossover")]
    out: PathBuf,
    /// Print peers.json instead of the table.
    #[arg(long)]
    json: bool,
    /// Print Markdown instead of the table.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Also write the Markdown into this document, between `<!-- peers:begin -->` and `<!-- peers:end -->`.
    #[arg(long)]
    into: Option<PathBuf>,
    /// Compare the fastest repetitions instead of medians, where other work on the machine disturbs most of them.
    #[arg(long)]
    fastest: bool,
    /// Show this peers.json instead of measuring.
    #[arg(long)]
    from: Option<PathBuf>,
    /// Remove the environments instead (they take 1.9 GB).
    #[arg(long)]
    clean: bool,
    /// Start, compute a first result, say so, end: what this command times of itself.
    #[arg(long, hide = true)]
    first_result: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.first_result {
        println!("took {}", first_result(&runtime(args, None)?, saxpy())?);
        return Ok(ExitCode::SUCCESS);
    }
    let folder = super::cache_folder().context("there is no home folder for the environments")?;
    let folder = folder.join("peers");
    if args.clean {
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        println!("{} is gone", folder.display());
        return Ok(ExitCode::SUCCESS);
    }
    let report = match &args.from {
        Some(path) => read(path)?,
        None => measure(args, &folder)?,
    };
    if args.from.is_none() {
        std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
        super::write(&args.out.join("peers.json"), serde_json::to_string_pretty(&report)?)?;
    }
    let statistic = if args.fastest { Statistic::Fastest } else { Statistic::Median };
    if let Some(path) = &args.into {
        let shown = || path.display().to_string();
        let document = std::fs::read_to_string(path).with_context(shown)?;
        let text =
            table::insert(&document, &table::markdown(&report, statistic)).with_context(shown)?;
        super::write(path, text)?;
    }
    match (args.json, args.markdown) {
        (true, _) => println!("{}", serde_json::to_string(&report)?),
        (_, true) => print!("{}", table::markdown(&report, statistic)),
        _ => print!("{}", table::text(&report, statistic)),
    }
    let wrong = |row: &Row| {
        row.cells.iter().any(|c| c.why.as_ref().is_some_and(|w| w.starts_with("wrong")))
    };
    Ok(if report.rows.iter().any(wrong) { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn read(path: &Path) -> anyhow::Result<Report> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| shown.to_string())?;
    let report: Report = serde_json::from_str(&text)
        .with_context(|| format!("{shown} is no peers.json of this version"))?;
    if report.schema != SCHEMA {
        bail!("{shown} has layout {} instead of {SCHEMA}", report.schema);
    }
    Ok(report)
}

/// Our side: on the CPU alone, unless asked otherwise.
fn runtime(args: &Args, calibration: Option<PathBuf>) -> anyhow::Result<Runtime> {
    let (mut settings, _) = Settings::from_env()?;
    if !args.gpu {
        settings.gpu = GpuUse::Off;
    }
    if args.threads > 0 {
        settings.threads = args.threads;
    }
    let measures = calibration.is_some();
    settings.calibration = settings.calibration.or(calibration);
    let builder = Runtime::builder().settings(settings);
    let builder = if measures { builder.calibrated() } else { builder };
    builder.build().context("the runtime does not start")
}

fn saxpy() -> &'static Entry {
    library::find("saxpy").expect("a kernel of the library")
}

fn measure(args: &Args, folder: &Path) -> anyhow::Result<Report> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let load = load();
    let rt = runtime(args, Some(folder.join("machine.json")))?;
    let stop = Arc::new(AtomicBool::new(false));
    let _interrupt = Interrupt::listen(stop.clone());
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}")?);
    bar.enable_steady_tick(Duration::from_millis(120));
    let say = |what: &str| bar.set_message(what.to_owned());
    let work = Folder::within(folder).with_context(|| folder.display().to_string())?;
    let peers = contestants(args, folder, &work, rt.threads(), &say, &stop)?;
    let gpu = Err("not asked for".to_owned());
    let baselines = Baselines::start(&[Opponent::Native], rt.threads(), gpu, &say);
    let mut contest = Contest { rt: &rt, baselines, peers, work, stop: stop.clone() };
    let ours = |code: &Path| first_result_of_a_process(args, code);
    let sides = contest.sides(saxpy(), ours, &say)?;
    bar.finish_and_clear();
    let rows = rows(args, &mut contest)?;
    let command: Vec<String> = std::env::args().skip(1).collect();
    let unix_time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let pairs = NOT_RUN.map(|(name, why)| (name.to_owned(), why.to_owned()));
    Ok(Report {
        schema: SCHEMA,
        command: format!("crossover {}", command.join(" ")),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        unix_time: unix_time.as_secs(),
        machine: machine::describe(&rt),
        load,
        gpu: args.gpu.then(|| super::adapter_line(&rt)),
        sides,
        rows,
        not_run: pairs.to_vec(),
        interrupted: stop.load(Ordering::Relaxed),
    })
}

/// The load average of the last minute.
fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// The peers that were asked for, with their environments where they can be had.
fn contestants(
    args: &Args,
    folder: &Path,
    work: &Folder,
    threads: usize,
    progress: &dyn Fn(&str),
    stop: &AtomicBool,
) -> anyhow::Result<Vec<Contestant>> {
    let sources = folder.join("sources");
    write_sources(&sources).with_context(|| sources.display().to_string())?;
    let python = environment::find_python(args.python.as_deref());
    let asked = |name: &str| args.peers.is_empty() || args.peers.iter().any(|peer| peer == name);
    let mut contestants = Vec::new();
    for peer in ALL.iter().filter(|peer| asked(peer.name)) {
        let within = |part: &str| work.path().join(format!("{part}-{}", peer.name));
        let desk = Desk {
            inputs: work.path().to_owned(),
            outputs: within("results"),
            code: within("code"),
            log: within("log"),
            deadline: DEADLINE,
        };
        let mut contestant = Contestant::new(peer.name, peer.about, desk);
        let say = |what: &str| progress(&format!("{}: {what}", peer.name));
        let environment = python.clone().and_then(|python| {
            if stop.load(Ordering::Relaxed) {
                return Err("interrupted".to_owned());
            }
            environment::prepare(peer, &python, folder, &say)
        });
        contestant.launch = environment.map(|environment| {
            contestant.setup_s = environment.setup_s;
            Launch::of(peer, environment.python, sources.clone(), &contestant.desk, threads)
        });
        contestants.push(contestant);
    }
    Ok(contestants)
}

fn rows(args: &Args, contest: &mut Contest<'_>) -> anyhow::Result<Vec<Row>> {
    let mut plan = Suite::load("core")?.plan(args.sizes);
    plan.retain(|(entry, ..)| args.only.as_ref().is_none_or(|part| entry.name.contains(part)));
    let bar = super::bench::progress(plan.len())?;
    let mut rows = Vec::new();
    for (entry, size_name, size) in plan {
        if contest.stop.load(Ordering::Relaxed) {
            break;
        }
        bar.set_message(format!("{} {size_name} ({size} {})", entry.name, entry.unit));
        let row = contest.row(entry, size_name, size);
        rows.push(row.with_context(|| format!("{} {size_name}", entry.name))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(rows)
}

/// Starts this command anew with that folder for compiled code; gives the seconds to its first result.
fn first_result_of_a_process(args: &Args, code: &Path) -> Option<f64> {
    let start = Instant::now();
    let mut command = std::process::Command::new(std::env::current_exe().ok()?);
    command.args(["peers", "--first-result", "--threads", &args.threads.to_string()]);
    command.args(args.gpu.then_some("--gpu")).env("CROSSOVER_CACHE", code);
    let mut child = command.stdout(Stdio::piped()).spawn().ok()?;
    let mut line = String::new();
    let read = std::io::BufReader::new(child.stdout.take()?).read_line(&mut line);
    let seconds = start.elapsed().as_secs_f64();
    let done = child.wait().ok()?;
    (read.is_ok() && done.success() && line.starts_with("took ")).then_some(seconds)
}
