//! Settings: from code, from a `crossover.toml`, or from `CROSSOVER_*` variables when asked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Whether the GPU is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GpuUse {
    /// If there is one.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Without one, the runtime does not start.
    Require,
}

/// The best way in which the GPU may get at host memory; it takes a lesser one where its driver lacks
/// this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GpuMemory {
    /// In place: nothing is copied.
    #[default]
    Imported,
    /// Copies that the host writes and reads directly.
    Mapped,
    /// Copies that are moved through staging memory.
    Staged,
}

/// Which optimisations the CPU's code of a kernel gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimise {
    /// All of them.
    #[default]
    All,
    /// Those that are expected to be worth their compilation over the calls that are still to come; all of them
    /// later, when calls have taken long enough.
    Chosen,
}

/// How the CPU's code of a kernel is laid out: how many invocations stand side by side, how far loops are unrolled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layouts {
    /// As its shape suggests.
    Rule,
    /// At first as its shape suggests; where calls have taken long enough, as it is predicted, and then measured in
    /// calls, to be the fastest. Results are the same, bit for bit.
    #[default]
    Learned,
}

/// The value of the setting `adapter` that means every adapter there is.
pub const ALL_ADAPTERS: &str = "all";

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether the GPU is used.
    pub gpu: GpuUse,
    /// Part of the name of the adapter to use; several, set off by semicolons; or [`ALL_ADAPTERS`]. The best one by
    /// default.
    pub adapter: Option<String>,
    /// The best way in which the GPU may get at host memory.
    pub gpu_memory: GpuMemory,
    /// Worker threads of the CPU side; 0 for one on each core.
    pub threads: usize,
    /// The routing policy's name.
    pub policy: String,
    /// The recorded ledger that the policy `replay` follows.
    pub ledger: Option<PathBuf>,
    /// A file that every call is written to, as [`crate::record`] says; none by default.
    pub record: Option<PathBuf>,
    /// A model file to use instead of the shipped one.
    pub model: Option<PathBuf>,
    /// A file that keeps what was measured of the machine, so that it is measured once.
    pub calibration: Option<PathBuf>,
    /// A file that keeps what calls have taken, so that later processes begin with it; none by default. Several
    /// processes may share it.
    pub experience: Option<PathBuf>,
    /// A folder that keeps compiled kernels from process to process, such as [`Settings::user_cache`];
    /// none by default. An empty path means none as well, whatever the environment says.
    pub cache: Option<PathBuf>,
    /// Which optimisations the CPU's code of a kernel gets.
    pub optimise: Optimise,
    /// Seconds that optimising a kernel may take at first where they are chosen, beyond compiling it without.
    pub optimise_budget_s: f64,
    /// How the CPU's code of a kernel is laid out.
    pub layouts: Layouts,
    /// Whether measured calls retrain the network in the background.
    pub learn: bool,
    /// Whether long calls may be cut: run in parts, of which each goes where those before say. Calls that are
    /// recorded are not.
    pub cut: bool,
    /// Seconds after which a call is given up.
    pub deadline_s: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            gpu: GpuUse::Auto,
            adapter: None,
            gpu_memory: GpuMemory::Imported,
            threads: 0,
            policy: "learned".to_owned(),
            ledger: None,
            record: None,
            model: None,
            calibration: None,
            experience: None,
            cache: None,
            optimise: Optimise::All,
            optimise_budget_s: 0.1,
            layouts: Layouts::Learned,
            learn: true,
            cut: true,
            deadline_s: 300.0,
        }
    }
}

impl Settings {
    /// The names of all settings in files, in the order of [`Settings`].
    pub const NAMES: &[&str] = &[
        "gpu",
        "adapter",
        "gpu_memory",
        "threads",
        "policy",
        "ledger",
        "record",
        "model",
        "calibration",
        "experience",
        "cache",
        "optimise",
        "optimise_budget_s",
        "layouts",
        "learn",
        "cut",
        "deadline_s",
    ];

