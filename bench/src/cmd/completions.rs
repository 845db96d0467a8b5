//! `crossover completions`: what shells complete.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::Cli;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "crossover", &mut text);
    super::print_bytes(&text)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, ValueEnum};
    use clap_complete::Shell;

    #[test]
    fn every_command_is_completed_in_every_shell() {
        let command = crate::Cli::command();
        for shell in Shell::value_variants() {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut command.clone(), "crossover", &mut text);
            let text = String::from_utf8(text).expect("text");
            for part in command.get_subcommands() {
                assert!(text.contains(part.get_name()), "{shell} {}", part.get_name());
            }
        }
    }
}
