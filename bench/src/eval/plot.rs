//! The curves of the policies as an SVG that stands alone: the share of the better device's speed at each
//! call, where the slower takes four times as long and a tenth of the runs are spikes.

use std::fmt::Write as _;

use super::Details;
use super::trials::CURVE_CALLS;

/// The drawing, and the frame within it: left, top, right, bottom.
const SIZE: [f64; 2] = [720.0, 420.0];
const FRAME: [f64; 4] = [56.0, 24.0, 560.0, 372.0];

/// Colours that most people can tell apart, in the order of the policies.
const COLOURS: [&str; 8] =
    ["#0072b2", "#999999", "#bbbbbb", "#cc79a7", "#e69f00", "#d55e00", "#009e73", "#56b4e9"];

pub(crate) fn svg(details: &Details) -> String {
    let [width, height] = SIZE;
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">"#
    );
    out.push_str(r#"<rect width="100%" height="100%" fill="white"/>"#);
    axes(&mut out);
    let mut labels: Vec<(f64, usize)> = Vec::new();
    for (at, (_, curve)) in details.curves.iter().enumerate() {
        let points: Vec<String> = curve
            .iter()
            .enumerate()
            .map(|(call, share)| format!("{:.1},{:.1}", x(call), y(*share)))
            .collect();
        let (colour, wide) = (COLOURS[at % COLOURS.len()], if at == 0 { 3 } else { 1 });
        let _ = write!(
            out,
            r#"<polyline fill="none" stroke="{colour}" stroke-width="{wide}" points="{}"/>"#,
            points.join(" ")
        );
        labels.push((curve.last().copied().map_or(FRAME[3], y), at));
    }
    // Names stand at the ends of their curves, but never on each other.
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut last = FRAME[1] - 14.0;
    for (end, at) in labels {
        last = end.max(last + 14.0);
        let (name, colour) = (&details.curves[at].0, COLOURS[at % COLOURS.len()]);
        let left = FRAME[2] + 8.0;
        let _ =
            write!(out, r#"<text x="{left}" y="{:.1}" fill="{colour}">{name}</text>"#, last + 4.0);
    }
    out.push_str("</svg>\n");
    out
}

fn axes(out: &mut String) {
    let [left, top, right, bottom] = FRAME;
    for tenth in 0..=10 {
        let (share, at) = (f64::from(tenth) / 10.0, y(f64::from(tenth) / 10.0));
        let _ = write!(
            out,
            r##"<path d="M{left} {at:.1}H{right}" stroke="#ddd"/><text x="{:.1}" y="{:.1}" text-anchor="end">{:.0} %</text>"##,
            left - 6.0,
            at + 4.0,
            100.0 * share
        );
    }
    for call in [1, 2, 4, 8, 16, 32, 64] {
        let at = x(call - 1);
        let _ = write!(
            out,
            r##"<path d="M{at:.1} {top}V{bottom}" stroke="#eee"/><text x="{at:.1}" y="{:.1}" text-anchor="middle">{call}</text>"##,
            bottom + 16.0
        );
    }
    let _ = write!(
        out,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">call (share of the better device's speed, 4:1, one spike in ten)</text>"#,
        (left + right) / 2.0,
        bottom + 36.0
    );
}

/// Calls stand on a logarithmic axis.
fn x(call: usize) -> f64 {
    let share = ((call + 1) as f64).log2() / (CURVE_CALLS as f64).log2();
    FRAME[0] + share * (FRAME[2] - FRAME[0])
}

fn y(share: f64) -> f64 {
    FRAME[3] + share.clamp(0.0, 1.0) * (FRAME[1] - FRAME[3])
}
