//! `crossover explain`: where a call of a library kernel would run, and why.

use std::process::ExitCode;

use crate::case::Case;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kernel, or a program of several.
    kernel: String,
    /// The size, in the kernel's own unit; `1e6` is understood.
    #[arg(long)]
    n: Option<f64>,
    /// Also list every feature that the model was told.
    #[arg(long)]
    features: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (entry, kernels) = super::named(&args.kernel)?;
    let size = args.n.map_or(entry.sizes[1], |n| n as usize);
    let rt = super::runtime()?;
    let mut case = Case::new(&rt, entry, size)?;
    case.compile()?;
    // Of each kernel the first call: those after it differ in little but where they are.
    let firsts = kernels
        .iter()
        .filter_map(|&kernel| (0..case.calls()).find(|&number| case.kernel_of(number) == kernel));
    let firsts: Vec<usize> = firsts.collect();
    let mut explanations = Vec::new();
    for number in firsts {
        explanations.push(case.call(number).explain()?);
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
    for explanation in &explanations {
        println!("{explanation}");
        if args.features {
            for (feature, value) in explanation.features.iter() {
                let info = feature.info();
                println!("  {:<32} {value:>14.4e} {:<10} {}", info.name, info.unit, info.meaning);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