    /// The settings in a TOML file; what it leaves out keeps its default.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read or has an unknown setting.
    ///
    /// ```
    /// use crossover::Settings;
    /// let path = std::env::temp_dir().join(format!("crossover-{}.toml", std::process::id()));
    /// std::fs::write(&path, "policy = 'history'").expect("a writable folder");
    /// let settings = Settings::from_file(&path)?;
    /// assert_eq!((settings.policy.as_str(), settings.cut), ("history", true));
    /// # std::fs::remove_file(path).expect("our own file");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn from_file(path: &Path) -> Result<Settings, Error> {
        Settings::parse(&read(path)?, path)
    }

    /// The settings in the text of that file.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Settings, Error> {
        toml::from_str(text).map_err(|error| in_file(path, &error))
    }

    /// Changes the settings that environment variables name: `CROSSOVER_GPU` (auto, off, require),
    /// `CROSSOVER_ADAPTER`, `CROSSOVER_GPU_MEMORY` (imported, mapped, staged), `CROSSOVER_THREADS`,
    /// `CROSSOVER_POLICY`, `CROSSOVER_LEDGER`, `CROSSOVER_RECORD`, `CROSSOVER_MODEL`,
    /// `CROSSOVER_CALIBRATION`, `CROSSOVER_EXPERIENCE`, `CROSSOVER_CACHE` (a folder, or `off`; unless the
    /// settings name one, that of [`Settings::user_cache`]), `CROSSOVER_OPTIMISE` (all, chosen),
    /// `CROSSOVER_OPTIMISE_BUDGET_S`, `CROSSOVER_LAYOUTS` (rule, learned), `CROSSOVER_LEARN` and `CROSSOVER_CUT` (0 or 1), `CROSSOVER_DEADLINE_S`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a value that is none of a variable's.
    ///
    /// ```
    /// use crossover::Settings;
    /// let mut settings = Settings { threads: 3, ..Settings::default() };
    /// settings.apply_env()?;
    /// // `CROSSOVER_THREADS` wins, where there is such a variable.
    /// let told = std::env::var("CROSSOVER_THREADS").ok().and_then(|threads| threads.parse().ok());
    /// assert_eq!(settings.threads, told.unwrap_or(3));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn apply_env(&mut self) -> Result<(), Error> {
        self.apply(|name| std::env::var(name).ok())
    }

    pub(crate) fn apply(&mut self, get: impl Fn(&str) -> Option<String>) -> Result<(), Error> {
        let bad = |name: &str, message: String| Error::Setting { name: name.into(), message };
        if let Some(value) = get("CROSSOVER_GPU") {
            self.gpu = match value.as_str() {
                "auto" | "" => GpuUse::Auto,
                "off" | "0" => GpuUse::Off,
                "require" => GpuUse::Require,
                other => {
                    let message = format!("`{other}` is none of auto, off and require");
                    return Err(bad("CROSSOVER_GPU", message));
                }
            };
        }
        if let Some(value) = get("CROSSOVER_ADAPTER") {
            self.adapter = Some(value).filter(|v| !v.is_empty());
        }
        if let Some(value) = get("CROSSOVER_GPU_MEMORY") {
            self.gpu_memory = match value.as_str() {
                "imported" | "" => GpuMemory::Imported,
                "mapped" => GpuMemory::Mapped,
                "staged" => GpuMemory::Staged,
                other => {
                    let message = format!("`{other}` is none of imported, mapped and staged");
                    return Err(bad("CROSSOVER_GPU_MEMORY", message));
                }
            };
        }
        if let Some(value) = get("CROSSOVER_THREADS") {
            self.threads = value
                .parse()
                .map_err(|_| bad("CROSSOVER_THREADS", format!("`{value}` is no number")))?;
        }
        if let Some(value) = get("CROSSOVER_POLICY") {
            self.policy = value;
        }
        if let Some(value) = get("CROSSOVER_LEDGER") {
            self.ledger = Some(value.into());
        }
        if let Some(value) = get("CROSSOVER_RECORD") {
            self.record = Some(value.into());
        }
        if let Some(value) = get("CROSSOVER_MODEL") {
            self.model = Some(value.into());
        }
        if let Some(value) = get("CROSSOVER_CALIBRATION") {
            self.calibration = Some(value.into());
        }
        if let Some(value) = get("CROSSOVER_EXPERIENCE") {
            self.experience = Some(value).filter(|v| !v.is_empty()).map(PathBuf::from);
        }
        match get("CROSSOVER_CACHE").as_deref() {
            Some("" | "off" | "0") => self.cache = None,
            Some(folder) => self.cache = Some(folder.into()),
            None if self.cache.is_none() => self.cache = user_cache(&get),
            None => {}
        }
        if let Some(value) = get("CROSSOVER_OPTIMISE") {
            self.optimise = match value.as_str() {
                "all" | "" => Optimise::All,
                "chosen" => Optimise::Chosen,
                other => {
                    let message = format!("`{other}` is none of all and chosen");
                    return Err(bad("CROSSOVER_OPTIMISE", message));
                }
            };
        }
        if let Some(value) = get("CROSSOVER_OPTIMISE_BUDGET_S") {
            self.optimise_budget_s =
                value.parse().ok().filter(|s: &f64| s.is_finite() && *s >= 0.0).ok_or_else(
                    || bad("CROSSOVER_OPTIMISE_BUDGET_S", format!("`{value}` is no time")),
                )?;
        }
        if let Some(value) = get("CROSSOVER_LAYOUTS") {
            self.layouts = match value.as_str() {
                "rule" => Layouts::Rule,
                "learned" | "" => Layouts::Learned,
                other => {
                    let message = format!("`{other}` is none of rule and learned");
                    return Err(bad("CROSSOVER_LAYOUTS", message));
                }
            };
        }
        if let Some(value) = get("CROSSOVER_LEARN") {
            self.learn = value != "0";
        }
        if let Some(value) = get("CROSSOVER_CUT") {
            self.cut = value != "0";
        }
        if let Some(value) = get("CROSSOVER_DEADLINE_S") {
            self.deadline_s = value
                .parse()
                .ok()
                .filter(|s: &f64| s.is_finite() && *s > 0.0)
                .ok_or_else(|| bad("CROSSOVER_DEADLINE_S", format!("`{value}` is no time")))?;
        }
        Ok(())
    }

    /// The folder for compiled kernels among this user's caches, as the environment names it:
    /// `crossover/kernels` in `XDG_CACHE_HOME`, else in `~/.cache` (on macOS `~/Library/Caches`).
    ///
    /// ```
    /// use crossover::Settings;
    /// let settings = Settings { cache: Settings::user_cache(), ..Settings::default() };
    /// assert!(settings.cache.is_none_or(|folder| folder.ends_with("crossover/kernels")));
    /// ```
    pub fn user_cache() -> Option<PathBuf> {
        user_cache(&|name| std::env::var(name).ok())
    }

    /// Worker threads, with 0 resolved.
    ///
    /// ```
    /// use crossover::Settings;
    /// assert_eq!(Settings { threads: 3, ..Settings::default() }.threads(), 3);
    /// assert!(Settings::default().threads() >= 1, "one on each core");
    /// ```
    pub fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        }
    }

    pub(crate) fn cache(&self) -> Option<PathBuf> {
        self.cache.clone().filter(|folder| !folder.as_os_str().is_empty())
    }

    pub(crate) fn deadline(&self) -> Duration {
        Duration::try_from_secs_f64(self.deadline_s).unwrap_or(Duration::MAX)
    }
}

