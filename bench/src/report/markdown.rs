//! The report as Markdown: what stands in documents.

use std::fmt::Write;

use crossover::{Device, show_seconds};

use super::model::{Report, Row};

/// Machine, adapter and command, then a row for every kernel and size.
pub(crate) fn table(report: &Report) -> String {
    let mut out = String::new();
    let adapter = match (&report.adapter, &report.no_adapter) {
        (Some(adapter), _) if adapter.software => {
            format!("{}, {} (software: it computes on the CPU)", adapter.name, adapter.driver)
        }
        (Some(adapter), _) => format!("{}, {}", adapter.name, adapter.driver),
        (None, why) => format!("none: {}", why.as_deref().unwrap_or("unknown")),
    };
    let machine = &report.machine;
    let simd = machine.simd.join(", ");
    let lines = [
        format!("- command: `{}`", report.command),
        format!("- CPU: {}, {} threads, {simd}", machine.cpu, machine.threads),
        format!("- GPU: {adapter}"),
        format!("- model: {}", report.model),
    ];
    let header = "\n| kernel | n | wasm | gpu | of it kernel | native | wasm predicted | gpu predicted \
                  | first placed | placed | oracle | regret |\n\
                  | --- | --: | --: | --: | --: | --: | --: | --: | --- | --- | --- | --: |\n";
    // Writing to a string cannot fail.
    let _ = write!(out, "{}\n{header}", lines.join("\n"));
    for row in &report.rows {
        let _ = writeln!(out, "{}", line(row));
    }
    out
}

fn line(row: &Row) -> String {
    let time = |t: Option<f64>| t.map_or("–".to_owned(), show_seconds);
    let ratio = |r: Option<f64>| r.map_or("–".to_owned(), |r| format!("{r:.2}"));
    let cells = [
        row.kernel.clone(),
        row.n.to_string(),
        time(row.wasm_s),
        time(row.gpu_s),
        time(row.gpu_run_s),
        time(row.native_s),
        time(row.predicted_wasm_s),
        time(row.predicted_gpu_s),
        row.chosen_first.name().to_owned(),
        row.chosen.name().to_owned(),
        row.oracle.map_or("–", Device::name).to_owned(),
        ratio(row.regret),
    ];
    format!("| {} |", cells.join(" | "))
}
