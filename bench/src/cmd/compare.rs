//! `crossover compare`: what has become slower or faster from one report to another, two machines, two
//! commits, or with and without a GPU.

mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;

use crate::report::bootstrap::{Interval, ratio_of_medians};
use crate::report::model::{Report, Row};

/// Arguments of `compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The report before: a report.json.
    before: PathBuf,
    /// The report after.
    after: PathBuf,
    /// Which time is compared.
    #[arg(long, value_enum, default_value = "placed")]
    time: Time,
    /// Differences below this share are none.
    #[arg(long, default_value_t = 0.05)]
    threshold: f64,
    /// How sure an interval is.
    #[arg(long, default_value_t = 0.99)]
    confidence: f64,
    /// Only kernels whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A time of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Time {
    /// Where calls are placed after a few.
    Placed,
    /// On the CPU.
    Cpu,
    /// On the GPU, copies included.
    Gpu,
}

/// What can be said of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    /// It gives a wrong result, and did not before.
    Wrong,
    /// It has no time any longer.
    Lost,
    /// Certainly slower by more than the threshold.
    Slower,
    /// Perhaps.
    Unclear,
    /// Within the threshold.
    Same,
    /// Certainly faster by more than the threshold.
    Faster,
    /// It has a time now.
    New,
}

impl Verdict {
    fn is_regression(self) -> bool {
        matches!(self, Verdict::Wrong | Verdict::Lost | Verdict::Slower)
    }
}

/// A kernel at a size in both reports.
#[derive(Clone, Debug, Serialize)]
struct Pair {
    kernel: String,
    size: String,
    n: u64,
    verdict: Verdict,
    before_s: Option<f64>,
    after_s: Option<f64>,
    /// The time after over the time before: above 1, it has become slower.
    ratio: Option<f64>,
    /// Of that ratio; `None` where a report keeps no repetitions.
    interval: Option<Interval>,
    /// Where it is placed, before and after.
    placed: [String; 2],
}

