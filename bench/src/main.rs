//! The `crossover` command: runs the benchmark suites, explains placements, diagnoses the machine and
//! collects training data. It is a user of the library like any other.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command speaks on standard output")]

mod ablation;
mod baseline;
mod case;
mod cmd;
mod eval;
mod families;
mod machine;
mod report;
mod runner;
mod specimen;
mod suite;

use clap::Parser;

/// Runs each call of a data-parallel function where it is fastest: CPU or GPU.
///
/// Ends with 0 where all went well; with 1 where a result is wrong, or `compare` finds something slower; with
/// 2 where the command could not do what it was asked for; with 130 where it was interrupted twice.
#[derive(Debug, Parser)]
#[command(name = "crossover", version, about)]
struct Cli {
    #[command(subcommand)]
    command: cmd::Command,
}

fn main() -> std::process::ExitCode {
    match cmd::run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::from(2)
        }
    }
}
