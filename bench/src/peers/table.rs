//! A run against the peers for people: on the terminal, as Markdown, and within a document.

use std::fmt::Write;

use anyhow::bail;
use crossover::show_seconds;

use super::model::{Report, Row, Side, Statistic};
use crate::suite::SIZES;

/// Between these, a document holds the newest table.
const MARKS: [&str; 2] = ["<!-- peers:begin -->", "<!-- peers:end -->"];

/// A table: what each column is called, then the rows. The first columns are words, the others numbers.
struct Table {
    words: usize,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = |at| if at < self.words { "---" } else { "--:" }.to_owned();
        let rule: Vec<String> = (0..self.head.len()).map(rule).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}{}{rows}", line(&self.head), line(&rule))
    }

    fn text(&self) -> String {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let width = |at: usize| lines().map(|row| row[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let mut out = String::new();
        for row in lines() {
            let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| {
                if at < self.words { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        out
    }
}

/// The sides that have a column: all that were timed anywhere, ours first.
fn columns(report: &Report) -> Vec<usize> {
    let timed = |at: &usize| {
        *at == 0
            || report.rows.iter().any(|row| row.cells.get(*at).is_some_and(|c| c.seconds.is_some()))
    };
    (0..report.sides.len()).filter(timed).collect()
}

/// Our time, then each other side's over ours; a cross where the other is faster.
fn ratios(report: &Report, statistic: Statistic) -> Table {
    let columns = columns(report);
    let name = |at: &usize| report.sides[*at].name.clone();
    let mut head = vec!["kernel".to_owned(), "n".to_owned()];
    head.extend(columns.iter().map(name));
    let show = |ratio: Option<f64>| match ratio {
        None => "–".to_owned(),
        Some(ratio) if ratio < 1.0 => format!("✗ {}", show_ratio(ratio)),
        Some(ratio) => show_ratio(ratio),
    };
    let mut rows = Vec::new();
    for row in &report.rows {
        let mut cells = vec![row.kernel.clone(), row.n.to_string()];
        let ours = row.cells.first().and_then(|cell| cell.time(statistic));
        cells.push(ours.map_or("–".to_owned(), show_seconds));
        cells.extend(columns.iter().skip(1).map(|at| show(row.ratio(*at, statistic))));
        rows.push(cells);
    }
    for size in SIZES.map(Some).into_iter().chain([None]) {
        let against = |at: &usize| report.against(*at, size, statistic);
        if columns.iter().skip(1).all(|at| against(at).is_none()) {
            continue;
        }
        let mut cells = vec![format!("geometric mean, {}", size.unwrap_or("all")), String::new()];
        cells.push(String::new());
        cells.extend(columns.iter().skip(1).map(|at| show(against(at).map(|a| a.ratio_geo))));
        rows.push(cells);
    }
    let mut cells = vec!["we are faster, slower".to_owned(), String::new(), String::new()];
    cells.extend(columns.iter().skip(1).map(|at| {
        let against = report.against(*at, None, statistic);
        against.map_or("–".to_owned(), |a| format!("{}, {}", a.faster, a.slower))
    }));
    rows.push(cells);
    Table { words: 1, head, rows }
}

/// Two digits that matter, more of large numbers.
fn show_ratio(ratio: f64) -> String {
    if ratio < 9.95 { format!("{ratio:.2}") } else { format!("{ratio:.0}") }
}

/// What there is to know of each side before its kernels run.
fn starts(report: &Report, statistic: Statistic) -> Table {
    let head = ["", "version", "first result", "first result, kept", "64 elements", "first calls"];
    let time = |t: Option<f64>| t.map_or("–".to_owned(), show_seconds);
    // Of each kernel, the first of its rows: later ones may find it compiled.
    let begins = |at: &usize| *at == 0 || report.rows[at - 1].kernel != report.rows[*at].kernel;
    let firsts: Vec<&Row> =
        (0..report.rows.len()).filter(begins).map(|at| &report.rows[at]).collect();
    let row = |(at, side): (usize, &Side)| {
        let first: Vec<f64> = firsts.iter().filter_map(|row| row.cells.get(at)?.first_s).collect();
        vec![
            side.name.clone(),
            side.version.clone().unwrap_or_default(),
            time(side.cold_empty.time(statistic)),
            time(side.cold_kept.time(statistic)),
            time(side.floor.time(statistic)),
            time(crate::runner::median(&first)),
        ]
    };
    let sides = report.sides.iter().enumerate().filter(|(_, side)| side.why.is_none());
    Table { words: 2, head: head.map(str::to_owned).to_vec(), rows: sides.map(row).collect() }
}

/// What is missing, and why: of sides, of kernels (once for all sizes), and what was not run at all. Who has the
/// same reason shares a line.
fn reasons(report: &Report) -> Vec<String> {
    let mut reasons: Vec<(Vec<String>, String)> = Vec::new();
    let mut add = |what: String, why: String| match reasons.iter_mut().find(|(_, has)| *has == why)
    {
        Some((whats, _)) if whats.contains(&what) => {}
        Some((whats, _)) => whats.push(what),
        None => reasons.push((vec![what], why)),
    };
    for (at, side) in report.sides.iter().enumerate() {
        if let Some(why) = &side.why {
            add(side.name.clone(), format!("not run: {why}"));
            continue;
        }
        for row in &report.rows {
            if let Some(why) = row.cells.get(at).and_then(|cell| cell.why.clone()) {
                add(format!("{} of {}", row.kernel, side.name), why);
            }
        }
    }
    for (name, why) in &report.not_run {
        add(name.clone(), format!("not run: {why}"));
    }
    reasons.iter().map(|(whats, why)| format!("{}: {why}", whats.join(", "))).collect()
}

/// Machine, versions and both tables.
pub(crate) fn markdown(report: &Report, statistic: Statistic) -> String {
    let machine = &report.machine;
    let gpu = report.gpu.as_deref().unwrap_or("switched off: the peers compute on the CPU, too");
    let load = report.load.map(|load| format!("; load average before: {load:.1}"));
    let mut out = format!(
        "`{}` of version {} on {}, {} threads for every side; GPU: {gpu}{}.\n\n",
        report.command,
        report.version,
        machine.cpu,
        machine.threads,
        load.unwrap_or_default()
    );
    let _ = write!(
        out,
        "Our time, then each other's over ours: above 1 we are faster, ✗ marks where we are not. {} repetitions in \
         turns, from the call to the result on the host.\n\n{}\n\
         From the start of a process to the result of a first saxpy of 4,096 elements, with nothing compiled \
         before and with what the process before has kept; then a call of 64 elements, in rows; then the \
         median of the kernels' first calls in a process that runs, with what they compile.\n\n{}\n",
        match statistic {
            Statistic::Median => "Medians of",
            Statistic::Fastest => "Other work was on the machine: the fastest of up to 51",
        },
        ratios(report, statistic).markdown(),
        starts(report, statistic).markdown(),
    );
    let about = |side: &Side| {
        let setup = side.setup_s.map(|s| format!(" (set up in {})", show_seconds(s)));
        format!("- {}: {}{}\n", side.name, side.about, setup.unwrap_or_default())
    };
    out.extend(report.sides.iter().filter(|side| side.why.is_none()).map(about));
    out.extend(reasons(report).iter().map(|line| format!("- {line}\n")));
    if report.interrupted {
        out.push_str("\nInterrupted: what was measured before is shown.\n");
    }
    out
}

/// The same for a terminal.
pub(crate) fn text(report: &Report, statistic: Statistic) -> String {
    let reasons: String = reasons(report).iter().map(|line| format!("{line}\n")).collect();
    let interrupted =
        if report.interrupted { "interrupted: what was measured before is shown\n" } else { "" };
    format!(
        "time of others over ours: above 1 we are faster, ✗ where we are not\n{}\n{}\n{reasons}{interrupted}",
        ratios(report, statistic).text(),
        starts(report, statistic).text(),
    )
}

/// A document with this between its marks.
pub(crate) fn insert(document: &str, text: &str) -> anyhow::Result<String> {
    let [begin, end] = MARKS;
    let Some((before, rest)) = document.split_once(begin) else { bail!("there is no `{begin}`") };
    let Some((_, after)) = rest.split_once(end) else {
        bail!("there is no `{end}` behind `{begin}`")
    };
    Ok(format!("{before}{begin}\n{}\n{end}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use crossover::Device;

    use super::super::model::{Against, Cell, SCHEMA};
    use super::*;
    use crate::report::model::Machine;

    fn cell(seconds: Option<f64>, why: Option<&str>) -> Cell {
        Cell { seconds, why: why.map(str::to_owned), first_s: seconds, ..Cell::default() }
    }

    fn report() -> Report {
        let side = |name: &str, why: Option<&str>| Side {
            name: name.to_owned(),
            about: format!("about {name}"),
            why: why.map(str::to_owned),
            ..Side::default()
        };
        let row = |kernel: &str, size: &str, cells: Vec<Cell>| Row {
            kernel: kernel.to_owned(),
            size: size.to_owned(),
            n: 4096,
            unit: "elements".to_owned(),
            placed: Device::Cpu,
            cells,
        };
        let ours = || cell(Some(2e-6), None);
        let gone = || cell(None, None);
        Report {
            schema: SCHEMA,
            command: "crossover peers".to_owned(),
            version: "0.1.0".to_owned(),
            unix_time: 0,
            machine: Machine {
                cpu: "a CPU".to_owned(),
                threads: 2,
                simd: Vec::new(),
                system: String::new(),
            },
            load: Some(0.25),
            gpu: None,
            sides: vec![side("ours", None), side("fast", None), side("absent", Some("no wheel"))],
            rows: vec![
                row("saxpy", "small", vec![ours(), cell(Some(1e-6), None), gone()]),
                row("saxpy", "large", vec![ours(), cell(Some(8e-6), None), gone()]),
                row(
                    "spmv",
                    "small",
                    vec![ours(), cell(None, Some("not written: no loops")), gone()],
                ),
                row(
                    "spmv",
                    "large",
                    vec![ours(), cell(None, Some("not written: no loops")), gone()],
                ),
            ],
            not_run: vec![("StarPU".to_owned(), "no kernels".to_owned())],
            interrupted: false,
        }
    }

    #[test]
    fn losses_stand_beside_wins_and_every_gap_has_its_reason() {
        let text = markdown(&report(), Statistic::Median);
        assert!(
            text.contains("| kernel | n | ours | fast |\n| --- | --: | --: | --: |\n"),
            "{text}"
        );
        assert!(text.contains("| saxpy | 4096 | 2.0 µs | ✗ 0.50 |"), "{text}");
        assert!(text.contains("| saxpy | 4096 | 2.0 µs | 4.00 |"), "{text}");
        assert!(text.contains("| spmv | 4096 | 2.0 µs | – |"), "{text}");
        assert!(text.contains("| we are faster, slower |  |  | 1, 1 |"), "{text}");
        assert_eq!(text.matches("spmv of fast: not written: no loops").count(), 1, "{text}");
        assert!(
            text.contains("- absent: not run: no wheel\n- StarPU: not run: no kernels"),
            "{text}"
        );
        assert!(super::text(&report(), Statistic::Median).contains("saxpy"));
    }

    #[test]
    fn means_are_geometric_and_of_what_both_have() {
        let report = report();
        let all = report.against(1, None, Statistic::Median).expect("two rows");
        assert!((all.ratio_geo - 2f64.sqrt()).abs() < 1e-12);
        assert_eq!((all.faster, all.slower), (1, 1));
        let small = Against { ratio_geo: 0.5, faster: 0, slower: 1 };
        assert_eq!(report.against(1, Some("small"), Statistic::Median), Some(small));
        assert_eq!(report.against(2, None, Statistic::Median), None);
        // The fastest repetitions may tell something else.
        let mut report = report;
        report.rows[0].cells[0].spread = Some([2e-6, 9.0]);
        report.rows[0].cells[1].spread = Some([6e-6, 9.0]);
        let fastest = report.against(1, None, Statistic::Fastest).expect("a row");
        assert!((fastest.ratio_geo - 3.0).abs() < 1e-12);
        let text = markdown(&report, Statistic::Fastest);
        assert!(text.contains("the fastest of up to 51 repetitions"), "{text}");
    }

    #[test]
    fn a_document_gets_the_table_between_its_marks() {
        let document = "a\n<!-- peers:begin -->\nold\n<!-- peers:end -->\nb\n";
        let once = insert(document, "new\n").expect("both marks");
        assert_eq!(once, "a\n<!-- peers:begin -->\nnew\n<!-- peers:end -->\nb\n");
        assert_eq!(insert(&once, "new").expect("both marks"), once);
        for broken in ["", "<!-- peers:end --><!-- peers:begin -->", "<!-- peers:begin -->"] {
            assert!(insert(broken, "new").is_err());
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = serde_json::to_string(&report()).expect("plain data");
        let again: Report = serde_json::from_str(&text).expect("what was written");
        assert_eq!((again.rows, again.sides), (report().rows, report().sides));
    }
}
