//! `crossover train`: from measured rows to a model file, in plain Rust, and how good the model is on kernels
//! that it was not trained on.

mod layouts;
mod optimisations;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use crossover::ml::encoder::InputForm;
use crossover::ml::eval::{self, Comparison, Line};
use crossover::ml::search::{self, Gain, Kind, Scored, SearchOptions};
use crossover::ml::train::Plain;
use crossover::ml::{Dataset, TrainOptions, train_ensemble, weights};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Arguments of `train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sets of measured rows.
    #[arg(required = true)]
    data: Vec<PathBuf>,
    /// The model file to write; without it models are only judged.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Instead of the cost network, what each optimisation is worth, from rows of `collect --ablate`.
    #[arg(long, conflicts_with_all = ["search", "against"])]
    optimisations: bool,
    /// Instead of the cost network, what each layout of the CPU's code is worth, from rows of `collect --layouts`.
    #[arg(long, conflicts_with_all = ["search", "against", "optimisations"])]
    layouts: bool,
    /// Decides weights, batches, dropout and which kernels are held out.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often as many rows are drawn as there are.
    #[arg(long, default_value_t = TrainOptions::default().epochs)]
    epochs: usize,
    /// Networks in the file.
    #[arg(long, default_value_t = 4)]
    members: usize,
    /// Widths of the hidden layers, as many as there are to be; `128,64,32` without.
    #[arg(long, value_name = "WIDTHS", value_delimiter = ',')]
    hidden: Vec<usize>,
    /// Pieces into which the range of each input is cut, 2 to 32; 0 for none. Every second network has the other form.
    #[arg(long, default_value_t = 0)]
    bins: usize,
    /// Share of the first and of the last hidden layer that a step leaves out.
    #[arg(long, value_name = "FIRST,LAST", value_parser = pair)]
    dropout: Option<[f32; 2]>,
    /// The first learning rate.
    #[arg(long, default_value_t = TrainOptions::default().learning_rate)]
    rate: f64,
    /// Judge an ensemble on so many splits by kernel (5 or more), beside the models without a network; 0 judges
    /// none.
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// Judge it on sizes larger than those trained on, too: on the two largest of each kernel held out, trained on the
    /// rest of the others'.
    #[arg(long)]
    larger: bool,
    /// Search for encoding, depth, widths, dropout and learning rate first, for at most so long as `--minutes` says, and
    /// compare what is found with the usual network.
    #[arg(long)]
    search: bool,
    /// Time of the search.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Candidates of the search's first round.
    #[arg(long, default_value_t = 12)]
    candidates: usize,
    /// Judge this model file on the rows, too. What it was trained on is not held out from it.
    #[arg(long)]
    against: Option<PathBuf>,
    /// Print the comparison and what was written as JSON; all else goes to standard error.
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Trained {
    rows: usize,
    kernels: usize,
    families: usize,
    /// Another model on all rows.
    against: Option<Comparison>,
    /// Usual and found network, where one was searched for.
    searched: Option<Comparison>,
    /// On kernels held out.
    held_out: Option<Comparison>,
    /// On the largest sizes of kernels held out, trained on smaller ones.
    larger: Option<Comparison>,
    written: Option<Written>,
}

/// A model file.
#[derive(Debug, Serialize)]
struct Written {
    file: PathBuf,
    bytes: usize,
    seconds: f64,
    /// The hash of the rows.
    data: String,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut data = Dataset::new();
    for path in &args.data {
        data.merge(&super::dataset(path)?);
    }
    let (kernels, families) = (data.by_kernel().len(), data.by_family().len());
    let is_json = args.json;
    super::say(
        is_json,
        format_args!("data       {} rows of {kernels} kernels in {families} families", data.len()),
    );
    if args.optimisations {
        optimisations::run(&data, args.seed, args.out.as_deref(), is_json)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.layouts {
        layouts::run(&data, args.seed, args.out.as_deref(), is_json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut trained = Trained { rows: data.len(), kernels, families, ..Trained::default() };
    let usual = asked(args);
    usual.validate()?;
    let options = match args.search {
        true => found(&data, &usual, args, &mut trained)?,
        false => usual,
    };
    if let Some(path) = &args.against {
        trained.against = Some(against(&data, path, is_json)?);
    }
    if args.seeds > 0 {
        let about = "on kernels held out";
        trained.held_out = Some(judged(&data, &options, args, about, eval::held_out)?);
    }
    if args.seeds > 0 && args.larger {
        let about = "on the two largest sizes of kernels held out, trained on smaller ones";
        trained.larger = Some(judged(&data, &options, args, about, eval::beyond)?);
    }
    if let Some(out) = &args.out {
        trained.written = Some(write(&data, &options, args.members, out, is_json)?);
    }
    if is_json {
        println!("{}", serde_json::to_string_pretty(&trained)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// How models are judged on splits by kernel.
type Judge = fn(
    &Dataset,
    &TrainOptions,
    usize,
    u64,
    &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Comparison, crossover::ml::Error>;

/// Judges, and says what was found.
fn judged(
    data: &Dataset,
    options: &TrainOptions,
    args: &Args,
    about: &str,
    judge: Judge,
) -> anyhow::Result<Comparison> {
    let (seeds, is_json) = (args.seeds, args.json);
    let bar = bar(seeds, "splits")?;
    let comparison = judge(data, options, args.members, seeds, &mut |seed| {
        bar.set_position(seed);
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    let spread = "mean ± standard deviation over";
    super::say(is_json, format_args!("\n{about}, {spread} {seeds} splits:\n{comparison}"));
    Ok(comparison)
}

/// The network that the arguments describe.
fn asked(args: &Args) -> TrainOptions {
    let mut options = TrainOptions {
        seed: args.seed,
        epochs: args.epochs,
        learning_rate: args.rate,
        form: if args.bins == 0 { InputForm::Plain } else { InputForm::Piecewise(args.bins) },
        ..TrainOptions::default()
    };
    if !args.hidden.is_empty() {
        options.hidden.clone_from(&args.hidden);
    }
    options.dropout = args.dropout.unwrap_or(options.dropout);
    options
}

fn pair(text: &str) -> Result<[f32; 2], String> {
    let numbers =
        text.split(',').map(|number| number.trim().parse().ok()).collect::<Option<Vec<_>>>();
    numbers.and_then(|two| two.try_into().ok()).ok_or_else(|| "two numbers, as 0.3,0.1".to_owned())
}

/// The arguments that describe a network.
fn arguments(options: &TrainOptions) -> String {
    let bins = match options.form {
        InputForm::Plain => 0,
        InputForm::Piecewise(bins) => bins,
    };
    let widths: Vec<String> = options.hidden.iter().map(usize::to_string).collect();
    let (widths, [first, last], rate) = (widths.join(","), options.dropout, options.learning_rate);
    let (epochs, seed) = (options.epochs, options.seed);
    format!(
        "--hidden {widths} --bins {bins} --dropout {first},{last} --rate {rate} --epochs {epochs} \
         --seed {seed}"
    )
}

/// What the search finds, held against the usual network.
fn found(
    data: &Dataset,
    usual: &TrainOptions,
    args: &Args,
    trained: &mut Trained,
) -> anyhow::Result<TrainOptions> {
    let is_json = args.json;
    let limit = Duration::try_from_secs_f64(args.minutes * 60.0)?;
    let search =
        SearchOptions { base: usual.clone(), candidates: args.candidates, folds: 2, limit };
    super::say(
        is_json,
        format_args!(
            "search     {} candidates, {:.1} minutes at most",
            args.candidates, args.minutes
        ),
    );
    let mut tell = |scored: &Scored| super::say(is_json, format_args!("  {scored}"));
    let (winner, _) = search::search(data, &search, &Plain, &mut tell)?;
    if winner == *usual {
        super::say(is_json, format_args!("found      nothing better than the usual network"));
        return Ok(winner);
    }
    let seeds = args.seeds.max(5);
    let bar = bar(seeds, "comparing")?;
    let kinds = [("usual", usual), ("found", &winner)].map(|(name, options)| Kind {
        name,
        options: options.clone(),
        trainer: &Plain,
        members: 1,
    });
    let lines = search::compare(data, &kinds, seeds, &mut |seed| bar.set_position(seed))?;
    bar.finish_and_clear();
    let gain = Gain::of(&lines[0], &lines[1]);
    let comparison = Comparison { lines };
    let about = "one network of each kind, over";
    super::say(is_json, format_args!("\n{about} {seeds} other splits:\n{comparison}"));
    trained.searched = Some(comparison);
    let taken = if gain.is_sure() { "found" } else { "usual" };
    super::say(is_json, format_args!("taken      the {taken} one: the found one gains {gain}"));
    let taken = if gain.is_sure() { winner } else { usual.clone() };
    super::say(is_json, format_args!("again      crossover train SETS {}", arguments(&taken)));
    Ok(taken)
}

/// How another model does on all rows.
fn against(data: &Dataset, path: &Path, is_json: bool) -> anyhow::Result<Comparison> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let model = weights::from_bytes(&bytes).with_context(|| path.display().to_string())?;
    let line = Line { model: "given".to_owned(), seeds: vec![eval::evaluate(&model, data.rows())] };
    let comparison = Comparison { lines: vec![line] };
    super::say(is_json, format_args!("\n{} on all rows:\n{comparison}", path.display()));
    Ok(comparison)
}

/// Trains on all rows and writes the file, whole or not at all.
fn write(
    data: &Dataset,
    options: &TrainOptions,
    members: usize,
    out: &Path,
    is_json: bool,
) -> anyhow::Result<Written> {
    let bar = bar((members * options.epochs) as u64, "epochs")?;
    let (ensemble, reports) = train_ensemble(data, options, members, &mut |now| {
        bar.set_position((now.member * now.epochs + now.epoch) as u64);
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    let bytes = weights::to_bytes(ensemble.members())?;
    if weights::from_bytes(&bytes)?.members().len() != members {
        bail!("the file would not hold all networks");
    }
    super::write(out, &bytes)?;
    let seconds: f64 = reports.iter().map(|report| report.seconds).sum();
    let best: Vec<usize> = reports.iter().map(|report| report.epoch_best).collect();
    let (file, bytes, data) = (out.to_owned(), bytes.len(), data.hash().to_string());
    let (shown, kib) = (out.display(), bytes >> 10);
    super::say(
        is_json,
        format_args!(
            "\nwritten    {shown} ({kib} KiB): {members} networks in {seconds:.0} s, best epochs {best:?}, data {data}"
        ),
    );
    Ok(Written { file, bytes, seconds, data })
}

fn bar(length: u64, what: &'static str) -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(length);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}")?);
    bar.set_message(what);
    Ok(bar)
}

#[cfg(test)]
mod tests {
    use super::{Args, arguments, asked};
    use clap::Parser;
    use crossover::ml::TrainOptions;
    use crossover::ml::encoder::InputForm;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_network_is_described_by_arguments_that_make_it_again() {
        let asked_by = |words: &str| {
            let words = ["train", "rows.jsonl"].into_iter().chain(words.split_whitespace());
            asked(&Typed::try_parse_from(words).expect("arguments").args)
        };
        assert_eq!(asked_by("--seed 0"), TrainOptions::default());
        let usual = asked_by("--seed 9 --epochs 7");
        assert_eq!(asked_by(&arguments(&usual)), usual);
        let other = asked_by("--hidden 96,48 --bins 8 --dropout 0.1,0 --rate 0.004 --seed 3");
        assert_eq!((other.hidden.as_slice(), other.form), (&[96, 48][..], InputForm::Piecewise(8)));
        assert_eq!(asked_by(&arguments(&other)), other);
    }
}
