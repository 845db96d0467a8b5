//! `crossover bench`: a suite on both sides.

mod list;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use crossover::ml::dataset::{self, Dataset};
use crossover::record::Recorder;
use crossover::{Reason, Runtime};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::interrupt::Interrupt;
use crate::ablation;
use crate::baseline::{Baselines, Opponent};
use crate::machine;
use crate::overlap;
use crate::report::model::{Ablation, Copies, Report, Row, SCHEMA, Summary};
use crate::report::{html, markdown};
use crate::runner::{self, Options};
use crate::suite::{Sizes, Suite};
use crate::trace;

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A bundled suite, `all` of them, or a suite file; `core` by default.
    suite: Option<String>,
    /// Which sizes.
    #[arg(long, value_enum, default_value = "all")]
    sizes: Sizes,
    /// Baselines to time in the same run.
    #[arg(long, value_enum, value_delimiter = ',')]
    against: Vec<Opponent>,
    /// Only kernels whose name contains this, or that have it as a tag.
    #[arg(long)]
    only: Option<String>,
    /// Also measure what each optimisation is worth: every one switched off alone, in turns with all
    /// switched on. Appended to ablation.jsonl as well.
    #[arg(long)]
    ablate: bool,
    /// Also write every timed call down, with what it took on both sides and what was predicted: for
    /// `replay` and `eval`.
    #[arg(long)]
    record: Option<PathBuf>,
    /// Also write the timeline of the report as a trace for Perfetto or chrome://tracing.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Only list what there is: the suites, their kernels and programs, with sizes and tags.
    #[arg(long)]
    list: bool,
    /// Where report.json and report.html go.
    #[arg(long, default_value = "target/crossover")]
    out: PathBuf,
    /// Print report.json instead of the table.
    #[arg(long)]
    json: bool,
}

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// The report.json to draw.
    #[arg(value_name = "JSON")]
    report: PathBuf,
    /// The file to write; report.html beside it by default.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print the rows as a Markdown table instead.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Print the file that was written and the report's summary as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.list {
        return list::run(args.suite.as_deref(), args.only.as_deref(), args.json);
    }
    let suite = load(&args)?;
    let rt = super::runtime()?;
    if !args.json {
        let machine = machine::describe(&rt);
        println!("{}: {}", suite.name, suite.about);
        println!("cpu  {} × {} ({})", machine.cpu, machine.threads, machine.simd.join(", "));
        println!("gpu  {}", super::adapter_line(&rt));
        println!();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let command: Vec<String> = std::env::args().skip(1).collect();
    let about = rt.about(&format!("crossover {}", command.join(" ")));
    let recorder = args.record.as_deref().map(|path| Recorder::create(path, about)).transpose()?;
    let options = Options { stop: stop.clone(), recorder: recorder.map(Arc::new) };
    let _interrupt = Interrupt::listen(stop.clone());
    let mut baselines = match args.against.as_slice() {
        [] => None,
        opponents => Some(start_baselines(&rt, opponents, args.json)?),
    };
    let rows = measure(&rt, &suite, &args, baselines.as_mut(), &options)?;
    // What was measured is shown, whatever becomes of the files.
    let recorded = options.recorder.as_ref().map(|recorder| recorder.flush());
    let peak = baselines.as_mut().and_then(|baselines| baselines.peak(rt.threads()));
    let mut ablated = Ablated::default();
    let ablating = match args.ablate {
        true => ablate(&rt, &suite, &args, &options, &mut ablated),
        false => Ok(()),
    };
    let mut report = assemble(&rt, &suite, rows, stop.load(Ordering::Relaxed));
    (report.peak_128_flops, report.ablation) = (peak, ablated.effects);
    let timeline = overlap::record(&rt, &report.rows, &options)?;
    let traced = args.trace.as_ref().map(|path| trace::write(path, &timeline));
    report.timeline = overlap::shown(timeline);
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        table::print(&report);
    }
    let (json, page) = (args.out.join("report.json"), args.out.join("report.html"));
    super::write(&json, serde_json::to_string_pretty(&report)?)?;
    super::write(&page, html::render(&report))?;
    if !args.json {
        println!("\n{}\n{}", json.display(), page.display());
    }
    traced.transpose()?;
    recorded.transpose()?;
    if args.ablate {
        Dataset::append(&args.out.join("ablation.jsonl"), &ablated.rows)?;
    }
    ablating?;
    let right = report.rows.iter().all(|row| row.verified);
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Runs the first suite on both sides, at all sizes, and writes every call down.
pub(super) fn record(path: &Path) -> anyhow::Result<()> {
    let args = Args {
        suite: None,
        sizes: Sizes::All,
        against: Vec::new(),
        only: None,
        list: false,
        ablate: false,
        record: Some(path.to_owned()),
        trace: None,
        out: PathBuf::new(),
        json: true,
    };
    let (suite, rt) = (load(&args)?, super::runtime()?);
    let recorder = Arc::new(Recorder::create(path, rt.about("crossover eval"))?);
    let stop = Arc::new(AtomicBool::new(false));
    let options = Options { stop: stop.clone(), recorder: Some(recorder.clone()) };
    let _interrupt = Interrupt::listen(stop);
    measure(&rt, &suite, &args, None, &options)?;
    Ok(recorder.flush()?)
}

