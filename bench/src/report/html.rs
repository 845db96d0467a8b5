//! The report as a page: one file, with everything in it, that needs no network and no script.
//!
//! ```text
//! title, facts (machine, adapter, command, …)
//! tiles        the summary
//! plots        a card a kernel: plot.rs
//! table        every row: html/table.rs
//! ```
//!
//! Whatever comes from the report passes through [`escape`]. Colours are variables of `report.css`,
//! for light, dark and paper.

mod learning;
mod table;
mod text;
pub(crate) mod timeline;

use table::table;
pub(super) use text::{count, escape, seconds};
use text::{factor, iso_time, percent};

use super::model::{Against, Copies, Report, Row, Summary};
use super::plot::{self, Series};

/// The page's style.
const CSS: &str = include_str!("report.css");

/// What a page without scripts and network is held to.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The page of a report.
pub(crate) fn render(report: &Report) -> String {
    let suite = escape(&report.suite);
    let kernels = by_kernel(&report.rows);
    let cards: String = kernels.iter().map(|rows| card(rows)).collect();
    [
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n".to_owned(),
        format!(r#"<meta http-equiv="Content-Security-Policy" content="{POLICY}">"#),
        "\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n".to_owned(),
        "<meta name=\"color-scheme\" content=\"light dark\">\n".to_owned(),
        format!("<title>Crossover: {suite}</title>\n<style>\n{CSS}</style>\n</head>\n<body>\n"),
        format!("<header>\n<h1>Crossover benchmark report: suite {suite}</h1>\n"),
        facts(report),
        "</header>\n<main>\n".to_owned(),
        alerts(report),
        tiles(&report.summary, report.rows.len()),
        format!("<h2>Time against size</h2>\n{}", legend(&report.rows)),
        format!("<div class=\"plots\">\n{cards}</div>\n"),
        learning::section(&report.rows),
        timeline::section(&report.timeline),
        copies(&report.copied),
        format!("<h2>Every measurement</h2>\n{}", table(&kernels, &report.baselines())),
        "</main>\n</body>\n</html>\n".to_owned(),
    ]
    .concat()
}

/// The rows of each kernel, by size, in the order in which kernels come first.
fn by_kernel(rows: &[Row]) -> Vec<Vec<&Row>> {
    let mut kernels: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        match kernels.iter_mut().find(|k| k[0].kernel == row.kernel) {
            Some(kernel) => kernel.push(row),
            None => kernels.push(vec![row]),
        }
    }
    kernels.iter_mut().for_each(|kernel| kernel.sort_by_key(|row| row.n));
    kernels
}

