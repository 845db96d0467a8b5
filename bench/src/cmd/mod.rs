//! The commands, one file each.

mod bench;
mod collect;
mod compare;
mod completions;
mod doctor;
mod emit;
mod eval;
mod explain;
mod gpu;
mod interrupt;
mod man;
mod peers;
mod replay;
mod train;
mod tune;
mod ulp;

use std::borrow::Cow;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Subcommand;
use crossover::kernels::library::{self, Entry};
use crossover::ml::Dataset;
use crossover::{Adapter, Runtime, Settings};
use indicatif::ProgressBar;

/// What the command can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a suite on both sides: a table, report.json and report.html.
    Bench(bench::Args),
    /// Draw report.html from a report.json.
    Report(bench::ReportArgs),
    /// What has become slower or faster from one report.json to another, with intervals.
    Compare(compare::Args),
    /// Say where a call would run, why, what its time is made of, and what would change the choice.
    Explain(explain::Args),
    /// Show what a kernel became: IR, WebAssembly, WGSL or machine code, with its lines of Rust.
    Emit(emit::Args),
    /// What this machine offers: cores, adapters, memory path, model.
    Doctor(doctor::Args),
    /// What the way to the GPU costs: an empty call, memory in place and staged, the bytes of a chain.
    Gpu(gpu::Args),
    /// Measure random kernels on both sides and append them to a training set.
    Collect(collect::Args),
    /// How good placement is: policies and model against baselines, on what they have not seen.
    Eval(eval::Args),
    /// The suite `core` against other systems, each in a Python environment that this command makes.
    Peers(peers::Args),
    /// What a policy would have done in a recorded run, and what that would have cost.
    Replay(replay::Args),
    /// Train the cost model on measured rows, and judge it on kernels that it has not seen.
    Train(train::Args),
    /// Time every layout of a kernel on the CPU, or on the GPU.
    Tune(tune::Args),
    /// Worst errors of the functions of one `f32`, over every number there is.
    Ulp(ulp::Args),
    /// Print completions of this command for a shell.
    Completions(completions::Args),
    /// Print the manual page of this command, or write those of all its parts.
    Man(man::Args),
}

/// Runs a command; the exit code is 0 for success and 1 for a result that is wrong.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Bench(args) => bench::run(args),
        Command::Report(args) => bench::report(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Emit(args) => emit::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Gpu(args) => gpu::run(&args),
        Command::Collect(args) => collect::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Peers(args) => peers::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Ulp(args) => ulp::run(&args),
    }
}

/// A runtime with the environment's settings that has measured its machine.
fn runtime() -> anyhow::Result<Runtime> {
    let (mut settings, _) = Settings::from_env()?;
    if settings.calibration.is_none() {
        settings.calibration = cache_folder().map(|folder| folder.join("machine.json"));
    }
    measured(settings)
}

/// A runtime that has measured its machine, if nobody has before.
fn measured(settings: Settings) -> anyhow::Result<Runtime> {
    let is_new = settings.calibration.as_ref().is_none_or(|file| !file.exists());
    let bar = is_new.then(|| spinner("measuring this machine, once"));
    let rt = Runtime::builder().settings(settings).calibrated().build();
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    rt.context("the runtime does not start")
}

