//! The comparison on the terminal.

use console::Term;
use crossover::show_seconds;

use super::{Comparison, Pair, Time, Verdict};

/// Columns from which on a line has everything.
const WIDE: u16 = 78;

pub(super) fn print(comparison: &Comparison) {
    for [what, before, after] in &comparison.differences {
        println!("{what}: {before} → {after}");
    }
    let time = match comparison.time {
        Time::Placed => "where calls are placed",
        Time::Cpu => "on the CPU",
        Time::Gpu => "on the GPU",
    };
    let (threshold, sure) = (100.0 * comparison.threshold, 100.0 * comparison.confidence);
    println!(
        "time {time}, after over before; {sure:.0} % intervals, ±{threshold:.0} % is the same\n"
    );
    let columns = Term::stdout().size_checked().map_or(u16::MAX, |(_, columns)| columns);
    for pair in &comparison.pairs {
        println!("{}", if columns >= WIDE { wide(pair) } else { narrow(pair) });
    }
    println!();
    if let Some(ratio) = comparison.ratio_geo {
        println!("geometric mean {ratio:.3}");
    }
    for (names, which) in [(&comparison.only_before, "before"), (&comparison.only_after, "after")] {
        if !names.is_empty() {
            println!("only in the report {which}: {}", names.join(", "));
        }
    }
    match comparison.regressions {
        0 => println!("no regression"),
        1 => println!("1 regression"),
        n => println!("{n} regressions"),
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Wrong => "WRONG",
        Verdict::Lost => "LOST",
        Verdict::Slower => "SLOWER",
        Verdict::Unclear => "unclear",
        Verdict::Same => "same",
        Verdict::Faster => "faster",
        Verdict::New => "new",
    }
}

fn ratio(pair: &Pair) -> String {
    pair.ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"))
}

fn wide(pair: &Pair) -> String {
    let time = |t: Option<f64>| t.map_or("–".to_owned(), show_seconds);
    let interval = pair.interval.map_or("no repetitions".to_owned(), |interval| {
        format!("{:.2} – {:.2}", interval.low, interval.high)
    });
    let [before, after] = &pair.placed;
    let placed = if before == after { String::new() } else { format!("  {before}→{after}") };
    format!(
        "{:<8} {:<16} {:>9} {:>10} → {:>9} {:>6}  {interval}{placed}",
        word(pair.verdict),
        pair.kernel,
        pair.n,
        time(pair.before_s),
        time(pair.after_s),
        ratio(pair),
    )
}

fn narrow(pair: &Pair) -> String {
    format!("{:<7} {} {} {}", word(pair.verdict), pair.kernel, pair.n, ratio(pair))
}
