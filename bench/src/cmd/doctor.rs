//! `crossover doctor`: what this machine offers, and what would give more.

use std::path::PathBuf;
use std::process::ExitCode;

use crossover::ml::features::{Feature, Group};
use crossover::shaders::AdapterInfo;
use crossover::{Adapter, Origins, Runtime, Settings, shaders, show_seconds};
use serde::Serialize;

use crate::machine;
use crate::report::model::Machine;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure the machine anew (less than three seconds) and keep the result.
    #[arg(long)]
    calibrate: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What there is to say.
#[derive(Debug, Serialize)]
struct Diagnosis {
    version: &'static str,
    machine: Machine,
    /// The GPUs in use.
    adapters: Vec<Adapter>,
    /// Why there is none.
    no_adapter: Option<String>,
    /// All that the drivers of this machine offer.
    found: Vec<Found>,
    model: String,
    generation: u64,
    experience: String,
    settings: Vec<Setting>,
    measured: Vec<Measured>,
    measured_in_s: f64,
    kept_in: Option<PathBuf>,
}

/// An adapter of this machine.
#[derive(Debug, Serialize)]
struct Found {
    name: String,
    driver: String,
    kind: String,
    buffer_bytes_max: u64,
    storage_buffer_bytes_max: u64,
    float64: bool,
    int64: bool,
    /// How it gets at host memory.
    memory: String,
}

/// A setting, its value as a file says it, and where that is from.
#[derive(Debug, Serialize)]
struct Setting {
    name: String,
    value: String,
    origin: String,
}

/// What was measured, or is known, of the devices.
#[derive(Debug, Serialize)]
struct Measured {
    name: &'static str,
    value: Option<f64>,
    unit: &'static str,
    meaning: &'static str,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (mut settings, origins) = Settings::from_env()?;
    let told = list(&settings, &origins);
    let file =
        settings.calibration.clone().or(super::cache_folder().map(|f| f.join("machine.json")));
    settings.calibration.clone_from(&file);
    if args.calibrate
        && let Some(file) = &file
        && file.exists()
    {
        std::fs::remove_file(file)?;
    }
    let rt = super::measured(settings.clone())?;
    let diagnosis = diagnose(&rt, &settings, told, file);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&diagnosis)?);
    } else {
        print(&rt, &diagnosis);
    }
    Ok(ExitCode::SUCCESS)
}

fn diagnose(
    rt: &Runtime,
    settings: &Settings,
    told: Vec<Setting>,
    kept_in: Option<PathBuf>,
) -> Diagnosis {
    let (model, generation) = rt.model();
    let experience = match (&settings.experience, rt.experience()) {
        (None, _) => "none kept (setting `experience`)".to_owned(),
        (Some(file), Ok(calls)) => format!("{calls} calls in {}", file.display()),
        (Some(_), Err(error)) => format!("refused: {error}"),
    };
    Diagnosis {
        version: env!("CARGO_PKG_VERSION"),
        machine: machine::describe(rt),
        adapters: rt.adapters(),
        no_adapter: rt.why_no_gpu().map(ToOwned::to_owned),
        found: shaders::adapters().iter().map(Found::of).collect(),
        model,
        generation,
        experience,
        settings: told,
        measured: measured(rt),
        measured_in_s: rt.calibration().took_s,
        kept_in,
    }
}

fn list(settings: &Settings, origins: &Origins) -> Vec<Setting> {
    let one = |(name, value): (String, String)| {
        let origin = origins.of(&name).to_string();
        Setting { name, value, origin }
    };
    settings.list().into_iter().map(one).collect()
}

impl Found {
    fn of(info: &AdapterInfo) -> Found {
        let caps = &info.capabilities;
        Found {
            name: info.name.clone(),
            driver: info.driver.clone(),
            kind: info.kind.to_string(),
            buffer_bytes_max: caps.buffer_bytes_max,
            storage_buffer_bytes_max: caps.storage_buffer_bytes_max,
            float64: caps.float64,
            int64: caps.int64,
            memory: info.sharing.to_string(),
        }
    }
}

/// The features of devices that the cost model is told.
fn measured(rt: &Runtime) -> Vec<Measured> {
    let all = rt.calibration().features();
    let device = |feature: &Feature| feature.info().group == Group::Device;
    let one = |feature: Feature| {
        let info = feature.info();
        let (name, unit, meaning) = (info.name, info.unit, info.meaning);
        Measured { name, value: all.get(feature), unit, meaning }
    };
    Feature::ALL.into_iter().filter(device).map(one).collect()
}

fn print(rt: &Runtime, diagnosis: &Diagnosis) {
    let Diagnosis { machine, model, generation, experience, .. } = diagnosis;
    println!("system      {}", machine.system);
    println!("cpu         {}", machine.cpu);
    println!("threads     {}", machine.threads);
    println!("simd        {} (WebAssembly uses 128 bits of it)", machine.simd.join(", "));
    println!("gpu         {}", super::adapter_line(rt));
    print_found(&diagnosis.found);
    let paths = match diagnosis.adapters.as_slice() {
        [] => "no GPU that could share it".to_owned(),
        [adapter] => format!("the GPU {}", adapter.memory),
        several => {
            let path = |(at, adapter): (usize, &Adapter)| format!("GPU {at} {}", adapter.memory);
            several.iter().enumerate().map(path).collect::<Vec<_>>().join("; ")
        }
    };
    println!("memory      one allocation for Rust and WebAssembly; {paths}");
    println!("model       {model}, generation {generation}");
    println!("experience  {experience}");
    println!("settings    from crossover.toml and CROSSOVER_* variables:");
    for Setting { name, value, origin } in &diagnosis.settings {
        println!("  {name:<17} {:<28} {origin}", if value.is_empty() { "–" } else { value });
    }
    println!("measured    of the devices:");
    for Measured { name, value, unit, meaning } in &diagnosis.measured {
        let value = value.map_or("–".to_owned(), |value| show(value, unit));
        println!("  {name:<26} {value:>16}  {meaning}");
    }
    if let Some(file) = &diagnosis.kept_in {
        println!("  in {:.1} s, kept in {}", diagnosis.measured_in_s, file.display());
    }
}

fn print_found(all: &[Found]) {
    for found in all {
        let wide = [("f64", found.float64), ("i64", found.int64)];
        let wide: Vec<&str> = wide.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
        println!(
            "  adapter   {} [{}], {}, buffers up to {} MiB of which shaders see {} at once, {}",
            found.name,
            found.driver,
            found.kind,
            found.buffer_bytes_max >> 20,
            found.storage_buffer_bytes_max >> 20,
            if wide.is_empty() { "no 64-bit types".to_owned() } else { wide.join(" and ") },
        );
    }
    if all.is_empty() {
        println!(
            "  adapter   none found; a software one: apt-get install mesa-vulkan-drivers libvulkan1"
        );
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
