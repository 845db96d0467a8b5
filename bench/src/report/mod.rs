//! What a benchmark run leaves behind: `report.json`, and `report.html` drawn from it.

pub(crate) mod bootstrap;
pub(crate) mod html;
pub(crate) mod markdown;
pub(crate) mod model;
pub(crate) mod plot;
