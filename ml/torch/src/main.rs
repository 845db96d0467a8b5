//! `crossover-train`: from data sets of measured rows to a weight file, by libtorch or in plain Rust.

#![expect(clippy::print_stdout, reason = "what it finds is printed")]

use anyhow::{Context, Result, bail};
use clap::Parser;
use crossover_ml::eval::Comparison;
use crossover_ml::search::{self, Gain, Kind, SearchOptions};
use crossover_ml::train::{Plain, Progress, Trainer};
use crossover_ml::{Dataset, TrainOptions, weights};
use crossover_torch::Torch;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

/// Trains the cost model on measured rows.
#[derive(Debug, Parser)]
struct Arguments {
    /// The data sets (JSON lines).
    #[arg(required = true)]
    data: Vec<PathBuf>,
    /// Where to write the weights (safetensors).
    #[arg(long)]
    out: Option<PathBuf>,
    /// Decides weights, batches, dropout and which kernels are held out.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often as many rows are drawn as there are.
    #[arg(long, default_value_t = TrainOptions::default().epochs)]
    epochs: usize,
    /// Networks in the file.
    #[arg(long, default_value_t = 4)]
    members: usize,
    /// Holds ensembles of both trainers against each other on so many splits by kernel.
    #[arg(long, default_value_t = 0)]
    seeds: u64,
    /// Search for encoding, depth, widths, dropout and learning rate first, and take what is found if it is better
    /// than the usual network on other splits.
    #[arg(long)]
    search: bool,
    /// Time of the search.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Candidates of the search's first round.
    #[arg(long, default_value_t = 12)]
    candidates: usize,
    /// Use the plain Rust trainer instead of libtorch.
    #[arg(long)]
    plain: bool,
}

/// Splits on which what a search finds is held against the usual network.
const SPLITS: u64 = 5;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut data = Dataset::new();
    for path in &arguments.data {
        data.merge(&Dataset::load(path).with_context(|| path.display().to_string())?);
    }
    let (rows, kernels) = (data.len(), data.by_kernel().len());
    println!("data       {rows} rows of {kernels} kernels");
    let trainer: &dyn Trainer = if arguments.plain { &Plain } else { &Torch };
    let (seed, epochs) = (arguments.seed, arguments.epochs);
    let mut options = TrainOptions { seed, epochs, ..TrainOptions::default() };
    if arguments.search {
        options = found(&data, &options, trainer, &arguments)?;
    }
    if arguments.seeds > 0 {
        compare(&data, &options, &arguments)?;
    }
    let Some(out) = &arguments.out else { return Ok(()) };
    let ensemble = trainer.ensemble(&data, &options, arguments.members, &mut tell)?;
    let bytes = weights::to_bytes(ensemble.members())?;
    if weights::from_bytes(&bytes)?.members().len() != arguments.members {
        bail!("the file would not hold all networks");
    }
    std::fs::write(out, &bytes).with_context(|| format!("writing {}", out.display()))?;
    println!("written    {} ({} KiB)", out.display(), bytes.len() >> 10);
    Ok(())
}

fn tell(now: Progress) -> ControlFlow<()> {
    if now.step + 1 == now.steps {
        let (member, epoch) = (now.member + 1, now.epoch + 1);
        eprintln!("network {member}, epoch {epoch}/{}: loss {:.3}", now.epochs, now.loss);
    }
    ControlFlow::Continue(())
}

/// What the search finds, if it is better than the usual network on other splits.
fn found(
    data: &Dataset,
    usual: &TrainOptions,
    trainer: &dyn Trainer,
    arguments: &Arguments,
) -> Result<TrainOptions> {
    let limit = Duration::try_from_secs_f64(arguments.minutes * 60.0)?;
    let (base, candidates) = (usual.clone(), arguments.candidates);
    let options = SearchOptions { base, candidates, folds: 2, limit };
    println!("search     {candidates} candidates, {:.1} minutes at most", arguments.minutes);
    let (winner, _) =
        search::search(data, &options, trainer, &mut |scored| println!("  {scored}"))?;
    if winner == *usual {
        println!("found      nothing better than the usual network");
        return Ok(winner);
    }
    let kind = |name, options: &TrainOptions| {
        let (options, members) = (options.clone(), arguments.members);
        Kind { name, options, trainer, members }
    };
    let kinds = [kind("usual", usual), kind("found", &winner)];
    let lines = search::compare(data, &kinds, SPLITS, &mut |split| show(split, SPLITS))?;
    let gain = Gain::of(&lines[0], &lines[1]);
    println!("\nover {SPLITS} other splits:\n{}", Comparison { lines });
    let taken = if gain.is_sure() { "found" } else { "usual" };
    println!("taken      the {taken} one: the found one gains {gain}");
    Ok(if gain.is_sure() { winner } else { usual.clone() })
}

/// Both trainers on kernels held out.
fn compare(data: &Dataset, options: &TrainOptions, arguments: &Arguments) -> Result<()> {
    let trainers: [&dyn Trainer; 2] = [&Plain, &Torch];
    let kinds = trainers.map(|trainer| {
        let (options, members) = (options.clone(), arguments.members);
        Kind { name: trainer.name(), options, trainer, members }
    });
    let seeds = arguments.seeds;
    let lines = search::compare(data, &kinds, seeds, &mut |split| show(split, seeds))?;
    let gain = Gain::of(&lines[0], &lines[1]);
    println!("\non kernels held out, {seeds} splits:\n{}", Comparison { lines });
    println!("torch gains {gain}");
    Ok(())
}

fn show(split: u64, of: u64) {
    eprintln!("split {} of {of}", split + 1);
}