/// Where the numbers come from.
fn facts(report: &Report) -> String {
    let machine = &report.machine;
    let simd = match machine.simd.is_empty() {
        true => "none".to_owned(),
        false => escape(&machine.simd.join(", ")),
    };
    let (cpu, system, threads) = (escape(&machine.cpu), escape(&machine.system), machine.threads);
    let threads = format!("{threads} thread{}", if threads == 1 { "" } else { "s" });
    let time = iso_time(report.unix_time);
    let shown = time.replace('T', " ").replace('Z', " UTC");
    let facts = [
        ("Machine", format!("{cpu}, {threads}, SIMD: {simd}, {system}")),
        ("GPU", adapter(report)),
        ("Command", format!("<code>{}</code>", escape(&report.command))),
        ("Version", escape(&report.version)),
        ("Date", format!(r#"<time datetime="{time}">{shown}</time>"#)),
        ("Model", escape(&report.model)),
        ("128-bit peak", peak(report)),
    ];
    let facts = facts.map(|(what, fact)| format!("<dt>{what}</dt><dd>{fact}</dd>\n")).concat();
    format!("<dl class=\"facts\">\n{facts}</dl>\n")
}

/// The yardstick of matrix products.
fn peak(report: &Report) -> String {
    report.peak_128_flops.map_or("not measured".to_owned(), |peak| {
        let [one, all] = [peak.one_thread, peak.all_threads].map(|flops| flops * 1e-9);
        format!("{one:.1} GFLOP/s on one thread, {all:.1} on all")
    })
}

fn adapter(report: &Report) -> String {
    let Some(adapter) = &report.adapter else {
        let why = report.no_adapter.as_deref().unwrap_or("no reason given");
        return format!("none: {}", escape(why));
    };
    let name = format!("{}, driver {}", escape(&adapter.name), escape(&adapter.driver));
    if adapter.software {
        let warning = "this adapter computes on the CPU, so its times are not a GPU’s";
        format!(r#"{name} <span class="badge">software</span> {warning}"#)
    } else {
        name
    }
}

/// What a reader has to know before the numbers.
fn alerts(report: &Report) -> String {
    let mut alerts = String::new();
    if report.summary.interrupted {
        alerts += "<p class=\"alert\">The run was interrupted: some rows are missing.</p>\n";
    }
    let wrong = report.rows.iter().filter(|row| !row.verified).count();
    if wrong > 0 {
        let total = report.rows.len();
        alerts += &format!(
            "<p class=\"alert\"><b class=\"bad\">{wrong} of {total} rows are not verified</b>: \
             see the table.</p>\n"
        );
    }
    alerts
}

/// The summary, a number a tile.
fn tiles(summary: &Summary, rows: usize) -> String {
    let shown = |value: Option<f64>, show: fn(f64) -> String| value.map_or("–".to_owned(), show);
    let before = shown(summary.optimal_first_share, percent);
    let compared =
        format!("of {} rows measured on both; before the first run {before}", summary.compared);
    let regret = "time over the oracle’s, geometric mean";
    let speedup = "geometric mean; below 1 is slower";
    let constant = summary.best_constant.map_or("–".to_owned(), |(device, ratio)| {
        format!("{}: {}", device.name().to_uppercase(), factor(ratio))
    });
    let tiles = [
        ("Regret after learning", shown(summary.regret_geo, factor), regret),
        ("Regret before the first run", shown(summary.regret_first_geo, factor), regret),
        ("Placed as the oracle", shown(summary.optimal_share, percent), compared.as_str()),
        ("Best constant choice", constant, "its time over the placed, geometric mean"),
        ("Speed-up over always CPU", shown(summary.speedup_over_cpu, factor), speedup),
        ("Speed-up over always GPU", shown(summary.speedup_over_gpu, factor), speedup),
        ("Verified", format!("{} of {rows}", summary.verified), "results equal to the reference’s"),
    ];
    let tile = |(what, number, about)| {
        format!(r#"<li><span class="what">{what}</span><b>{number}</b><span>{about}</span></li>"#)
    };
    let tiles = tiles.map(tile).into_iter().chain(summary.against.iter().map(against));
    format!("<ul class=\"tiles\">\n{}</ul>\n", tiles.collect::<Vec<_>>().join("\n"))
}

/// What was copied in the whole run.
fn copies(copied: &[Copies]) -> String {
    if copied.is_empty() {
        return String::new();
    }
    let line = |copies: &Copies| {
        let Copies { reason, count: times, bytes, seconds: took } = copies;
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            escape(reason),
            count(*times),
            text::bytes(*bytes),
            seconds(*took)
        )
    };
    let lines: String = copied.iter().map(line).collect();
    format!(
        "<h2>Copies between host and GPU</h2>\n<div class=\"scroll\"><table><thead><tr><th scope=\"col\">\
         reason</th><th scope=\"col\">copies</th><th scope=\"col\">bytes</th><th scope=\"col\">time</th>\
         </tr></thead>\n<tbody>{lines}</tbody></table></div>\n"
    )
}

/// WebAssembly against a baseline, as a tile.
fn against(against: &Against) -> String {
    let Against { baseline, speedup_geo, wins, losses } = against;
    let (name, about, number) = (baseline.name(), baseline.about(), factor(*speedup_geo));
    let side = table::side(*baseline);
    format!(
        r#"<li><span class="what">{side} against {name}</span><b>{number}</b><span>{about}: {side} faster in {wins} rows, slower in {losses}; geometric mean</span></li>"#
    )
}

/// What the marks of the plots mean.
fn legend(rows: &[Row]) -> String {
    let sample = |class: &str, inside: &str, what: &str| {
        format!(
            "<li><svg viewBox=\"0 0 32 24\" aria-hidden=\"true\"><g class=\"{class}\">{inside}</g></svg>{what}</li>\n"
        )
    };
    let meaning = |series: Series| match series {
        Series::Cpu => "CPU (SIMD WebAssembly)",
        Series::Gpu => "GPU, copies included",
        Series::Baseline(baseline) => baseline.about(),
    };
    let drawn = |series: &Series| rows.iter().any(|row| series.seconds(row).is_some());
    let series = Series::ALL.into_iter().filter(drawn).map(|series| {
        let class = format!("mark {}", series.class());
        sample(&class, &series.shape(16.0, 12.0), meaning(series))
    });
    let bar = r#"<path class="bar" d="M16 2V22M13 2h6M13 22h6"/>"#;
    let thin = r#"<path class="bar" d="M16 1V23"/>"#;
    let ring = r#"<circle class="ring" cx="16" cy="12" r="9"/>"#;
    [
        "<ul class=\"legend\">\n".to_owned(),
        series.collect(),
        sample("mark cpu", bar, "least to largest of the repetitions"),
        sample(
            "hollow gpu",
            &format!("{thin}{}", Series::Gpu.shape(16.0, 12.0)),
            "predicted before the first run, 90 % interval",
        ),
        sample("", ring, "where calls are placed"),
        "</ul>\n".to_owned(),
    ]
    .concat()
}

/// A kernel's section.
fn card(rows: &[&Row]) -> String {
    let row = rows[0];
    let svg = plot::svg(rows);
    let caption = plot::caption(rows);
    let about = escape(&row.about);
    let figure = match svg.is_empty() {
        true => "<p>No time was measured: the table says why.</p>".to_owned(),
        false => format!("<figure>{svg}<figcaption>{caption}</figcaption></figure>"),
    };
    let wrong: String = rows
        .iter()
        .filter(|row| !row.verified)
        .map(|row| {
            let what = escape(row.wrong.as_deref().unwrap_or("not verified"));
            format!(r#"<p class="bad">n = {}: {what}</p>"#, count(row.n))
        })
        .collect();
    let kernel = escape(&row.kernel);
    format!("<section><h3>{kernel}</h3><p class=\"soft\">{about}</p>{figure}{wrong}</section>\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::{Machine, SCHEMA};
    use crate::report::plot::tests::row;

    fn report(rows: Vec<Row>) -> Report {
        Report {
            schema: SCHEMA,
            command: "crossover bench --suite \"<core>\"".to_owned(),
            version: "0.1.0".to_owned(),
            unix_time: 1_767_225_600,
            suite: "core & <more>".to_owned(),
            machine: Machine {
                cpu: "A CPU".to_owned(),
                threads: 2,
                simd: vec!["avx2".to_owned()],
                system: "linux x86_64".to_owned(),
            },
            adapter: None,
            no_adapter: Some("none 'found'".to_owned()),
            model: "roofline".to_owned(),
            peak_128_flops: None,
            copied: Vec::new(),
            timeline: Vec::new(),
            summary: Summary::of(&rows, false),
            rows,
            ablation: Vec::new(),
        }
    }

    /// Panics unless every tag that is opened is closed, in order.
    fn check_balanced(html: &str) {
        let mut open = Vec::new();
        for piece in html.split('<').skip(1) {
            let (tag, _) = piece.split_once('>').expect("every tag ends");
            let name = tag.split_whitespace().next().expect("every tag has a name");
            if let Some(name) = name.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "closed by </{name}>");
            } else if !tag.ends_with('/') && !["!doctype", "meta"].contains(&name) {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "still open: {open:?}");
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape(r#"<a href="x">'&'"#), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;");
        let page = render(&report(vec![row(10, None, Some(1e-3))]));
        assert!(page.contains("core &amp; &lt;more&gt;") && page.contains("not &lt;asked&gt; for"));
        assert!(!page.contains("<more>") && !page.contains("<asked>"));
    }

    #[test]
    fn an_empty_report_is_a_page() {
        let page = render(&report(Vec::new()));
        check_balanced(&page);
        assert!(page.contains("none &#39;found&#39;") && page.contains("0 of 0"));
    }

    #[test]
    fn every_kernel_has_a_section_and_every_row_a_line() {
        let named = |kernel: &str, mut row: Row| {
            row.kernel = kernel.to_owned();
            row
        };
        let mut rows = vec![
            named("dot", row(1000, Some(1e-6), Some(1e-4))),
            named("dot", row(1_000_000, Some(1e-2), Some(1e-3))),
            named("sum", row(10, Some(1e-6), None)),
            named("none", row(10, None, None)),
        ];
        rows[2].verified = false;
        rows[2].wrong = Some("element 3".to_owned());
        let page = render(&report(rows));
        check_balanced(&page);
        for kernel in ["dot", "sum", "none"] {
            assert!(page.contains(&format!("<section><h3>{kernel}</h3>")), "{kernel}");
        }
        assert_eq!(page.matches("<th scope=\"row\">").count(), 4);
        assert_eq!(page.matches("<figure>").count(), 2);
        assert!(page.contains("crossover at n ≈") && page.contains("n = 10: element 3"));
        assert!(!page.contains("http://") && !page.contains("https://"));
    }

    #[test]
    fn a_software_adapter_is_said_to_be_one() {
        let mut report = report(Vec::new());
        let adapter = |software| crossover::Adapter {
            in_place: false,
            memory: String::new(),
            name: "llvmpipe".to_owned(),
            driver: "Mesa".to_owned(),
            software,
        };
        report.adapter = Some(adapter(true));
        assert!(render(&report).contains(">software<"));
        report.adapter = Some(adapter(false));
        assert!(!render(&report).contains(">software<"));
    }
}
