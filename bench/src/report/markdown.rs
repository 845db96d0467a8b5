//! The report as Markdown: what stands in documents.

use std::fmt::Write;

use crossover::{Device, show_seconds};

use super::model::{Ablation, Against, Report, Row};

/// Machine, adapter and command, a row for every kernel and size, then WebAssembly against the
/// baselines.
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
    let mut lines = vec![
        format!("- command: `{}`", report.command),
        format!("- CPU: {}, {} threads, {simd}", machine.cpu, machine.threads),
        format!("- GPU: {adapter}"),
        format!("- model: {}", report.model),
    ];
    if let Some(peak) = report.peak_128_flops {
        let [one, all] = [peak.one_thread, peak.all_threads].map(|flops| flops * 1e-9);
        lines.push(format!("- 128-bit peak: {one:.1} GFLOP/s on one thread, {all:.1} on all"));
    }
    let header = "\n| kernel | n | wasm | gpu | of it kernel | native | default | 128-bit | raw wgpu | wasm predicted | gpu predicted \
                  | first placed | placed | oracle | regret |\n\
                  | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --- | --- | --- | --: |\n";
    // Writing to a string cannot fail.
    let _ = write!(out, "{}\n{header}", lines.join("\n"));
    for row in &report.rows {
        let _ = writeln!(out, "{}", line(row));
    }
    against(&mut out, report);
    ablation(&mut out, &report.ablation);
    out
}

/// The baseline's time over ours, for every row and as a mean.
fn against(out: &mut String, report: &Report) {
    let summary = &report.summary.against;
    if summary.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\nWebAssembly, and the GPU side where the baseline is raw wgpu, against the baselines: their time \
         over ours, so above 1 we are faster.\n"
    );
    let baselines = report.baselines();
    let names: Vec<&str> = baselines.iter().map(|baseline| baseline.name()).collect();
    let (names, rule) = (names.join(" | "), " --: |".repeat(baselines.len()));
    let _ = writeln!(out, "| kernel | n | {names} |\n| --- | --: |{rule}");
    for row in &report.rows {
        let ratio = |b| row.speedup(b).map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
        let ratios: Vec<String> = baselines.iter().map(|baseline| ratio(*baseline)).collect();
        let ratios = ratios.join(" | ");
        let _ = writeln!(out, "| {} | {} | {ratios} |", row.kernel, row.n);
    }
    let _ = writeln!(out);
    for Against { baseline, speedup_geo, wins, losses } in summary {
        let (name, about) = (baseline.name(), baseline.about());
        let _ = writeln!(
            out,
            "- {name} ({about}): geometric mean {speedup_geo:.2}; faster in {wins} rows, slower in \
             {losses}"
        );
    }
}

/// What each optimisation is worth.
fn ablation(out: &mut String, effects: &[Ablation]) {
    let lines = Ablation::lines(effects);
    let Some(first) = lines.first() else { return };
    let names: Vec<&str> = first.iter().map(|effect| effect.optimisation.as_str()).collect();
    let _ = writeln!(
        out,
        "\nTime without an optimisation over time with all of them, = where the kernel is the same.\n\n\
         | kernel | n | on | {} |\n| --- | --: | --- |{}",
        names.join(" | "),
        " --: |".repeat(names.len())
    );
    for line in lines {
        let cells: Vec<String> = line.iter().map(Ablation::shown).collect();
        let Ablation { kernel, n, device, .. } = &line[0];
        let _ = writeln!(out, "| {kernel} | {n} | {device} | {} |", cells.join(" | "));
    }
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
        time(row.native_default_s),
        time(row.native_128_s),
        time(row.raw_wgpu_s),
        time(row.predicted_wasm_s),
        time(row.predicted_gpu_s),
        row.chosen_first.name().to_owned(),
        row.chosen.name().to_owned(),
        row.oracle.map_or("–", Device::name).to_owned(),
        ratio(row.regret),
    ];
    format!("| {} |", cells.join(" | "))
}