/// All there is to say.
#[derive(Clone, Debug, Serialize)]
struct Comparison {
    time: Time,
    threshold: f64,
    confidence: f64,
    /// In what the reports differ beside their times: what, before, after.
    differences: Vec<[String; 3]>,
    /// Of the rows with both times.
    ratio_geo: Option<f64>,
    regressions: usize,
    pairs: Vec<Pair>,
    /// Rows of one report alone, by kernel and size.
    only_before: Vec<String>,
    only_after: Vec<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !(0.5..1.0).contains(&args.confidence) {
        bail!("--confidence is a share from 0.5 to below 1, not {}", args.confidence);
    }
    if !(args.threshold >= 0.0 && args.threshold.is_finite()) {
        bail!("--threshold is a share, 0.05 for 5 %, not {}", args.threshold);
    }
    let (before, after) = (Report::read(&args.before)?, Report::read(&args.after)?);
    let comparison = compare(args, &before, &after);
    if comparison.pairs.is_empty() {
        bail!("the reports have no kernel and size in common");
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&comparison)?);
    } else {
        show::print(&comparison);
    }
    let is_worse = comparison.regressions > 0;
    Ok(if is_worse { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn compare(args: &Args, before: &Report, after: &Report) -> Comparison {
    let wanted = |row: &&Row| args.only.as_ref().is_none_or(|part| row.kernel.contains(part));
    let key = |row: &Row| (row.kernel.clone(), row.n);
    let name = |row: &Row| format!("{} {}", row.kernel, row.n);
    let alone = |of: &Report, other: &Report| {
        let is_alone = |row: &&Row| !other.rows.iter().any(|o| key(o) == key(row));
        of.rows.iter().filter(wanted).filter(is_alone).map(name).collect()
    };
    let mut pairs: Vec<Pair> = Vec::new();
    for old in before.rows.iter().filter(wanted) {
        if let Some(new) = after.rows.iter().find(|row| key(row) == key(old)) {
            pairs.push(pair(args, old, new));
        }
    }
    // The worst first.
    pairs.sort_by(|a, b| {
        let ratio = |pair: &Pair| pair.ratio.unwrap_or(1.0);
        a.verdict.cmp(&b.verdict).then(ratio(b).total_cmp(&ratio(a)))
    });
    Comparison {
        time: args.time,
        threshold: args.threshold,
        confidence: args.confidence,
        differences: differences(before, after),
        ratio_geo: crate::report::model::geometric_mean(pairs.iter().filter_map(|p| p.ratio)),
        regressions: pairs.iter().filter(|pair| pair.verdict.is_regression()).count(),
        only_before: alone(before, after),
        only_after: alone(after, before),
        pairs,
    }
}

/// In what two reports differ beside their times.
fn differences(before: &Report, after: &Report) -> Vec<[String; 3]> {
    let adapter = |report: &Report| match &report.adapter {
        Some(a) if a.software => format!("{}, {} (software)", a.name, a.driver),
        Some(a) => format!("{}, {}", a.name, a.driver),
        None => "none".to_owned(),
    };
    let told = |report: &Report| {
        [
            ("cpu", report.machine.cpu.clone()),
            ("threads", report.machine.threads.to_string()),
            ("simd", report.machine.simd.join(", ")),
            ("system", report.machine.system.clone()),
            ("gpu", adapter(report)),
            ("version", report.version.clone()),
            ("model", report.model.clone()),
            ("suite", report.suite.clone()),
        ]
    };
    let both = told(before).into_iter().zip(told(after));
    both.filter(|(b, a)| b.1 != a.1).map(|((what, b), (_, a))| [what.to_owned(), b, a]).collect()
}

/// The median and the repetitions of a row.
fn time(row: &Row, time: Time) -> (Option<f64>, &[f64]) {
    let device = match time {
        Time::Placed => row.chosen,
        Time::Cpu => crossover::Device::Cpu,
        Time::Gpu => crossover::Device::Gpu,
    };
    let samples = row.samples.get(device as usize).map_or(&[][..], Vec::as_slice);
    (row.seconds(device), samples)
}

fn pair(args: &Args, old: &Row, new: &Row) -> Pair {
    let ((before_s, before), (after_s, after)) = (time(old, args.time), time(new, args.time));
    let ratio = before_s.zip(after_s).map(|(before, after)| after / before);
    let interval = ratio.and_then(|_| ratio_of_medians(before, after, args.confidence));
    let verdict = match (before_s, after_s) {
        _ if old.verified && !new.verified => Verdict::Wrong,
        (Some(_), None) => Verdict::Lost,
        (None, Some(_)) => Verdict::New,
        _ => verdict(args.threshold, ratio.unwrap_or(1.0), interval),
    };
    Pair {
        kernel: old.kernel.clone(),
        size: old.size.clone(),
        n: old.n,
        verdict,
        before_s,
        after_s,
        ratio,
        interval,
        placed: [old.chosen.to_string(), new.chosen.to_string()],
    }
}

/// Certain where the whole interval lies beyond the threshold. Without repetitions nothing is.
fn verdict(threshold: f64, ratio: f64, interval: Option<Interval>) -> Verdict {
    let (slow, fast) = (1.0 + threshold, 1.0 / (1.0 + threshold));
    match interval {
        Some(Interval { low, .. }) if low > slow => Verdict::Slower,
        Some(Interval { high, .. }) if high < fast => Verdict::Faster,
        Some(Interval { low, high }) if low >= fast && high <= slow => Verdict::Same,
        None if (fast..=slow).contains(&ratio) => Verdict::Same,
        Some(_) | None => Verdict::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::{Args, Time, Verdict, compare, pair};
    use crate::report::model::{Report, Row};
    use crate::report::plot::tests::row;

    fn args() -> Args {
        Args {
            before: "before.json".into(),
            after: "after.json".into(),
            time: Time::Cpu,
            threshold: 0.05,
            confidence: 0.99,
            only: None,
            json: false,
        }
    }

    /// A row whose repetitions on the CPU are about this long.
    fn timed(n: u64, seconds: f64) -> Row {
        let mut row = row(n, Some(seconds), None);
        row.verified = true;
        row.samples = vec![(0..21).map(|i| seconds * (0.99 + 0.001 * f64::from(i))).collect()];
        row
    }

    fn report(rows: Vec<Row>) -> Report {
        let text = include_str!("../../results/core-llvmpipe.json");
        let report: Report = serde_json::from_str(text).expect("a report");
        Report { rows, ..report }
    }

    #[test]
    fn differences_beyond_the_threshold_are_told_from_noise() {
        let of =
            |before: f64, after: f64| pair(&args(), &timed(1, before), &timed(1, after)).verdict;
        assert_eq!(of(1.0, 1.2), Verdict::Slower);
        assert_eq!(of(1.2, 1.0), Verdict::Faster);
        assert_eq!(of(1.0, 1.01), Verdict::Same);
        assert_eq!(of(1.0, 1.05), Verdict::Unclear);
        // Without repetitions nothing is certain.
        let mut bare = timed(1, 2.0);
        bare.samples.clear();
        assert_eq!(pair(&args(), &timed(1, 1.0), &bare).verdict, Verdict::Unclear);
    }

    #[test]
    fn wrong_results_and_lost_sides_come_first_and_count_as_regressions() {
        let mut wrong = timed(3, 0.5);
        wrong.verified = false;
        let (mut lost, before) = (timed(2, 1.0), report((1..=4).map(|n| timed(n, 1.0)).collect()));
        lost.wasm_s = None;
        let after = report(vec![timed(1, 0.5), lost, wrong, timed(5, 1.0)]);
        let found = compare(&args(), &before, &after);
        let verdicts: Vec<Verdict> = found.pairs.iter().map(|pair| pair.verdict).collect();
        assert_eq!(verdicts, [Verdict::Wrong, Verdict::Lost, Verdict::Faster]);
        assert_eq!(found.regressions, 2);
        assert_eq!((found.only_before.len(), found.only_after.len()), (1, 1));
        assert!(found.differences.is_empty());
    }
}
