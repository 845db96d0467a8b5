//! `crossover eval`: how good placement is, against baselines and on what was not seen.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use crossover::record::Recording;
use indicatif::{ProgressBar, ProgressStyle};

use crate::eval::{self, Effort};

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
    /// Where eval.json and eval.svg go.
    #[arg(long, default_value = "target/crossover")]
    out: PathBuf,
    /// Print eval.json instead of the table.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let mut ledgers = args.ledger.clone();
    if ledgers.is_empty() {
        ledgers.push(args.out.join("eval-ledger.jsonl"));
        super::bench::record(&ledgers[0])?;
    }
    let recordings = ledgers
        .iter()
        .map(|path| Ok(Recording::load(path)?))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let bar = ProgressBar::new(100);
    bar.set_style(ProgressStyle::with_template("{bar:30} {wide_msg} {elapsed}")?);
    bar.enable_steady_tick(Duration::from_millis(120));
    let mut said = |what: &str, share: f64| {
        bar.set_position((100.0 * share) as u64);
        bar.set_message(what.to_owned());
    };
    let (data, efforts) = (args.data.as_deref(), [Effort::FULL, Effort::BASELINE]);
    let (evaluation, details) = eval::evaluate(&recordings, data, efforts, &mut said)?;
    bar.finish_and_clear();
    let (json, plot) = (args.out.join("eval.json"), args.out.join("eval.svg"));
    super::write(&json, &serde_json::to_string_pretty(&evaluation)?)?;
    super::write(&plot, &eval::svg(&details))?;
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
    print!("{}", eval::table(&evaluation, &details));
    println!("\n{}\n{}", json.display(), plot.display());
    Ok(ExitCode::SUCCESS)
}
