//! `crossover eval`: how good placement is, against baselines and on what was not seen.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use crossover::record::Recording;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::columns::{Table, print_all};
use crate::eval::{self, Effort};
use crate::layouts::{self, Layouts};
use crate::sets::{self, Optimisations};
use crate::suite::Suite;

/// Arguments of `eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs recorded with both sides' times, by `bench --record`; by default the suite `core` is recorded
    /// now, on this machine.
    #[arg(long)]
    ledger: Vec<PathBuf>,
    /// The folder of the fifteen devices: features.csv and runs.csv.gz.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Also hold the chosen optimisations against all 128 sets, on the suite `core` on this machine: a minute or two.
    #[arg(long)]
    sets: bool,
    /// Only that: neither policies nor the model of times.
    #[arg(long, conflicts_with_all = ["ledger", "data"])]
    only_sets: bool,
    /// Also hold the learned layouts against all others, on the kernels of all suites on this machine: some minutes.
    #[arg(long)]
    layouts: bool,
    /// Only that.
    #[arg(long, conflicts_with_all = ["ledger", "data", "only_sets"])]
    only_layouts: bool,
    /// Which draw of the made-up devices: any number gives others.
    #[arg(long, default_value_t = 0)]
    draw: u64,
    /// Where eval.json and eval.svg go.
    #[arg(long, default_value = "target/crossover")]
    out: PathBuf,
    /// Print eval.json instead of the table.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    if args.only_sets {
        return only_sets(args);
    }
    if args.only_layouts {
        return only_layouts(args);
    }
    let mut ledgers = args.ledger.clone();
    if ledgers.is_empty() {
        ledgers.push(args.out.join("eval-ledger.jsonl"));
        super::bench::record(&ledgers[0])?;
    }
    let recordings = ledgers
        .iter()
        .map(|path| Ok(Recording::load(path)?))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let bar = bar()?;
    let of_draw = |effort| Effort { draw: args.draw, ..effort };
    let (data, efforts) = (args.data.as_deref(), [Effort::FULL, Effort::BASELINE].map(of_draw));
    let (mut evaluation, details) =
        eval::evaluate(&recordings, data, efforts, &mut |what, share| say(&bar, what, share))?;
    if args.sets {
        evaluation.optimisations = Some(prove(&bar)?);
    }
    if args.layouts {
        evaluation.layouts = Some(prove_layouts(&bar)?);
    }
    bar.finish_and_clear();
    let (json, plot) = (args.out.join("eval.json"), args.out.join("eval.svg"));
    super::write(&json, serde_json::to_string_pretty(&evaluation)?)?;
    super::write(&plot, eval::svg(&details))?;
    if args.json {
        println!("{}", serde_json::to_string(&evaluation)?);
        return Ok(ExitCode::SUCCESS);
    }
    for recording in &recordings {
        let about = &recording.about;
        let adapter = about.adapter.as_deref().unwrap_or("no GPU");
        let software = if about.is_software { " — software: it computes on the CPU" } else { "" };
        println!("recorded by `{}` on {adapter}{software}", about.by);
    }
    let mut tables = eval::tables(&evaluation, &details);
    tables.extend(evaluation.optimisations.iter().flat_map(sets::tables));
    tables.extend(evaluation.layouts.iter().flat_map(layouts::tables));
    print_all(&tables);
    println!("\n{}\n{}", json.display(), plot.display());
    Ok(ExitCode::SUCCESS)
}

/// What is under way, and how much of all is over.
fn bar() -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(100);
    bar.set_style(ProgressStyle::with_template("{bar:30} {wide_msg} {elapsed}")?);
    bar.enable_steady_tick(Duration::from_millis(120));
    Ok(bar)
}

fn say(bar: &ProgressBar, what: &str, share: f64) {
    bar.set_position((100.0 * share) as u64);
    bar.set_message(what.to_owned());
}

fn prove(bar: &ProgressBar) -> anyhow::Result<Optimisations> {
    sets::prove(&Suite::load("core")?, &mut |what, share| say(bar, what, share))
}

fn prove_layouts(bar: &ProgressBar) -> anyhow::Result<Layouts> {
    layouts::prove(&Suite::load("all")?, &mut |what, share| say(bar, what, share))
}

/// The choice of optimisations alone.
#[derive(Serialize)]
struct OnlySets {
    optimisations: Optimisations,
}

fn only_sets(args: &Args) -> anyhow::Result<ExitCode> {
    let bar = bar()?;
    let found = OnlySets { optimisations: prove(&bar)? };
    bar.finish_and_clear();
    only(args, &found, "eval-optimisations.json", &sets::tables(&found.optimisations))
}

/// The choice of layouts alone.
#[derive(Serialize)]
struct OnlyLayouts {
    layouts: Layouts,
}

fn only_layouts(args: &Args) -> anyhow::Result<ExitCode> {
    let bar = bar()?;
    let found = OnlyLayouts { layouts: prove_layouts(&bar)? };
    bar.finish_and_clear();
    only(args, &found, "eval-layouts.json", &layouts::tables(&found.layouts))
}

/// Writes and prints a part of the evaluation.
fn only(
    args: &Args,
    found: &impl Serialize,
    file: &str,
    tables: &[Table],
) -> anyhow::Result<ExitCode> {
    let json = args.out.join(file);
    super::write(&json, serde_json::to_string_pretty(found)?)?;
    if args.json {
        println!("{}", serde_json::to_string(found)?);
    } else {
        print_all(tables);
        println!("\n{}", json.display());
    }
    Ok(ExitCode::SUCCESS)
}
