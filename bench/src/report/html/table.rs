//! The table of every row; a cell that is empty has a note that says why.

use crossover::Device;

use super::text::{bytes, count, escape, factor, seconds};
use crate::baseline::Baseline;
use crate::report::model::Row;
use crate::report::plot::Series;

/// Why cells are empty, each reason once.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    /// An empty cell and the number of its note.
    fn none(&mut self, why: Option<&str>) -> String {
        let why = escape(why.unwrap_or("not measured"));
        let known = self.0.iter().position(|note| *note == why);
        let index = known.unwrap_or_else(|| {
            self.0.push(why.clone());
            self.0.len() - 1
        });
        let number = index + 1;
        format!(r##"<abbr title="{why}">–</abbr><sup><a href="#note{number}">{number}</a></sup>"##)
    }

    /// A time, or its note.
    fn time(&mut self, time: Option<f64>, why: Option<&str>) -> String {
        match time {
            Some(time) => seconds(time),
            None => self.none(why),
        }
    }

    fn list(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let note = |(i, note): (usize, &String)| format!("<li id=\"note{}\">{note}</li>\n", i + 1);
        let notes: String = self.0.iter().enumerate().map(note).collect();
        format!("<ol class=\"notes\">\n{notes}</ol>\n")
    }
}

/// The table's columns before and behind the baselines; a `true` for those of words.
const COLUMNS: [&[(&str, bool)]; 2] = [
    &[("Kernel", true), ("n", false), ("CPU (WASM)", false), ("GPU", false)],
    &[
        ("Predicted CPU", false),
        ("Predicted GPU", false),
        ("Chosen", true),
        ("Oracle", true),
        ("Regret", false),
        ("Verified", true),
        ("Copied", false),
    ],
];

fn heading(baseline: Baseline) -> &'static str {
    match baseline {
        Baseline::Native => "Native",
        Baseline::NativeDefault => "Default target",
        Baseline::Native128 => "128-bit",
        Baseline::RawWgpu => "Raw wgpu",
    }
}

/// The side that a baseline is held against.
pub(super) fn side(baseline: Baseline) -> &'static str {
    match baseline.device() {
        Device::Cpu => "WASM",
        Device::Gpu => "GPU",
    }
}

/// The table of all rows, with a column for each of these baselines, and its notes.
pub(super) fn table(kernels: &[Vec<&Row>], baselines: &[Baseline]) -> String {
    let mut notes = Notes::default();
    let against = baselines.iter().map(|baseline| (heading(*baseline), false));
    let columns: Vec<(&str, bool)> =
        COLUMNS[0].iter().copied().chain(against).chain(COLUMNS[1].iter().copied()).collect();
    let head = columns.iter().map(|(name, word)| {
        let class = if *word { r#" class="word""# } else { "" };
        format!(r#"<th scope="col"{class}>{name}</th>"#)
    });
    let mut body = String::new();
    for rows in kernels {
        for (i, row) in rows.iter().enumerate() {
            let class = if i == 0 { r#" class="first""# } else { "" };
            body += &format!("<tr{class}>{}</tr>\n", cells(row, &columns, baselines, &mut notes));
        }
    }
    let head: String = head.collect();
    format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"Every measurement\" tabindex=\"0\">\n\
         <table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n</div>\n\
         <p class=\"notes\">Times are medians, from the call to the result on the host; of the GPU's, \
         `kernel` is what its own clock counts. Predictions are from before the first run, with their \
         90 % intervals. Under a baseline: its time over that of WebAssembly, or of the GPU's \
         kernel for raw wgpu; above 1 the baseline is slower.</p>\n{}",
        notes.list()
    )
}

/// A row's cells, in the order of the columns.
fn cells(row: &Row, columns: &[(&str, bool)], baselines: &[Baseline], notes: &mut Notes) -> String {
    let unpredicted = Some(match row.program {
        Some(_) => "no prediction: each of its calls is priced on its own",
        None => "no prediction: the call could not be priced there",
    });
    let one_sided = Some("one side was not measured");
    let (wasm_why, gpu_why) = (row.wasm_why.as_deref(), row.gpu_why.as_deref());
    let unit = escape(&row.unit);
    let chosen = match &row.program {
        Some(program) => format!(
            r#"<abbr title="{} calls of {}, {} of them on the GPU">{}</abbr><small>{}</small>"#,
            program.calls,
            escape(&program.kernels.join(", ")),
            program.on_gpu,
            program.shown(),
            program.placed_s.map_or(String::new(), seconds)
        ),
        None => format!(
            r#"<abbr title="{}">{}</abbr><small>first {}</small>"#,
            escape(&row.why),
            device(row.chosen),
            device(row.chosen_first)
        ),
    };
    let on_device = row
        .gpu_run_s
        .map_or(String::new(), |time| format!("<small>kernel {}</small>", seconds(time)));
    let predicted = |notes: &mut Notes, time: Option<f64>, interval: Option<[f64; 2]>, why| {
        let shown = notes.time(time, why);
        let interval = interval.filter(|_| time.is_some());
        shown
            + &interval.map_or(String::new(), |[low, high]| {
                format!("<small>{} – {}</small>", seconds(low), seconds(high))
            })
    };
    let mut cells = vec![
        format!(
            r#"<abbr title="{unit}">{}</abbr><small>{}</small>"#,
            count(row.n),
            escape(&row.size)
        ),
        notes.time(row.wasm_s, wasm_why),
        notes.time(row.gpu_s, gpu_why) + &on_device,
    ];
    cells.extend(baselines.iter().map(|b| baseline(row, *b, notes)));
    cells.extend([
        predicted(
            notes,
            row.predicted_wasm_s,
            row.predicted_wasm_interval,
            wasm_why.or(unpredicted),
        ),
        predicted(notes, row.predicted_gpu_s, row.predicted_gpu_interval, gpu_why.or(unpredicted)),
        chosen,
        row.oracle.map_or_else(|| notes.none(one_sided), |oracle| device(oracle).to_owned()),
        row.regret.map_or_else(|| notes.none(one_sided), factor),
        verdict(row),
        bytes(row.bytes_copied),
    ]);
    let cell = |(cell, (_, word)): (&String, &(&str, bool))| match word {
        true => format!(r#"<td class="word">{cell}</td>"#),
        false => format!("<td>{cell}</td>"),
    };
    let cells: String = cells.iter().zip(&columns[1..]).map(cell).collect();
    format!(r#"<th scope="row">{}</th>{cells}"#, escape(&row.kernel))
}

/// A baseline's time, and how WebAssembly does against it.
fn baseline(row: &Row, baseline: Baseline, notes: &mut Notes) -> String {
    let time = notes.time(row.baseline(baseline), row.baseline_why(baseline));
    let ratio = row.speedup(baseline);
    time + &ratio.map_or(String::new(), |ratio| {
        let class = if ratio > 1.0 { "good" } else { "bad" };
        format!(r#"<small class="{class}">{} {}</small>"#, side(baseline), factor(ratio))
    })
}

fn verdict(row: &Row) -> String {
    match row.verified {
        true => r#"<span class="good">yes</span>"#.to_owned(),
        false => {
            let why = escape(row.wrong.as_deref().unwrap_or("no side ran"));
            format!(r#"<abbr class="bad" title="{why}">no</abbr>"#)
        }
    }
}

fn device(device: Device) -> &'static str {
    Series::from(device).name()
}
