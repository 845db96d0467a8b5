//! `crossover man`: manual pages.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use clap_mangen::Man;

use crate::Cli;

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write crossover.1 and a page for each of its parts into this folder.
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.out {
        None => super::print_bytes(&page(Cli::command())?)?,
        Some(folder) => write(folder)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn page(command: clap::Command) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(command).render(&mut text)?;
    Ok(text)
}

fn write(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut pages = vec![("crossover".to_owned(), Cli::command())];
    for part in Cli::command().get_subcommands() {
        let name = format!("crossover-{}", part.get_name());
        let shown: &'static str = name.clone().leak();
        pages.push((name, part.clone().name(shown)));
    }
    for (name, command) in pages {
        let file = folder.join(format!("{name}.1"));
        std::fs::write(&file, page(command)?).with_context(|| file.display().to_string())?;
        println!("{}", file.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_page_names_all_parts_and_the_exit_codes() {
        let page = super::page(crate::Cli::command()).expect("a page");
        let page = String::from_utf8(page).expect("text");
        for part in crate::Cli::command().get_subcommands() {
            // Hyphens are written `\\-` in such pages.
            assert!(page.contains(&part.get_name().replace('-', "\\-")), "{}", part.get_name());
        }
        assert!(page.contains("interrupted twice"), "{page}");
    }
}
