//! A pass after the measurements, for the picture of who works when: every kernel once on the CPU and once
//! on the GPU, all submitted together, each with arguments of its own.

use crossover::kernels::library::{self, Entry};
use crossover::{Device, Runtime};

use crate::case::Case;
use crate::report::html::timeline::DRAWN_MAX;
use crate::report::model::Row;
use crate::runner::Options;
use crate::trace::{Interval, Recording};

/// A kernel's size is the largest that takes no longer than this on both sides.
const LONG_S: f64 = 0.02;

/// Kernels that take part at most.
const KERNELS_MAX: usize = 16;

/// What happened when, from the first submission to the last end.
///
/// # Errors
/// No memory for the arguments. A call that fails is not in the picture.
pub(crate) fn record(
    rt: &Runtime,
    rows: &[Row],
    options: &Options,
) -> anyhow::Result<Vec<Interval>> {
    let mut cases = Vec::new();
    for (entry, size) in chosen(rows) {
        for device in Device::ALL {
            if !options.is_stopped() && (device == Device::Cpu || rt.adapter().is_some()) {
                cases.push((Case::new(rt, entry, size)?, device));
            }
        }
    }
    let recording = Recording::install();
    // The first time round moves buffers and wakes threads: the second is what is usual.
    for _ in 0..2 {
        recording.take();
        let submit = |(case, device): &mut (Case<'_>, Device)| case.submit(*device);
        let tickets: Vec<_> = cases.iter_mut().flat_map(submit).collect();
        for ticket in tickets {
            // What cannot run there was told in its row.
            let _ = ticket.wait();
        }
    }
    Ok(recording.take())
}

/// The kernels, each at one of the sizes that were measured.
fn chosen(rows: &[Row]) -> Vec<(&'static Entry, usize)> {
    let is_short = |row: &Row| {
        let times = [row.wasm_s, row.gpu_s];
        times.iter().flatten().all(|s| *s <= LONG_S) && row.wasm_s.is_some()
    };
    let mut chosen: Vec<(&'static Entry, usize)> = Vec::new();
    for row in rows.iter().filter(|row| is_short(row)) {
        let Some(entry) = library::find(&row.kernel) else { continue };
        match chosen.iter().position(|(known, _)| known.name == entry.name) {
            Some(at) => chosen[at].1 = chosen[at].1.max(row.n as usize),
            None if chosen.len() < KERNELS_MAX => chosen.push((entry, row.n as usize)),
            None => {}
        }
    }
    chosen
}

/// What a report keeps: the longest, if there are more than it draws.
pub(crate) fn shown(mut intervals: Vec<Interval>) -> Vec<Interval> {
    if intervals.len() > DRAWN_MAX {
        intervals.sort_by(|a, b| (b.end_s - b.start_s).total_cmp(&(a.end_s - a.start_s)));
        intervals.truncate(DRAWN_MAX);
        intervals.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
    }
    intervals
}

#[cfg(test)]
mod tests {
    use super::{DRAWN_MAX, chosen, shown};
    use crate::report::plot::tests::row;
    use crate::trace::{Interval, Kind};

    #[test]
    fn a_kernel_takes_part_at_its_largest_size_that_is_short() {
        let named = |kernel: &str, n: u64, cpu: f64, gpu: Option<f64>| {
            let mut row = row(n, Some(cpu), gpu);
            row.kernel = kernel.to_owned();
            row
        };
        let rows = [
            named("dot", 10, 1e-6, Some(1e-4)),
            named("dot", 1000, 1e-3, Some(1e-3)),
            named("dot", 100_000, 1e-3, Some(1.0)),
            named("sum", 10, 1.0, None),
            named("unheard of", 10, 1e-6, None),
        ];
        let found: Vec<_> = chosen(&rows).iter().map(|(entry, n)| (entry.name, *n)).collect();
        assert_eq!(found, [("dot", 1000)]);
    }

    #[test]
    fn a_report_keeps_the_longest_in_their_order() {
        let interval = |at: usize| Interval {
            track: "t".to_owned(),
            name: "k".to_owned(),
            kind: Kind::Work,
            start_s: at as f64,
            end_s: at as f64 + if at.is_multiple_of(2) { 1.0 } else { 0.5 },
            call: None,
            bytes: None,
        };
        let kept = shown((0..1300).map(interval).collect());
        assert_eq!(kept.len(), DRAWN_MAX);
        assert!(kept.iter().all(|i| i.end_s - i.start_s > 0.9));
        assert!(kept.is_sorted_by(|a, b| a.start_s < b.start_s));
    }
}
