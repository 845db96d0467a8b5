//! What choosing optimisations is worth in a runtime: the first calls of a kernel with chosen ones, which are
//! replaced by all in time, against all from the start.
//!
//! Times are the processor's, in turns, of runtimes of their own: compiling beside the calls counts as much as
//! what calls wait for. The least of the turns counts.

use crossover::kernels::library::Entry;
use crossover::{Device, GpuUse, Optimise, Runtime};
use serde::Serialize;

use crate::case::Case;
use crate::turns::cpu_s;

/// Calls after which the time is taken.
const CALLS: [usize; 5] = [1, 10, 100, 1000, 10_000];

/// No further calls are made beyond this.
const LONG_S: f64 = 0.3;

/// Turns.
const TURNS: usize = 5;

/// So many first calls of each kernel.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Whole {
    pub(crate) calls: usize,
    pub(crate) kernels: usize,
    /// Time with all optimisations over time with chosen ones: geometric, least.
    pub(crate) gain_geo: f64,
    pub(crate) gain_worst: f64,
}

/// Seconds of the first calls of a kernel, as far as they were made.
fn first_calls(entry: &'static Entry, size: usize, optimise: Optimise) -> anyhow::Result<Vec<f64>> {
    let rt = Runtime::builder().with(|settings| {
        (settings.gpu, settings.threads) = (GpuUse::Off, 1);
        (settings.optimise, settings.learn) = (optimise, false);
    });
    let rt = rt.build()?;
    let mut case = Case::new(&rt, entry, size)?;
    let (start, mut seconds) = (cpu_s(), Vec::new());
    let mut made = 0;
    for calls in CALLS {
        while made < calls {
            case.call(0).device(Device::Cpu).run()?;
            made += 1;
        }
        seconds.push(cpu_s() - start);
        if cpu_s() - start > LONG_S {
            break;
        }
    }
    Ok(seconds)
}

/// Measures kernels at their smallest sizes, where compiling is most of all.
pub(crate) fn measure(
    entries: &[(&'static Entry, usize)],
    said: &mut dyn FnMut(&str),
) -> anyhow::Result<Vec<Whole>> {
    let mut gains: [Vec<f64>; CALLS.len()] = Default::default();
    for (entry, size) in entries {
        said(entry.name);
        let mut least = [Vec::new(), Vec::new()];
        for _ in 0..TURNS {
            for (least, optimise) in least.iter_mut().zip([Optimise::All, Optimise::Chosen]) {
                let found = first_calls(entry, *size, optimise)?;
                if least.is_empty() {
                    *least = found;
                } else {
                    least.iter_mut().zip(found).for_each(|(least, s)| *least = least.min(s));
                }
            }
        }
        let [all, chosen] = least;
        for (gains, (all, chosen)) in gains.iter_mut().zip(all.iter().zip(&chosen)) {
            gains.push(all / chosen);
        }
    }
    let whole = |(calls, gains): (usize, &Vec<f64>)| Whole {
        calls,
        kernels: gains.len(),
        gain_geo: super::proof::geo(gains.iter().copied()),
        gain_worst: gains.iter().copied().fold(f64::INFINITY, f64::min),
    };
    Ok(CALLS.into_iter().zip(&gains).map(whole).collect())
}