/// The text of a file of settings.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| in_file(path, &error))
}

fn in_file(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::File { path: path.display().to_string(), message: error.to_string() }
}

fn user_cache(get: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    // The specification of XDG wants relative paths ignored.
    let folder = |name: &str| get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let own = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
    let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(own)))?;
    Some(caches.join("crossover").join("kernels"))
}

#[cfg(test)]
mod tests {
    use super::{GpuUse, Layouts, Optimise, Settings};

    #[test]
    fn variables_change_settings_and_bad_values_are_named() {
        let mut settings = Settings::default();
        settings
            .apply(|name| match name {
                "CROSSOVER_GPU" => Some("off".into()),
                "CROSSOVER_THREADS" => Some("3".into()),
                _ => None,
            })
            .expect("valid values");
        assert_eq!((settings.gpu, settings.threads()), (GpuUse::Off, 3));
        let set = |name: &str, value: &str| {
            let mut settings = Settings::default();
            settings.apply(|asked| (asked == name).then(|| value.to_owned())).map(|()| settings)
        };
        let chosen = set("CROSSOVER_OPTIMISE", "chosen").expect("a value");
        assert_eq!(chosen.optimise, Optimise::Chosen);
        let budget = set("CROSSOVER_OPTIMISE_BUDGET_S", "0").expect("a time");
        assert_eq!(budget.optimise_budget_s, 0.0);
        let rule = set("CROSSOVER_LAYOUTS", "rule").expect("a value");
        assert_eq!((rule.layouts, Settings::default().layouts), (Layouts::Rule, Layouts::Learned));
        for (name, value) in [
            ("CROSSOVER_OPTIMISE", "some"),
            ("CROSSOVER_OPTIMISE_BUDGET_S", "-1"),
            ("CROSSOVER_LAYOUTS", "best"),
        ] {
            assert!(set(name, value).expect_err("no value").to_string().contains(value));
        }
        let error = settings.apply(|name| (name == "CROSSOVER_GPU").then(|| "yes".into()));
        assert!(error.expect_err("no such value").to_string().contains("auto, off and require"));
    }

    #[test]
    fn the_cache_is_where_settings_and_environment_say() {
        let cache = |text: &str, variables: &[(&str, &str)]| {
            let mut settings: Settings = toml::from_str(text).expect("settings");
            let get = |name: &str| variables.iter().find(|(n, _)| *n == name);
            settings.apply(|name| get(name).map(|(_, v)| (*v).to_owned())).expect("values");
            settings.cache().map(|path| path.display().to_string())
        };
        let (home, xdg) = (("HOME", "/home/me"), ("XDG_CACHE_HOME", "/caches"));
        let own = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
        assert_eq!(Settings::default().cache(), None, "nothing is read unless asked");
        assert_eq!(cache("", &[]), None);
        assert_eq!(cache("", &[home]), Some(format!("/home/me/{own}/crossover/kernels")));
        assert_eq!(cache("", &[home, xdg]).as_deref(), Some("/caches/crossover/kernels"));
        assert_eq!(cache("", &[("XDG_CACHE_HOME", "relative")]), None);
        assert_eq!(cache("cache = '/mine'", &[home]).as_deref(), Some("/mine"));
        assert_eq!(cache("cache = ''", &[home]), None);
        let here = [home, ("CROSSOVER_CACHE", "/here")];
        assert_eq!(cache("cache = '/mine'", &here).as_deref(), Some("/here"));
        assert_eq!(cache("cache = '/mine'", &[home, ("CROSSOVER_CACHE", "off")]), None);
    }

    #[test]
    fn unknown_settings_in_a_file_are_refused() {
        assert!(toml::from_str::<Settings>("polcy = 'learned'").is_err());
        let settings: Settings = toml::from_str("policy = 'history'").expect("a setting");
        assert_eq!(settings.policy, "history");
    }
}
