//! The report on the terminal.

use crossover::{Device, show_seconds};

use crate::baseline::Baseline;
use crate::columns::Side::{Left, Right};
use crate::columns::Table;
use crate::report::model::{Ablation, Against, Report, Row, Summary};

/// Prints the rows, how the sides do against the baselines, and the summary.
pub(super) fn print(report: &Report) {
    print_rows(report);
    print_against(report);
    print_ablation(&report.ablation);
    print_summary(&report.summary);
}

fn print_rows(report: &Report) {
    let baselines = report.baselines();
    let mut heads = vec![("kernel", Left), ("size", Left), ("wasm", Right), ("gpu", Right)];
    heads.extend(baselines.iter().map(|baseline| (baseline.name(), Right)));
    heads.extend([("wasm predicted", Right), ("gpu predicted", Right)]);
    heads.extend([("placed", Right), ("oracle", Right), ("regret", Right), ("checked", Left)]);
    let mut table = Table::new(2, heads);
    report.rows.iter().for_each(|row| table.push(cells(row, &baselines)));
    table.print();
}

fn cells(row: &Row, baselines: &[Baseline]) -> Vec<String> {
    let time = |t: Option<f64>| t.map_or("–".to_owned(), show_seconds);
    let placed = if let Some(program) = &row.program {
        program.shown()
    } else if row.chosen == row.chosen_first {
        row.chosen.name().to_owned()
    } else {
        format!("{}→{}", row.chosen_first, row.chosen)
    };
    let mut cells = vec![row.kernel.clone(), row.size.clone()];
    cells.extend([row.wasm_s, row.gpu_s].map(time));
    cells.extend(baselines.iter().map(|baseline| time(row.baseline(*baseline))));
    cells.extend([row.predicted_wasm_s, row.predicted_gpu_s].map(time));
    cells.extend([
        placed,
        row.oracle.map_or("–", Device::name).to_owned(),
        row.regret.map_or("–".to_owned(), |regret| format!("{regret:.2}")),
        row.wrong.clone().unwrap_or_else(|| "ok".to_owned()),
    ]);
    cells
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
    let names = baselines.iter().map(|baseline| (baseline.name(), Right));
    let mut table = Table::new(2, [("kernel", Left), ("size", Left)].into_iter().chain(names));
    let ratio = |r: Option<f64>| r.map_or("–".to_owned(), |r| format!("{r:.2}"));
    for row in &report.rows {
        let ratios = baselines.iter().map(|baseline| ratio(row.speedup(*baseline)));
        table.push([row.kernel.clone(), row.size.clone()].into_iter().chain(ratios).collect());
    }
    let mut line = |name: &str, cell: &dyn Fn(&Against) -> String| {
        let cells = report.summary.against.iter().map(cell);
        table.push([name.to_owned(), String::new()].into_iter().chain(cells).collect());
    };
    line("geometric mean", &|against| format!("{:.2}", against.speedup_geo));
    line("faster|slower", &|against| format!("{}|{}", against.wins, against.losses));
    table.print();
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
    let names = lines[0].iter().map(|effect| (effect.optimisation.as_str(), Right));
    let heads = [("kernel", Left), ("size", Left), ("on", Left)].into_iter().chain(names);
    let mut table = Table::new(3, heads);
    for line in lines {
        let first = &line[0];
        let names = [first.kernel.as_str(), &first.size, first.device.name()].map(str::to_owned);
        table.push(names.into_iter().chain(line.iter().map(|effect| effect.shown())).collect());
    }
    table.print();
}

fn print_summary(summary: &Summary) {
    let ratio = |name: &str, value: Option<f64>| {
        if let Some(value) = value {
            println!("{name:<45} {value:.3}");
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
