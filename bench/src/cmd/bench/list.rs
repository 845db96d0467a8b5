//! `crossover bench --list`: what there is to run.

use std::process::ExitCode;

use crossover::kernels::library::Entry;
use serde::Serialize;

use crate::suite::Suite;

/// A benchmark of a suite, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Listed<'s> {
    suite: &'s str,
    name: &'static str,
    about: &'static str,
    /// More than one where it is a program.
    kernels: Vec<&'static str>,
    unit: &'static str,
    sizes: [usize; 3],
    tags: &'static [&'static str],
}

/// Prints one suite, or all there are, or what of them has a word in its name or as a tag.
pub(super) fn run(suite: Option<&str>, only: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    let mut suites = match suite {
        Some(name) => vec![Suite::load(name)?],
        None => Suite::bundled()?,
    };
    if let Some(word) = only {
        match &mut suites[..] {
            [suite] => suite.keep(word)?,
            _ => suites.retain_mut(|suite| suite.keep(word).is_ok()),
        }
    }
    if json {
        let listed: Vec<Listed<'_>> = suites.iter().flat_map(listed).collect();
        println!("{}", serde_json::to_string_pretty(&listed)?);
        return Ok(ExitCode::SUCCESS);
    }
    for suite in &suites {
        println!("{}: {}", suite.name, suite.about);
        for (entry, sizes) in &suite.kernels {
            let sizes = sizes.map(|size| size.to_string()).join(", ");
            let tags = entry.tags.join(", ");
            println!("  {:<16} {}", entry.name, entry.about);
            println!("  {:<16} {sizes} {}; {tags}{}", "", entry.unit, kernels(entry));
        }
        println!();
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(suite: &Suite) -> impl Iterator<Item = Listed<'_>> {
    suite.kernels.iter().map(|(entry, sizes)| Listed {
        suite: &suite.name,
        name: entry.name,
        about: entry.about,
        kernels: entry.kernels().iter().map(|def| def.name).collect(),
        unit: entry.unit,
        sizes: *sizes,
        tags: entry.tags,
    })
}

/// The kernels of a program, behind its tags.
fn kernels(entry: &Entry) -> String {
    if !entry.is_program() {
        return String::new();
    }
    let names: Vec<&str> = entry.kernels().iter().map(|def| def.name).collect();
    format!("; of {}", names.join(", "))
}
