//! The model in use: the shipped one, or a file's.

use crossover_ml::{Ensemble, weights};

use crate::config::Settings;
use crate::error::Error;

/// The weights that come with the library, trained by `crossover train` from measured runs of
/// `crossover collect`.
static SHIPPED: &[u8] = include_bytes!("../models/base.safetensors");

/// The weights that come with the library, as a safetensors file.
///
/// ```
/// use crossover::ml::weights;
/// let ensemble = weights::from_bytes(crossover::shipped_model()).expect("of this version");
/// assert!(!ensemble.members().is_empty());
/// ```
pub fn shipped_model() -> &'static [u8] {
    SHIPPED
}

pub(crate) struct Loaded {
    pub(crate) ensemble: Ensemble,
    pub(crate) name: String,
}

/// The given weights, else the configured file's, else the shipped ones.
pub(crate) fn load(settings: &Settings, given: Option<&[u8]>) -> Result<Loaded, Error> {
    if let Some(bytes) = given {
        return parse(bytes, "given model");
    }
    let Some(path) = &settings.model else {
        return parse(SHIPPED, "shipped model");
    };
    let shown = path.display().to_string();
    let bytes = std::fs::read(path)
        .map_err(|error| Error::File { path: shown.clone(), message: error.to_string() })?;
    parse(&bytes, &shown)
}

fn parse(bytes: &[u8], name: &str) -> Result<Loaded, Error> {
    // No file yet: the roofline alone, which every later model refines.
    if bytes.is_empty() {
        let name = "roofline without a network".to_owned();
        return Ok(Loaded { ensemble: Ensemble::default(), name });
    }
    let ensemble = weights::from_bytes(bytes).map_err(|error| Error::File {
        path: name.to_owned(),
        message: format!("{error}; without the setting `model` the shipped model is used"),
    })?;
    Ok(Loaded { ensemble, name: name.to_owned() })
}
