//! `crossover doctor`: what this machine offers, and what would give more.

use std::process::ExitCode;

use crossover::ml::features::{Feature, Group};
use crossover::{Adapter, Runtime, Settings, shaders, show_seconds};

use crate::machine;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure the machine anew (less than three seconds) and keep the result.
    #[arg(long)]
    calibrate: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut settings = Settings::default();
    settings.apply_env()?;
    let file =
        settings.calibration.clone().or(super::cache_folder().map(|f| f.join("machine.json")));
    settings.calibration.clone_from(&file);
    if args.calibrate
        && let Some(file) = &file
        && file.exists()
    {
        std::fs::remove_file(file)?;
    }
    let rt = Runtime::builder().settings(settings.clone()).calibrated().build()?;
    let machine = machine::describe(&rt);
    println!("system      {}", machine.system);
    println!("cpu         {}", machine.cpu);
    println!("threads     {}", machine.threads);
    println!("simd        {} (WebAssembly uses 128 bits of it)", machine.simd.join(", "));
    println!("gpu         {}", super::adapter_line(&rt));
    adapters();
    let paths = match rt.adapters().as_slice() {
        [] => "no GPU that could share it".to_owned(),
        [adapter] => format!("the GPU {}", adapter.memory),
        several => {
            let path = |(at, adapter): (usize, &Adapter)| format!("GPU {at} {}", adapter.memory);
            several.iter().enumerate().map(path).collect::<Vec<_>>().join("; ")
        }
    };
    println!("memory      one allocation for Rust and WebAssembly; {paths}");
    let (model, generation) = rt.model();
    println!("model       {model}, generation {generation}");
    println!("policy      {}", settings.policy);
    match (&settings.experience, rt.experience()) {
        (None, _) => println!("experience  none kept (setting `experience`)"),
        (Some(file), Ok(calls)) => println!("experience  {calls} calls in {}", file.display()),
        (Some(_), Err(error)) => println!("experience  refused: {error}"),
    }
    speeds(&rt);
    if let Some(file) = file {
        let took_s = rt.calibration().took_s;
        println!("measured    in {took_s:.1} s, kept in {}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn adapters() {
    let all = shaders::adapters();
    for adapter in &all {
        let caps = &adapter.capabilities;
        let wide = [("f64", caps.float64), ("i64", caps.int64)];
        let wide: Vec<&str> = wide.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
        println!(
            "  adapter   {} [{}], {}, buffers up to {} MiB of which shaders see {} at once, {}",
            adapter.name,
            adapter.driver,
            adapter.kind,
            caps.buffer_bytes_max >> 20,
            caps.storage_buffer_bytes_max >> 20,
            if wide.is_empty() { "no 64-bit types".to_owned() } else { wide.join(" and ") },
        );
    }
    if all.is_empty() {
        println!(
            "  adapter   none found; a software one: apt-get install mesa-vulkan-drivers libvulkan1"
        );
    }
}

/// What was measured: the features of devices that the cost model is told, with their units.
fn speeds(rt: &Runtime) {
    let measured = rt.calibration().features();
    let device = |feature: &Feature| feature.info().group == Group::Device;
    for feature in Feature::ALL.into_iter().filter(device) {
        let info = feature.info();
        let value = match measured.get(feature) {
            Some(value) => show(value, info.unit),
            None => "–".to_owned(),
        };
        println!("  {:<26} {value:>16}  {}", info.name, info.meaning);
    }
}

/// A measured value with its unit, in digits that can be told apart.
fn show(value: f64, unit: &str) -> String {
    match unit {
        "s" => show_seconds(value),
        "1" => format!("{value:.2}"),
        "0 or 1" => (if value > 0.5 { "yes" } else { "no" }).to_owned(),
        "B" if value >= f64::from(1 << 20) => format!("{:.1} MiB", value / f64::from(1 << 20)),
        "B" => format!("{:.0} KiB", value / 1024.0),
        unit if value >= 100.0 || value.fract() == 0.0 => format!("{value:.0} {unit}"),
        unit => format!("{value:.3} {unit}"),
    }
}
