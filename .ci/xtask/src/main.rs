//! `cargo xtask`: the commands of whoever works on Crossover.
//!
//! - `cargo xtask test` sets up what the tests need, says what it does, and runs all of them.
//! - `cargo xtask differential` runs the tests that compare the back ends, on the adapter that
//!   `VK_DRIVER_FILES` names.

#![expect(clippy::print_stdout, reason = "a command speaks on standard output")]

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

/// Tests that compare back ends: package and test name.
const DIFFERENTIAL: &[(&str, &str)] = &[
    ("crossover-shaders", "operators"),
    ("crossover-shaders", "library"),
    ("crossover-shaders", "windows"),
    ("crossover", "differential"),
];

/// Where libtorch is put.
const LIBTORCH: &str = "target/libtorch";

/// Features that are off by default, and tested.
const FEATURES: &str = "crossover/arrow,crossover/ndarray";

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let done = match command.as_str() {
        "test" => test(),
        "differential" => differential(),
        _ => {
            eprintln!("usage: cargo xtask test | differential");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn test() -> anyhow::Result<()> {
    let has_torch = libtorch();
    adapter();
    cargo(&tests(has_torch))
}

fn differential() -> anyhow::Result<()> {
    let has_torch = has_libtorch();
    for (package, test) in DIFFERENTIAL {
        cargo(&[&tests(has_torch), &["--test", test][..]].concat())
            .with_context(|| format!("differential tests of {package}"))?;
    }
    Ok(())
}

/// What is tested: both commands take the same packages and features, or everything is compiled again.
fn tests(has_torch: bool) -> Vec<&'static str> {
    let all = ["test", "--workspace", "--features", FEATURES];
    let without: &[&str] = if has_torch { &[] } else { &["--exclude", "crossover-torch"] };
    [&all[..], without].concat()
}

/// Puts libtorch under `target/`, for the tests of `ml/torch` alone; false where it cannot be had.
fn libtorch() -> bool {
    let folder = Path::new(LIBTORCH);
    if has_libtorch() {
        println!("libtorch is in {}", folder.display());
        return true;
    }
    println!(
        "fetching libtorch (500 MB, once) into {} for the tests of ml/torch",
        folder.display()
    );
    let done = Command::new("bash").arg("ml/torch/libtorch.sh").arg(folder).status();
    let has = done.is_ok_and(|status| status.success());
    if !has {
        println!(
            "libtorch cannot be had: it needs bash, python3 and pip; the tests of ml/torch are left out"
        );
    }
    has
}

fn has_libtorch() -> bool {
    Path::new(LIBTORCH).join("torch/build-version").exists()
}

/// Says whether the GPU tests will run.
fn adapter() {
    let found = std::env::var_os("VK_DRIVER_FILES").is_some()
        || std::env::var_os("VK_ICD_FILENAMES").is_some()
        || ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"].iter().any(|folder| {
            std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
        });
    if !found {
        println!("no Vulkan driver: the GPU tests are skipped, and say so. A software one:");
        println!("    apt-get install mesa-vulkan-drivers libvulkan1");
    }
}

fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    println!("cargo {}", arguments.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(arguments).status().context("cargo does not start")?;
    if !status.success() {
        bail!("`cargo {}` failed", arguments.join(" "));
    }
    Ok(())
}
