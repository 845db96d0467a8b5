//! `crossover-train`: from a data set of measured rows to a weight file.

use anyhow::{Context, Result};
use clap::Parser;
use crossover_ml::{Dataset, Ensemble, TrainOptions, weights};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Trains the cost model on measured rows.
#[derive(Debug, Parser)]
struct Arguments {
    /// The data set (JSON lines).
    #[arg(long)]
    data: PathBuf,
    /// Where to write the weights (safetensors).
    #[arg(long)]
    out: PathBuf,
    /// Decides weights, batches, dropout and which kernels are held out.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How often as many rows are drawn as there are.
    #[arg(long, default_value_t = TrainOptions::default().epochs)]
    epochs: usize,
    /// Networks in the file.
    #[arg(long, default_value_t = 4)]
    ensemble: usize,
    /// Use the plain Rust trainer instead of libtorch.
    #[arg(long)]
    plain: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let data = Dataset::load(&arguments.data).context("reading the data set")?;
    let (seed, epochs) = (arguments.seed, arguments.epochs);
    let options = TrainOptions { seed, epochs, ..TrainOptions::default() };
    let ensemble = train(&data, &options, &arguments)?;
    let bytes = weights::to_bytes(ensemble.members())?;
    std::fs::write(&arguments.out, bytes)
        .with_context(|| format!("writing {}", arguments.out.display()))
}

fn train(data: &Dataset, options: &TrainOptions, arguments: &Arguments) -> Result<Ensemble> {
    let mut tell = |progress: crossover_ml::train::Progress| {
        if progress.step + 1 == progress.steps {
            let (member, epoch) = (progress.member + 1, progress.epoch + 1);
            eprintln!(
                "network {member}, epoch {epoch}/{}: loss {:.3}",
                progress.epochs, progress.loss
            );
        }
    };
    if !arguments.plain {
        return crossover_torch::train_ensemble(data, options, arguments.ensemble, &mut tell);
    }
    let mut tell = |progress| {
        tell(progress);
        ControlFlow::Continue(())
    };
    Ok(crossover_ml::train_ensemble(data, options, arguments.ensemble, &mut tell)?.0)
}
