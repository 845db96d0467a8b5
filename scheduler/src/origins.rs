//! Settings from a file and from variables, and where each value is from.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::{Settings, read};
use crate::error::Error;

/// The file of settings in the folder where a program runs.
const FILE: &str = "crossover.toml";

/// The variable that names another.
const VARIABLE: &str = "CROSSOVER_CONFIG";

/// Where the value of a setting is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has set it.
    Default,
    /// A file of settings.
    File(PathBuf),
    /// A variable of the environment, by name.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => path.display().fmt(f),
            Origin::Variable(name) => f.write_str(name),
        }
    }
}

/// Where each setting is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// Where a setting is from, by its name in files.
    ///
    /// ```
    /// use crossover::{Origin, Settings};
    /// let (_, origins) = Settings::from_env()?;
    /// // Unless `CROSSOVER_THREADS` or a file says how many there are.
    /// if std::env::var_os("CROSSOVER_THREADS").is_some() {
    ///     assert_eq!(*origins.of("threads"), Origin::Variable("CROSSOVER_THREADS".into()));
    /// }
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn of(&self, name: &str) -> &Origin {
        self.0.get(name).unwrap_or(&Origin::Default)
    }
}

impl Settings {
    /// The settings of the environment, and where each is from: first those of the file that
    /// `CROSSOVER_CONFIG` names, or of `crossover.toml` in the current folder if there is one; then those of
    /// the variables of [`Settings::apply_env`].
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read or has an unknown setting, [`Error::Setting`] for a
    /// variable with a value that is none of its.
    ///
    /// ```
    /// use crossover::Settings;
    /// let (settings, origins) = Settings::from_env()?;
    /// println!("{} threads, from: {}", settings.threads(), origins.of("threads"));
    /// # assert!(settings.threads() > 0);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn from_env() -> Result<(Settings, Origins), Error> {
        let get = |name: &str| std::env::var(name).ok();
        Settings::layered(get, Path::new(FILE))
    }

    fn layered(
        get: impl Fn(&str) -> Option<String>,
        usual: &Path,
    ) -> Result<(Settings, Origins), Error> {
        let mut origins = BTreeMap::new();
        let named = get(VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
        let file = named.or_else(|| usual.exists().then(|| usual.to_owned()));
        let mut settings = match &file {
            Some(file) => {
                let text = read(file)?;
                let settings = Settings::parse(&text, file)?;
                // What gives settings is a table.
                let named: toml::Table = toml::from_str(&text).unwrap_or_default();
                let from = |(name, _)| (name, Origin::File(file.clone()));
                origins.extend(named.into_iter().map(from));
                settings
            }
            None => Settings::default(),
        };
        let before = settings.clone();
        let seen = RefCell::new(Vec::new());
        settings.apply(|name| {
            let value = get(name)?;
            seen.borrow_mut().push(name.to_owned());
            Some(value)
        })?;
        for variable in seen.into_inner() {
            if let Some(name) = variable.strip_prefix("CROSSOVER_") {
                origins.insert(name.to_lowercase(), Origin::Variable(variable.clone()));
            } else if settings.cache != before.cache {
                // The folder of caches is found by variables of others.
                origins.insert("cache".to_owned(), Origin::Variable(variable));
            }
        }
        Ok((settings, Origins(origins)))
    }

    /// Every setting with its value, as a file would say it; those without a value are empty.
    ///
    /// ```
    /// let settings = crossover::Settings { threads: 3, ..Default::default() };
    /// let list = settings.list();
    /// assert!(list.contains(&("threads".into(), "3".into())));
    /// assert!(list.contains(&("record".into(), String::new())), "it has no value");
    /// ```
    pub fn list(&self) -> Vec<(String, String)> {
        // Settings are numbers, words and paths: all of them are values of TOML.
        let table = toml::Table::try_from(self).unwrap_or_default();
        let shown = |name: &str| {
            let value = table.get(name);
            (name.to_owned(), value.map_or_else(String::new, ToString::to_string))
        };
        Settings::NAMES.iter().map(|name| shown(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, Settings};
    use std::path::{Path, PathBuf};

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("crossover-origins-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a writable folder");
        folder
    }

    #[test]
    fn variables_win_over_the_file_and_each_says_where_it_is_from() {
        let folder = folder("win");
        let file = folder.join("crossover.toml");
        std::fs::write(&file, "policy = 'history'\nthreads = 3\n").expect("a writable file");
        let get = |name: &str| (name == "CROSSOVER_THREADS").then(|| "2".to_owned());
        let (settings, origins) = Settings::layered(get, &file).expect("settings");
        assert_eq!((settings.policy.as_str(), settings.threads), ("history", 2));
        assert_eq!(*origins.of("policy"), Origin::File(file.clone()));
        assert_eq!(*origins.of("threads"), Origin::Variable("CROSSOVER_THREADS".into()));
        assert_eq!(*origins.of("learn"), Origin::Default);
        // The variable that names a file wins over the usual one.
        let other = folder.join("other.toml");
        std::fs::write(&other, "policy = 'ewma'").expect("a writable file");
        let named = other.display().to_string();
        let get = |name: &str| (name == "CROSSOVER_CONFIG").then(|| named.clone());
        let (settings, origins) = Settings::layered(get, &file).expect("settings");
        assert_eq!((settings.policy.as_str(), settings.threads), ("ewma", 0));
        assert_eq!(*origins.of("policy"), Origin::File(other));
        std::fs::remove_dir_all(&folder).expect("our own folder");
    }

    #[test]
    fn a_file_that_is_named_must_be_there_and_right() {
        let folder = folder("named");
        let missing = folder.join("none.toml").display().to_string();
        let get = |name: &str| (name == "CROSSOVER_CONFIG").then(|| missing.clone());
        let error = Settings::layered(get, Path::new("none")).expect_err("no such file");
        assert!(error.to_string().contains("none.toml"), "{error}");
        let file = folder.join("crossover.toml");
        std::fs::write(&file, "polcy = 'learned'").expect("a writable file");
        let error = Settings::layered(|_| None, &file).expect_err("no such setting");
        assert!(error.to_string().contains("polcy"), "{error}");
        std::fs::remove_dir_all(&folder).expect("our own folder");
    }

    #[test]
    fn every_setting_is_listed() {
        let all = Settings {
            adapter: Some("x".into()),
            ledger: Some("a".into()),
            record: Some("b".into()),
            model: Some("c".into()),
            calibration: Some("d".into()),
            experience: Some("e".into()),
            cache: Some("f".into()),
            ..Settings::default()
        };
        let table = toml::Table::try_from(&all).expect("values of TOML");
        let mut names: Vec<&str> = table.keys().map(String::as_str).collect();
        let mut listed = Settings::NAMES.to_vec();
        names.sort_unstable();
        listed.sort_unstable();
        assert_eq!(names, listed);
        assert!(all.list().contains(&("policy".into(), "\"learned\"".into())));
        assert!(Settings::default().list().contains(&("adapter".into(), String::new())));
    }
}
