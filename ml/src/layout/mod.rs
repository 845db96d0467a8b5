//! How code for the CPU is laid out, as numbers, and what layouts of a kernel were measured to take.

mod inputs;
mod model;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use model::{Expected, Judged, LayoutModel, Options, train};

/// One layout.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(from = "(u8, u8, u8, u16)", into = "(u8, u8, u8, u16)")]
pub struct Layout {
    /// Groups of lanes side by side; 0 for one invocation at a time.
    pub vectors: u8,
    /// Rows side by side.
    pub rows: u8,
    /// Passages of a loop that stand one after another.
    pub unroll: u8,
    /// Passages of a tile's loop whose loads are copied before they are used; 0 copies none.
    pub depth: u16,
}

impl From<(u8, u8, u8, u16)> for Layout {
    fn from((vectors, rows, unroll, depth): (u8, u8, u8, u16)) -> Layout {
        Layout { vectors, rows, unroll, depth }
    }
}

impl From<Layout> for (u8, u8, u8, u16) {
    fn from(Layout { vectors, rows, unroll, depth }: Layout) -> (u8, u8, u8, u16) {
        (vectors, rows, unroll, depth)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layout { vectors, rows, unroll, depth } = self;
        write!(f, "{vectors},{rows},{unroll},{depth}")
    }
}

/// What the shape of a kernel says that bears on how to lay it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outline {
    /// Vector instructions of one group.
    pub instructions: f64,
    /// Those in loops.
    pub in_loops: f64,
    /// Vector registers that a group holds throughout a loop.
    pub held: f64,
    /// Vector loads of one group: those of neighbours in memory, and others.
    pub loads: [f64; 2],
    /// Whether lanes part ways.
    pub diverges: bool,
    /// Whether lanes count to different ends.
    pub counts_apart: bool,
    /// Whether most of such loops is loads from all over.
    pub is_scattered: bool,
    /// Whether there are loops whose passages can stand one after another.
    pub has_loops: bool,
    /// Whether tiles of several rows reuse what they load.
    pub has_tiles: bool,
}

/// What layouts of a kernel have taken, in turns: the default, which [`crate::Row::seconds`] is of, and others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layouts {
    /// What is known of the kernel.
    pub outline: Outline,
    /// The layout without further knowledge.
    pub default: Layout,
    /// Seconds of making its code.
    pub code_s: f64,
    /// Others, whose code differs.
    pub others: Vec<LaidOut>,
}

/// What a layout has taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaidOut {
    /// Which.
    pub layout: Layout,
    /// Time of the default over its time.
    pub speedup: f64,
    /// Seconds of making its code.
    pub code_s: f64,
}

impl Layouts {
    /// Whether every number can have been measured.
    pub(crate) fn is_possible(&self) -> bool {
        let above = |x: &f64| x.is_finite() && *x > 0.0;
        let Outline { instructions, in_loops, held, loads: [near, far], .. } = self.outline;
        let counts = [instructions, in_loops, held, near, far];
        counts.iter().all(|x| x.is_finite() && *x >= 0.0)
            && above(&self.code_s)
            && self.others.iter().all(|other| above(&other.speedup) && above(&other.code_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Features, Row};

    #[test]
    fn a_row_says_what_layouts_have_taken_and_none_that_cannot_be() {
        let mut row = Row::new("maps-1-0", "maps", 8, Features::missing(), [Some(1e-6), None]);
        let layout = Layout { vectors: 4, rows: 1, unroll: 2, depth: 0 };
        let other = |speedup| LaidOut { layout, speedup, code_s: 1e-3 };
        let of = |speedup| Layouts {
            outline: Outline { instructions: 3.0, ..Outline::default() },
            default: Layout { vectors: 3, ..layout },
            code_s: 1e-3,
            others: vec![other(speedup)],
        };
        row.layouts = Some(of(1.5));
        assert!(row.validate().is_ok());
        let text = serde_json::to_string(&row).expect("plain data");
        assert!(text.contains("[4,1,2,0]"), "{text}");
        assert_eq!(serde_json::from_str::<Row>(&text).expect("the same"), row);
        for wrong in [0.0, -1.0, f64::NAN] {
            row.layouts = Some(of(wrong));
            assert!(row.validate().expect_err("impossible").to_string().contains("layouts"));
        }
        assert_eq!(layout.to_string(), "4,1,2,0");
    }
}
