//! Routing policies: the one list, and their trait.

mod fixed;
mod history;
mod learned;
mod policy;
mod threshold;

use std::sync::Arc;

pub use policy::{Policy, Question};

use crate::device::Device;
use crate::error::Error;

/// Makes a policy.
type Make = fn() -> Arc<dyn Policy>;

/// Every policy: its name and what makes it.
pub const ALL: &[(&str, Make)] = &[
    ("learned", || Arc::new(learned::Learned)),
    ("always-cpu", || Arc::new(fixed::Always(Device::Cpu))),
    ("always-gpu", || Arc::new(fixed::Always(Device::Gpu))),
    ("threshold", || Arc::new(threshold::Threshold)),
    ("history", || Arc::new(history::History)),
];

/// The policy of that name.
///
/// # Errors
/// [`Error::Setting`] that lists the names there are.
pub fn by_name(name: &str) -> Result<Arc<dyn Policy>, Error> {
    match ALL.iter().find(|(known, _)| *known == name) {
        Some((_, make)) => Ok(make()),
        None => {
            let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
            let message = format!("there is no policy `{name}`; there are {}", names.join(", "));
            Err(Error::Setting { name: "policy".into(), message })
        }
    }
}
