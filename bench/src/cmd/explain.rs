//! `crossover explain`: where a call of a library kernel would run, and why.

use std::process::ExitCode;

use anyhow::Context;
use crossover::kernels::library;

use crate::case::Case;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kernel.
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
    let entry = library::find(&args.kernel).with_context(|| {
        let names: Vec<&str> = library::ALL.iter().map(|e| e.name).collect();
        format!("there is no kernel `{}`; there are {}", args.kernel, names.join(", "))
    })?;
    let size = args.n.map_or(entry.sizes[1], |n| n as usize);
    let rt = super::runtime()?;
    let mut case = Case::new(&rt, entry, size)?;
    case.call().compile()?;
    let explanation = case.call().explain()?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&explanation)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{explanation}");
    if args.features {
        for (feature, value) in explanation.features.iter() {
            let info = feature.info();
            println!("  {:<32} {value:>14.4e} {:<10} {}", info.name, info.unit, info.meaning);
        }
    }
    Ok(ExitCode::SUCCESS)
}
