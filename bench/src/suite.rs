//! Suites: which kernels at which sizes, from `bench/suites/*.toml`.

use anyhow::{Context, bail};
use crossover::kernels::library::{self, Entry};
use serde::Deserialize;

/// The suites that come with the command: name and text.
const BUNDLED: &[(&str, &str)] = &[
    ("core", include_str!("../suites/core.toml")),
    ("linear-algebra", include_str!("../suites/linear-algebra.toml")),
    ("image", include_str!("../suites/image.toml")),
    ("simulation", include_str!("../suites/simulation.toml")),
    ("data", include_str!("../suites/data.toml")),
    ("ml", include_str!("../suites/ml.toml")),
    ("groups", include_str!("../suites/groups.toml")),
];

/// The name of all of them together.
const ALL: &str = "all";

/// Which sizes to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sizes {
    /// Resident in the cache.
    Small,
    /// Between the others.
    Medium,
    /// Beyond the last-level cache, where the kernel's cost allows it.
    Large,
    /// Small, medium and large.
    All,
}

/// The names of the sizes, in order.
pub(crate) const SIZES: [&str; 3] = ["small", "medium", "large"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    about: String,
    kernel: Vec<KernelTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KernelTable {
    name: String,
    sizes: Option<[usize; 3]>,
}

/// A suite, ready to run.
#[derive(Debug)]
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) kernels: Vec<(&'static Entry, [usize; 3])>,
}

impl Suite {
    /// The bundled suite of that name, all of them, or the one in that file.
    pub(crate) fn load(name: &str) -> anyhow::Result<Suite> {
        if name == ALL {
            return Suite::all();
        }
        let text = match BUNDLED.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => (*text).to_owned(),
            None => {
                let names: Vec<&str> = BUNDLED.iter().map(|(name, _)| *name).collect();
                std::fs::read_to_string(name).with_context(|| {
                    format!(
                        "there is no suite `{name}`: bundled are {}, or `{ALL}`; else name a file",
                        names.join(", ")
                    )
                })?
            }
        };
        Suite::parse(name, &text)
    }

    fn parse(name: &str, text: &str) -> anyhow::Result<Suite> {
        let file: File = toml::from_str(text).with_context(|| format!("suite `{name}`"))?;
        let mut kernels = Vec::new();
        for table in file.kernel {
            let Some(entry) = library::find(&table.name) else {
                bail!("suite `{name}`: there is no kernel `{}` in the library", table.name);
            };
            kernels.push((entry, table.sizes.unwrap_or(entry.sizes)));
        }
        Ok(Suite { name: file.name, about: file.about, kernels })
    }

    /// The bundled suites.
    pub(crate) fn bundled() -> anyhow::Result<Vec<Suite>> {
        BUNDLED.iter().map(|(name, text)| Suite::parse(name, text)).collect()
    }

    /// The bundled suites together; a kernel that is in several has the sizes of the first.
    fn all() -> anyhow::Result<Suite> {
        let mut kernels: Vec<(&'static Entry, [usize; 3])> = Vec::new();
        for suite in Suite::bundled()? {
            for (entry, sizes) in suite.kernels {
                if kernels.iter().all(|(known, _)| known.name != entry.name) {
                    kernels.push((entry, sizes));
                }
            }
        }
        let about = format!("all {} kernels and programs of the bundled suites", kernels.len());
        Ok(Suite { name: ALL.to_owned(), about, kernels })
    }

    /// Keeps only what has this in its name, or as a tag.
    ///
    /// # Errors
    /// Nothing is left.
    pub(crate) fn keep(&mut self, word: &str) -> anyhow::Result<()> {
        self.kernels.retain(|(entry, _)| entry.name.contains(word) || entry.tags.contains(&word));
        if self.kernels.is_empty() {
            bail!("nothing in suite `{}` has `{word}` in its name or as a tag", self.name);
        }
        Ok(())
    }

    /// What runs for these sizes: kernel, name of the size, size; sizes of a kernel in order.
    pub(crate) fn plan(&self, sizes: Sizes) -> Vec<(&'static Entry, &'static str, usize)> {
        let wanted = |at: usize| match sizes {
            Sizes::Small => at == 0,
            Sizes::Medium => at == 1,
            Sizes::Large => at == 2,
            Sizes::All => true,
        };
        let mut plan = Vec::new();
        for (entry, all) in &self.kernels {
            for at in (0..3).filter(|&at| wanted(at)) {
                plan.push((*entry, SIZES[at], all[at]));
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crossover::kernels::library;

    use super::{BUNDLED, Sizes, Suite};

    #[test]
    fn every_bundled_suite_loads() {
        for (name, _) in BUNDLED {
            let suite = Suite::load(name).expect("a bundled suite");
            assert_eq!(suite.name, *name);
            assert!(suite.plan(Sizes::All).len() >= 3 * suite.kernels.len());
        }
        assert!(Suite::load("none").is_err());
    }

    /// What is in the library is measured somewhere, and `all` has everything once.
    #[test]
    fn every_benchmark_is_in_a_suite() {
        let all = Suite::load(super::ALL).expect("all suites");
        let names: BTreeSet<&str> = all.kernels.iter().map(|(entry, _)| entry.name).collect();
        assert_eq!(names, library::ALL.iter().map(|entry| entry.name).collect());
        assert_eq!(names.len(), all.kernels.len());
    }

    #[test]
    fn a_word_keeps_names_and_tags() {
        let mut suite = Suite::load("core").expect("a bundled suite");
        suite.keep("stencil").expect("some are");
        let names: Vec<&str> = suite.kernels.iter().map(|(entry, _)| entry.name).collect();
        assert_eq!(names, ["jacobi", "conv3x3"]);
        suite.keep("conv").expect("one is");
        assert_eq!(suite.kernels.len(), 1);
        assert!(suite.keep("poetry").is_err_and(|e| e.to_string().contains("poetry")));
    }
}
