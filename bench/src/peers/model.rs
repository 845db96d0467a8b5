//! What `peers.json` holds. Times are medians in seconds.

use serde::{Deserialize, Serialize};

use crate::report::model::Machine;
use crate::runner;

/// The layout's version.
pub(crate) const SCHEMA: u32 = 1;

/// A run against the peers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: u32,
    /// The command that made it.
    pub(crate) command: String,
    /// The version of this program.
    pub(crate) version: String,
    /// When, as seconds since 1970.
    pub(crate) unix_time: u64,
    /// The CPU, with the threads that every side had.
    pub(crate) machine: Machine,
    /// Processes that wanted to run on the machine when the run began, on average over a minute; `None` where the
    /// system does not tell.
    pub(crate) load: Option<f64>,
    /// The GPU that our side could place calls on; `None` where it had the CPU alone.
    pub(crate) gpu: Option<String>,
    /// Ours, then native Rust, then the peers.
    pub(crate) sides: Vec<Side>,
    /// A row for every kernel and size.
    pub(crate) rows: Vec<Row>,
    /// What was not run, and why.
    pub(crate) not_run: Vec<(String, String)>,
    /// Whether the run was interrupted.
    pub(crate) interrupted: bool,
}

/// One of those that are compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Side {
    /// Its name.
    pub(crate) name: String,
    /// How its kernels are written.
    pub(crate) about: String,
    /// What it says of its version.
    pub(crate) version: Option<String>,
    /// Why it does not run at all.
    pub(crate) why: Option<String>,
    /// What the set-up of its environment took, if that was in this run.
    pub(crate) setup_s: Option<f64>,
    /// From the start of its process to its first result, a saxpy, with nothing compiled before.
    pub(crate) cold_empty: Cell,
    /// The same in a process after that, which may find what was compiled.
    pub(crate) cold_kept: Cell,
    /// A call of 64 elements, of many in a row.
    pub(crate) floor: Cell,
}

/// A kernel at a size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The kernel.
    pub(crate) kernel: String,
    /// `small`, `medium` or `large`.
    pub(crate) size: String,
    /// The size itself.
    pub(crate) n: u64,
    /// What `n` counts.
    pub(crate) unit: String,
    /// Where our calls ran.
    pub(crate) placed: crossover::Device,
    /// What each side took, in the order of [`Report::sides`].
    pub(crate) cells: Vec<Cell>,
}

/// What a side took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// The median, from the call to the result on the host.
    pub(crate) seconds: Option<f64>,
    /// The fastest and the slowest repetition.
    pub(crate) spread: Option<[f64; 2]>,
    /// The first call, with what it compiled.
    pub(crate) first_s: Option<f64>,
    /// Repetitions.
    pub(crate) repetitions: usize,
    /// Why there is no median.
    pub(crate) why: Option<String>,
}

/// Which of the repetitions counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statistic {
    /// The one in the middle.
    Median,
    /// The fastest: what is left where other work on the machine disturbs most of them.
    Fastest,
}

impl Cell {
    /// The cell of these repetitions.
    pub(crate) fn of(times: &[f64]) -> Cell {
        let (seconds, spread) = (runner::median(times), runner::spread(times));
        Cell { seconds, spread, repetitions: times.len(), ..Cell::default() }
    }

    /// The time that counts.
    pub(crate) fn time(&self, statistic: Statistic) -> Option<f64> {
        match statistic {
            Statistic::Median => self.seconds,
            Statistic::Fastest => self.spread.map(|[least, _]| least),
        }
    }
}

/// A side against ours, over all rows where both were timed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Against {
    /// Geometric mean of its time over ours: above 1, we are faster.
    pub(crate) ratio_geo: f64,
    /// Rows where we are faster.
    pub(crate) faster: usize,
    /// Rows where we are not.
    pub(crate) slower: usize,
}

impl Row {
    /// A side's time over ours: above 1, we are faster.
    pub(crate) fn ratio(&self, side: usize, statistic: Statistic) -> Option<f64> {
        let time = |side: usize| self.cells.get(side)?.time(statistic);
        Some(time(side)? / time(0)?)
    }
}

impl Report {
    /// How a side does in the rows of a size, or in all.
    pub(crate) fn against(
        &self,
        side: usize,
        size: Option<&str>,
        statistic: Statistic,
    ) -> Option<Against> {
        let rows = self.rows.iter().filter(|row| size.is_none_or(|size| row.size == size));
        let ratios: Vec<f64> = rows.filter_map(|row| row.ratio(side, statistic)).collect();
        let faster = ratios.iter().filter(|ratio| **ratio > 1.0).count();
        let sum: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
        (!ratios.is_empty()).then(|| Against {
            ratio_geo: (sum / ratios.len() as f64).exp(),
            faster,
            slower: ratios.len() - faster,
        })
    }
}
