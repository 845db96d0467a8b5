//! `crossover explain`: where a call of a library kernel would run, and why.

use std::process::ExitCode;

use crossover::{Call, Device, Error, Estimate, Explanation, Past};

use crate::case::Case;
use crate::runner::median;

/// Runs of each candidate with `--run`.
const RUNS: usize = 5;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kernel, or a program of several.
    kernel: String,
    /// The size, in the kernel's own unit; `1e6` is understood.
    #[arg(long, value_parser = super::size, allow_negative_numbers = true)]
    n: Option<usize>,
    /// Also run it on each device, and show what it took beside what was predicted before.
    #[arg(long)]
    run: bool,
    /// Also list every feature that the model was told.
    #[arg(long)]
    features: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (entry, kernels) = super::named(&args.kernel)?;
    let size = args.n.unwrap_or(entry.sizes[1]);
    let rt = super::runtime()?;
    let mut case = Case::new(&rt, entry, size)?;
    case.compile()?;
    // Of each kernel the first call: those after it differ in little but where they are.
    let firsts = kernels
        .iter()
        .filter_map(|&kernel| (0..case.calls()).find(|&number| case.kernel_of(number) == kernel));
    let firsts: Vec<usize> = firsts.collect();
    let mut explanations = Vec::new();
    for &number in &firsts {
        explanations.push(case.call(number).explain()?);
    }
    if args.run {
        let bar = super::spinner(format!("running {} at {size}", entry.name));
        measure(&mut case, &firsts, &mut explanations)?;
        bar.finish_and_clear();
    }
    if args.json {
        let json = match &explanations[..] {
            [only] => serde_json::to_string_pretty(only)?,
            several => serde_json::to_string_pretty(several)?,
        };
        println!("{json}");
        return Ok(ExitCode::SUCCESS);
    }
    if entry.is_program() {
        println!("{} at {size}: {} calls, of each kernel the first:\n", entry.name, case.calls());
    }
    let columns = crate::columns::terminal();
    for explanation in &explanations {
        println!("{explanation:columns$}");
        if args.features {
            for (feature, value) in explanation.features.iter() {
                let info = feature.info();
                println!("  {:<32} {value:>14.4e} {:<10} {}", info.name, info.unit, info.meaning);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the whole on each candidate of its kernels, and notes what the first calls of these took.
fn measure(
    case: &mut Case<'_>,
    firsts: &[usize],
    explanations: &mut [Explanation],
) -> Result<(), Error> {
    let candidates = explanations.iter().map(|explained| explained.estimates.len()).max();
    for at in 0..candidates.unwrap_or(0) {
        let mut runs_s = vec![Vec::new(); firsts.len()];
        // The first one wakes what sleeps.
        for run in 0..=RUNS {
            case.reset()?;
            for number in 0..case.calls() {
                let kernel = firsts
                    .iter()
                    .position(|&first| case.kernel_of(first) == case.kernel_of(number));
                let estimate = kernel.and_then(|kernel| explanations[kernel].estimates.get(at));
                let call = case.call(number);
                let outcome = match estimate {
                    Some(estimate) => on(call, estimate).run()?,
                    None => call.run()?,
                };
                if let Some(kernel) = kernel.filter(|&kernel| firsts[kernel] == number && run > 0) {
                    runs_s[kernel].push(outcome.measured.run_s);
                }
            }
        }
        for (explained, runs_s) in explanations.iter_mut().zip(&runs_s) {
            if let Some(terms) = explained.terms.get_mut(at) {
                terms.past = median(runs_s).map(|run_s| Past { calls: runs_s.len(), run_s });
            }
        }
    }
    Ok(())
}

/// The call where an estimate says.
fn on<'c>(call: Call<'c>, estimate: &Estimate) -> Call<'c> {
    match estimate.device {
        Device::Cpu => call.device(Device::Cpu).threads(estimate.threads),
        Device::Gpu => call.adapter(estimate.adapter),
    }
}
