//! What learning layouts is worth in a runtime: calls in one that learns them and in one that does not, in turns, from
//! the first call on.

use std::time::{Duration, Instant};

use crossover::kernels::library::Entry;
use crossover::{Device, GpuUse, Runtime};
use serde::Serialize;

use crate::case::Case;

/// Calls of a turn take so long, and of all turns; times of the last ones count.
const TURN: Duration = Duration::from_millis(20);
const TURNS: usize = 75;
const LAST: usize = 25;

/// A kernel in both runtimes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Whole {
    pub(crate) kernel: String,
    pub(crate) n: u64,
    /// The layout without further knowledge, and the one that is in use in the end.
    pub(crate) default: String,
    pub(crate) learned: String,
    /// Layouts that were compiled.
    pub(crate) compiled: usize,
    /// Least seconds of a call in the end.
    pub(crate) rule_s: f64,
    pub(crate) learned_s: f64,
    /// Calls that were made in all turns with learned layouts, over those without: trials and compiling count.
    pub(crate) calls: f64,
}

struct Side {
    calls: usize,
    least_s: f64,
}

/// Calls until the turn is over.
fn turn(case: &mut Case<'_>, side: &mut Side, counts: bool) -> anyhow::Result<()> {
    let start = Instant::now();
    while start.elapsed() < TURN {
        let run_s = case.call(0).device(Device::Cpu).run()?.measured.run_s;
        side.calls += 1;
        if counts {
            side.least_s = side.least_s.min(run_s);
        }
    }
    Ok(())
}

/// Measures kernels, each at a size.
pub(crate) fn measure(
    entries: &[(&'static Entry, usize)],
    said: &mut dyn FnMut(&str),
) -> anyhow::Result<Vec<Whole>> {
    let runtime = |layouts: crossover::Layouts| {
        let builder = Runtime::builder().with(|settings| {
            (settings.gpu, settings.threads) = (GpuUse::Off, 1);
            (settings.layouts, settings.learn) = (layouts, false);
        });
        builder.build()
    };
    let mut all = Vec::new();
    for (entry, size) in entries {
        said(entry.name);
        let (rule, learned) =
            (runtime(crossover::Layouts::Rule)?, runtime(crossover::Layouts::Learned)?);
        let mut cases = [Case::new(&rule, entry, *size)?, Case::new(&learned, entry, *size)?];
        let mut sides = [0; 2].map(|calls| Side { calls, least_s: f64::INFINITY });
        for at in 0..TURNS {
            for (case, side) in cases.iter_mut().zip(&mut sides) {
                turn(case, side, at + LAST >= TURNS)?;
            }
        }
        let laid = cases[1].explain()?.remove(0).layouts;
        let [rule, learned] = sides;
        all.push(Whole {
            kernel: entry.name.to_owned(),
            n: *size as u64,
            default: laid.as_ref().map_or_else(String::new, |laid| laid.default.clone()),
            learned: laid.as_ref().map_or_else(String::new, |laid| laid.in_use.clone()),
            compiled: laid.iter().flat_map(|laid| &laid.others).filter(|o| o.is_compiled).count(),
            rule_s: rule.least_s,
            learned_s: learned.least_s,
            calls: learned.calls as f64 / rule.calls.max(1) as f64,
        });
    }
    Ok(all)
}
