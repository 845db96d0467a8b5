//! The `crossover` command: runs the benchmark suites, explains placements, diagnoses the machine and
//! collects training data. It is a user of the library like any other.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command speaks on standard output")]

mod ablation;
mod baseline;
mod case;
mod cmd;
mod columns;
mod direct;
mod eval;
mod families;
mod layouts;
mod machine;
mod overlap;
mod peers;
mod report;
mod runner;
mod sets;
mod specimen;
mod suite;
mod trace;
mod turns;

use std::io::Write;

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

/// What shells give for a program that nobody listens to any more.
const NOBODY_LISTENS: i32 = 141;

/// Ends quietly where the reader of the output has seen enough, as `head` has, and with a line where it cannot be
/// written: what prints has no way to say so but to panic.
fn end_with_the_output() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or_default();
        if !message.starts_with("failed printing to std") {
            return usual(panic);
        }
        if message.contains("Broken pipe") {
            std::process::exit(NOBODY_LISTENS);
        }
        // Standard error may be full as well.
        let _ = writeln!(std::io::stderr(), "error: {message}");
        std::process::exit(2);
    }));
}

fn main() -> std::process::ExitCode {
    end_with_the_output();
    match cmd::run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::from(2)
        }
    }
}
