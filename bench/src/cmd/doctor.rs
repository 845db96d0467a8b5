//! `crossover doctor`: what this machine offers, and what would give more.

use std::process::ExitCode;

use crossover::{Adapter, Runtime, Settings, shaders};

use crate::machine;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure the machine anew (about a second) and keep the result.
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
    speeds(&rt);
    if let Some(file) = file {
        println!("measured    kept in {}", file.display());
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

fn speeds(rt: &Runtime) {
    let found = rt.calibration();
    let (cpu, gpu) = (&found.cpu, &found.gpu);
    println!(
        "cpu speed   {:.1} Gop/s on one thread, {:.1} on all; memory {:.1} GB/s and {:.1}; a call {:.1} µs inline, {:.1} on all threads",
        cpu.flops_one / 1e9,
        cpu.flops_all / 1e9,
        cpu.bandwidth_one / 1e9,
        cpu.bandwidth_all / 1e9,
        cpu.inline_s * 1e6,
        cpu.wake_s * 1e6
    );
    if let Some(adapter) = rt.adapter() {
        println!(
            "gpu speed   {:.1} Gop/s; memory {:.1} GB/s; a dispatch {:.0} µs{}",
            gpu.flops / 1e9,
            gpu.bandwidth / 1e9,
            gpu.dispatch_s * 1e6,
            if adapter.in_place {
                "; nothing to copy".to_owned()
            } else {
                let (up, down) = (gpu.upload.bandwidth / 1e9, gpu.download.bandwidth / 1e9);
                format!("; up {up:.1} GB/s, down {down:.1} GB/s")
            }
        );
    }
}
