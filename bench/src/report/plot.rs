//! A kernel's plot: time against size, both logarithmic, as an SVG of the report's page.
//!
//! ```text
//! rows ─→ Meeting (where curves cross: plot/curves.rs) ─→ caption, mark
//!      ─→ Axes (whole decades of time)     ─→ grid, curves, marks, labels
//! ```
//!
//! Colours and fonts are the page's: everything here has a class and no style.

mod curves;

use curves::{Crossover, Meeting, label, meeting, name, position};
pub(super) use curves::{Series, caption};

use super::html::{count, escape, seconds};
use super::model::Row;
use crate::baseline::Baseline;

/// The drawing, in its own units: small, so that its text is readable on a phone.
const SIZE: [f64; 2] = [440.0, 330.0];

/// The frame that the curves are in: left, top, right, bottom.
const FRAME: [f64; 4] = [56.0, 36.0, 386.0, 286.0];

/// From the frame to the first and last size, so that marks stay inside.
const INSET: f64 = 20.0;

/// From a measured mark to the predicted one: beside it, or their bars would cover each other.
const ASIDE: f64 = 7.0;

impl Series {
    /// Its mark: shapes differ, for those who cannot tell the colours.
    pub(super) fn shape(self, x: f64, y: f64) -> String {
        match self {
            Series::Cpu => format!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="4.5"/>"#),
            Series::Gpu => {
                let (left, top) = (x - 4.0, y - 4.0);
                format!(r#"<rect x="{left:.1}" y="{top:.1}" width="8" height="8"/>"#)
            }
            Series::Baseline(Baseline::Native) => {
                format!(r#"<path d="M{x:.1} {:.1}l4.5 8h-9z"/>"#, y - 5.0)
            }
            Series::Baseline(Baseline::NativeDefault) => {
                format!(r#"<path d="M{x:.1} {:.1}l4.5 -8h-9z"/>"#, y + 5.0)
            }
            Series::Baseline(Baseline::Native128) => {
                format!(r#"<path d="M{x:.1} {:.1}l5 5l-5 5l-5 -5z"/>"#, y - 5.0)
            }
            Series::Baseline(Baseline::RawWgpu) => {
                let (left, top) = (x - 4.5, y - 2.0);
                format!(r#"<rect x="{left:.1}" y="{top:.1}" width="9" height="4"/>"#)
            }
        }
    }

    fn aside(self) -> f64 {
        match self {
            Series::Cpu => -ASIDE,
            Series::Gpu => ASIDE,
            Series::Baseline(_) => 0.0,
        }
    }
}

/// Where things are: decimal logarithms at the frame's edges.
struct Axes {
    n: [f64; 2],
    seconds: [f64; 2],
}

impl Axes {
    /// Axes for all times of these rows; `None` where there are none. Intervals of predictions do
    /// not widen them by more than a decade, or the measured times would be pressed into a line.
    fn of(rows: &[&Row]) -> Option<Axes> {
        let both = || rows.iter().flat_map(|row| Series::ALL.map(|series| (*row, series)));
        let times: Vec<f64> = both()
            .flat_map(|(row, series)| {
                let predicted = series.predicted(row).map(|(time, _)| time);
                let spread = series.spread(row).into_iter().flatten();
                spread.chain(series.seconds(row)).chain(predicted).collect::<Vec<f64>>()
            })
            .collect();
        let [low, high] = bounds(times.into_iter())?;
        let intervals = both().filter_map(|(row, series)| series.predicted(row)?.1).flatten();
        let [least, most] = bounds(intervals).unwrap_or([low, high]);
        let (low, high) = (low.min(least.max(low - 1.0)), high.max(most.min(high + 1.0)));
        let seconds = [low.floor(), high.ceil().max(low.floor() + 1.0)];
        let [first, last] = bounds(rows.iter().map(|row| position(row)))?;
        // A single size is in the middle.
        let half = if first == last { 0.5 } else { 0.0 };
        Some(Axes { n: [first - half, last + half], seconds })
    }

    fn x(&self, n: f64) -> f64 {
        let (left, right) = (FRAME[0] + INSET, FRAME[2] - INSET);
        left + (n.log10() - self.n[0]) / (self.n[1] - self.n[0]) * (right - left)
    }

    /// The height of a time; what is beyond the frame is at its edge.
    fn y(&self, seconds: f64) -> f64 {
        let share = (seconds.log10() - self.seconds[0]) / (self.seconds[1] - self.seconds[0]);
        FRAME[3] + share.clamp(0.0, 1.0) * (FRAME[1] - FRAME[3])
    }
}

/// Least and largest decimal logarithm.
fn bounds(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    values.map(f64::log10).fold(None, |bounds, v| {
        let [low, high] = bounds.unwrap_or([v, v]);
        Some([v.min(low), v.max(high)])
    })
}

/// The plot of a kernel's rows, ordered by size; empty where no time is known.
pub(super) fn svg(rows: &[&Row]) -> String {
    let (Some(axes), Some(first)) = (Axes::of(rows), rows.first()) else {
        return String::new();
    };
    let caption = caption(rows);
    let kernel = escape(&first.kernel);
    let [width, height] = SIZE;
    // Baselines first: where marks coincide, those that calls are placed on are on top.
    let order = || Series::ALL.into_iter().rev();
    let curves: String = order().map(|series| curve(&axes, rows, series)).collect();
    let marks: String = order().map(|series| marks(&axes, rows, series)).collect();
    [
        format!(
            r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="{kernel}: {caption}">"#
        ),
        format!("<title>{kernel}: {caption}</title><desc>{}</desc>", description(rows)),
        grid(&axes, &first.unit),
        crossovers(&axes, rows),
        curves,
        predictions(&axes, rows),
        marks,
        ends(&axes, rows),
        "</svg>".to_owned(),
    ]
    .concat()
}

/// Every point, in words.
fn description(rows: &[&Row]) -> String {
    let row = |row: &&Row| {
        let times = Series::ALL.into_iter().filter_map(|series| {
            Some(format!("{} {}", series.name(), seconds(series.seconds(row)?)))
        });
        let times = times.collect::<Vec<_>>().join(", ");
        format!("n = {}: {times}, placed on the {}.", count(row.n), name(row.chosen))
    };
    rows.iter().map(row).collect::<Vec<_>>().join(" ")
}

/// The frame, a line and a label for each power of ten, and what the sizes count.
fn grid(axes: &Axes, unit: &str) -> String {
    let [left, top, right, bottom] = FRAME;
    let [low, high] = axes.seconds.map(|v| v as i32);
    // Labels stay apart also over many decades.
    let times = (low..=high).step_by(if high - low > 9 { 2 } else { 1 }).map(|decade| {
        let y = axes.y(10f64.powi(decade));
        format!(
            r#"<path d="M{left} {y:.1}H{right}"/><text class="end" x="{}" y="{:.1}">{}</text>"#,
            left - 6.0,
            y + 4.5,
            decade_seconds(decade)
        )
    });
    let sizes = size_ticks(axes.n).into_iter().map(|n| {
        let (x, n) = (axes.x(n), short_count(n));
        format!(
            r#"<path d="M{x:.1} {top}V{bottom}"/><text class="mid" x="{x:.1}" y="{}">{n}</text>"#,
            bottom + 16.0
        )
    });
    let middle = f64::midpoint(left, right);
    format!(
        r#"<g class="grid">{}{}<text class="mid" x="{middle}" y="{}">n ({})</text></g>"#,
        times.collect::<String>(),
        sizes.collect::<String>(),
        bottom + 36.0,
        escape(unit)
    )
}

/// Powers of ten within these logarithms; where there are fewer than two, twos and fives as well.
fn size_ticks([low, high]: [f64; 2]) -> Vec<f64> {
    let pad = 1e-9;
    let ticks = |steps: &[f64]| -> Vec<f64> {
        let decades = low.floor() as i32..=high.ceil() as i32;
        let all = decades.flat_map(|d| steps.iter().map(move |s| s * 10f64.powi(d)));
        all.filter(|n| (low - pad..=high + pad).contains(&n.log10())).collect()
    };
    let tens = ticks(&[1.0]);
    if tens.len() < 2 { ticks(&[1.0, 2.0, 5.0]) } else { tens }
}

/// A power of ten of seconds: `10 µs`.
fn decade_seconds(decade: i32) -> String {
    let (unit, base) = match decade {
        0.. => ("s", 0),
        -3.. => ("ms", -3),
        -6.. => ("µs", -6),
        _ => ("ns", -9),
    };
    format!("{} {unit}", 10f64.powi(decade - base))
}

/// A round number: `200k`.
fn short_count(n: f64) -> String {
    let (scale, suffix) = match n {
        n if n >= 1e9 => (1e9, "G"),
        n if n >= 1e6 => (1e6, "M"),
        n if n >= 1e3 => (1e3, "k"),
        _ => (1.0, ""),
    };
    format!("{}{suffix}", (n / scale * 1e3).round() / 1e3)
}

/// The line through a series' points.
fn curve(axes: &Axes, rows: &[&Row], series: Series) -> String {
    let point = |row: &&Row| {
        let time = series.seconds(row)?;
        Some(format!("{:.1},{:.1}", axes.x(position(row)), axes.y(time)))
    };
    let points: Vec<String> = rows.iter().filter_map(point).collect();
    format!(r#"<polyline class="line {}" points="{}"/>"#, series.class(), points.join(" "))
}

/// A series' points, their spread, and a ring round those that were chosen.
fn marks(axes: &Axes, rows: &[&Row], series: Series) -> String {
    let mark = |row: &&Row| {
        let time = series.seconds(row)?;
        let (x, y) = (axes.x(position(row)), axes.y(time));
        let chosen = Series::from(row.chosen) == series;
        let mut facts = format!("{} at n = {}: {}", series.name(), count(row.n), seconds(time));
        let mut whiskers = String::new();
        if let Some([low, high]) = series.spread(row) {
            facts += &format!(" ({} to {})", seconds(low), seconds(high));
            whiskers = bar(axes, x, [low, high], 3.0);
        }
        let ring = if chosen {
            facts += ", chosen";
            format!(r#"<circle class="ring" cx="{x:.1}" cy="{y:.1}" r="9"/>"#)
        } else {
            String::new()
        };
        let shape = series.shape(x, y);
        Some(format!("<g><title>{facts}</title>{whiskers}{shape}{ring}</g>"))
    };
    let marks: String = rows.iter().filter_map(mark).collect();
    format!(r#"<g class="mark {}">{marks}</g>"#, series.class())
}

/// The predicted times with their intervals: hollow marks beside the measured ones.
fn predictions(axes: &Axes, rows: &[&Row]) -> String {
    let mark = |row: &Row, series: Series| {
        let (time, interval) = series.predicted(row)?;
        let (x, y) = (axes.x(position(row)) + series.aside(), axes.y(time));
        let (name, n) = (series.name(), count(row.n));
        let mut facts = format!("{name} at n = {n}: predicted {}", seconds(time));
        let mut thin = String::new();
        if let Some([low, high]) = interval {
            facts += &format!(", 90 % interval {} to {}", seconds(low), seconds(high));
            thin = bar(axes, x, [low, high], 0.0);
        }
        let (class, shape) = (series.class(), series.shape(x, y));
        Some(format!(r#"<g class="hollow {class}"><title>{facts}</title>{thin}{shape}</g>"#))
    };
    rows.iter().flat_map(|row| Series::ALL.map(|series| mark(row, series))).flatten().collect()
}

/// A vertical bar between two times, with caps of this half width.
fn bar(axes: &Axes, x: f64, [low, high]: [f64; 2], cap: f64) -> String {
    let (bottom, top, left) = (axes.y(low), axes.y(high), x - cap);
    let width = 2.0 * cap;
    let caps = if cap > 0.0 {
        format!("M{left:.1} {bottom:.1}h{width}M{left:.1} {top:.1}h{width}")
    } else {
        String::new()
    };
    format!(r#"<path class="bar" d="M{x:.1} {bottom:.1}V{top:.1}{caps}"/>"#)
}

/// A series' name at the end of its line, in its colour; names keep apart.
fn ends(axes: &Axes, rows: &[&Row]) -> String {
    let end = |series: Series| {
        let (row, time) = rows.iter().rev().find_map(|row| Some((row, series.seconds(row)?)))?;
        Some((series, axes.x(position(row)) + 14.0, axes.y(time) + 4.5))
    };
    let mut ends: Vec<(Series, f64, f64)> = Series::ALL.into_iter().filter_map(end).collect();
    ends.sort_by(|a, b| a.2.total_cmp(&b.2));
    let mut least = 0.0;
    let text = |(series, x, y): (Series, f64, f64)| {
        let y = y.max(least);
        least = y + 14.0;
        format!(
            r#"<text class="name {}" x="{x:.1}" y="{y:.1}">{}</text>"#,
            series.class(),
            series.name()
        )
    };
    ends.into_iter().map(text).collect()
}

/// A line down from a label at each crossover. More labels than two would not fit above the frame;
/// the caption has them all.
fn crossovers(axes: &Axes, rows: &[&Row]) -> String {
    let Meeting::Cross(points) = meeting(rows) else { return String::new() };
    let [_, top, _, bottom] = FRAME;
    let mark = |(i, point): (usize, &Crossover)| {
        let (x, y) = (axes.x(point.n), axes.y(point.seconds));
        // The label's middle, where half of it fits on both sides.
        let (middle, line) = (x.clamp(92.0, SIZE[0] - 92.0), 13.0 + 15.0 * i as f64);
        let text = match i {
            0 | 1 => {
                format!(r#"<text class="mid" x="{middle:.1}" y="{line}">{}</text>"#, label(point))
            }
            _ => String::new(),
        };
        format!(
            r#"<path d="M{x:.1} {top}V{bottom}"/><path class="x" d="M{x:.1} {:.1}l5 5l-5 5l-5 -5z"/>{text}"#,
            y - 5.0
        )
    };
    let marks: String = points.iter().enumerate().map(mark).collect();
    format!(r#"<g class="crossover">{marks}</g>"#)
}

#[cfg(test)]
pub(crate) mod tests {
    use crossover::Device;

    use super::*;

    /// A row measured on one side or both.
    pub(crate) fn row(n: u64, cpu: Option<f64>, gpu: Option<f64>) -> Row {
        let around = |t: f64| [0.9 * t, 1.2 * t];
        Row {
            kernel: "saxpy".to_owned(),
            about: "y = a x + y".to_owned(),
            size: "small".to_owned(),
            n,
            unit: "elements".to_owned(),
            operations: 2.0 * n as f64,
            wasm_s: cpu,
            wasm_why: cpu.is_none().then(|| "not <asked> for".to_owned()),
            gpu_s: gpu,
            gpu_run_s: gpu.map(|t| 0.5 * t),
            gpu_why: gpu.is_none().then(|| "no adapter".to_owned()),
            native_s: cpu.map(|t| 1.1 * t),
            native_why: None,
            native_default_s: cpu.map(|t| 1.4 * t),
            native_default_why: None,
            native_128_s: None,
            native_128_why: Some("no vector body".to_owned()),
            raw_wgpu_s: None,
            raw_wgpu_why: None,
            spread: [cpu, gpu, None].map(|t| t.map(around)).to_vec(),
            samples: Vec::new(),
            errors: Vec::new(),
            predicted_wasm_s: cpu.map(|t| 1.3 * t),
            predicted_wasm_interval: cpu.map(|t| [0.2 * t, 5.0 * t]),
            predicted_gpu_s: gpu.map(|t| 0.7 * t),
            predicted_gpu_interval: gpu.map(|t| [1e-6 * t, 1e6 * t]),
            chosen_first: Device::Cpu,
            chosen: Device::Cpu,
            why: "predicted faster".to_owned(),
            oracle: cpu.zip(gpu).map(|(c, g)| if c <= g { Device::Cpu } else { Device::Gpu }),
            regret: cpu.zip(gpu).map(|(c, g)| c / c.min(g)),
            regret_first: None,
            verified: true,
            wrong: None,
            bytes_copied: 12 * n,
            repetitions: 5,
            program: None,
        }
    }

    #[test]
    fn nothing_measured_is_no_plot() {
        assert!(svg(&[]).is_empty());
        assert!(svg(&[&row(1, None, None)]).is_empty());
        assert!(svg(&[&row(0, Some(1e-6), Some(f64::NAN))]).starts_with("<svg"));
    }

    #[test]
    fn ticks_are_powers_of_ten_where_there_are_enough() {
        assert_eq!(size_ticks([3.0, 5.0]), [1e3, 1e4, 1e5]);
        assert_eq!(size_ticks([1.8, 2.6]), [100.0, 200.0]);
        assert_eq!([-9, -5, -3, 1].map(decade_seconds), ["1 ns", "10 µs", "1 ms", "10 s"]);
        assert_eq!([50.0, 2e3, 1e7].map(short_count), ["50", "2k", "10M"]);
    }
}
