//! `crossover train --layouts`: what each layout of the CPU's code is worth, from rows of `collect --layouts`.

use std::path::{Path, PathBuf};

use crossover::ml::Dataset;
use crossover::ml::held_out::Belief;
use crossover::ml::layout::{self, Judged, LayoutModel, Options};
use serde::Serialize;

/// What came of it.
#[derive(Debug, Serialize)]
struct Trained {
    rows: usize,
    kernels: usize,
    /// How good it is on kernels held out.
    belief: Belief,
    judged: Judged,
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
    let trained = layout::train(data, &Options { seed, ..Options::default() })?;
    let (belief, judged, code_sd) = (*trained.belief(), *trained.judged(), trained.code_sd());
    let Belief { kernels, mean, trust, sd, typical, sd_of_mean } = belief;
    say(format_args!("\non kernels held out, in log2 of the speed over the default's:"));
    say(format_args!(
        "  {kernels} kernels, mean {mean:.3}, trust {trust:.2}, error {sd:.3} (of the mean {sd_of_mean:.3}), \
         half of all below {typical:.3}"
    ));
    let Judged { rows, first, of_three, best, by_regression } = judged;
    say(format_args!("speed over the default's, geometric, {rows} rows:"));
    say(format_args!(
        "  first choice {first:.3}, the fastest of three {of_three:.3}, of all {best:.3}"
    ));
    say(format_args!("  first choice of a regression {by_regression:.3}"));
    say(format_args!("time of making code: {code_sd:.3} log2 of standard deviation"));
    if let Some(out) = out {
        let bytes = trained.to_bytes()?;
        LayoutModel::from_bytes(&bytes)?;
        crate::cmd::write(out, &bytes)?;
        say(format_args!("written    {}", out.display()));
    }
    if is_json {
        let (rows, file) = (data.len(), out.map(Path::to_owned));
        let trained = Trained { rows, kernels, belief, judged, code_sd, file };
        println!("{}", serde_json::to_string_pretty(&trained)?);
    }
    Ok(())
}
