//! The report on the terminal.

use crossover::{Device, show_seconds};

use crate::baseline::Baseline;
use crate::report::model::{Ablation, Against, Report, Row, Summary};

/// Prints the rows, how the sides do against the baselines, and the summary.
pub(super) fn print(report: &Report) {
    let baselines = report.baselines();
    let names: String = baselines.iter().map(|b| format!("{:>9} ", b.name())).collect();
    println!(
        "{:<16} {:<7} {:>9} {:>9} {names}{:>19} {:>6} {:>6} {:>7}  checked",
        "kernel", "size", "wasm", "gpu", "predicted wasm|gpu", "placed", "oracle", "regret"
    );
    for row in &report.rows {
        println!("{}", line(row, &baselines));
    }
    print_against(report);
    print_ablation(&report.ablation);
    print_summary(&report.summary);
}

fn line(row: &Row, baselines: &[Baseline]) -> String {
    let time = |t: Option<f64>| t.map_or("–".to_owned(), show_seconds);
    let placed = if let Some(program) = &row.program {
        program.shown()
    } else if row.chosen == row.chosen_first {
        row.chosen.name().to_owned()
    } else {
        format!("{}→{}", row.chosen_first, row.chosen)
    };
    let times: String =
        baselines.iter().map(|b| format!("{:>9} ", time(row.baseline(*b)))).collect();
    format!(
        "{:<16} {:<7} {:>9} {:>9} {times}{:>9} {:>9} {placed:>7} \
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

/// The baseline's time over ours, for every row and as a mean.
fn print_against(report: &Report) {
    let baselines = report.baselines();
    if baselines.is_empty() {
        return;
    }
    println!(
        "\nWASM (and the GPU, against raw wgpu): the baseline's time over ours, so above 1 we are faster"
    );
    let names: String = baselines.iter().map(|b| format!(" {:>9}", b.name())).collect();
    println!("{:<16} {:<7}{names}", "kernel", "size");
    let ratio = |r: Option<f64>| r.map_or("–".to_owned(), |r| format!("{r:.2}"));
    for row in &report.rows {
        let cells = baselines.iter().map(|b| format!(" {:>9}", ratio(row.speedup(*b))));
        println!("{:<16} {:<7}{}", row.kernel, row.size, cells.collect::<String>());
    }
    let line = |name: &str, cell: &dyn Fn(&Against) -> String| {
        let cells = report.summary.against.iter().map(|against| format!(" {:>9}", cell(against)));
        println!("{name:<24}{}", cells.collect::<String>());
    };
    line("geometric mean", &|against| format!("{:.2}", against.speedup_geo));
    line("faster|slower", &|against| format!("{}|{}", against.wins, against.losses));
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
    println!("{:<16} {:<7} {:<4}{names}", "kernel", "size", "on");
    for line in lines {
        let cells: String = line.iter().map(|effect| format!("{:>10}", effect.shown())).collect();
        println!("{:<16} {:<7} {:<4}{cells}", line[0].kernel, line[0].size, line[0].device.name());
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
