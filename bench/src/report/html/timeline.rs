//! Who worked when: the intervals of a recording as a drawing, a line for each track.

use super::text::{escape, seconds};
use crate::trace::{Interval, Kind};

/// The width of the drawing, where intervals begin, and the height of a track, in its own units.
const WIDTH: f64 = 900.0;
const LEFT: f64 = 190.0;
const TRACK: f64 = 24.0;
const AXIS: f64 = 26.0;

/// Intervals that are drawn at most: more would be no clearer, and the page much larger.
pub(crate) const DRAWN_MAX: usize = 600;

/// Parts that the time axis has about.
const PARTS: f64 = 6.0;

/// The section; nothing of nothing.
pub(super) fn section(intervals: &[Interval]) -> String {
    let shown = &intervals[..intervals.len().min(DRAWN_MAX)];
    let Some(span) = Span::of(shown) else { return String::new() };
    let tracks = tracks(shown);
    let height = AXIS + TRACK * tracks.len() as f64;
    let label = label(shown, &tracks, &span);
    let lines: String = tracks.iter().enumerate().map(|(at, track)| line(at, track)).collect();
    let bars: String = shown.iter().map(|interval| bar(interval, &tracks, &span)).collect();
    format!(
        "<h2>Who worked when</h2>\n<p class=\"soft\">Every kernel of the suite once on the CPU and once on the \
         GPU, all submitted together, after the measurements. What the GPU did ends when the host learnt of \
         it; kernels have the length that the GPU’s clock gave.</p>\n\
         <figure class=\"timeline\"><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n\
         {}{lines}{bars}</svg><figcaption>{}</figcaption></figure>\n",
        escape(&label),
        axis(&span, height),
        escape(&label),
    )
}

/// From the first beginning to the last end.
struct Span {
    start_s: f64,
    end_s: f64,
}

impl Span {
    fn of(intervals: &[Interval]) -> Option<Span> {
        let start_s = intervals.iter().map(|i| i.start_s).reduce(f64::min)?;
        let end_s = intervals.iter().map(|i| i.end_s).reduce(f64::max)?;
        (end_s > start_s).then_some(Span { start_s, end_s })
    }

    fn length_s(&self) -> f64 {
        self.end_s - self.start_s
    }

    fn x(&self, time_s: f64) -> f64 {
        LEFT + (WIDTH - LEFT - 10.0) * (time_s - self.start_s) / self.length_s()
    }
}

/// The tracks: those of the CPU first.
fn tracks(intervals: &[Interval]) -> Vec<&str> {
    let rank = |interval: &Interval| match interval.kind {
        Kind::Work => 0,
        Kind::Call | Kind::Compile => 1,
        Kind::Copy => 2,
        Kind::Gpu => 3,
        Kind::Kernel => 4,
    };
    let mut tracks: Vec<(u32, &str)> = Vec::new();
    for interval in intervals {
        let found = (rank(interval), interval.track.as_str());
        match tracks.iter_mut().find(|(_, track)| *track == found.1) {
            Some(known) => known.0 = known.0.min(found.0),
            None => tracks.push(found),
        }
    }
    tracks.sort_unstable();
    tracks.into_iter().map(|(_, track)| track).collect()
}

/// How long each track was busy, in words.
fn label(intervals: &[Interval], tracks: &[&str], span: &Span) -> String {
    let busy = |track: &str| {
        let mut of: Vec<[f64; 2]> = intervals
            .iter()
            .filter(|interval| interval.track == track)
            .map(|interval| [interval.start_s, interval.end_s])
            .collect();
        of.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let (mut sum_s, mut until_s) = (0.0, f64::NEG_INFINITY);
        for [start_s, end_s] in of {
            sum_s += (end_s - start_s.max(until_s)).max(0.0);
            until_s = until_s.max(end_s);
        }
        format!("{track} {:.0} %", 100.0 * sum_s / span.length_s())
    };
    let shares: Vec<String> = tracks.iter().map(|track| busy(track)).collect();
    format!("{} in all; busy: {}", seconds(span.length_s()), shares.join(", "))
}

fn axis(span: &Span, height: f64) -> String {
    let rough = span.length_s() / PARTS;
    let decade = 10f64.powf(rough.log10().floor());
    let part = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade).into_iter().find(|p| *p >= rough);
    let part = part.unwrap_or(rough);
    let count = (span.length_s() / part) as usize;
    let tick = |at: usize| {
        let time_s = part * at as f64;
        let x = span.x(span.start_s + time_s);
        let shown = if at == 0 { "0".to_owned() } else { seconds(time_s) };
        format!(
            "<path d=\"M{x:.1} {AXIS}V{height}\"/><text class=\"mid\" x=\"{x:.1}\" y=\"14\">{shown}</text>"
        )
    };
    let ticks: String = (0..=count).map(tick).collect();
    format!("<g class=\"grid\">{ticks}</g>\n")
}

fn line(at: usize, track: &str) -> String {
    let y = AXIS + TRACK * (at as f64 + 0.68);
    format!("<text class=\"end\" x=\"{}\" y=\"{y:.1}\">{}</text>\n", LEFT - 8.0, escape(track))
}

fn bar(interval: &Interval, tracks: &[&str], span: &Span) -> String {
    let at = tracks.iter().position(|track| *track == interval.track).unwrap_or_default();
    // A call holds its work: it is drawn lower, behind it.
    let (class, inset) = match interval.kind {
        Kind::Call => ("call", 8.0),
        Kind::Work => ("cpu", 3.0),
        Kind::Gpu => ("gpu wait", 3.0),
        Kind::Kernel => ("gpu", 3.0),
        Kind::Copy => ("copy", 3.0),
        Kind::Compile => ("compile", 3.0),
    };
    let (x, y) = (span.x(interval.start_s), AXIS + TRACK * at as f64 + inset);
    let (width, height) = ((span.x(interval.end_s) - x).max(0.6), TRACK - 2.0 * inset);
    let took = seconds(interval.end_s - interval.start_s);
    format!(
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">\
         <title>{}, {took}</title></rect>\n",
        escape(&interval.name)
    )
}

#[cfg(test)]
mod tests {
    use super::section;
    use crate::trace::{Interval, Kind};

    fn interval(track: &str, kind: Kind, start_s: f64, end_s: f64) -> Interval {
        let (track, name) = (track.to_owned(), "dot <1>".to_owned());
        Interval { track, name, kind, start_s, end_s, call: None, bytes: None }
    }

    #[test]
    fn every_interval_is_drawn_on_its_track() {
        let page = section(&[
            interval("worker", Kind::Work, 0.0, 0.5),
            interval("worker", Kind::Work, 0.4, 0.6),
            interval("GPU 0 kernels", Kind::Kernel, 0.5, 1.0),
        ]);
        assert_eq!(page.matches("<rect").count(), 3);
        assert!(page.contains("dot &lt;1&gt;, 500 ms"), "{page}");
        // What overlaps is not counted twice.
        assert!(page.contains("worker 60 %, GPU 0 kernels 50 %"), "{page}");
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(section(&[]), "");
        assert_eq!(section(&[interval("w", Kind::Work, 1.0, 1.0)]), "");
    }
}
