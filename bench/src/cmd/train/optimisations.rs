//! `crossover train --optimisations`: what each optimisation is worth, from rows of `collect --ablate`.

use std::path::{Path, PathBuf};

use crossover::ml::Dataset;
use crossover::ml::speedups::{self, Head, Options, Speedups};
use serde::Serialize;

/// What came of it.
#[derive(Debug, Serialize)]
struct Trained {
    rows: usize,
    kernels: usize,
    /// How good each head is on kernels held out.
    heads: Vec<Head>,
    ranked: f64,
    code_sd: f64,
    file: Option<PathBuf>,
}

/// Trains on all rows, says how good that is on kernels held out, and writes the file.
pub(super) fn run(
    data: &Dataset,
    seed: u64,
    out: Option<&Path>,
    is_json: bool,
) -> anyhow::Result<()> {
    let say = |text: std::fmt::Arguments<'_>| super::super::say(is_json, text);
    let trained = speedups::train(data, &Options { seed, ..Options::default() })?;
    say(format_args!(
        "\n{:<10} {:>8} {:>9} {:>7} {:>12} {:>14} {:>14}",
        "without", "kernels", "log2", "trust", "held out sd", "sd of the mean", "typical error"
    ));
    for head in trained.heads() {
        let Head { name, kernels, mean, trust, sd, typical, sd_of_mean } = head;
        say(format_args!(
            "{name:<10} {kernels:>8} {mean:>9.3} {trust:>7.2} {sd:>12.3} {sd_of_mean:>14.3} \
             {typical:>14.3}"
        ));
    }
    let (ranked, code_sd) = (trained.ranked(), trained.code_sd());
    say(format_args!("pairs in the right order {:.1} %", 100.0 * ranked));
    say(format_args!("time of making code: {code_sd:.3} log2 of standard deviation"));
    if let Some(out) = out {
        write(&trained, out)?;
        say(format_args!("written    {}", out.display()));
    }
    if is_json {
        let (rows, kernels) = (data.len(), data.by_kernel().len());
        let (heads, file) = (trained.heads().to_vec(), out.map(Path::to_owned));
        let all = Trained { rows, kernels, heads, ranked, code_sd, file };
        println!("{}", serde_json::to_string_pretty(&all)?);
    }
    Ok(())
}

/// Writes the file, whole or not at all.
fn write(trained: &Speedups, out: &Path) -> anyhow::Result<()> {
    let bytes = trained.to_bytes()?;
    Speedups::from_bytes(&bytes)?;
    crate::cmd::write(out, &bytes)
}
