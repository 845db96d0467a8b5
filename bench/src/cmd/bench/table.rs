//! The report on the terminal.

use crossover::{Device, show_seconds};

use crate::baseline::Baseline;
use crate::report::model::{Ablation, Against, Report, Row, Summary};

/// Prints the rows, how WebAssembly does against the baselines, and the summary.
pub(super) fn print(report: &Report) {
    println!(
        "{:<14} {:<7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>19} {:>6} {:>6} {:>7}  checked",
        "kernel",
        "size",
        "wasm",
        "gpu",
        "native",
        "default",
        "128-bit",
        "predicted wasm|gpu",
        "placed",
        "oracle",
        "regret"
    );
    for row in &report.rows {
        println!("{}", line(row));
    }
    print_against(report);
    print_ablation(&report.ablation);
    print_summary(&report.summary);
}

fn line(row: &Row) -> String {
    let time = |t: Option<f64>| t.map_or("–".to_owned(), show_seconds);
    let placed = if row.chosen == row.chosen_first {
        row.chosen.name().to_owned()
    } else {
        format!("{}→{}", row.chosen_first, row.chosen)
    };
    let [native, default, by_hand] = Baseline::ALL.map(|baseline| time(row.baseline(baseline)));
    format!(
        "{:<14} {:<7} {:>9} {:>9} {native:>9} {default:>9} {by_hand:>9} {:>9} {:>9} {placed:>7} \
         {:>6} {:>7}  {}",
        row.kernel,
        row.size,
        time(row.wasm_s),
        time(row.gpu_s),
        time(row.predicted_wasm_s),
        time(row.predicted_gpu_s),
        row.oracle.map_or("–", Device::name),
        row.regret.map_or("–".to_owned(), |r| format!("{r:.2}")),
        row.wrong.as_deref().unwrap_or("ok"),
    )
}

/// The baseline's time over that of WebAssembly, for every row and as a mean.
fn print_against(report: &Report) {
    if report.summary.against.is_empty() {
        return;
    }
    println!("\nWASM against the baselines: their time over its time, so above 1 WASM is faster");
    println!("{:<14} {:<7} {:>9} {:>9} {:>9}", "kernel", "size", "native", "default", "128-bit");
    let ratio = |r: Option<f64>| r.map_or("–".to_owned(), |r| format!("{r:.2}"));
    for row in &report.rows {
        let [native, default, by_hand] = Baseline::ALL.map(|b| ratio(row.speedup(b)));
        println!("{:<14} {:<7} {native:>9} {default:>9} {by_hand:>9}", row.kernel, row.size);
    }
    let means = Baseline::ALL.map(|baseline| {
        let of = report.summary.against.iter().find(|a| a.baseline == baseline);
        let Some(Against { speedup_geo, wins, losses, .. }) = of else {
            return ["–".to_owned(), "–".to_owned()];
        };
        [format!("{speedup_geo:.2}"), format!("{wins}|{losses}")]
    });
    for (at, name) in ["geometric mean", "faster|slower"].into_iter().enumerate() {
        let [native, default, by_hand] = means.each_ref().map(|mean| &mean[at]);
        println!("{name:<22} {native:>9} {default:>9} {by_hand:>9}");
    }
    print_peak(report);
}

/// Matrix products as shares of what 128-bit registers allow.
fn print_peak(report: &Report) {
    let Some(peak) = report.peak_128_flops else { return };
    println!(
        "128-bit peak: {:.1} GFLOP/s on one thread, {:.1} on all",
        peak.one_thread * 1e-9,
        peak.all_threads * 1e-9
    );
    for row in report.rows.iter().filter(|row| row.kernel == "matmul") {
        let share = |time: Option<f64>| {
            let share = time.map(|time| row.operations / time / peak.all_threads);
            share.map_or("–".to_owned(), |share| format!("{:.0} %", 100.0 * share))
        };
        let [wasm, native, by_hand] = [row.wasm_s, row.native_s, row.native_128_s].map(share);
        println!("  matmul {}: wasm {wasm}, native {native}, 128-bit {by_hand} of it", row.n);
    }
}

/// What each optimisation is worth: a line for a kernel, size and device, a column for each.
fn print_ablation(effects: &[Ablation]) {
    if effects.is_empty() {
        return;
    }
    println!("\ntime without an optimisation over time with all, = where the kernel is the same");
    let lines = Ablation::lines(effects);
    let names: String = lines[0].iter().map(|e| format!("{:>10}", e.optimisation)).collect();
    println!("{:<14} {:<7} {:<4}{names}", "kernel", "size", "on");
    for line in lines {
        let cells: String = line.iter().map(|effect| format!("{:>10}", effect.shown())).collect();
        println!("{:<14} {:<7} {:<4}{cells}", line[0].kernel, line[0].size, line[0].device.name());
    }
}

fn print_summary(summary: &Summary) {
    let ratio = |name: &str, value: Option<f64>| {
        if let Some(value) = value {
            println!("{name:<44} {value:.3}");
        }
    };
    println!();
    ratio("regret, geometric mean", summary.regret_geo);
    ratio("regret of the placements before the first run", summary.regret_first_geo);
    ratio("share placed as the oracle places", summary.optimal_share);
    ratio("speed-up over always CPU", summary.speedup_over_cpu);
    ratio("speed-up over always GPU", summary.speedup_over_gpu);
    ratio("speed-up over native Rust with rayon", summary.speedup_over_native);
    if summary.interrupted {
        println!("interrupted: what was measured before is reported");
    }
}
