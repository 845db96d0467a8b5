//! How wrong predictions were, by how many calls of the kernel at its size had been measured: the learning
//! curve of the whole suite.

use super::text::escape;
use crate::report::model::{CALLS_SHOWN, Row};
use crate::runner::median;

/// The drawing, and the frame of its curves, in its own units.
const SIZE: [f64; 2] = [440.0, 240.0];
const FRAME: [f64; 4] = [56.0, 28.0, 420.0, 200.0];

/// What the largest error is at least, in percent, so that small ones look small.
const LARGEST_MIN: f64 = 50.0;

/// Rows behind a point, at least.
const ROWS_MIN: usize = 3;

/// A curve: the call's number and the median error in percent.
type Curve = Vec<(u32, f64)>;

/// The section; nothing where nothing was predicted.
pub(super) fn section(rows: &[Row]) -> String {
    let curves = [curve(rows, 0), curve(rows, 1)];
    if curves.iter().all(Vec::is_empty) {
        return String::new();
    }
    let largest = curves.iter().flatten().map(|(_, error)| *error).fold(LARGEST_MIN, f64::max);
    let names = [("cpu", "CPU"), ("gpu", "GPU")];
    let first = |at: usize| curves[at].first().map_or(f64::NAN, |(_, error)| *error);
    let drawn: String = names
        .iter()
        .enumerate()
        .map(|(at, (class, name))| {
            // The lower curve's name stands below it.
            let is_lower = first(at) < first(1 - at);
            draw(class, name, &curves[at], largest, is_lower)
        })
        .collect();
    let label = label(&curves);
    format!(
        "<h2>How wrong predictions were</h2>\n<p class=\"soft\">Median over all rows of the difference between \
         predicted and measured run time, by the number of the call of a kernel at a size. The first call is \
         predicted by the network alone.</p>\n<figure><svg viewBox=\"0 0 {} {}\" role=\"img\" \
         aria-label=\"{}\">\n{}{drawn}</svg><figcaption>{}</figcaption></figure>\n",
        SIZE[0],
        SIZE[1],
        escape(&label),
        grid(largest),
        escape(&label),
    )
}

fn curve(rows: &[Row], device: usize) -> Curve {
    let point = |(at, call): (usize, &u32)| {
        let errors: Vec<f64> =
            rows.iter().filter_map(|row| row.errors.get(device)?.get(at).copied()).collect();
        let error = median(&errors).filter(|_| errors.len() >= ROWS_MIN)?;
        Some((*call, 100.0 * error))
    };
    CALLS_SHOWN.iter().enumerate().filter_map(point).collect()
}

fn x(call: u32) -> f64 {
    let last = CALLS_SHOWN[CALLS_SHOWN.len() - 1];
    let share = f64::from(call).log2() / f64::from(last).log2();
    FRAME[0] + 14.0 + (FRAME[2] - FRAME[0] - 28.0) * share
}

fn y(error: f64, largest: f64) -> f64 {
    FRAME[3] - (FRAME[3] - FRAME[1]) * (error / largest).min(1.0)
}

fn grid(largest: f64) -> String {
    let step = [10.0, 20.0, 50.0, 100.0, 200.0, 500.0].into_iter().find(|s| largest / s <= 6.0);
    let step = step.unwrap_or(largest);
    let line = |at: usize| {
        let error = step * at as f64;
        let y = y(error, largest);
        let [left, right] = [FRAME[0], FRAME[2]];
        format!(
            "<path d=\"M{left} {y:.1}H{right}\"/><text class=\"end\" x=\"{}\" y=\"{:.1}\">{error:.0} %</text>",
            left - 6.0,
            y + 4.0
        )
    };
    let calls = CALLS_SHOWN.map(|call| {
        format!("<text class=\"mid\" x=\"{:.1}\" y=\"{}\">{call}</text>", x(call), FRAME[3] + 18.0)
    });
    let lines: String = (0..=(largest / step) as usize).map(line).collect();
    let about = format!(
        "<text class=\"mid\" x=\"{}\" y=\"{}\">call of a kernel at a size</text>",
        f64::midpoint(FRAME[0], FRAME[2]),
        FRAME[3] + 36.0
    );
    format!("<g class=\"grid\">{lines}{}{about}</g>\n", calls.concat())
}

fn draw(class: &str, name: &str, curve: &Curve, largest: f64, is_lower: bool) -> String {
    let Some((first, error)) = curve.first() else { return String::new() };
    let aside = if is_lower { 20.0 } else { -9.0 };
    let at = |(call, error): &(u32, f64)| format!("{:.1} {:.1}", x(*call), y(*error, largest));
    let places: Vec<String> = curve.iter().map(at).collect();
    let marks: String = curve
        .iter()
        .map(|(call, error)| {
            let (x, y) = (x(*call), y(*error, largest));
            format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>call {call}: {error:.0} %</title></circle>")
        })
        .collect();
    format!(
        "<path class=\"line {class}\" d=\"M{}\"/><g class=\"mark {class}\">{marks}</g>\
         <text class=\"name {class}\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>\n",
        places.join("L"),
        x(*first) - 4.0,
        y(*error, largest) + aside
    )
}

/// The same in words.
fn label(curves: &[Curve; 2]) -> String {
    let told = |name: &str, curve: &Curve| {
        let points: Vec<String> =
            curve.iter().map(|(call, error)| format!("{error:.0} % at call {call}")).collect();
        (!points.is_empty()).then(|| format!("{name}: {}", points.join(", ")))
    };
    let both = [told("CPU", &curves[0]), told("GPU", &curves[1])];
    both.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::{curve, section};
    use crate::report::plot::tests::row;

    #[test]
    fn a_point_is_the_median_of_the_rows_that_came_so_far() {
        let mut rows = [1, 2, 3, 4].map(|n| row(n, Some(1.0), None));
        for (row, errors) in rows.iter_mut().zip([vec![0.9, 0.1], vec![0.5, 0.2], vec![0.7, 0.3]]) {
            row.errors = vec![errors, vec![]];
        }
        assert_eq!(curve(&rows, 0), [(1, 70.0), (2, 20.0)]);
        assert!(curve(&rows, 1).is_empty());
        let page = section(&rows);
        assert!(page.contains("CPU: 70 % at call 1, 20 % at call 2"), "{page}");
        assert_eq!(page.matches("<circle").count(), 2);
        assert_eq!(section(&rows[3..]), "");
    }
}
