//! Text and numbers as the page shows them.

/// Text for any place in a page, attributes included.
pub(in crate::report) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Three significant digits.
fn digits(value: f64) -> String {
    // Rounded first: 9.996 has as many decimals as 10.
    let value = format!("{value:.2e}").parse().unwrap_or(value);
    let decimals = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// Seconds with the unit that suits them: `1.23 ms`.
pub(in crate::report) fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "–".to_owned();
    }
    let rounded = format!("{seconds:.2e}").parse().unwrap_or(seconds);
    let (scale, unit) = match rounded {
        s if s == 0.0 || s >= 1.0 => (1.0, "s"),
        s if s >= 1e-3 => (1e3, "ms"),
        s if s >= 1e-6 => (1e6, "µs"),
        _ => (1e9, "ns"),
    };
    format!("{} {unit}", digits(rounded * scale))
}

/// Bytes with the unit that suits them: `12.0 MiB`.
pub(in crate::report) fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = None;
    for larger in units {
        // What rounds to 1000 takes the larger unit, to keep to three digits.
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1024.0, Some(larger));
    }
    unit.map_or_else(|| format!("{bytes} B"), |unit| format!("{} {unit}", digits(value)))
}

/// A whole number, in groups of three digits that do not wrap.
pub(in crate::report) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A ratio: `1.25×`.
pub(in crate::report) fn factor(ratio: f64) -> String {
    format!("{}×", digits(ratio))
}

/// A share of one.
pub(in crate::report) fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// A time as ISO 8601 has it, in UTC.
pub(in crate::report) fn iso_time(unix: u64) -> String {
    let (days, of_day) = (unix / 86_400, unix % 86_400);
    // Howard Hinnant's days to civil date: years begin in March, so that leap days are last; an era
    // is 400 years, of 146 097 days.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let times = [0.0, 1.234e-8, 9.9996e-7, 0.000_999_6, 1.5e-3, 0.0206, 12.3456, 1234.0];
        let shown = times.map(seconds);
        let expected =
            ["0.00 s", "12.3 ns", "1.00 µs", "1.00 ms", "1.50 ms", "20.6 ms", "12.3 s", "1230 s"];
        assert_eq!(shown, expected);
        assert_eq!(seconds(f64::NAN), "–");
        assert_eq!(
            [0, 900, 1024, 1 << 20, 201_326_592].map(bytes),
            ["0 B", "900 B", "1.00 KiB", "1.00 MiB", "192 MiB"]
        );
        let groups = [7, 1000, 16_777_216].map(|n| count(n).replace('\u{202f}', "_"));
        assert_eq!(groups, ["7", "1_000", "16_777_216"]);
    }

    #[test]
    fn dates_are_civil() {
        let times = [0, 951_827_696, 1_767_225_600].map(iso_time);
        assert_eq!(times, ["1970-01-01T00:00:00Z", "2000-02-29T12:34:56Z", "2026-01-01T00:00:00Z"]);
    }
}