pub(super) fn report(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let report = Report::read(&args.report)?;
    if args.markdown {
        print!("{}", markdown::table(&report));
        return Ok(ExitCode::SUCCESS);
    }
    let out = args.out.clone().unwrap_or_else(|| args.report.with_extension("html"));
    let page = html::render(&report);
    super::write(&out, &page)?;
    if args.json {
        let written = json!({
            "file": out.display().to_string(),
            "bytes": page.len(),
            "rows": report.rows.len(),
            "summary": &report.summary,
        });
        println!("{written:#}");
    } else {
        println!("{}", out.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The suite that is asked for, as far as it is.
fn load(args: &Args) -> anyhow::Result<Suite> {
    let mut suite = Suite::load(args.suite.as_deref().unwrap_or("core"))?;
    if let Some(word) = &args.only {
        suite.keep(word)?;
    }
    Ok(suite)
}

pub(super) fn progress(steps: usize) -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(steps as u64);
    let style = "{spinner} {pos}/{len} {wide_msg} {elapsed} (about {eta} left)";
    bar.set_style(ProgressStyle::with_template(style)?);
    bar.enable_steady_tick(Duration::from_millis(120));
    Ok(bar)
}

/// What the optimisations are worth: for the report, and for the file of such rows.
#[derive(Default)]
struct Ablated {
    effects: Vec<Ablation>,
    rows: Vec<dataset::Row>,
}

/// Measures what the optimisations are worth, as far as it comes.
fn ablate(
    rt: &Runtime,
    suite: &Suite,
    args: &Args,
    options: &Options,
    into: &mut Ablated,
) -> anyhow::Result<()> {
    let plan = suite.plan(args.sizes);
    let bar = progress(plan.len())?;
    for (entry, size_name, size) in plan {
        if options.is_stopped() {
            break;
        }
        bar.set_message(format!("{} {size_name} without each optimisation", entry.name));
        let measured = ablation::run(rt, entry, size_name, size, options)
            .with_context(|| format!("{} {size_name}", entry.name))?;
        into.effects.extend(measured.effects);
        into.rows.extend(measured.row);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Compiles and starts the baselines, and says so.
fn start_baselines(rt: &Runtime, opponents: &[Opponent], quiet: bool) -> anyhow::Result<Baselines> {
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} baselines: {wide_msg} {elapsed}")?);
    bar.enable_steady_tick(Duration::from_millis(120));
    let adapter = rt.adapter();
    let name = adapter.as_ref().map(|adapter| adapter.name.as_str());
    let name = name.ok_or_else(|| rt.why_no_gpu().unwrap_or_default().to_owned());
    let say = |what: &str| bar.set_message(what.to_owned());
    let baselines = Baselines::start(opponents, rt.threads(), name, &say);
    bar.finish_and_clear();
    if let Some(why) = baselines.why().filter(|_| !quiet) {
        println!("some baselines are missing: {why}\n");
    }
    Ok(baselines)
}

fn measure(
    rt: &Runtime,
    suite: &Suite,
    args: &Args,
    mut baselines: Option<&mut Baselines>,
    options: &Options,
) -> anyhow::Result<Vec<Row>> {
    let plan = suite.plan(args.sizes);
    let bar = progress(plan.len())?;
    let mut rows = Vec::new();
    for (entry, size_name, size) in plan {
        if options.stop.load(Ordering::Relaxed) {
            break;
        }
        bar.set_message(format!("{} {size_name} ({size} {})", entry.name, entry.unit));
        let row = runner::run(rt, entry, size_name, size, baselines.as_deref_mut(), options)
            .with_context(|| format!("{} {size_name}", entry.name))?;
        rows.extend(row);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(rows)
}

fn assemble(rt: &Runtime, suite: &Suite, rows: Vec<Row>, interrupted: bool) -> Report {
    let unix_time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let command: Vec<String> = std::env::args().skip(1).collect();
    Report {
        schema: SCHEMA,
        command: format!("crossover {}", command.join(" ")),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        unix_time: unix_time.as_secs(),
        suite: suite.name.clone(),
        machine: machine::describe(rt),
        adapter: rt.adapter(),
        no_adapter: rt.why_no_gpu().map(ToOwned::to_owned),
        model: rt.model().0,
        peak_128_flops: None,
        summary: Summary::of(&rows, interrupted),
        copied: Reason::ALL.map(|reason| Copies::of(rt, reason)).to_vec(),
        timeline: Vec::new(),
        rows,
        ablation: Vec::new(),
    }
}