/// Says on a terminal what is under way, where nobody knows how long it takes.
fn spinner(what: impl Into<Cow<'static, str>>) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Says what is for people: where the output is JSON, on standard error.
fn say(is_json: bool, text: std::fmt::Arguments<'_>) {
    if is_json {
        eprintln!("{text}");
    } else {
        println!("{text}");
    }
}

/// Prints what is no line of text. Who closes the pipe has seen enough.
fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::{ErrorKind, Write};
    match std::io::stdout().write_all(bytes) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The benchmark that this names, or that has a kernel of this name, and the numbers of the kernels that
/// are meant: all of a program.
fn named(name: &str) -> anyhow::Result<(&'static Entry, Vec<usize>)> {
    if let Some(entry) = library::find(name) {
        return Ok((entry, (0..entry.kernels().len()).collect()));
    }
    let (entry, kernel) = library::find_kernel(name).with_context(|| {
        let names: Vec<&str> = library::ALL.iter().map(|entry| entry.name).collect();
        format!("there is no kernel `{name}`; there are {}", names.join(", "))
    })?;
    Ok((entry, vec![kernel]))
}

/// The benchmark and the one kernel that are meant.
fn named_kernel(name: &str) -> anyhow::Result<(&'static Entry, usize)> {
    let (entry, kernels) = named(name)?;
    match kernels[..] {
        [kernel] => Ok((entry, kernel)),
        _ => {
            let names: Vec<&str> = entry.kernels().iter().map(|def| def.name).collect();
            bail!("`{name}` is a program: name one of its kernels, {}", names.join(", "))
        }
    }
}

/// A training set. What is wrong with it is said once, with its name.
fn dataset(path: &std::path::Path) -> anyhow::Result<Dataset> {
    Dataset::load(path).map_err(|error| match error {
        crossover::ml::Error::Io { .. } => anyhow!("{error}"),
        other => anyhow!("{}: {other}", path.display()),
    })
}

/// A size as people write it: `1e6` is understood.
fn size(text: &str) -> Result<usize, String> {
    let size: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if size < 1.0 || size.fract() != 0.0 {
        return Err("a size is a whole number from 1 on".to_owned());
    }
    if size > f64::from(u32::MAX) {
        return Err("kernels count in 32 bits".to_owned());
    }
    Ok(size as usize)
}

/// Writes a file, in a folder that is made if need be; an error names it, and leaves the file that was there.
pub(crate) fn write(path: &std::path::Path, content: impl AsRef<[u8]>) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    // A device or a link stays what it is.
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return std::fs::write(path, content).with_context(|| path.display().to_string());
    }
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}.new", std::process::id()));
    let written = std::fs::write(&new, content).and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        // What there is of it is of no use; and there may be nothing.
        let _ = std::fs::remove_file(&new);
    }
    written.with_context(|| format!("{} is not written", path.display()))
}

/// Where this user's caches are.
fn cache_folder() -> Option<std::path::PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(std::path::PathBuf::from);
    let home = || Some(std::path::PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    Some(base.or_else(home)?.join("crossover"))
}

/// What there is to say of the GPU, in a line; of each, where there are several.
fn adapter_line(rt: &Runtime) -> String {
    let line = |adapter: &Adapter| {
        let software = if adapter.software { " — software: it computes on the CPU" } else { "" };
        format!("{} ({}){software}", adapter.name, adapter.driver)
    };
    match (rt.adapters().as_slice(), rt.why_no_gpu()) {
        ([], why) => format!("none: {}", why.unwrap_or("unknown")),
        (all, _) => all.iter().map(line).collect::<Vec<_>>().join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::{dataset, size};

    #[test]
    fn what_is_wrong_with_a_set_is_said_once() {
        let none = dataset("no/such/set.jsonl".as_ref()).expect_err("there is none");
        assert_eq!(format!("{none:#}").matches("set.jsonl").count(), 1, "{none:#}");
        let other = dataset(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").as_ref());
        let other = format!("{:#}", other.expect_err("these are no rows"));
        assert!(other.contains("Cargo.toml: not a data set"), "{other}");
    }

    #[test]
    fn sizes_are_whole_numbers_that_kernels_can_count() {
        assert_eq!(["1", "4096", "1e6"].map(size), [Ok(1), Ok(4096), Ok(1_000_000)]);
        for (text, why) in [
            ("0", "whole number"),
            ("-5", "whole number"),
            ("1.5", "whole number"),
            ("1e12", "32 bits"),
            ("inf", "whole number"),
            ("nan", "whole number"),
            ("many", "no number"),
        ] {
            let found = size(text).expect_err(text);
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}
