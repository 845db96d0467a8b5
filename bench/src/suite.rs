//! Suites: which kernels at which sizes, from `bench/suites/*.toml`.

use anyhow::{Context, bail};
use crossover::kernels::library::{self, Entry};
use serde::Deserialize;

/// The suites that come with the command: name and text.
const BUNDLED: &[(&str, &str)] = &[
    ("core", include_str!("../suites/core.toml")),
    ("groups", include_str!("../suites/groups.toml")),
];

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
    /// The bundled suite of that name, or the one in that file.
    pub(crate) fn load(name: &str) -> anyhow::Result<Suite> {
        let text = match BUNDLED.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => (*text).to_owned(),
            None => {
                let names: Vec<&str> = BUNDLED.iter().map(|(name, _)| *name).collect();
                std::fs::read_to_string(name).with_context(|| {
                    format!(
                        "there is no suite `{name}`: bundled are {}; else name a file",
                        names.join(", ")
                    )
                })?
            }
        };
        let file: File = toml::from_str(&text).with_context(|| format!("suite `{name}`"))?;
        let mut kernels = Vec::new();
        for table in file.kernel {
            let Some(entry) = library::find(&table.name) else {
                bail!("suite `{name}`: there is no kernel `{}` in the library", table.name);
            };
            kernels.push((entry, table.sizes.unwrap_or(entry.sizes)));
        }
        Ok(Suite { name: file.name, about: file.about, kernels })
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
}
