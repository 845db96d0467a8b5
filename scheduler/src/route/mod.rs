//! Routing policies: the one list, and their trait.
//!
//! A decision needs no runtime: [`Experience`] is what is known of a kernel, a [`Question`] is made
//! from it, and a [`Policy`] answers. [`Offline`] does so for calls that were recorded or are made up.

mod ewma;
mod experience;
mod fixed;
mod history;
mod learned;
mod notes;
mod offline;
mod policy;
mod replay;
mod sliced;
mod threshold;
mod told;
pub(crate) mod trial;
pub mod verdict;

use std::sync::Arc;

#[cfg(test)]
pub(crate) use experience::FLEETING_FIRST;
pub use experience::{Answer, Experience, Lesson, SliceRun, Standing};
pub(crate) use experience::{FLEETING_S, TRIAL_SHARE};
pub use offline::{Asked, Offline, Placed};
pub use policy::{CallKey, Part, Policy, Question, Seen, Slice};
pub use replay::Replay;
pub(crate) use told::Told;

use crate::config::Settings;
use crate::device::Device;
use crate::error::Error;

/// Makes a policy.
type Make = fn(&Settings) -> Result<Arc<dyn Policy>, Error>;

/// Every policy: its name and what makes it.
pub const ALL: &[(&str, Make)] = &[
    ("learned", |_| Ok(Arc::new(learned::Learned))),
    ("always-cpu", |_| Ok(Arc::new(fixed::Always(Device::Cpu)))),
    ("always-gpu", |_| Ok(Arc::new(fixed::Always(Device::Gpu)))),
    ("threshold", |_| Ok(Arc::new(threshold::Threshold))),
    ("history-1", |_| Ok(Arc::new(history::History::new("history-1", 1)))),
    ("history", |_| Ok(Arc::new(history::History::new("history", 10)))),
    ("history-slice", |_| Ok(Arc::new(sliced::Sliced::new()))),
    ("ewma", |_| Ok(Arc::new(ewma::Ewma::new()))),
    ("replay", |settings| Ok(Arc::new(replay::Replay::from_settings(settings)?))),
];

/// The policy that the settings name.
///
/// # Errors
/// [`Error::Setting`] that lists the names there are, or for a policy that needs another setting;
/// [`Error::File`] for a ledger that cannot be followed.
///
/// ```
/// use crossover::{Settings, route};
/// let settings = Settings { policy: "replay".into(), ..Settings::default() };
/// let error = route::by_settings(&settings).err().expect("it needs a ledger");
/// assert!(error.to_string().contains("`ledger`"), "{error}");
/// ```
pub fn by_settings(settings: &Settings) -> Result<Arc<dyn Policy>, Error> {
    let wanted = settings.policy.as_str();
    match ALL.iter().find(|(known, _)| *known == wanted) {
        Some((_, make)) => make(settings),
        None => {
            let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            let message = format!("there is no policy `{wanted}`; there are {names}");
            Err(Error::Setting { name: "policy".into(), message })
        }
    }
}

/// The policy of that name, with all other settings as they are by default.
///
/// # Errors
/// As [`by_settings`].
///
/// ```
/// use crossover::route;
/// for (name, _) in route::ALL.iter().filter(|(name, _)| *name != "replay") {
///     assert_eq!(route::by_name(name)?.name(), *name);
/// }
/// # Ok::<(), crossover::Error>(())
/// ```
pub fn by_name(name: &str) -> Result<Arc<dyn Policy>, Error> {
    by_settings(&Settings { policy: name.to_owned(), ..Settings::default() })
}

/// The number that stands for a version: its sixteen hexadecimal digits.
///
/// ```
/// assert_eq!(crossover::route::kernel_key("00000000000000ff"), 255);
/// ```
pub fn kernel_key(version: &str) -> u64 {
    // What is no such number stands for itself as well as its bytes allow.
    let bytes = || version.bytes().fold(0, |key: u64, b| key.rotate_left(8) ^ u64::from(b));
    u64::from_str_radix(version, 16).unwrap_or_else(|_| bytes())
}
