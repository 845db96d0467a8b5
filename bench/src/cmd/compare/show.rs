//! The comparison on the terminal.

use crossover::show_seconds;

use super::{Comparison, Pair, Time, Verdict};
use crate::columns::Side::{Left, Right};
use crate::columns::Table;

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
    let numbers = ["n", "before", "after", "ratio"].map(|name| (name, Right));
    let names = [("", Left), ("kernel", Left)].into_iter();
    let heads = names.chain(numbers).chain([("interval", Left), ("placed", Left)]);
    let mut table = Table::new(2, heads);
    comparison.pairs.iter().for_each(|pair| table.push(cells(pair)));
    table.print();
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

fn cells(pair: &Pair) -> Vec<String> {
    let time = |t: Option<f64>| t.map_or("–".to_owned(), show_seconds);
    let interval = pair.interval.map_or("no repetitions".to_owned(), |interval| {
        format!("{:.2} – {:.2}", interval.low, interval.high)
    });
    let [before, after] = &pair.placed;
    vec![
        word(pair.verdict).to_owned(),
        pair.kernel.clone(),
        pair.n.to_string(),
        time(pair.before_s),
        time(pair.after_s),
        pair.ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")),
        interval,
        if before == after { String::new() } else { format!("{before}→{after}") },
    ]
}
